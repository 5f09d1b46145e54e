"""How different dreams are from one another."""

import itertools
from collections.abc import Sequence

import numpy as np
from rapidfuzz.distance import Levenshtein


def distinct_n(dreams: Sequence[Sequence[int]], n: int) -> float:
  """Different n-grams over all n-grams (Li et al. 2016, arXiv 1510.03055).

  >>> distinct_n([[1, 2, 1, 2]], 2)
  0.6666666666666666

  Args:
    dreams: token ids.
    n: length of a gram.

  Returns:
    in (0, 1]; 1 if no dream is as long as n.
  """
  grams = [tuple(dream[i:i + n]) for dream in dreams
           for i in range(len(dream) - n + 1)]
  return len(set(grams)) / len(grams) if grams else 1.0


def pairwise_similarity(dreams: Sequence[Sequence[int]]) -> float:
  """Mean over pairs of 1 − Levenshtein distance / longer length, in tokens.

  >>> pairwise_similarity([[1, 2], [1, 3]])
  0.5

  Returns:
    in [0, 1]; 0 for fewer than two dreams.
  """
  pairs = [Levenshtein.normalized_similarity(list(a), list(b))
           for a, b in itertools.combinations(dreams, 2)]
  return float(np.mean(pairs)) if pairs else 0.0
