"""Days of the tiny world in which one thing can matter: beds of experiments.

*Relational*: two facts of two days answer a question together. *Capacity*: so
many facts that there may be no room for them. *Stretch*: facts far apart, with
what is long known between them.

>>> bed = relational(seed=0, days=4, pairs=2)
>>> bed.days[0].text
'Bokar has Lobor as a mentor. The mentor of Dodor is Mador.'
>>> bed.exams['composite']['0-Bokar'].question.question
'Which city does the mentor of Bokar live in?'
"""

import math
from typing import NamedTuple

import numpy as np

from sleepjax.data import world
from sleepjax.data.documents import Question
from sleepjax.data.world import ATTRIBUTES, MENTOR, NEW_NAMES, Day, Fact
from sleepjax.errors import UserError

# Of 8 attributes that a person has, those that are told are as many on average
# in small and large beds.
_FACTS_A_PERSON = 20 / 3


class Asked(NamedTuple):
  """A question of an exam, in its wording.

  question: with its answer.
  day: number of the day from whose night on it can be answered.
  """

  question: Question
  day: int


class Bed(NamedTuple):
  """Days, and exams that no day tells or asks.

  exams: what is asked by what it tests, and by an id of its own, which is the
    same in every run of the seed.
  """

  days: tuple[Day, ...]
  exams: dict[str, dict[str, Asked]]


def relational(seed: int, days: int = 8, pairs: int = 4) -> Bed:
  """Who is whose mentor on one day, and where mentors live on the next.

  The first day tells only of mentors, and the last only of homes. Each day's
  pairs are other people. The exam 'composite' asks where the mentor of each
  lives, 'stepwise' asks the same step by step, and 'one hop' asks for what was
  told.

  Args:
    seed: of the people and cities.
    days: at least two.
    pairs: of a pupil and a mentor that begin on each day but the last.

  Raises:
    UserError: fewer days or pairs, or more people than the world has.
  """
  chains = (days - 1) * pairs
  if days < 2 or pairs < 1 or 2 * chains > len(NEW_NAMES):
    raise UserError(
        f'days={days} of pairs={pairs}: expected two days and one pair at '
        f'least, and 2 · (days − 1) · pairs of at most {len(NEW_NAMES)} '
        'people.')
  rng = np.random.default_rng((seed, 3))
  names = [NEW_NAMES[i] for i in rng.permutation(len(NEW_NAMES))]
  values = ATTRIBUTES[0].values
  cities = [values[i] for _ in range(-(-chains // len(values)))
            for i in rng.permutation(len(values))]
  links = [Fact(pupil, MENTOR.name, mentor) for pupil, mentor in zip(
      names[:chains], names[chains:2 * chains], strict=True)]
  homes = [Fact(link.value, ATTRIBUTES[0].name, city)
           for link, city in zip(links, cities)]
  told = [_told(number, [*links[number * pairs:(number + 1) * pairs],
                         *homes[max(number - 1, 0) * pairs:number * pairs]],
                rng) for number in range(days)]
  every = [*links, *homes]
  exams = {'composite': world.composites(every)}
  exams['stepwise'] = [
      Question(world.STEPWISE.format(question=asked.question), asked.answer)
      for asked in exams['composite']]
  exams['one hop'] = world.questions(every, 'direct')
  first = [*(i // pairs for i in range(chains)),
           *(i // pairs + 1 for i in range(chains))]
  names = [f'{seed}-{fact.person}' for fact in every]
  return Bed(tuple(told), {
      exam: {name: Asked(question, day) for name, question, day in zip(
          names, questions, first if exam == 'one hop' else first[chains:])}
      for exam, questions in exams.items()})


def capacity(seed: int, facts: int, facts_a_day: int = 10) -> Bed:
  """So many facts, as many a day, whoever they are about.

  The exams ask for the value of each, directly and in other words; names cannot
  be asked for, as many people share a value.

  Args:
    seed: of the facts.
    facts: at most 20/3 for each new person of the world, 1280.
    facts_a_day: of every day but the last, which may have fewer.

  Raises:
    UserError: none or more of them.
  """
  most = round(_FACTS_A_PERSON * len(NEW_NAMES))
  if not 1 <= facts <= most or facts_a_day < 1:
    raise UserError(f'facts={facts}, {facts_a_day} a day: expected from 1 to '
                    f'{most}, and one a day at least.')
  rng = np.random.default_rng((seed, 4))
  names = [NEW_NAMES[i] for i in rng.permutation(len(NEW_NAMES))]
  every = [(name, attribute)
           for name in names[:math.ceil(facts / _FACTS_A_PERSON)]
           for attribute in ATTRIBUTES]
  told = [Fact(name, attribute.name, str(rng.choice(attribute.values)))
          for name, attribute in (every[i] for i in
                                  rng.permutation(len(every))[:facts])]
  days = [_told(number, told[start:start + facts_a_day], rng)
          for number, start in enumerate(range(0, facts, facts_a_day))]
  return Bed(tuple(days), {form: {
      f'{seed}-{fact.person}-{fact.attribute}': Asked(
          question, number // facts_a_day)
      for number, (fact, question) in enumerate(zip(
          told, world.questions(told, form), strict=True))}
                           for form in ('direct', 'paraphrase')})


def stretch(seed: int, number: int, sentences: int) -> Day:
  """A day of `world.day` between sentences of what is long known.

  Args:
    seed, number: of the day.
    sentences: about long-known people, before, between and after the facts.
  """
  day = world.day(seed, number)
  rng = np.random.default_rng((seed, 5, number))
  known = world.known_facts()
  between = [known[i] for i in rng.integers(0, len(known), sentences)]
  told = [*day.facts, *between]
  order = rng.permutation(len(told))
  place = np.sort(np.flatnonzero(order < len(day.facts)))
  order[place] = np.arange(len(day.facts))  # The day's facts in its order.
  return Day(number, day.facts, _text([told[i] for i in order], rng))


def _told(number, facts, rng):
  facts = tuple(facts[i] for i in rng.permutation(len(facts)))
  return Day(number, facts, _text(facts, rng))


def _text(facts, rng):
  return ' '.join(fact.statement(rng.integers(3)) for fact in facts)
