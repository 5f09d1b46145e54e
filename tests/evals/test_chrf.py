"""chrF by hand."""

import pytest

from sleepjax.evals import chrf
from sleepjax.evals.chrf import corpus_chrf


def test_stretches_by_hand():
  """ab c is abc: a, b, c, ab, bc, abc; abd shares a, b and ab."""
  found = chrf.counts('ab c', 'abd').tolist()
  assert found == [[3, 3, 2], [2, 2, 1], [1, 1, 0], *[[0, 0, 0]] * 3]


def test_a_score_by_hand():
  """Precision and recall are (2/3 + 1/2 + 0) / 3 alike, and so is F."""
  assert corpus_chrf(['abc'], ['abd']) == pytest.approx(100 * 7 / 18)
  # Recall counts twice: precision 1, recall (2/4 + 1/3) / 2.
  recall = (2 / 4 + 1 / 3) / 2
  assert corpus_chrf(['ab'], ['abcd']) == pytest.approx(
      100 * 5 * recall / (4 + recall))


def test_sentences_are_counted_together():
  one, other = (['abc'], ['abc']), (['xyz'], ['abc'])
  assert corpus_chrf(*one) == 100 and corpus_chrf(*other) == 0
  assert corpus_chrf(['abc', 'xyz'], ['abc', 'abc']) == pytest.approx(50)


def test_what_cannot_be_scored():
  with pytest.raises(ValueError, match='1 translations and 2 references'):
    corpus_chrf(['a'], ['a', 'b'])
  with pytest.raises(ValueError, match='0 translations and 0 references'):
    corpus_chrf([], [])
