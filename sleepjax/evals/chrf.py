"""chrF: how much of a reference's letters a translation has (Popović 2015).

Of all stretches of one to six characters, spaces left out, the share of the
translation's that the reference has, and of the reference's that the
translation has, are each averaged over the lengths; chrF is their F score, in
which the second counts twice. It is that of sacrebleu (chrF2, signature
`nc:6|nw:0|space:no`), which tests/outside compares with it.

>>> round(corpus_chrf(['the cat sits'], ['the cat sat']), 2)
66.58
"""

from collections import Counter
from collections.abc import Sequence

import numpy as np

_LONGEST = 6
_BETA = 2.0


def counts(translation: str, reference: str) -> np.ndarray:
  """Stretches of each length, [6, 3]: the translation's, the reference's, both.

  Lengths that the reference does not have count nowhere.
  """
  ours, theirs = (''.join(text.split()) for text in (translation, reference))
  found = np.zeros((_LONGEST, 3), int)
  for n in range(1, _LONGEST + 1):
    mine, gold = (Counter(text[i:i + n] for i in range(len(text) - n + 1))
                  for text in (ours, theirs))
    if gold:
      found[n - 1] = mine.total(), gold.total(), (mine & gold).total()
  return found


def corpus_chrf(translations: Sequence[str], references: Sequence[str]
                ) -> float:
  """chrF of all sentences together, from 0 to 100.

  Raises:
    ValueError: not one reference for each translation, or none at all.
  """
  if not references or len(translations) != len(references):
    raise ValueError(f'{len(translations)} translations and {len(references)} '
                     'references: expected one of each at least, in pairs.')
  mine, gold, both = np.sum([*map(counts, translations, references)], 0).T
  real = (mine > 0) & (gold > 0)
  if not both.any():
    return 0.0
  precision, recall = (float(np.mean(both[real] / total[real]))
                       for total in (mine, gold))
  weight = _BETA ** 2
  return 100 * (1 + weight) * precision * recall / (
      weight * precision + recall)
