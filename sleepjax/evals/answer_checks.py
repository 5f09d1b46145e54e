"""Whether two solutions name one answer: what rewards and exams ask.

Each is a judge (`sleepjax.evals.judges`): called with solutions and references
that are right, it says 1 or 0 of every pair.
"""

import dataclasses
from collections.abc import Sequence

import numpy as np

from sleepjax.data import arithmetic
from sleepjax.errors import UserError
from sleepjax.evals.judges import Judge


@dataclasses.dataclass(frozen=True)
class SameNumber:
  """Compares what stands after "The answer is", see `data.arithmetic`."""

  name: str = 'same_number'

  def __call__(self, candidates: Sequence[str], references: Sequence[str],
               prompts: Sequence[str] | None = None) -> np.ndarray:
    del prompts
    pairs = zip(map(arithmetic.answer_of, candidates),
                map(arithmetic.answer_of, references), strict=True)
    return np.array([a is not None and a == b for a, b in pairs], np.float32)


class SameExpression:
  r"""Compares the last answer of each, as \boxed{...}, by `math-verify`.

  Raises:
    UserError: that package is not installed.
  """

  name = 'math_verify'

  def __init__(self):
    try:
      import math_verify
    except ImportError as error:
      raise UserError(
          "check='math_verify' needs the package math-verify, which is not "
          "installed: pip install 'sleepjax[math]', or check another way "
          f'({error}).') from error
    self._library = math_verify

  def __call__(self, candidates: Sequence[str], references: Sequence[str],
               prompts: Sequence[str] | None = None) -> np.ndarray:
    del prompts
    parse, verify = self._library.parse, self._library.verify
    # An answer that is no LaTeX, such as 66, is one between dollars.
    gold = lambda text: parse(text) or parse(f'${text}$')
    return np.array([verify(gold(right), parse(said)) for said, right in zip(
        candidates, references, strict=True)], np.float32)


CHECKS = {'same_number': SameNumber, 'math_verify': SameExpression}


def make_check(name: str) -> Judge:
  """The check of that name.

  Raises:
    UserError: there is none, or what it needs is not installed.
  """
  if name not in CHECKS:
    raise UserError(f'check={name!r}: expected one of {", ".join(CHECKS)}.')
  return CHECKS[name]()
