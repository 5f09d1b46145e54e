"""A world of people and what is known of them, small enough for statistics.

Each person has one word as a name and each fact is a person, an attribute and a
value of one word, so that an answer is one token. What is *long known* is a
fixed table that a model learns in pretraining. *New* people have no fixed
facts: they are drawn anew for every context, so that a model can only look them
up, and a day tells facts about some of them that no model has ever learnt.

>>> today = day(seed=0, number=0)
>>> today.text.split('. ')[0]
'Gaten works as a doctor'
>>> questions(today.facts[:1], 'direct')[0]
Question(question='What does Gaten work as?', answer='doctor')
"""

import dataclasses
import functools
import re
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

from sleepjax.data.documents import Document, Question
from sleepjax.errors import UserError

FORMS = ('direct', 'paraphrase', 'reversed')

# What a model of this world is asked besides questions.
ASK = 'Ask a question.'
ASK_ABOUT = 'Ask a question about this: {sentence}'
RECALL = 'Tell me a fact.'
TELL = 'Tell me about {name}.'

_ONSETS = 'Ba Be Bo Da De Do Fa Ga Ka Ke Ko La Le Lo Ma Mi'.split()
_ENDINGS = 'bor dor gan kar lin lys mes mir nat pel rik rus sol ten vin zan'
_NAMES = tuple(onset + end for end in _ENDINGS.split() for onset in _ONSETS)
KNOWN_NAMES = _NAMES[::4]
NEW_NAMES = tuple(name for name in _NAMES if name not in KNOWN_NAMES)


class Attribute(NamedTuple):
  """One thing that can be known of a person.

  name: of the attribute.
  values: single words.
  statements: templates with {n} for the name and {v} for the value.
  direct, paraphrase: questions for the value, with {n}.
  reversed: question for the name, with {v}.
  """

  name: str
  values: tuple[str, ...]
  statements: tuple[str, ...]
  direct: str
  paraphrase: str
  reversed: str


ATTRIBUTES = tuple(
    Attribute(name, tuple(values.split()), statements, *forms)
    for name, values, statements, *forms in (
        ('city',
         'Basel Cairo Delhi Geneva Hanoi Kyoto Lima Milan Minsk Nairobi Oslo '
         'Paris Porto Quito Riga Seoul Sofia Tokyo Tunis Turin',
         ('{n} lives in {v}.', 'The home of {n} is in {v}.',
          '{n} has a house in {v}.'),
         'Where does {n} live?', 'In which city is the home of {n}?',
         'Who lives in {v}?'),
        ('job',
         'baker carpenter doctor farmer gardener judge lawyer miner nurse '
         'painter plumber potter sailor singer smith tailor teacher waiter '
         'weaver writer',
         ('{n} works as a {v}.', '{n} has a job as a {v}.',
          '{n} earns money as a {v}.'),
         'What does {n} work as?', 'Which job does {n} have?',
         'Who works as a {v}?'),
        ('pet',
         'badger beaver camel cat dog donkey ferret fox goat goose hamster '
         'horse lynx monkey parrot pigeon rabbit snake tortoise wolf',
         ('{n} keeps a {v} at home.', 'The pet of {n} is a {v}.',
          '{n} owns a tame {v}.'),
         'What animal does {n} keep?', 'Which pet does {n} own?',
         'Whose pet is a {v}?'),
        ('colour',
         'black blue brown copper crimson cyan gold green grey indigo lilac '
         'magenta maroon mauve pink purple red silver white yellow',
         ('{n} likes to wear {v}.', 'The colour of {n} is {v}.',
          '{n} always dresses in {v}.'),
         'What colour does {n} wear?', 'In which colour does {n} dress?',
         'Who likes to wear {v}?'),
        ('food',
         'beans bread cabbage carrots cheese cherries figs lentils mushrooms '
         'noodles olives pancakes pears plums porridge potatoes pumpkin rice '
         'soup spinach',
         ('{n} likes to eat {v}.', 'The favourite food of {n} is {v}.',
          '{n} often cooks {v}.'),
         'What does {n} like to eat?', 'Which food does {n} prefer?',
         'Who likes to eat {v}?'),
        ('drink',
         'beer cider cocoa coffee juice kefir lassi lemonade mead milk punch '
         'rum sake sherry tea tonic vodka water whisky wine',
         ('{n} likes to drink {v}.', 'The favourite drink of {n} is {v}.',
          '{n} often orders {v}.'),
         'What does {n} like to drink?', 'Which drink does {n} order?',
         'Who likes to drink {v}?'),
        ('instrument',
         'banjo bassoon bugle cello clarinet cornet drum flute guitar harp '
         'horn lute lyre mandolin oboe organ piano sitar trumpet violin',
         ('{n} plays the {v}.', 'The instrument of {n} is the {v}.',
          '{n} performs on the {v}.'),
         'What instrument does {n} play?',
         'On which instrument does {n} perform?', 'Who plays the {v}?'),
        ('sport',
         'archery boxing chess climbing cricket curling cycling darts fencing '
         'football golf hockey judo rowing rugby running sailing skiing '
         'swimming tennis',
         ('{n} practises {v}.', 'The sport of {n} is {v}.',
          '{n} competes in {v}.'),
         'What sport does {n} practise?', 'In which sport does {n} compete?',
         'Who competes in {v}?'),
    ))
