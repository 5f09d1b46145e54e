"""Arithmetic in words: problems, solutions step by step, and their answers.

A problem is a *chain*, a number and what is done to it. It is told as a story,
in wordings that are drawn, and its solution has one equation for each step. All
chains are split once for good: no chain of one part is in another, whoever
draws, so that an exam never asks what was trained on.

>>> chain = Chain(47, (('+', 38), ('-', 19)))
>>> chain.solution()
'47 + 38 = 85. 85 - 19 = 66. The answer is 66.'
>>> answer_of('4 7 + 3 8 = 8 5. The answer is 8 5.')
'85'
"""

import dataclasses
import functools
import re
import zlib
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from sleepjax.data.exercises import Exercise
from sleepjax.errors import UserError, check_least

# What a chain may be used for. One in eight is kept from pretraining.
PARTS = ('exam', 'choice', 'train', 'pretraining')
_SHARES = (1, 1, 2, 28)  # Of 32.
_SLIPS = 20  # Wrong numbers that are tried.
_TRIES = 10_000  # Draws until a grade is said to have no more chains of a part.

NAMES = ('Ann', 'Bob', 'Cleo', 'Dan', 'Eva', 'Finn', 'Gus', 'Hana')
THINGS = ('apples', 'coins', 'stamps', 'shells', 'cards', 'nuts')
OPENINGS = ('{name} has {value} {things}.',
            '{name} begins with {value} {things}.',
            'There are {value} {things} that {name} keeps.')
TOLD = {'+': ('Then {value} more come.', '{name} finds {value}.',
              '{name} buys {value} more.'),
        '-': ('Then {value} are lost.', '{name} gives {value} away.',
              '{name} sells {value}.'),
        '*': ('Then there are {value} times as many.',
              'The number grows {value} times.')}
ASKED = ('How many {things} are there now?', 'How many has {name} in the end?')

_DIGITS = re.compile(r'(?<=\d) (?=\d)')
_ANSWER = re.compile(r'answer is (\d+)')
_EQUATION = re.compile(r'(\d+) ([-+*]) (\d+) = (\d+)')


