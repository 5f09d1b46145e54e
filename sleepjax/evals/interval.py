"""Means over seeds and how far they can be trusted."""

import numpy as np


def interval(values) -> dict:
  """Mean and half the width of its 95 % interval (Student t) over seeds.

  >>> interval([1.0, 2.0, 3.0])['mean']
  2.0

  Returns:
    mean, half_width and the values. One value has no interval: half_width is
    None.
  """
  import scipy.special
  values = np.asarray(values, np.float64)
  n, half = len(values), None
  if n > 1:
    half = float(scipy.special.stdtrit(n - 1, 0.975) * values.std(
        ddof=1) / n ** 0.5)
  return {'mean': float(values.mean()), 'half_width': half,
          'values': values.tolist()}


def ratio_interval(numerators, denominators, least: float = 0.0
                   ) -> dict | None:
  """A ratio of means over seeds and half the width of its 95 % interval.

    r = Σ a / Σ b,  half = t · sd(a − r b) / (√n · mean b)

  The ratio estimator of survey sampling (Cochran 1977, section 2.11), Student
  t. A mean of ratios would be decided by the seed whose b is next to nothing.

  Returns:
    mean, half_width, values (a) and denominators (b); None where Σ b is not
    positive, or its mean below `least`.
  """
  a, b = (np.asarray(x, np.float64) for x in (numerators, denominators))
  if not (b.sum() > 0 and b.mean() >= least):
    return None
  ratio = a.sum() / b.sum()
  half = interval(a - ratio * b)['half_width']
  return {'mean': float(ratio),
          'half_width': None if half is None else float(half / b.mean()),
          'values': a.tolist(), 'denominators': b.tolist()}
