"""How far a judge can be trusted: its threshold and its rates of error.

`python -m experiments.judge_error` measures both with a teacher's own answers.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from sleepjax.errors import NotFiniteError


def calibrated_threshold(positives: Sequence[float],
                         negatives: Sequence[float]) -> float:
  """The threshold with the best balanced accuracy, for `score >= threshold`.

    (share of positives >= t + share of negatives < t) / 2

  Thresholds lie half-way between neighbouring scores, or above all of them: a
  score that cannot tell the two apart leads to a judge that never says yes. Of
  equally good ones the one with the widest gap around it is taken, then the
  higher one.

  Args:
    positives: scores of pairs that say the same.
    negatives: scores of pairs that do not.

  Raises:
    ValueError: one of them is empty.
    NotFiniteError: a score is no number.
  """
  positives, negatives = (np.asarray(x, float) for x in (positives, negatives))
  if not positives.size or not negatives.size:
    raise ValueError('no threshold without scores of both kinds of pairs.')
  for kind, values in (('the same', positives), ('not', negatives)):
    if np.isnan(values).any():
      raise NotFiniteError(
          f'no threshold: the judge scores {np.isnan(values).sum()} of '
          f'{values.size} pairs that say {kind} as nan. Mend the judge, or '
          'choose another.')
  scores = np.unique(np.concatenate([positives, negatives]))
  thresholds = np.append((scores[1:] + scores[:-1]) / 2, scores[-1] + 1)
  gaps = np.append(np.diff(scores), np.inf)
  accuracy = ((positives[:, None] >= thresholds).mean(0)
              + (negatives[:, None] < thresholds).mean(0)) / 2
  best = accuracy >= accuracy.max() - 1e-12
  return float(max((gap, t) for gap, t in zip(gaps[best], thresholds[best]))[1])


def separation(positives: Sequence[float], negatives: Sequence[float]) -> float:
  """Chance that a positive scores above a negative, ties counted half.

  The area under the ROC curve: what a judge can do at best, whatever its
  threshold. 0.5 is chance.
  """
  difference = np.subtract.outer(positives, negatives)
  return float(np.mean((difference > 0) + (difference == 0) / 2))


class Pair(NamedTuple):
  """Two texts, and what both are said to answer, if that is known."""

  candidate: str
  reference: str
  prompt: str | None = None


def on_pairs(function: Callable[..., Any], pairs: Sequence[Pair]) -> Any:
  """A judge, or its `score`, called on pairs that all have a prompt or none."""
  if not pairs:
    return np.zeros(0, np.float32)
  candidates, references, prompts = zip(*pairs, strict=True)
  return function(candidates, references,
                  None if None in prompts else prompts)


class JudgeError(NamedTuple):
  """Rates of error; nan where there was nothing to judge.

  false_negative_rate: share of pairs that say the same and were refused.
  false_positive_rate: share of pairs that do not and were let through.
  positives, negatives: numbers of pairs.
  """

  false_negative_rate: float
  false_positive_rate: float
  positives: int
  negatives: int


def error_of_verdicts(on_positives, on_negatives) -> JudgeError:
  """The error of a judge that has already spoken, 0 or 1 of each pair."""
  rate = lambda x: float(np.mean(x)) if len(x) else math.nan
  return JudgeError(1 - rate(on_positives), rate(on_negatives),
                    len(on_positives), len(on_negatives))


def wilson_interval(rate: float, n: int, z: float = 1.96) -> tuple[float,
                                                                   float]:
  """Interval of a share seen in n independent cases; 95% by default.

    (p + z^2 / 2n +- z sqrt(p (1 - p) / n + z^2 / 4n^2)) / (1 + z^2 / n)

  Wilson 1927; unlike the normal interval it holds for shares of 0 and 1.
  """
  centre, spread = rate + z * z / (2 * n), z * math.sqrt(
      rate * (1 - rate) / n + (z / (2 * n)) ** 2)
  return (max(0.0, (centre - spread) / (1 + z * z / n)),
          min(1.0, (centre + spread) / (1 + z * z / n)))
