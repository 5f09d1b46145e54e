"""Chat prompts with and without a document, as token ids.

A document stands in the user's message before the prompt, with an empty line
between. Its tokens are read once and shared by every prompt about it
(`transformer.Segment`); white space starts a token of its own, so the two parts
together are the tokens of the whole message.
"""

import dataclasses

from sleepjax.data.tokenizer import Tokenizer
from sleepjax.errors import UserError

_SEPARATOR = '\n\n'
_MARK = '\u241f'  # Never in a real prompt: finds where the template put it.


@dataclasses.dataclass(frozen=True)
class ChatPrompts:
  """Renders prompts with the model's own chat template."""

  tokenizer: Tokenizer

  def _render(self, content: str) -> str:
    return self.tokenizer.render_chat(
        [{'role': 'user', 'content': content}], add_generation_prompt=True)

  def _split(self):
    parts = self._render(_MARK).split(_MARK)
    if len(parts) != 2:
      raise UserError(
          f'the chat template writes a message {len(parts) - 1} times instead '
          'of once: see chat_template in tokenizer_config.json.')
    return parts

  def closed_book(self, prompt: str) -> list[int]:
    """The prompt alone."""
    before, after = self._split()
    return self.tokenizer.encode(before + prompt + after)

  def document(self, text: str) -> list[int]:
    """What stands before a prompt about `text`: template head and document."""
    before, _ = self._split()
    return self.tokenizer.encode(before + text.strip())

  def after_document(self, prompt: str) -> list[int]:
    """The prompt and template tail that follow `document`."""
    _, after = self._split()
    return self.tokenizer.encode(_SEPARATOR + prompt + after)
