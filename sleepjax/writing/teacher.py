"""Who teaches: a model that has read a text, or the same without it."""

import dataclasses

from sleepjax.data.prompts import ChatPrompts
from sleepjax.model import Model
from sleepjax.models.transformer import Segment


class WithoutDocument(ChatPrompts):
  """Prompts about a text that is not in the context: closed-book ones."""

  def after_document(self, prompt: str) -> list[int]:
    return self.closed_book(prompt)


@dataclasses.dataclass(frozen=True)
class Teacher:
  """A model with what it has in view.

  model: in compute layout, as it speaks now.
  segments: the text in its cache; () if it has none, or has it in its weights.
  chat: renders prompts about what was read; the model's own without a text.
  """

  model: Model
  segments: tuple[Segment, ...] = ()
  chat: ChatPrompts | None = None

  def __post_init__(self):
    if self.chat is None:
      object.__setattr__(self, 'chat', self.model.chat)
