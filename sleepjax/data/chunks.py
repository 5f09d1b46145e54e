"""The stretches of a long document that are read one after the other."""

import bisect
from collections.abc import Callable, Sequence

from sleepjax.data import documents, sentences, words
from sleepjax.data.prompts import ChatPrompts
from sleepjax.errors import UserError

_MOST_CHARACTERS = 16  # A token; texts of longer ones are cut shorter.


def wake_chunks(chat: ChatPrompts, document: documents.Document,
                context_tokens: int, max_context: int):
  """The stretches of a document that are read one after the other.

  Joined, their texts are the document's, character by character. Cuts stand
  between sentences; a sentence that is itself too long is cut between words,
  and such a word between characters. Takes time linear in the text's length.

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
  head = len(chat.document(''))
  room = context_tokens - head
  if room < 32:
    raise UserError(
        f'sleep.context_tokens={context_tokens} leaves {room} tokens for text '
        'beside the chat template: set it to 128 or more.')
  fits = lambda text: len(chat.document(text)) <= context_tokens
  starts = [s.start for s in sentences.sentences(document.text)]
  return [documents.Document(document.title, part)
          for part in fitting_parts(
              document.text, starts, fits, _MOST_CHARACTERS * room)]


def fitting_parts(text: str, starts: Sequence[int],
                  fits: Callable[[str], bool], most: int) -> list[str]:
  """A text in stretches that fit, each as long as can be.

  Args:
    text: what is cut.
    starts: places where it is best cut, in order; else between words, or where
      a word is too long between characters.
    fits: whether a stretch does; a longer one than one that does not does not.
    most: longer ones, in characters, are not even tried.

  Returns:
    stretches that joined are the text; where not even a character fits, that
    character alone.
  """
  ends = [*(start for start in starts if start > 0), len(text)]
  parts, at, guess, words_guess, letters_guess = [], 0, 1, 64, 256
  while at < len(text):
    inside = lambda end, at=at: end - at <= most and fits(text[at:end])
    first = bisect.bisect_right(ends, at)
    last = _last_that_fits(ends, first, guess, inside)
    if last >= first:
      guess, end = last - first + 1, ends[last]
    else:
      window = text[at:min(ends[first], at + most)]
      places = [at + place for place in words.word_ends(window)]
      last = _last_that_fits(places, 0, words_guess, inside)
      if last >= 0:
        words_guess, end = last + 1, places[last]
      else:
        first_word = range(at + 1, places[0] if places else ends[first])
        last = _last_that_fits(first_word, 0, letters_guess, inside)
        letters_guess = max(1, last + 1)
        end = at + letters_guess
    parts.append(text[at:end])
    at = end
  return parts


def _last_that_fits(ends, first, guess, fits):
  """The last index from `first` on whose end fits, or first − 1.

  Looks near the guessed number first, since stretches are much alike.
  """
  low, high = first - 1, len(ends)  # One that fits, and one that does not.
  place, step = min(first + guess - 1, high - 1), 1
  while low < place < high:
    if fits(ends[place]):
      low, place = place, place + step
    else:
      high, place = place, place - step
    step *= 2
  return low + bisect.bisect_left(
      range(low + 1, high), True, key=lambda i: not fits(ends[i]))
