"""Means over seeds and how far they can be trusted."""

import numpy as np
import scipy.special


def interval(values) -> dict:
  """Mean and half the width of its 95 % interval (Student t) over seeds.

  >>> interval([1.0, 2.0, 3.0])['mean']
  2.0

  Returns:
    mean, half_width and the values. One value has no interval: half_width is
    None.
  """
  values = np.asarray(values, np.float64)
  n, half = len(values), None
  if n > 1:
    half = float(scipy.special.stdtrit(n - 1, 0.975) * values.std(
        ddof=1) / n ** 0.5)
  return {'mean': float(values.mean()), 'half_width': half,
          'values': values.tolist()}
