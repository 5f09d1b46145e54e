"""Pretraining rows of arithmetic: problems, with a solution in view or not.

A row holds several problems with their solutions, none of which sees another.
Those with a solution in view teach a model to use it: that is what a teacher
has beyond its student (`sleepjax.seeding.reference`).
"""

import dataclasses
import functools

import numpy as np

from sleepjax.data import arithmetic, arithmetic_tokenizer
from sleepjax.data.arithmetic import Grade
from sleepjax.data.prompts import ChatPrompts
from sleepjax.errors import check_least
from sleepjax.pretraining import packed
from sleepjax.pretraining.packed import PackedRows

_EMPTY = -1  # Where a turn has ended.


@dataclasses.dataclass(frozen=True)
class ArithmeticRows:
  """What rows are about.

  rows, length: B and T; problems that do not fit are cut off.
  turns: problems of every row.
  view_share: of the problems, those with a solution in view.
  slip_share: of these, those whose reply has a wrong number, which is not
    learnt, and goes on from it by right arithmetic. Without them a teacher that
    is shown a student's mistake goes on as the solution does.
  prompt_weight: of the loss of a prompt's own tokens.
  grades: how difficult problems are; each is as likely.
  """

  rows: int = 32
  length: int = 224
  turns: int = 5
  view_share: float = 0.3
  slip_share: float = 0.4
  prompt_weight: float = 0.05
  grades: tuple[Grade, ...] = arithmetic.GRADES

  def __post_init__(self):
    check_least(self, rows=1, length=1, turns=1)
    for name in ('view_share', 'slip_share', 'prompt_weight'):
      if not 0 <= getattr(self, name) <= 1:
        raise ValueError(
            f'{name}={getattr(self, name)} must lie between 0 and 1.')
    if not self.grades:
      raise ValueError('grades must name at least one.')


@functools.cache
def _chat() -> ChatPrompts:
  return ChatPrompts(arithmetic_tokenizer.build_tokenizer())


def sample_rows(settings: ArithmeticRows, seed) -> PackedRows:
  """Rows of problems of the part `pretraining`; the same for the same seed.

  Args:
    settings: what they are about.
    seed: a number, or several.
  """
  c, rng, chat = settings, np.random.default_rng(seed), _chat()
  encode, stop = chat.tokenizer.encode, chat.tokenizer.stop_ids[0]
  turns = []
  for _ in range(c.rows * c.turns):
    grade, chain = c.grades[rng.integers(len(c.grades))], None
    while chain is None or arithmetic.part_of(chain) != 'pretraining':
      chain = grade.draw(rng)
    asked, reply = chain.story(rng), ('', '', chain.solution())
    if rng.random() < c.view_share:
      asked = arithmetic_tokenizer.IN_VIEW.format(
          problem=asked, solution=chain.solution())
      if rng.random() < c.slip_share:
        reply = chain.slipped(rng, grade.largest) or reply
    prompt, (before, wrong, after) = chat.closed_book(asked), map(encode, reply)
    learnt = [c.prompt_weight] * len(prompt) + [1.0] * len(before) + (
        [0.0] * len(wrong)) + [1.0] * (len(after) + 1)
    turns.append(([*prompt, *before, *wrong, *after, stop], [0.0, *learnt[1:]]))
  # Wide enough that all rows have the length that is asked for.
  width = max(-(-c.length // c.turns), *(
      len(tokens) for tokens, _ in turns))
  ids = np.full((len(turns), width), _EMPTY)
  weight = np.zeros((len(turns), width))
  for number, (tokens, learnt) in enumerate(turns):
    ids[number, :len(tokens)] = tokens
    weight[number, :len(tokens)] = learnt
  shape = c.rows, c.turns, width
  return packed.pack(
      np.zeros((c.rows, 0), int), ids.reshape(shape), weight.reshape(shape),
      empty=_EMPTY, length=c.length)