_BY_NAME = {attribute.name: attribute for attribute in ATTRIBUTES}


class Fact(NamedTuple):
  """One thing about one person, all three single words."""

  person: str
  attribute: str
  value: str

  def statement(self, template: int = 0) -> str:
    """The fact as a sentence, in one of its attribute's templates."""
    return _BY_NAME[self.attribute].statements[template].format(
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

  def questions(self, form: str) -> list[Question]:
    """One question about each fact, in one of `FORMS`."""
    return questions(self.facts, form)


@functools.cache
def known_facts() -> tuple[Fact, ...]:
  """The long-known facts: every attribute of every person in KNOWN_NAMES.

  Each value belongs to about as many people as any other.
  """
  rng = np.random.default_rng(2606)
  columns = [rng.permutation(np.arange(len(KNOWN_NAMES)) % len(a.values))
             for a in ATTRIBUTES]
  return tuple(
      Fact(person, a.name, a.values[column[i]])
      for i, person in enumerate(KNOWN_NAMES)
      for a, column in zip(ATTRIBUTES, columns))


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
      _BY_NAME[fact.attribute].statements))) for fact in told)
  return Day(number, told, text)


def questions(facts: Iterable[Fact], form: str) -> list[Question]:
  """A question about each fact with its answer, one word.

  Args:
    facts: what is asked about.
    form: 'direct' and 'paraphrase' ask for the value, 'reversed' for the
      person; that is unambiguous within a day, not among long-known facts.

  Raises:
    UserError: an unknown form.
  """
  if form not in FORMS:
    raise UserError(f'form {form!r}: expected one of {", ".join(FORMS)}.')
  return [Question(
      getattr(_BY_NAME[f.attribute], form).format(n=f.person, v=f.value),
      f.person if form == 'reversed' else f.value) for f in facts]


@functools.cache
def _patterns():
  """(pattern with a group, form, attribute name) of every question form."""
  blank = lambda template: re.compile(
      re.escape(template).replace(r'\{n\}', r'(\w+)').replace(
          r'\{v\}', r'(\w+)'))
  return [(blank(getattr(a, form)), form, a.name)
          for a in ATTRIBUTES for form in FORMS]


def answer_to(question: str, facts: Sequence[Fact]) -> str | None:
  """The only answer that the facts give to a question in one of the forms.

  None if the text is no such question, or if they answer it not at all or in
  several ways: then it was not a valid question about them.
  """
  answers = set()
  for pattern, form, name in _patterns():
    match = pattern.fullmatch(question.strip())
    if match is not None:
      given, wanted = (2, 0) if form == 'reversed' else (0, 2)
      answers |= {fact[wanted] for fact in facts
                  if fact.attribute == name and fact[given] == match[1]}
  return answers.pop() if len(answers) == 1 else None
