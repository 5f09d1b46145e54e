"""The stretches of a long document that are read one after the other."""

from sleepjax.data import documents
from sleepjax.data.prompts import ChatPrompts
from sleepjax.errors import UserError


def wake_chunks(chat: ChatPrompts, document: documents.Document,
                context_tokens: int, max_context: int):
  """The stretches of a document that are read one after the other.

  Cuts stand between sentences; a sentence that is itself too long is cut
  between words.

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
  pieces = []
  for sentence in documents.split_sentences(document.text):
    if fits(sentence):
      pieces.append(sentence)
    else:
      words, piece = sentence.split(), ''
      for word in words:
        if piece and not fits(f'{piece} {word}'):
          pieces.append(piece)
          piece = word
        else:
          piece = f'{piece} {word}'.strip()
      pieces.append(piece)
  chunks, text = [], ''
  for piece in pieces:
    joined = f'{text} {piece}'.strip()
    if text and not fits(joined):
      chunks.append(text)
      joined = piece
    text = joined
  return [documents.Document(document.title, part) for part in [*chunks, text]]
