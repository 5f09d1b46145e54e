"""What a memory level hands over: what it was asked for while it held it.

How a sender is asked is an `Asking`: `stretches.Stretches` has it continue what
it has seen, `questions.Questions` puts questions about that to it.
"""

from typing import Any, NamedTuple, Protocol

from sleepjax.models.config import ModelConfig
from sleepjax.models.transformer import Segment
from sleepjax.seeding.examples import Examples

Prompts = tuple[tuple[int, ...], ...]


class Holder(NamedTuple):
  """A sender that still holds what it is asked for.

  config: of both models.
  teacher: parameters of the running model.
  student: the same without what the sender holds, before it learns.
  segments: the context, if the sender is attention.
  tokens: ids of what the sender has seen since its last sleep.
  earlier: prompts (token ids) that were asked at hand-overs before this one.
  """

  config: ModelConfig
  teacher: Any
  student: Any
  segments: tuple[Segment, ...]
  tokens: Any
  earlier: Prompts = ()


class Material(NamedTuple):
  """What a hand-over learns from, and what it is measured on.

  examples: are learnt.
  held_out: about the same, with prompts that no example has; None for none.
  rehearsal, retention: what the student must go on saying, with another text in
    view and without; None leaves the term out.
  asked: prompts of the examples that later hand-overs may ask again.
  """

  examples: Examples
  held_out: Examples | None = None
  rehearsal: Examples | None = None
  retention: Examples | None = None
  asked: Prompts = ()


class Asking(Protocol):
  """How a sender is asked for what it holds."""

  def write(self, holder: Holder, key) -> Material | None:
    """What to hand over; None if the student lacks nothing."""

  def recite(self, holder: Holder, key) -> Material | None:
    """What two slots that become one should still know; None for nothing."""
