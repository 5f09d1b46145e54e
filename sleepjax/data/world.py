"""A world of people and what is known of them, small enough for statistics.

Each person has one word as a name and each fact is a person, an attribute and a
value of one word, so that an answer is one token. What is *long known* is a
fixed table that a model learns in pretraining. *New* people have no fixed
facts: they are drawn anew for every context, so that a model can only look them
up, and a day tells facts about some of them that no model has ever learnt.

Questions come in two wordings without a template in common: a night asks in the
one and an exam in the other, see `sleepjax.data.world_attributes`.

>>> today = day(seed=0, number=0)
>>> today.text.split('. ')[0]
'The home of Bonat is in Seoul'
>>> questions(today.facts[:1], 'direct')[0]
Question(question='What city does Bonat live in?', answer='Seoul')
>>> questions(today.facts[:1], 'direct', 'asked')[0]
Question(question='Where does Bonat live?', answer='Seoul')
"""

import dataclasses
import functools
import re
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

from sleepjax.data.documents import Document, Question
from sleepjax.data.world_attributes import (
    ATTRIBUTES,
    BY_NAME,
    COMPOSITE,
    FORMS,
    MENTOR,
    WORDINGS,
)
from sleepjax.errors import UserError

# What a model of this world is told to do besides answering. It learns in
# pretraining that ASK wants the wording 'asked' and EXAMINE the wording 'exam'.
ASK = 'Ask a question.'
ASK_ABOUT = 'Ask a question about this: {sentence}'
EXAMINE = 'Set an exam question.'
EXAMINE_ABOUT = 'Set an exam question about this: {sentence}'
ASK_COMPOSITE = 'Ask a question of two steps.'
ASK_COMPOSITE_ABOUT = 'Ask a question of two steps about this: {sentence}'
RECALL = 'Tell me a fact.'
TELL = 'Tell me about {name}.'
# After a composite question: first both facts, of which the second answers it.
STEPWISE = '{question} Step by step.'

_ONSETS = 'Ba Be Bo Da De Do Fa Ga Ka Ke Ko La Le Lo Ma Mi'.split()
_ENDINGS = 'bor dor gan kar lin lys mes mir nat pel rik rus sol ten vin zan'
_NAMES = tuple(onset + end for end in _ENDINGS.split() for onset in _ONSETS)
KNOWN_NAMES = _NAMES[::4]
NEW_NAMES = tuple(name for name in _NAMES if name not in KNOWN_NAMES)


class Fact(NamedTuple):
  """One thing about one person, all three single words."""

  person: str
  attribute: str
  value: str

  def statement(self, template: int = 0) -> str:
    """The fact as a sentence, in one of its attribute's templates."""
    return BY_NAME[self.attribute].statements[template].format(
        n=self.person, v=self.value)


@dataclasses.dataclass(frozen=True)
class Day:
  """What is told on one day.

  Attributes:
    number: days of other numbers are about other people.
    facts: in the order of the text.
    text: one statement for each fact.
  """

  number: int
  facts: tuple[Fact, ...]
  text: str

  @property
  def document(self) -> Document:
    """The text under the title 'day N'."""
    return Document(f'day {self.number}', self.text)

  def questions(self, form: str, wording: str = 'exam') -> list[Question]:
    """One question about each fact, in one of `FORMS`."""
    return questions(self.facts, form, wording)


@functools.cache
def known_facts() -> tuple[Fact, ...]:
  """The long-known facts: every attribute of every person in KNOWN_NAMES.

  Each value belongs to about as many people as any other, and everybody is the
  mentor of one person.
  """
  rng, people = np.random.default_rng(2606), np.arange(len(KNOWN_NAMES))
  columns = [[a.values[i] for i in rng.permutation(people % len(a.values))]
             for a in ATTRIBUTES]
  circle = rng.permutation(people)
  mentors = dict(zip(circle, np.roll(circle, 1), strict=True))
  columns.append([KNOWN_NAMES[mentors[i]] for i in people])
  return tuple(
      Fact(person, a.name, column[i])
      for i, person in enumerate(KNOWN_NAMES)
      for a, column in zip((*ATTRIBUTES, MENTOR), columns, strict=True))


def number_of_days(people: int = 5) -> int:
  """How many days a seed has before it runs out of new people."""
  return len(NEW_NAMES) // people


