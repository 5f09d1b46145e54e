"""Which earlier memories are dreamt about tonight.

The paper calls the dreams a curriculum (arXiv 2606.03979, appendix A.4) and
gives no rule. Ours: a memory is drawn with probability proportional to

  learnability · staleness = mean_q 4 p_q (1 − p_q) · (cycles since rehearsed)

where p_q is the probability that the model gives the remembered answer to
question q. p (1 − p) is the variance of success: zero for what is solved and
for what is hopeless, the score by which Sampling for Learnability (Rutherford
et al. 2024, arXiv 2408.15099) chooses levels.
"""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

from sleepjax.dreaming import loss
from sleepjax.growth.learner import Learner
from sleepjax.mesh.sharding import to_host
from sleepjax.sampling.rows import Rows

_LEAST = 0.02  # So that a memory thought solved is looked at now and then.


@jax.jit
def answer_probabilities(learner: Learner, held_in: Rows) -> jax.Array:
  """[Q]: p of the remembered answer to each of a memory's questions [Q, ...].

  Not a number where there is none.
  """
  nll_QxN = loss.completion_nll(learner, held_in)
  return jnp.where(held_in.completion_mask.any(-1),
                   jnp.exp(-nll_QxN.sum(-1)), jnp.nan)


def learnability(probabilities_Q) -> float:
  """Mean over a memory's questions of 4 p (1 − p), from 0 to 1."""
  p = to_host(probabilities_Q).astype(np.float64)
  return float(np.nanmean(4 * p * (1 - p)))


def memory_weights(learnability_T, staleness_T) -> np.ndarray:
  """Probabilities [T] of being drawn.

  Args:
    learnability_T: from 0 to 1.
    staleness_T: cycles since a memory was learnt or dreamt about, at least 1.
  """
  weights = np.maximum(learnability_T, _LEAST) * np.asarray(
      staleness_T, np.float64)
  return weights / weights.sum()


def drawn_memories(weights_T: Sequence[float], number: int, rng) -> list[int]:
  """Different memories, at most `number`, with these probabilities."""
  number = min(number, len(weights_T))
  return sorted(rng.choice(
      len(weights_T), number, replace=False, p=weights_T).tolist())
