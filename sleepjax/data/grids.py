"""Grids of colours, and rules that change them: tasks that few examples show.

A rule is one primitive, or two of them one after the other. Compositions are
split once for good by what they do: two that change every grid of 3 × 3 cells
alike, such as a recolouring before or after a turn, are one, and those that a
single primitive does as well are none. So no rule of the exam is trained on
under another name.

>>> rule = Rule((Step('flip_rows'), Step('recolour', (1, 3))))
>>> print(write_grid(rule(read_grid('10\\n20'))))
20
30
"""

import dataclasses
import functools
import itertools
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from sleepjax.errors import UserError, check_least

COLOURS = 5  # 0 is the background.
LARGEST = 6  # Rows, and columns, of any grid.

# What a composition may be used for, and how many of 12 there are.
PARTS = {'pretraining': 6, 'train': 2, 'choice': 1, 'exam': 3}
_TRIES = 1000  # Draws until a task is said not to exist.

Grid = np.ndarray


def _fall(grid: Grid) -> Grid:
  """Coloured cells at the bottom of their columns, in their order."""
  order = np.argsort(grid != 0, axis=0, kind='stable')
  return np.take_along_axis(grid, order, 0)


def _crop(grid: Grid) -> Grid:
  """All but the last row and column; of a single one, that."""
  return grid[:max(len(grid) - 1, 1), :max(grid.shape[1] - 1, 1)]


