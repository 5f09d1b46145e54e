"""Days of the tiny world in which one thing can matter: beds of experiments.

*Relational*: two facts of two days answer a question together. *Capacity*: so
many facts that there may be no room for them. *Stretch*: facts far apart, with
what is long known between them; *stream*: so many windows of it that no context
holds them.

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
# Tokens: of a statement at most, and of a window in which one surely fits.
_LONGEST_SENTENCE = 9
_SMALLEST_WINDOW = 32


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


class Told(NamedTuple):
  """A fact of a stream and where it stands.

  fact: as it is asked about.
  window: number of the window, from 0, in which it is told as a whole.
  token: number of its first token in the stream.
  """

  fact: Fact
  window: int
  token: int


class Stream(NamedTuple):
  """A long text of what is long known, with few new facts.

  windows: text of each.
  told: the new facts in order, as many windows apart as there is room for.
  """

  windows: tuple[str, ...]
  told: tuple[Told, ...]


def stream(seed: int, windows: int = 128, window: int = 128, facts: int = 8,
           alike: int = 2) -> Stream:
  """Windows of long-known sentences, in each part of which a new fact is told.

  The stream has as many parts as facts, all of one length, and a window of each
  is drawn; of facts that are more than windows, several share one. No fact is
  cut by the end of a window; other sentences are. Of every attribute there are
  several facts, so that the name has to tell them apart.

  Args:
    seed: of the facts, their places, and what stands between them.
    windows: of the stream.
    window: tokens of each; words and full stops are tokens.
    facts: told in it, of people who come once.
    alike: facts about the same attribute, no two with one value.

  Raises:
    UserError: more facts than windows or attributes allow, more that are alike
      than an attribute has values, or windows in which no fact may fit.
  """
  values = min(len(attribute.values) for attribute in ATTRIBUTES)
  if not 1 <= alike <= values:
    raise UserError(f'alike={alike}: expected from 1 to {values} facts about '
                    'the same attribute, which has so many values.')
  most = min(windows * (window // (2 * _LONGEST_SENTENCE)),
             alike * len(ATTRIBUTES))
  if not 1 <= facts <= most or window < _SMALLEST_WINDOW:
    raise UserError(
        f'facts={facts} in windows={windows} of window={window} tokens: '
        f'expected from 1 to {most} facts, and windows of at least '
        f'{_SMALLEST_WINDOW} tokens.')
  rng, known = np.random.default_rng((seed, 6)), world.known_facts()
  bounds = np.linspace(0, windows, facts + 1)
  places: dict[int, list[Fact]] = {}
  for fact, low, high in zip(
      _new_facts(facts, alike, rng), bounds, bounds[1:]):
    place = int(rng.integers(int(low), max(int(low) + 1, int(high))))
    places.setdefault(place, []).append(fact)
  words: list[str] = []
  told = []
  while len(words) < windows * window:
    number, offset = divmod(len(words), window)
    here = places.get(number, [])
    # The last place at which all of them surely fit, or a random one.
    last = offset + (len(here) + 1) * _LONGEST_SENTENCE > window
    new = here and (last or rng.random() < _LONGEST_SENTENCE / window)
    fact = here.pop(0) if new else known[rng.integers(len(known))]
    if new:
      told.append(Told(fact, number, len(words)))
    words += fact.statement(rng.integers(3)).replace('.', ' .').split()
  return Stream(tuple(
      ' '.join(words[n * window:(n + 1) * window]).replace(' .', '.')
      for n in range(windows)), tuple(told))


def _new_facts(number, alike, rng):
  """So many, `alike` of each attribute and no value of one again."""
  people = rng.permutation(NEW_NAMES)[:number]
  kinds = rng.permutation(len(ATTRIBUTES))[:-(-number // alike)]
  values = [rng.permutation(ATTRIBUTES[a].values)[:alike] for a in kinds]
  made = [Fact(str(person), ATTRIBUTES[kinds[i // alike]].name,
               str(values[i // alike][i % alike]))
          for i, person in enumerate(people)]
  return [made[i] for i in rng.permutation(number)]


def _told(number, facts, rng):
  facts = tuple(facts[i] for i in rng.permutation(len(facts)))
  return Day(number, facts, _text(facts, rng))


def _text(facts, rng):
  return ' '.join(fact.statement(rng.integers(3)) for fact in facts)
