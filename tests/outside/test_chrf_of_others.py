"""chrF beside that of sacrebleu."""

import numpy as np
import pytest

from sleepjax.data import ciphers
from sleepjax.evals.chrf import corpus_chrf

sacrebleu = pytest.importorskip('sacrebleu')
RANDOM = np.random.default_rng(0)


def theirs(translations, references):
  return sacrebleu.corpus_chrf(translations, [references]).score


@pytest.mark.parametrize('translations, references', [
    (['the cat sits'], ['the cat sat']),
    ([''], ['dog']), (['dog'], ['']), ([''], ['']),
    (['a', 'dog sees cat'], ['I', 'cat sees dog']),
    (['dog'], ['dog  sees\tcat']),
    (['xyz'], ['abc']), (['Äpfel und Birnen'], ['Birnen oder Äpfel'])])
def test_short_texts(translations, references):
  assert corpus_chrf(translations, references) == pytest.approx(
      theirs(translations, references))


def test_sentences_whose_words_have_changed():
  """Word by word, some of them lost, doubled, exchanged or another."""
  said = [sentence.text for sentence in ciphers.sentences(RANDOM)[:60]]
  changed = []
  for text in said:
    words = text.split()
    words[RANDOM.integers(3)] = str(RANDOM.choice(ciphers.ENGLISH))
    words = [words[i] for i in RANDOM.integers(3, size=RANDOM.integers(5))]
    changed.append(' '.join(words))
  score = corpus_chrf(changed, said)
  assert score == pytest.approx(theirs(changed, said))
  assert 20 < score < 80


def test_any_letters():
  texts = [[''.join(RANDOM.choice(list('abc  é'), RANDOM.integers(12)))
            for _ in range(80)] for _ in range(2)]
  assert corpus_chrf(*texts) == pytest.approx(theirs(*texts))
