"""Comparisons of two conditions on the same questions, passages or seeds.

`before` and `after` are always numbers of the same items in the same order.
Questions about one passage stand and fall together, so what is claimed about
passages is tested on one number a passage, or by resampling whole passages
(`bootstrap`).
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import scipy.stats

from sleepjax.evals.interval import interval


def mcnemar(before: Sequence[bool], after: Sequence[bool]) -> dict:
  """McNemar's exact test of right and wrong answers to the same questions.

  Under the null hypothesis each question that changed was as likely to be
  gained as lost: gained ~ Binomial(gained + lost, 1/2), two-sided.

  Returns:
    gained, lost and p; p is 1 where nothing changed.
  """
  before, after = _pairs(before, after, bool)
  return mcnemar_counts(int((after & ~before).sum()),
                        int((before & ~after).sum()))


def mcnemar_counts(gained: int, lost: int) -> dict:
  """`mcnemar` from the two counts, for example of all passages together."""
  changed = gained + lost
  p = scipy.stats.binomtest(gained, changed).pvalue if changed else 1.0
  return {'gained': gained, 'lost': lost, 'p': float(p)}


def paired_t(before: Sequence[float], after: Sequence[float]) -> dict:
  """Mean of after − before, its 95 % interval and Student's t test of 0.

  Returns:
    mean, half_width and p, two-sided; the last two are None of a single pair
    and p is 1 where all pairs are equal.
  """
  before, after = _pairs(before, after, np.float64)
  found = interval(after - before)
  p = None
  if len(before) > 1:
    p = 1.0 if (before == after).all() else _t_test(after - before, 0.0)
  return {'mean': found['mean'], 'half_width': found['half_width'], 'p': p}


def equivalence(before: Sequence[float], after: Sequence[float],
                margin: float) -> dict:
  """Whether after − before is shown to lie within ± margin (TOST).

  Two one-sided t tests (Schuirmann 1987): p is the larger one of
  mean <= −margin and mean >= margin. "No difference" needs p < 0.05 here; a
  paired t test that shows nothing is not that.

  Returns:
    mean and p.

  Raises:
    ValueError: the margin is not positive, or there is one pair only.
  """
  before, after = _pairs(before, after, np.float64)
  if not margin > 0:
    raise ValueError(f'margin={margin} must be above 0.')
  if len(before) < 2:
    raise ValueError('a single pair has no spread: expected at least two.')
  difference = after - before
  return {'mean': float(difference.mean()), 'p': max(
      _t_test(difference, -margin, 'greater'),
      _t_test(difference, margin, 'less'))}


def wilson(successes: int, trials: int, level: float = 0.95
           ) -> tuple[float, float]:
  """Wilson's score interval of a share: it holds near 0 and 1, too.

  Raises:
    ValueError: there are no trials, or more successes than trials.
  """
  found = scipy.stats.binomtest(successes, trials).proportion_ci(
      level, method='wilson')
  return float(found.low), float(found.high)


def bootstrap(values: Sequence[float], groups: Sequence[Any] | None = None,
              level: float = 0.95, resamples: int = 9999, seed: int = 0
              ) -> dict:
  """Percentile bootstrap interval of the mean of `values`.

  Args:
    values: one number per question, such as differences of two arms.
    groups: of each value, the passage that it belongs to: whole passages are
      drawn, with all of their questions. By default every value is on its own.
    level: of the interval.
    resamples: how many.
    seed: of the draws.

  Returns:
    mean, low and high; the last two are None of a single group.

  Raises:
    ValueError: nothing is given, or not one group for each value.
  """
  values = np.asarray(values, np.float64)
  groups = np.arange(len(values)) if groups is None else np.asarray(groups)
  if not len(values) or len(groups) != len(values):
    raise ValueError(f'{len(values)} values in {len(groups)} groups: expected '
                     'at least one value, and a group for each.')
  _, places = np.unique(groups, return_inverse=True)
  sums, sizes = np.bincount(places, values), np.bincount(places)
  low = high = None
  if len(sums) > 1:
    low, high = map(float, scipy.stats.bootstrap(
        (sums, sizes), lambda s, n, axis: s.sum(axis) / n.sum(axis),
        paired=True, vectorized=True, method='percentile',
        confidence_level=level, n_resamples=resamples,
        rng=np.random.default_rng(seed)).confidence_interval)
  return {'mean': float(values.mean()), 'low': low, 'high': high}


def holm(p_values: Mapping[str, float]) -> dict[str, float]:
  """p values of one table, adjusted so that any false claim is a rare one.

  Holm 1979: of m values in rising order the i-th (from 0) is multiplied by
  m − i; none falls below the one before it or rises above 1.
  """
  adjusted, least = {}, 0.0
  for i, name in enumerate(sorted(p_values, key=p_values.__getitem__)):
    least = max(least, min(1.0, (len(p_values) - i) * p_values[name]))
    adjusted[name] = least
  return {name: adjusted[name] for name in p_values}


def _pairs(before, after, dtype):
  before, after = np.asarray(before, dtype), np.asarray(after, dtype)
  if before.shape != after.shape or before.ndim != 1 or not len(before):
    raise ValueError(f'shapes {before.shape} and {after.shape}: expected a '
                     'number before and one after for each of n >= 1 items.')
  return before, after


def _t_test(values, mean, alternative='two-sided'):
  """p of a t test; values that are all the same leave no doubt."""
  if np.ptp(values) == 0:
    aside = np.sign(values[0] - mean)
    return float({'greater': aside <= 0, 'less': aside >= 0}.get(
        alternative, aside == 0))
  return float(scipy.stats.ttest_1samp(
      values, mean, alternative=alternative).pvalue)
