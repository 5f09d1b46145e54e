"""What is still known of each day after each night.

An accuracy matrix A has a row for every night and a column for every day:
A[i, j] is the accuracy on day j after night i (Lopez-Paz and Ranzato 2017,
arXiv 1706.08840). Days that lie ahead are part of it: what a model gets right
there it has guessed.
"""

import numpy as np


def average_accuracy(matrix) -> float:
  """Mean of A[n − 1, j] over the n days: what is known in the end."""
  return float(_square(matrix)[-1].mean())


def learnt(matrix) -> float:
  """Mean of A[j, j]: what is known of a day after its own night."""
  return float(np.diagonal(_square(matrix)).mean())


def backward_transfer(matrix) -> float:
  """Mean of A[n − 1, j] − A[j, j] over earlier days; below 0, forgetting.

  0 of a single day.
  """
  A = _square(matrix)
  change = A[-1, :-1] - np.diagonal(A)[:-1]
  return float(change.mean()) if len(change) else 0.0


def forgetting(matrix) -> float:
  """Mean over earlier days of max_i A[i, j] − A[n − 1, j] (Chaudhry et al.
  2018, arXiv 1801.10112), i from the day's own night on.

  0 of a single day.
  """
  A = _square(matrix)
  n = len(A)
  lost = [A[j:, j].max() - A[-1, j] for j in range(n - 1)]
  return float(np.mean(lost)) if lost else 0.0


def forward_transfer(matrix) -> float:
  """Mean of A[j − 1, j]: how much of a day is guessed the night before.

  0 of a single day.
  """
  A = _square(matrix)
  return float(np.diagonal(A, 1).mean()) if len(A) > 1 else 0.0


def _square(matrix):
  A = np.asarray(matrix, np.float64)
  if A.ndim != 2 or A.shape[0] != A.shape[1] or not len(A):
    raise ValueError(f'an accuracy matrix has a row and a column for each of n '
                     f'>= 1 days, not shape {A.shape}.')
  return A
