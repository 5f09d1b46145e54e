"""Self-edits: how a model would learn a task, as words that it can write.

As in SEAL (arXiv 2506.10943) a self-edit names which augmentations of the
demonstrations are learnt from, and how fast and how long.
"""

import itertools
from typing import NamedTuple

AUGMENTED = 'none', 'turned', 'coloured', 'both'
RATES = 'slow', 'middle', 'fast'
LENGTHS = 'short', 'long'


class SelfEdit(NamedTuple):
  """One of each of the lists above."""

  augmented: str
  rate: str
  length: str

  @property
  def text(self) -> str:
    return ','.join(self)

  @property
  def turned(self) -> bool:
    return self.augmented in ('turned', 'both')

  @property
  def coloured(self) -> bool:
    return self.augmented in ('coloured', 'both')


EVERY = tuple(itertools.starmap(
    SelfEdit, itertools.product(AUGMENTED, RATES, LENGTHS)))


def read(text: str) -> SelfEdit | None:
  """The self-edit of a text, or None."""
  edit = tuple(part.strip() for part in text.split(','))
  return SelfEdit(*edit) if edit in EVERY else None
