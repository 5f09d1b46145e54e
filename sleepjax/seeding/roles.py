"""Who learns, what the teacher has beyond it, and how rollouts are rewarded."""

import dataclasses

import numpy as np

from sleepjax.data.tokenizer import Tokenizer
from sleepjax.evals import judges
from sleepjax.evals.judges import Judge
from sleepjax.growth.adapters import Adapter, Slot
from sleepjax.mesh.sharding import to_host
from sleepjax.models.config import ModelConfig
from sleepjax.models.transformer import Segment


@dataclasses.dataclass(frozen=True)
class Learner:
  """Who learns: a model, and what of it is trained.

  frozen: the student's parameters; of them `part` is trained.
  index: the slot's place in its pool; deltas have none.
  first_layer: the first that learns. A value has the layers from there on, and
    those below are left out of the train step.
  """

  config: ModelConfig
  frozen: dict
  part: Adapter = Slot()
  index: int = 0
  first_layer: int = 0

  def with_value(self, value) -> dict:
    """The student's parameters with a value of what is trained."""
    return self.part.insert(self.config, self.frozen, value, self.index)


@dataclasses.dataclass(frozen=True)
class Privilege:
  """What the teacher has and the student has not.

  segments: what only the teacher has read.
  document: its ids, for a teacher that moves.
  params: the old self's, if they are not the student's with a newborn slot.
  """

  segments: tuple[Segment, ...] = ()
  document: tuple[int, ...] = ()
  params: dict | None = None


@dataclasses.dataclass(frozen=True)
class Imitation:
  """How rollouts end and are rewarded.

  stop_ids: tokens that end one.
  content_free_V: [V] bool, tokens that the stand-in judge ignores; None for
    none.
  judge: says of decoded continuations whether they mean the same; None is the
    stand-in, which compares tokens.
  tokenizer: decodes for the judge.
  """

  stop_ids: tuple[int, ...] = ()
  content_free_V: np.ndarray | None = None
  judge: Judge | None = None
  tokenizer: Tokenizer | None = None

  def __post_init__(self):
    if self.judge is not None and self.tokenizer is None:
      raise ValueError('a judge reads texts: it needs the tokenizer.')

  def verdicts(self, *ids_and_masks):
    """The judge's word [B] on continuations and the teacher's, if it is asked.

    It reads continuations alone, as `imitation` compares them: often not whole
    sentences, and without the question.
    """
    if self.judge is None:
      return None
    ids, mask, reference, reference_mask = map(to_host, ids_and_masks)
    texts = lambda ids, mask: [self.tokenizer.decode(row[m].tolist()).strip()
                               for row, m in zip(ids, mask)]
    return judges.asked(
        self.judge, texts(ids, mask), texts(reference, reference_mask))
