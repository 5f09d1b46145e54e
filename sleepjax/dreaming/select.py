"""Which dreams are worth an inner run: the important ones and some others.

The paper defines the importance of a dream as the gradient of its SFT loss and
leaves open how that becomes a number (section 3.4). Two ways: its norm over
what dreaming trains, and its inner product with the gradient of the held-in
loss, the influence of a dream in first order (GREATS, G-DIG): a step −η g_dream
changes that loss by −η ⟨g_dream, g_τ⟩.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from sleepjax.dreaming import loss
from sleepjax.growth.learner import Learner
from sleepjax.sampling.rows import Rows


class Scores(NamedTuple):
  """Of n dreams.

  norm: [n] ‖∇ L_SFT(dream)‖.
  influence: [n] ⟨∇ L_SFT(dream), ∇ τ⟩; positive if learning it should help.
  """

  norm: jax.Array
  influence: jax.Array


def _dot(a, b):
  return sum(jax.tree.leaves(jax.tree.map(lambda x, y: (x * y).sum(), a, b)))


@functools.partial(jax.jit, static_argnames='rows_at_once')
def gradient_scores(learner: Learner, dreams: Rows, held_in: Rows, task_n, *,
                    rows_at_once: int) -> Scores:
  """Norm and influence of every dream's gradient.

  L_SFT is a mean over tokens, so neither grows with length. Only numbers leave
  the mapped function: gradients of `rows_at_once` dreams exist at a time.

  Args:
    learner: who dreams; the gradients are taken in its value, whatever the
      copies train.
    dreams: [n, P] prompts and [n, N] dreams.
    held_in: [T, Q, ...] questions of every memory.
    task_n: [n] which memory a dream is about.
    rows_at_once: dreams whose gradients are computed together, static.
  """
  directions = jax.lax.map(
      lambda rows: jax.grad(lambda value: loss.held_in_loss(
          learner.with_value(value), rows))(learner.value), held_in)

  def scores(row_and_task):
    row, task = row_and_task
    one = Rows(*(leaf[None] for leaf in row))
    gradient = jax.grad(lambda value: loss.sft_losses(
        learner.with_value(value), one)[0])(learner.value)
    direction = jax.tree.map(lambda leaf: leaf[task], directions)
    return Scores(jnp.sqrt(_dot(gradient, gradient)),
                  _dot(gradient, direction))

  return jax.lax.map(scores, (dreams, jnp.asarray(task_n)),
                     batch_size=rows_at_once)


def selected_dreams(importance_Txm, key, top_k: int, random: int) -> jax.Array:
  """[T, k + b]: of each memory the k most important dreams, then b others.

  Args:
    importance_Txm: of the m dreams about each of T memories.
    key: draws the others.
    top_k, random: k and b.
  """
  def one(importance_m, key):
    order = jnp.argsort(-importance_m)
    others = jax.random.permutation(key, order[top_k:])
    return jnp.concatenate([order[:top_k], others[:random]])

  importance = jnp.asarray(importance_Txm)
  return jax.vmap(one)(importance, jax.random.split(key, len(importance)))


def rank_correlation(predicted, true) -> float | None:
  """Spearman's ρ; None for fewer than three values, or if all are equal."""
  predicted, true = np.asarray(predicted), np.asarray(true)
  if len(predicted) < 3 or np.ptp(predicted) == 0 or np.ptp(true) == 0:
    return None
  import scipy.stats
  return float(scipy.stats.spearmanr(predicted, true).statistic)
