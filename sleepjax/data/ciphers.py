"""Cipher languages: every word stands for one of ours, in another order.

A language is a word for each noun and verb, drawn anew, and the order of
subject, verb and object. Its *book* tells both, so whoever can use a dictionary
can translate from a language that nobody has seen before. One language is known
for long: its words are in no other.

>>> one, other = drawn(seed=0, count=2)
>>> sentence = Sentence('dog', 'sees', 'cat')
>>> sentence.text, one.say(sentence)
('dog sees cat', 'zula fuli tupi')
>>> one.book()[-38:]
'order of words : object verb subject .'
"""

import functools
import itertools
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from sleepjax.errors import UserError

NOUNS = ('dog', 'cat', 'horse', 'king', 'farmer', 'woman', 'bird', 'snake')
VERBS = ('sees', 'follows', 'helps', 'fears', 'finds', 'hears')
ENGLISH = NOUNS + VERBS
ROLES = ('subject', 'verb', 'object')
ORDERS = tuple(itertools.permutations(ROLES))
_MOST = 6  # Languages of which no two share a word.


@functools.cache
def words() -> tuple[tuple[str, ...], tuple[str, ...]]:
  """(words of the long-known language, words of all others)."""
  rng = np.random.default_rng(0)
  every = [''.join(part) for part in itertools.product(
      'bdfgklmnprstvz', 'aeiou', 'bdfgklmnprstvz', 'aeiou')]
  drawn = [every[i] for i in rng.permutation(len(every))]
  known = len(ENGLISH)
  return tuple(drawn[:known]), tuple(drawn[known:(_MOST + 1) * known])


class Sentence(NamedTuple):
  """Who does what to whom."""

  subject: str
  verb: str
  object: str

  @property
  def text(self) -> str:
    return ' '.join(self)


class Language(NamedTuple):
  """A language.

  words: our word -> its word.
  order: of the roles of a sentence.
  """

  words: dict[str, str]
  order: tuple[str, ...]

  def say(self, sentence: Sentence) -> str:
    """The sentence in this language."""
    return ' '.join(self.words[getattr(sentence, role)] for role in self.order)

  def book(self) -> str:
    """A dictionary, sorted by the words of this language, and the order."""
    entries = sorted((own, ours) for ours, own in self.words.items())
    said = ' '.join(f'{own} means {ours} .' for own, ours in entries)
    return f'{said} order of words : {" ".join(self.order)} .'


class Pair(NamedTuple):
  """A sentence of a language, and its translation."""

  said: str
  meaning: str


class Course(NamedTuple):
  """What is there to learn a language from.

  book: a dictionary, and what else is told of it.
  days: pairs of every day.
  exam: pairs of which none is in any day.
  """

  book: str
  days: tuple[tuple[Pair, ...], ...]
  exam: tuple[Pair, ...]


def language(own: Iterable[str], rng: np.random.Generator) -> Language:
  """The language of some words; its order is drawn, and is not ours."""
  others = [order for order in ORDERS if order != ROLES]
  return Language(dict(zip(ENGLISH, own, strict=True)),
                  others[rng.integers(len(others))])


@functools.cache
def known() -> Language:
  """The language that is known for long."""
  return language(words()[0], np.random.default_rng(1))


def drawn(seed, count: int) -> list[Language]:
  """Languages of which no two share a word.

  Args:
    seed: a number, or several.
    count: how many.

  Raises:
    UserError: there are too few words.
  """
  rng, new, size = np.random.default_rng(seed), words()[1], len(ENGLISH)
  if not 1 <= count <= len(new) // size:
    raise UserError(f'{count} languages: expected 1 to {len(new) // size}, '
                    f'since none of the {len(new)} words is in two.')
  own = [new[i] for i in rng.permutation(len(new))]
  return [language(own[i * size:(i + 1) * size], rng) for i in range(count)]


def sentences(rng: np.random.Generator) -> list[Sentence]:
  """All sentences of two different nouns and a verb, in an order drawn."""
  every = [Sentence(subject, verb, other) for subject in NOUNS
           for verb in VERBS for other in NOUNS if subject != other]
  return [every[i] for i in rng.permutation(len(every))]


def pairs_of(spoken: Language, said: Iterable[Sentence]) -> tuple[Pair, ...]:
  """Sentences with what they are in a language."""
  return tuple(Pair(spoken.say(one), one.text) for one in said)


def courses(seed: int, count: int, days: int, pairs: int, exam: int
            ) -> list[Course]:
  """Courses of languages that share no word; all ask the same sentences.

  Args:
    seed: of all that is drawn.
    count: of languages.
    days, pairs: of each language, and of each day.
    exam: pairs that are asked of each language.

  Raises:
    UserError: more of them than there are sentences or words.
  """
  rng = np.random.default_rng((seed, 11))
  every = sentences(rng)
  most = exam + days * pairs
  if min(days, pairs, exam) < 1 or most > len(every):
    raise UserError(
        f'days={days} of pairs={pairs} and exam={exam}: expected one of each '
        f'at least, and {len(every)} sentences in all at most.')
  asked, rest, made = every[:exam], every[exam:], []
  for spoken in drawn((seed, 12), count):
    rest = [rest[i] for i in rng.permutation(len(rest))]
    told = [rest[i * pairs:(i + 1) * pairs] for i in range(days)]
    made.append(Course(spoken.book(), tuple(
        pairs_of(spoken, day) for day in told), pairs_of(spoken, asked)))
  return made
