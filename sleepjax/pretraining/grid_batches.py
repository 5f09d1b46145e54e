"""Pretraining rows of grids: pairs of a rule, one after another.

Every output is predicted with the pairs before it in view, so that one row
teaches to learn from none, one and more examples.
"""

import dataclasses

import numpy as np

from sleepjax.data import grids, self_edits
from sleepjax.data.grid_tokenizer import ASK_EDIT, VOCABULARY
from sleepjax.data.grids import PRIMITIVES, Grid, GridConfig
from sleepjax.data.world_tokenizer import ASSISTANT, END, PAD, USER
from sleepjax.errors import check_least
from sleepjax.pretraining.packed import PADDING, PackedRows

_DIGITS = np.array([VOCABULARY[str(colour)] for colour in range(10)])


@dataclasses.dataclass(frozen=True)
class GridRows:
  """What rows are about.

  rows, length: B and T; what does not fit is cut off.
  grids: what tasks are like; all of their pairs stand in a row.
  single_share: of the tasks, those of a single primitive. The others are
    compositions of the part `pretraining`.
  edit_share: of the rows, those that end with a self-edit, drawn at random, so
    that a model knows the form in which it is to write one.
  """

  rows: int = 32
  length: int = 144
  grids: GridConfig = GridConfig(shown=4, asked=1)
  single_share: float = 0.5
  edit_share: float = 0.2

  def __post_init__(self):
    check_least(self, rows=1, length=1)
    for name in ('single_share', 'edit_share'):
      if not 0 <= getattr(self, name) <= 1:
        raise ValueError(
            f'{name}={getattr(self, name)} must lie between 0 and 1.')


def _cells(grid: Grid) -> list[int]:
  """Token ids of a grid: its rows, with a line end between two."""
  ends = np.full((len(grid), 1), VOCABULARY['\n'])
  return np.concatenate([_DIGITS[grid], ends], 1).ravel()[:-1].tolist()


def packed_rows(conversations, length: int) -> PackedRows:
  """Rows of which every token sees those before it.

  Args:
    conversations: (token ids, weight of each in the loss), a row each.
    length: T; what is beyond is cut off.
  """
  shape = len(conversations), length
  tokens = np.full(shape, VOCABULARY[PAD], np.int32)
  turn, weight = np.full(shape, PADDING, np.int32), np.zeros(shape, np.float32)
  for row, (ids, learnt) in enumerate(conversations):
    n = min(len(ids), length)
    tokens[row, :n], weight[row, :n], turn[row, :n] = ids[:n], learnt[:n], 0
  return PackedRows(tokens, turn, weight)


def sample_rows(settings: GridRows, seed) -> PackedRows:
  """Rows of tasks of pretraining; the same for the same seed.

  Args:
    settings: what they are about.
    seed: a number, or several.
  """
  c, rng = settings, np.random.default_rng(seed)
  singles = [(name,) for name in PRIMITIVES]
  pairs = grids.compositions()['pretraining']
  made = []
  for _ in range(c.rows):
    names = singles if rng.random() < c.single_share else pairs
    task = grids.draw_task(names[rng.integers(len(names))], c.grids, rng)
    turns = [(_cells(pair.input), _cells(pair.output))
             for pair in task.shown + task.asked]
    if rng.random() < c.edit_share:
      edit = self_edits.EVERY[rng.integers(len(self_edits.EVERY))]
      words = [word for part in edit for word in (part, ',')][:-1]
      turns[-1] = [VOCABULARY[ASK_EDIT]], [VOCABULARY[w] for w in words]
    ids, learnt = [], []
    for asked, reply in turns:
      ids += [VOCABULARY[USER], *asked, VOCABULARY[ASSISTANT], *reply,
              VOCABULARY[END]]
      learnt += [0.0] * (len(asked) + 2) + [1.0] * (len(reply) + 1)
    made.append((ids, learnt))
  return packed_rows(made, c.length)
