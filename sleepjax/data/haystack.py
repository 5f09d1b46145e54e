"""Sentences hidden in the text of a book, at given depths.

The form of BABILong (arXiv 2406.10149): what a question needs stands in order
among sentences that have nothing to do with it. Needles with many keys are
sentences of one form, of which the key alone says which is asked for.

>>> hide(['Bo sat.'], iter(['One.', 'Two.', 'Three.']), (0.5,), tokens=5,
...      count=lambda sentence: len(sentence.split())).text
'One. Two. Bo sat. Three.'
"""

import itertools
import os
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np

from sleepjax.data import sentences, text_stream
from sleepjax.data.documents import Question
from sleepjax.errors import UserError

_KINDS = ('copper silver wooden leather paper woollen marble amber ivory '
          'velvet granite wicker').split()
_THINGS = ('lantern trunk kettle saddle mirror ladder basket drawer bottle '
           'cabinet flute compass').split()


class Haystack(NamedTuple):
  """A text in which sentences are hidden.

  sentences: all of them, in order.
  places: index of each hidden one.
  """

  sentences: tuple[str, ...]
  places: tuple[int, ...]

  @property
  def text(self) -> str:
    return ' '.join(self.sentences)


class Needle(NamedTuple):
  """A sentence to be hidden, what it is about, and what is asked of it."""

  key: str
  sentence: str
  question: Question


def hide(needles: Sequence[str], hay: Iterator[str], depths: Sequence[float],
         tokens: int, count: Callable[[str], int]) -> Haystack:
  """As much of a book as there is room for, with sentences hidden in it.

  Args:
    needles: in order.
    hay: sentences of a book; those that are used are taken from it.
    depths: of each needle, from 0 (before all else) to 1 (behind it), not
      falling: the share of the book's sentences that stand before it.
    tokens: of the whole at most.
    count: the tokens of a sentence.

  Raises:
    UserError: depths that do not fit the needles, needles that are longer than
      the whole, or a book that is shorter.
  """
  depths = tuple(depths)
  if len(depths) != len(needles) or list(depths) != sorted(depths) or not all(
      0 <= depth <= 1 for depth in depths):
    raise UserError(f'depths={depths} of {len(needles)} sentences: expected '
                    'one of each, from 0 to 1, none before the one before it.')
  room = tokens - sum(map(count, needles))
  if room < 0:
    raise UserError(f'tokens={tokens}: the {len(needles)} sentences to hide '
                    f'have {tokens - room}; allow more.')
  chosen = []
  for sentence in hay:
    room -= count(sentence)
    if room < 0:
      break
    chosen.append(sentence)
  if room > 0:
    raise UserError(f'tokens={tokens}: the book ends {room} tokens before; '
                    'take a longer one, or begin earlier in it.')
  before = [round(depth * len(chosen)) for depth in depths]
  parts = [chosen[start:end] for start, end in itertools.pairwise(
      [0, *before, len(chosen)])]
  whole = list(parts[0])
  for needle, part in zip(needles, parts[1:], strict=True):
    whole += [needle, *part]
  return Haystack(tuple(whole), tuple(
      place + number for number, place in enumerate(before)))


def book_sentences(path: str | os.PathLike, first: int = 0) -> Iterator[str]:
  """The sentences of a text, a line each, read from disk a piece at a time.

  Args:
    path: see `text_stream.find`.
    first: sentences that are left out, at the beginning.
  """
  return itertools.islice(_sentences(text_stream.find(path)), first, None)


def _sentences(path):
  rest = ''
  for piece in text_stream.pieces(path):
    text = rest + piece
    found = sentences.sentences(text)
    yield from (' '.join(one.text.split()) for one in found[:-1])
    rest = text[found[-1].start:] if found else ''  # It may go on.
  yield from (' '.join(one.split()) for one in sentences.split_sentences(rest))


def needles(seed: int, number: int) -> list[Needle]:
  """So many needles of one form, with different keys and values.

  A key is a thing of a kind. Kinds and things come again in other keys, so that
  both have to be told apart.

  Raises:
    UserError: more than there are keys, or none.
  """
  most = len(_KINDS) * len(_THINGS)
  if not 1 <= number <= most:
    raise UserError(f'number={number}: expected from 1 to {most} needles.')
  rng = np.random.default_rng((seed, 7))
  side = 1
  while side * side < number:
    side += 1
  kinds, things = (rng.permutation(names)[:side] for names in (_KINDS, _THINGS))
  keys = [f'{kind} {thing}' for kind in kinds for thing in things]
  chosen = rng.permutation(keys)[:number].tolist()
  values = rng.permutation(np.arange(1000, 10_000))[:number].tolist()
  return [Needle(key, f'The number on the {key} is {value}.', Question(
      f'What is the number on the {key}?', str(value)))
          for key, value in zip(chosen, values, strict=True)]
