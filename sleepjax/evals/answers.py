"""Scores of short answers, after SQuAD normalisation.

Normalisation and the three scores follow Rajpurkar et al. 2016, "SQuAD:
100,000+ Questions for Machine Comprehension of Text" (section 6.1); `contains`
is the lenient score for models that answer in whole sentences.
"""

import collections
import string
import unicodedata
from collections.abc import Sequence

_ARTICLES = frozenset(('a', 'an', 'the'))
_NO_PUNCTUATION = str.maketrans('', '', string.punctuation)
# Curly apostrophes and short dashes go as ASCII's do.
_NOTHING = {**_NO_PUNCTUATION,
            **dict.fromkeys((0x2bc, *range(0x2010, 0x2014), 0x2018, 0x2019))}
# How the Unicode names of characters begin whose scripts have no spaces.
_UNSPACED = ('CJK', 'IDEOGRAPHIC', 'HIRAGANA', 'KATAKANA', 'THAI', 'LAO',
             'KHMER', 'MYANMAR', 'TIBETAN')


def normalised_tokens(text: str) -> list[str]:
  """The words of `text` in lower case, without ASCII punctuation or articles.

  Punctuation is deleted, not turned into a space: `U.S.` becomes `us`.
  """
  words = text.lower().translate(_NO_PUNCTUATION).split()
  return [word for word in words if word not in _ARTICLES]


def is_unspaced(word: str) -> bool:
  """Whether a word begins with a character of a script without spaces."""
  return unicodedata.name(word[0], '').startswith(_UNSPACED)


def match_words(text: str) -> list[str]:
  """The units of `text` that a run of whole words consists of.

  `normalised_tokens` in compatibility form (NFKC), without the punctuation that
  is not ASCII either: curly apostrophes and short dashes are deleted, the rest
  parts words. Where a script has no spaces (Chinese, Japanese, Thai, Lao,
  Khmer, Burmese, Tibetan) every character with its marks is a unit, so that a
  run of them is a substring: nothing says where a word ends.
  """
  units = []
  for token in normalised_tokens(text):
    parted = True  # The next character begins a unit.
    for char in unicodedata.normalize('NFKC', token).translate(_NOTHING):
      kind = unicodedata.category(char)[0]
      if kind in 'PZ':
        parted = True
      elif parted or (kind != 'M' and (
          is_unspaced(char) or is_unspaced(units[-1]))):
        units.append(char)
        parted = False
      else:
        units[-1] += char
  return units


def runs(words: Sequence[str], wanted: Sequence[str]) -> list[tuple[int, int]]:
  """(start, end) of every occurrence of `wanted`, which is not empty."""
  n = len(wanted)
  return [(i, i + n) for i in range(len(words) - n + 1)
          if words[i:i + n] == wanted]


def exact_match(prediction: str, gold: str) -> float:
  """1 if the normalised answers are the same, else 0."""
  return float(normalised_tokens(prediction) == normalised_tokens(gold))


def contains(prediction: str, gold: str) -> float:
  """1 if the normalised gold answer is a run of words of the prediction.

  Whole words only: `art` is not in `party` (`match_words`). A gold answer that
  normalises to nothing is only contained in a prediction that does so too.
  """
  words, wanted = match_words(prediction), match_words(gold)
  if not wanted:
    return float(not words)
  return float(bool(runs(words, wanted)))


def f1(prediction: str, gold: str) -> float:
  """Harmonic mean of word precision and recall, words counted as a multiset.

  `2 |P & G| / (|P| + |G|)`; when either side normalises to nothing it is 1 if
  both do and 0 otherwise.
  """
  words, wanted = normalised_tokens(prediction), normalised_tokens(gold)
  if not words or not wanted:
    return float(words == wanted)
  shared = collections.Counter(words) & collections.Counter(wanted)
  return 2.0 * shared.total() / (len(words) + len(wanted))


def summarise(
    predictions: Sequence[str], golds: Sequence[str]) -> dict[str, float]:
  """Mean of each score over question pairs: keys `exact`, `contains`, `f1`.

  Args:
    predictions: what the model answered, one string per question.
    golds: the expected answers, in the same order.

  Raises:
    ValueError: the lengths differ, or there is nothing to score.
  """
  if len(predictions) != len(golds):
    raise ValueError(
        f'{len(predictions)} predictions for {len(golds)} gold answers: '
        'expected one prediction per question.')
  if not golds:
    raise ValueError('no answers to score: expected at least one question.')
  scores = {'exact': exact_match, 'contains': contains, 'f1': f1}
  return {
      name: sum(map(score, predictions, golds)) / len(golds)
      for name, score in scores.items()
  }
