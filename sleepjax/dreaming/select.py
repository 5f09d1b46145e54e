"""Which dreams are worth an inner run: the largest gradients and some others.

The paper defines the importance of a dream as the gradient of its SFT loss and
leaves open how that becomes a number (section 3.4). Ours is its norm over the
slot, the only parameters that dreaming changes.
"""

import functools

import jax
import jax.numpy as jnp

from sleepjax.dreaming import loss
from sleepjax.models.config import ModelConfig
from sleepjax.sampling.rows import Rows


@functools.partial(jax.jit, static_argnums=0, static_argnames='rows_at_once')
def gradient_norms(config: ModelConfig, frozen, slot, index, dreams: Rows, *,
                   rows_at_once: int) -> jax.Array:
  """Importance ω^(i) = ‖∇_slot L_SFT(dream_i)‖ of every dream [m].

  L_SFT is a mean over tokens, so the norm does not grow with length. Only
  norms leave the mapped function: gradients of `rows_at_once` dreams exist at a
  time.

  Args:
    config: the model's shape, in either layout.
    frozen: its parameters.
    slot: where the gradients are taken.
    index: its place in the pool.
    dreams: [m, P] prompts and [m, N] dreams.
    rows_at_once: dreams whose gradients are computed together, static.
  """
  def norm(row):
    one = Rows(*(part[None] for part in row))
    gradient = jax.grad(
        lambda slot: loss.sft_losses(config, frozen, slot, index, one)[0])(slot)
    return jnp.sqrt(sum(jnp.square(g).sum() for g in jax.tree.leaves(gradient)))

  return jax.lax.map(norm, dreams, batch_size=rows_at_once)


def selected_dreams(importance_m, key, top_k: int, random: int) -> jax.Array:
  """Indices [k + b]: the k most important dreams, then b random others."""
  order = jnp.argsort(-importance_m)
  others = jax.random.permutation(key, order[top_k:])
  return jnp.concatenate([order[:top_k], others[:random]])
