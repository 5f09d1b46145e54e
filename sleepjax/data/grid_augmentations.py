"""Changes of whole tasks that can be undone: turns, mirrors, other colours.

What is done to all grids of a task alike gives another task of the same kind.
A model's answers to several of them, each undone, are votes about the first.
"""

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from sleepjax.data.grids import COLOURS, Grid, Pair, write_grid

_ALL_COLOURS = tuple(range(10))


class Augmentation(NamedTuple):
  """A change of a grid.

  turns: quarter turns to the left.
  mirrored: whether columns are put in the opposite order before that.
  colours: of every colour, the one that takes its place; a permutation.
  """

  turns: int = 0
  mirrored: bool = False
  colours: tuple[int, ...] = _ALL_COLOURS

  def __call__(self, grid: Grid) -> Grid:
    changed = np.fliplr(grid) if self.mirrored else grid
    return np.asarray(self.colours, np.int8)[np.rot90(changed, self.turns)]

  def undo(self, grid: Grid) -> Grid:
    """The grid of which this one was made."""
    before = np.rot90(np.argsort(self.colours).astype(np.int8)[grid],
                      -self.turns)
    return np.fliplr(before) if self.mirrored else before

  def of_pair(self, pair: Pair) -> Pair:
    return Pair(self(pair.input), self(pair.output))


def draw(rng: np.random.Generator, turned: bool, coloured: bool,
         colours: int = COLOURS) -> Augmentation:
  """An augmentation; colour 0, the background, stays what it is.

  Args:
    rng: draws it.
    turned: whether it may turn and mirror.
    coloured: whether it may change colours.
    colours: how many there are, the background included.
  """
  order = _ALL_COLOURS
  if coloured:
    order = (0, *(1 + rng.permutation(colours - 1)).tolist(),
             *range(colours, len(_ALL_COLOURS)))
  return Augmentation(int(rng.integers(4)) if turned else 0,
                      bool(rng.integers(2)) if turned else False, order)


def drawn(count: int, rng: np.random.Generator, turned: bool, coloured: bool,
          colours: int = COLOURS) -> list[Augmentation]:
  """The one that changes nothing, then others of which no two are the same.

  There are fewer than `count` where so many do not exist.
  """
  found = dict.fromkeys([Augmentation()])
  for _ in range(20 * count):
    if len(found) == count:
      break
    found[draw(rng, turned, coloured, colours)] = None
  return list(found)


def majority(votes: Sequence[Grid | None]) -> Grid | None:
  """The grid that most votes are for, of several the first; None counts not."""
  texts = [write_grid(vote) for vote in votes if vote is not None]
  if not texts:
    return None
  likeliest, _ = Counter(texts).most_common(1)[0]
  return next(vote for vote in votes
              if vote is not None and write_grid(vote) == likeliest)