def day(seed: int, number: int, facts: int = 8, people: int = 5) -> Day:
  """A day of new facts; days of one seed have no person in common.

  No value of an attribute comes again before all have come, so that a question
  for a name has one answer, in the first ten days or so of eight facts. Every
  person of a day has as many facts as the others or one more.

  Args:
    seed: of a sequence of days.
    number: of a day in it, from 0 to number_of_days(people) − 1.
    facts: told on that day.
    people: they are about, at most one for each fact.

  Raises:
    UserError: the seed has fewer days, or a person would need more facts than
      there are attributes.
  """
  if not 0 <= number < number_of_days(people):
    raise UserError(
        f'day {number} of {number_of_days(people)}: with {people} people a '
        f'day, {len(NEW_NAMES)} new ones last from day 0 to '
        f'{number_of_days(people) - 1}.')
  if not people <= facts <= people * len(ATTRIBUTES):
    raise UserError(
        f'{facts} facts about {people} people: expected from {people} to '
        f'{people * len(ATTRIBUTES)}.')
  names = np.random.default_rng((seed, 0)).permutation(len(NEW_NAMES))
  names = names[number * people:(number + 1) * people]
  def draw_attributes(number):
    rng = np.random.default_rng((seed, 1, number))
    drawn = np.stack([rng.permutation(len(ATTRIBUTES)) for _ in range(people)])
    return drawn.T.reshape(-1)[:facts], rng

  used = np.zeros(len(ATTRIBUTES), int)
  for earlier in range(number):
    np.add.at(used, draw_attributes(earlier)[0], 1)
  attributes, rng = draw_attributes(number)
  told = []
  for i, a in enumerate(attributes):
    attribute = ATTRIBUTES[a]
    values = np.random.default_rng((seed, 2, a)).permutation(attribute.values)
    told.append(Fact(NEW_NAMES[names[i % people]], attribute.name,
                     str(values[used[a] % len(values)])))
    used[a] += 1
  told = tuple(told[i] for i in rng.permutation(facts))
  text = ' '.join(fact.statement(rng.integers(len(
      BY_NAME[fact.attribute].statements))) for fact in told)
  return Day(number, told, text)


def questions(facts: Iterable[Fact], form: str, wording: str = 'exam',
              turn: int = 0) -> list[Question]:
  """A question about each fact with its answer, one word.

  Args:
    facts: what is asked about.
    form: 'direct' and 'paraphrase' ask for the value, 'reversed' for the
      person; that is unambiguous within a day, not among long-known facts.
    wording: 'exam' or 'asked'. Its templates take turns.
    turn: with which template the first question begins.

  Raises:
    UserError: an unknown form or wording.
  """
  _check(form, FORMS, 'form')
  _check(wording, WORDINGS, 'wording')
  asked = []
  for i, f in enumerate(facts, turn):
    templates = getattr(getattr(BY_NAME[f.attribute], form), wording)
    asked.append(Question(
        templates[i % len(templates)].format(n=f.person, v=f.value),
        f.person if form == 'reversed' else f.value))
  return asked


def composites(facts: Sequence[Fact], wording: str = 'exam',
               turn: int = 0) -> list[Question]:
  """Where the mentor of somebody lives, wherever the facts say both.

  Args:
    facts: in any order, one mentor and one city a person at most.
    wording, turn: as of `questions`.
  """
  _check(wording, WORDINGS, 'wording')
  templates = getattr(COMPOSITE, wording)
  return [Question(templates[i % len(templates)].format(n=person), city)
          for i, (person, city) in enumerate(_cities_of_mentors(facts), turn)]


def _cities_of_mentors(facts):
  city = {f.person: f.value for f in facts if f.attribute == 'city'}
  return [(f.person, city[f.value]) for f in facts
          if f.attribute == MENTOR.name and f.value in city]


def _check(given, expected, name):
  if given not in expected:
    raise UserError(
        f'{name} {given!r}: expected one of {", ".join(expected)}.')


@functools.cache
def _patterns():
  """(pattern with a group, form, wording, attribute name) of all templates."""
  blank = lambda template: re.compile(
      re.escape(template).replace(r'\{n\}', r'(\w+)').replace(
          r'\{v\}', r'(\w+)'))
  every = [(getattr(a, form), form, a.name)
           for a in BY_NAME.values() for form in FORMS]
  every.append((COMPOSITE, 'composite', ''))
  return [(blank(template), form, wording, name)
          for templates, form, name in every for wording in WORDINGS
          for template in getattr(templates, wording)]


class _Read(NamedTuple):
  """A question as its template has it; given: the name or value in it."""

  form: str
  wording: str
  attribute: str
  given: str


def _read(question):
  for pattern, *rest in _patterns():
    if match := pattern.fullmatch(question.strip()):
      return _Read(*rest, match[1])
  return None


def wording_of(question: str) -> str | None:
  """'asked' or 'exam'; None if the text is no question of this world."""
  read = _read(question)
  return read and read.wording


def answer_to(question: str, facts: Sequence[Fact]) -> str | None:
  """The only answer that the facts give to a question in any template.

  None if the text is no such question, or if they answer it not at all or in
  several ways: then it was not a valid question about them.
  """
  read = _read(question)
  if read is None:
    return None
  if read.form == 'composite':
    answers = {city for person, city in _cities_of_mentors(facts)
               if person == read.given}
  else:
    given, wanted = (2, 0) if read.form == 'reversed' else (0, 2)
    answers = {fact[wanted] for fact in facts
               if fact.attribute == read.attribute
               and fact[given] == read.given}
  return answers.pop() if len(answers) == 1 else None
