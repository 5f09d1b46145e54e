"""The tiny world as a stream: few facts among what is long known.

Facts are asked in the wording of exams, which no hand-over asks in.
"""

import dataclasses

import numpy as np

from sleepjax.data import world, world_beds
from sleepjax.data.documents import Question
from sleepjax.errors import UserError, check_least
from sleepjax.memory.questions import StreamPrompts
from sleepjax.model import Model
from sleepjax.tasks.long_stream import Bed, Told
from sleepjax.tasks.world import known_questions


@dataclasses.dataclass(frozen=True)
class StreamConfig:
  """What is read, and when what was told is asked.

  windows, window, facts, alike: as of `world_beds.stream`.
  distances: as of `long_stream.Bed`.
  """

  windows: int = 128
  window: int = 128
  facts: int = 8
  alike: int = 2
  distances: tuple[int, ...] = (1, 2, 4, 8, 16, 32, 64)

  def __post_init__(self):
    check_least(self, windows=1, window=1, facts=1, alike=1)
    if not self.distances or min(self.distances) < 1:
      raise ValueError(
          f'distances={self.distances} must be positive, at least one.')

  def beds(self, model: Model, seed: int) -> list[Bed]:
    """The one stream of a seed.

    Raises:
      UserError: the model has not the words of the world.
    """
    stream = world_beds.stream(
        seed, self.windows, self.window, self.facts, self.alike)
    chat = StreamPrompts(model.tokenizer)
    windows = tuple(np.asarray(chat.document(text), np.int32)
                    for text in stream.windows)
    if any(len(ids) != self.window for ids in windows):
      raise UserError(f'{model.name or "the model"} has other tokens than the '
                      "words of the tiny world: use 'tiny-world' or a model "
                      'that experiments.pretrain has made.')
    told = tuple(Told(tuple(exam(told.fact)), (told.fact.person,), told.window,
                      told.token) for told in stream.told)
    return [Bed(windows, told, chat, self.distances,
                known=tuple(known_questions()))]


def exam(fact: world.Fact) -> list[Question]:
  """What is asked of a fact: directly and in other words, as exams do."""
  return [question for form in ('direct', 'paraphrase')
          for question in world.questions([fact], form)]
