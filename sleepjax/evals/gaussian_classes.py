"""A Gaussian for each class on features of a frozen model.

The rival of all that learn in their weights: it never forgets, and keeps a mean
for each class and one covariance for all, whatever the order in which classes
come (streaming linear discriminant analysis, arXiv 1909.01520).
"""

from collections.abc import Sequence

import numpy as np


class Gaussians:
  """Classes that were seen so far.

  Attributes:
    labels: of them, in the order in which they came.
  """

  def __init__(self, shrinkage: float = 0.1):
    """Says how the covariance is kept invertible.

    Args:
      shrinkage: share of a covariance that is the same in all directions, from
        0 to 1.
    """
    self.labels: list[str] = []
    self._shrinkage, self._means, self._scatter, self._count = (
        shrinkage, [], 0.0, 0)

  def learn(self, features: np.ndarray, labels: Sequence[str]) -> None:
    """Adds classes that are new, from all of their features [n, D]."""
    labels = np.asarray(labels)
    for label in dict.fromkeys(labels.tolist()):
      own = np.asarray(features, np.float64)[labels == label]
      self.labels.append(label)
      self._means.append(own.mean(0))
      self._scatter = self._scatter + (own - own.mean(0)).T @ (
          own - own.mean(0))
      self._count += len(own)

  def scores(self, features: np.ndarray) -> np.ndarray:
    """Log-density [n, C] of each class, up to what all have in common."""
    means, x = np.stack(self._means), np.asarray(features, np.float64)
    D = means.shape[1]
    covariance = self._scatter / max(self._count, 1)
    even = max(np.trace(covariance) / D, 1e-12) * np.eye(D)
    precision = np.linalg.inv(
        (1 - self._shrinkage) * covariance + self._shrinkage * even)
    return x @ precision @ means.T - 0.5 * np.einsum(
        'cd,de,ce->c', means, precision, means)
