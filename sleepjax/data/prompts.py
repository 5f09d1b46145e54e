"""Chat prompts with and without a document, as token ids.

A document stands in the user's message before the prompt, with an empty line
between. Its tokens are read once and shared by every prompt about it
(`transformer.Segment`). The empty line goes with the part that makes both parts
together the tokens of the whole message: vocabularies such as Llama 3's and
Qwen's have one token for a full stop and the line after it.
"""

import dataclasses
import functools

from sleepjax.data.tokenizer import Tokenizer
from sleepjax.errors import UserError

_SEPARATOR = '\n\n'
_TEXT = 'A text.'
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

  @functools.cached_property
  def _separators(self):
    """(after a document, before a prompt): the separator and nothing; and the
    number of tokens of `_TEXT` with what stands after it."""
    whole = self.tokenizer.encode(f'{_TEXT}{_SEPARATOR}{_TEXT}')
    firsts = {end: self.tokenizer.encode(_TEXT + end)
              for end in ('', _SEPARATOR)}
    end = next((end for end, first in firsts.items()
                if whole[:len(first)] == first), '')
    return end, _SEPARATOR[len(end):], len(firsts[end])

  def closed_book(self, prompt: str) -> list[int]:
    """The prompt alone."""
    before, after = self._split()
    return self.tokenizer.encode(before + prompt + after)

  def document(self, text: str) -> list[int]:
    """What stands before a prompt about `text`: template head and document."""
    before, _ = self._split()
    return self.tokenizer.encode(before + text.strip() + self._separators[0])

  def after_document(self, prompt: str) -> list[int]:
    """The prompt and template tail that follow `document`."""
    (_, after), (end, start, tokens) = self._split(), self._separators
    # Behind a text, since some vocabularies mark where a text begins.
    return self.tokenizer.encode(_TEXT + end + start + prompt + after)[tokens:]
