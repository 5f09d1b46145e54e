"""What the teacher has beyond the learner, and how rollouts are rewarded."""

import dataclasses

import numpy as np

from sleepjax.data.tokenizer import Tokenizer
from sleepjax.evals import judges
from sleepjax.evals.judges import Judge
from sleepjax.mesh.sharding import to_host
from sleepjax.models.transformer import Segment


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