@dataclasses.dataclass(frozen=True)
class Grade:
  """How difficult a problem is.

  steps: of its chain.
  largest: number that comes up anywhere in it.
  times: whether a step may multiply, by 2 to 9.
  """

  steps: int = 3
  largest: int = 99
  times: bool = True

  def __post_init__(self):
    check_least(self, steps=1, largest=9)

  def draw(self, rng: np.random.Generator) -> 'Chain':
    """A chain; of the steps that are possible each kind is as likely."""
    value = start = int(rng.integers(1, self.largest + 1))
    steps = []
    for _ in range(self.steps):
      most = {'+': self.largest - value, '-': value - 1,
              '*': min(9, self.largest // value) if self.times else 0}
      least = {'+': 1, '-': 1, '*': 2}
      kinds = [kind for kind in most if most[kind] >= least[kind]]
      kind = kinds[rng.integers(len(kinds))]
      operand = int(rng.integers(least[kind], most[kind] + 1))
      steps.append((kind, operand))
      value = calculated(value, kind, operand)
    return Chain(start, tuple(steps))


GRADES = (Grade(2, 20, False), Grade(3, 20, True), Grade(3, 50, True))


def calculated(value: int, kind: str, operand: int) -> int:
  """What a step makes of a number."""
  return {'+': value + operand, '-': value - operand,
          '*': value * operand}[kind]


class Chain(NamedTuple):
  """A number and what is done to it, in order."""

  start: int
  steps: tuple[tuple[str, int], ...]

  def values(self) -> list[int]:
    """The number in the beginning and after each step."""
    values = [self.start]
    for kind, operand in self.steps:
      values.append(calculated(values[-1], kind, operand))
    return values

  def solution(self) -> str:
    """An equation for each step, and the answer."""
    values = self.values()
    said = [f'{before} {kind} {operand} = {after}.'
            for before, (kind, operand), after in zip(
                values, self.steps, values[1:])]
    return ' '.join([*said, f'The answer is {values[-1]}.'])

  def slipped(self, rng: np.random.Generator, largest: int
              ) -> tuple[str, str, str] | None:
    """A solution with one wrong result, right from there on.

    Args:
      rng: of the draw.
      largest: number that may come up.

    Returns:
      what stands before the wrong number, it, and what stands after it; None
      where none was found from which the chain goes on.
    """
    where = int(rng.integers(len(self.steps)))
    right, rest = self.values()[where + 1], self.steps[where + 1:]
    for wrong in rng.integers(1, largest + 1, _SLIPS).tolist():
      later = Chain(wrong, rest)
      if wrong != right and all(1 <= v <= largest for v in later.values()):
        said = self.solution().split('. ')
        before = '. '.join(said[:where + 1]).removesuffix(f' {right}')
        return before, str(wrong), f'. {later.solution()}'
    return None

  def story(self, rng: np.random.Generator) -> str:
    """The problem in words that are drawn."""
    pick = lambda texts: texts[rng.integers(len(texts))]
    name, things = pick(NAMES), pick(THINGS)
    said = lambda texts, value=None: pick(texts).format(
        name=name, things=things, value=value)
    return ' '.join([
        said(OPENINGS, self.start),
        *(said(TOLD[kind], operand) for kind, operand in self.steps),
        said(ASKED)])


def part_of(chain: Chain) -> str:
  """The one of `PARTS` that a chain is in; the same on every machine."""
  text = f'{chain.start}' + ''.join(f'{k}{v}' for k, v in chain.steps)
  place = zlib.crc32(text.encode()) % sum(_SHARES)
  return PARTS[int(np.searchsorted(np.cumsum(_SHARES), place, side='right'))]


def exercises(part: str, count: int, seed: int,
              grades: Sequence[Grade] = GRADES) -> list[Exercise]:
  """Different problems of a part, the grades in turn.

  Args:
    part: one of `PARTS`.
    count: how many.
    seed: of the draw.
    grades: how difficult they are.

  Raises:
    UserError: there is no such part, or a grade has too few chains.
  """
  if part not in PARTS:
    raise UserError(f'part={part!r}: expected one of {", ".join(PARTS)}.')
  rng, found = np.random.default_rng([seed, PARTS.index(part)]), {}
  while len(found) < count:
    number = len(found) % len(grades)
    for _ in range(_TRIES):
      chain = grades[number].draw(rng)
      if part_of(chain) == part and chain not in found:
        break
    else:
      raise UserError(
          f'{grades[number]} has too few problems for {count} of {part}: ask '
          'for fewer, or for larger numbers.')
    found[chain] = Exercise(chain.story(rng), chain.solution(), number)
  return list(found.values())


def as_written(text: str) -> str:
  """A text with the digits of every number together."""
  return _DIGITS.sub('', text)


def answer_of(text: str) -> str | None:
  """The number that a solution names as its answer, if it does."""
  found = _ANSWER.findall(as_written(text))
  return found[-1].lstrip('0') or '0' if found else None


def equations(text: str) -> list[bool]:
  """Whether each equation of a text holds, wherever its numbers are from."""
  return [calculated(int(a), kind, int(b)) == int(c)
          for a, kind, b, c in _EQUATION.findall(as_written(text))]


@functools.cache
def words() -> tuple[str, ...]:
  """Every word, mark and digit that problems and solutions have."""
  texts = [*NAMES, *THINGS, *OPENINGS, *ASKED, *sum(TOLD.values(), ()),
           '+ - * = . ? The answer is', *'0123456789']
  plain = (re.sub(r'\{\w+\}', ' ', text) for text in texts)
  return tuple(dict.fromkeys(
      word for text in plain for word in re.findall(r'\w+|[^\w\s]', text)))