def _repeat(grid: Grid) -> Grid:
  """The left half twice; a column in the middle belongs to it."""
  half = grid[:, :-(-grid.shape[1] // 2)]
  return np.concatenate([half, half], 1)


def _border(grid: Grid, colour: int) -> Grid:
  """The outermost cells in one colour."""
  changed = np.full_like(grid, colour)
  changed[1:-1, 1:-1] = grid[1:-1, 1:-1]
  return changed


def _swap(grid: Grid, one: int, other: int) -> Grid:
  return np.where(grid == one, other, np.where(grid == other, one, grid))


# Name -> what it does, and with how many colours.
PRIMITIVES: dict[str, tuple[Callable[..., Grid], int]] = {
    'turn_left': (np.rot90, 0),
    'turn_right': (lambda grid: np.rot90(grid, -1), 0),
    'turn_twice': (lambda grid: np.rot90(grid, 2), 0),
    'flip_rows': (np.flipud, 0),
    'flip_columns': (np.fliplr, 0),
    'transpose': (np.transpose, 0),
    'transpose_other': (lambda grid: np.rot90(grid, 2).T, 0),
    'roll_down': (lambda grid: np.roll(grid, 1, 0), 0),
    'roll_right': (lambda grid: np.roll(grid, 1, 1), 0),
    'fall': (_fall, 0),
    'slide': (lambda grid: _fall(grid.T).T, 0),
    'crop': (_crop, 0),
    'repeat': (_repeat, 0),
    'recolour': (lambda grid, a, b: np.where(grid == a, b, grid), 2),
    'swap': (_swap, 2),
    'border': (_border, 1)}


class Step(NamedTuple):
  """A primitive with its colours."""

  name: str
  colours: tuple[int, ...] = ()

  def __call__(self, grid: Grid) -> Grid:
    return PRIMITIVES[self.name][0](grid, *self.colours)


class Rule(NamedTuple):
  """Primitives, the first one first."""

  steps: tuple[Step, ...]

  def __call__(self, grid: Grid) -> Grid:
    for step in self.steps:
      grid = step(grid)
    return grid

  @property
  def name(self) -> str:
    return ' '.join(step.name for step in self.steps)


class Pair(NamedTuple):
  """A grid, and what a rule makes of it."""

  input: Grid
  output: Grid


class Task(NamedTuple):
  """A rule, pairs that show it, and pairs that ask for it."""

  name: str
  shown: list[Pair]
  asked: list[Pair]


def write_grid(grid) -> str:
  """A grid as a text, one line a row and one digit, a colour, a cell.

  Raises:
    ValueError: it is no rectangle of colours from 0 to 9.
  """
  if len(grid) == 0 or len(grid[0]) == 0 or any(
      len(row) != len(grid[0]) for row in grid):
    raise ValueError('a grid that is no rectangle')
  if any(cell not in range(10) for row in grid for cell in row):
    raise ValueError('a colour outside of 0 to 9')
  return '\n'.join(''.join(map(str, row)) for row in grid)


def read_grid(text: str) -> Grid:
  """[rows, columns] int8, from the text of a grid.

  Raises:
    ValueError: the text is none.
  """
  return np.array([[int(cell) for cell in row] for row in text.split('\n')],
                  np.int8)


@functools.cache
def compositions() -> dict[str, tuple[tuple[str, str], ...]]:
  """Part -> pairs of names whose composition belongs to it."""
  rng = np.random.default_rng(0)
  # As small as grids are: what is one there may be two on larger ones.
  probes = [rng.integers(0, COLOURS, (3, 3)) for _ in range(24)]

  def does(*names):
    # Colours are given by name, so that both orders have the same.
    colours, of = itertools.cycle(range(1, COLOURS)), {}
    for name in sorted(names):
      of[name] = tuple(itertools.islice(colours, PRIMITIVES[name][1]))
    rule = Rule(tuple(Step(name, of[name]) for name in names))
    return tuple((made.shape, made.tobytes()) for made in map(rule, probes))

  single = {does(name) for name in PRIMITIVES} | {does()}
  same = {}
  for names in itertools.product(PRIMITIVES, repeat=2):
    if (effect := does(*names)) not in single:
      same.setdefault(effect, []).append(names)
  deal = [part for part, share in PARTS.items() for _ in range(share)]
  found = {part: [] for part in PARTS}
  for number, place in enumerate(rng.permutation(len(same))):
    found[deal[number % len(deal)]] += list(same.values())[place]
  return {part: tuple(pairs) for part, pairs in found.items()}


@dataclasses.dataclass(frozen=True)
class GridConfig:
  """What tasks are like.

  smallest, largest: rows, and columns, of an input; all of a task have one
    size.
  shown, asked: pairs of a task.
  background: share of cells that have no colour.
  """

  smallest: int = 3
  largest: int = 3
  shown: int = 4
  asked: int = 4
  background: float = 0.35

  def __post_init__(self):
    check_least(self, smallest=3, shown=1, asked=1)
    if not self.smallest <= self.largest <= LARGEST:
      raise ValueError(f'largest={self.largest} must be at least smallest='
                       f'{self.smallest} and at most {LARGEST}.')
    if not 0 <= self.background < 1:
      raise ValueError(
          f'background={self.background} must be at least 0 and below 1.')


def rule_of(names: tuple[str, ...], rng: np.random.Generator) -> Rule:
  """A rule of these primitives; no two of its colours are the same."""
  colours = iter((1 + rng.permutation(COLOURS - 1)).tolist())
  return Rule(tuple(
      Step(name, tuple(itertools.islice(colours, PRIMITIVES[name][1])))
      for name in names))


def draw_task(names: tuple[str, ...], config: GridConfig,
              rng: np.random.Generator) -> Task:
  """A task of these primitives, in which every pair changes something.

  Raises:
    UserError: none was found whose outputs are small enough.
  """
  c, inputs = config, set()
  for _ in range(_TRIES):
    rule, pairs = rule_of(names, rng), []
    shape = rng.integers(c.smallest, c.largest + 1, 2)
    for _ in range(4 * (c.shown + c.asked)):
      grid = (rng.integers(1, COLOURS, shape)
              * (rng.random(shape) >= c.background)).astype(np.int8)
      output = rule(grid)
      if max(output.shape) > LARGEST:
        break
      if not np.array_equal(grid, output) and grid.tobytes() not in inputs:
        inputs.add(grid.tobytes())
        pairs.append(Pair(grid, output))
      if len(pairs) == c.shown + c.asked:
        return Task(rule.name, pairs[:c.shown], pairs[c.shown:])
    inputs.clear()
  raise UserError(
      f'{" ".join(names)}: no {c.shown + c.asked} different grids of '
      f'{c.smallest} to {c.largest} rows and columns that it changes into ones '
      f'of at most {LARGEST}: lower largest, or ask for fewer.')


def tasks(part: str, count: int, config: GridConfig, seed: int) -> list[Task]:
  """Tasks of compositions of a part, as different as there are.

  Args:
    part: of `PARTS`.
    count: how many; each composition comes once before any comes again.
    config: what they are like.
    seed: of all that is drawn.
  """
  pairs = compositions()[part]
  rng = np.random.default_rng([seed, list(PARTS).index(part)])
  order = [pairs[place] for _ in range(-(-count // len(pairs)))
           for place in rng.permutation(len(pairs))]
  return [draw_task(names, config, rng) for names in order[:count]]
