"""The stretches of a long document that are read one after the other."""

import bisect
import itertools
import re

from sleepjax.data import documents
from sleepjax.data.prompts import ChatPrompts
from sleepjax.errors import UserError


def wake_chunks(chat: ChatPrompts, document: documents.Document,
                context_tokens: int, max_context: int):
  """The stretches of a document that are read one after the other.

  Cuts stand between sentences; a sentence that is itself too long is cut
  between words, and such a word between characters.

  Args:
    chat: renders the document.
    document: what is read.
    context_tokens: longest stretch, the template's head included.
    max_context: longest stretch that leaves the model room for prompts and
      replies about it.

  Returns:
    list of Document with the title of the whole.

  Raises:
    UserError: if `context_tokens` exceeds the model's context or leaves no room
      for text beside the chat template.
  """
  if context_tokens > max_context:
    raise UserError(
        f'sleep.context_tokens={context_tokens} is more than the model allows '
        f'({max_context} beside prompts and replies): set it to at most that; '
        'longer documents are read in chunks, each followed by a sleep.')
  room = context_tokens - len(chat.document(''))
  if room < 32:
    raise UserError(
        f'sleep.context_tokens={context_tokens} leaves {room} tokens for text '
        'beside the chat template: set it to 128 or more.')
  fits = lambda text: len(chat.document(text)) <= context_tokens
  if fits(document.text):
    return [document]
  text = ' '.join(document.text.split())
  pieces, end = [], 0
  for sentence in documents.split_sentences(document.text):
    space = ' ' * text.startswith(' ', end)
    end += len(space) + len(sentence)
    if fits(sentence):
      pieces.append(space + sentence)
      continue
    words = re.findall(' ?[^ ]+', space + sentence)
    pieces += _packed(itertools.chain.from_iterable(
        _fitting(word, fits, 8 * context_tokens) for word in words), fits)
  return [documents.Document(document.title, part.strip())
          for part in _packed(pieces, fits)]


def _packed(pieces, fits):
  """Neighbours joined while they fit; each piece begins with its own space."""
  packed, text = [], ''
  for piece in pieces:
    if text and not fits(text + piece):
      packed.append(text)
      text = ''
    text += piece
  return [*packed, text]


def _fitting(word, fits, most):
  """The word, or stretches of it of up to `most` characters that fit."""
  if fits(word):
    return [word]
  parts, start = [], 0
  while start < len(word):
    sizes = range(2, min(len(word) - start, most) + 1)
    size = 1 + bisect.bisect_left(
        sizes, True,
        key=lambda size, at=start: not fits(word[at:at + size]))
    parts.append(word[start:start + size])
    start += size
  return parts
