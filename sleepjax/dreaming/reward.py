"""Rewards of dreams: whether learning one would have helped.

T counts memories, k the dreams of each that were tried: a group.
"""

import jax
import jax.numpy as jnp


def binary_reward(tau_before_T, tau_after_Txk) -> jax.Array:
  """1 where τ fell, strictly, else 0 (Eq. 5); not a number earns 0."""
  return (jnp.asarray(tau_after_Txk) < jnp.asarray(tau_before_T)[:, None]
          ).astype(jnp.float32)


def argmax_reward(tau_before_T, tau_after_Txk) -> jax.Array:
  """1 for the best dream of each memory, whether it helped or not (SEAL).

  0 for all dreams of a memory if none is better than another, or if all are not
  numbers; of equally good ones the first.
  """
  del tau_before_T
  after = jnp.asarray(tau_after_Txk)
  after = jnp.where(jnp.isnan(after), jnp.inf, after)
  differs = after.max(-1) > after.min(-1)
  if after.shape[-1] == 1:  # Nothing to be better than.
    differs = jnp.isfinite(after[:, 0])
  best = jax.nn.one_hot(after.argmin(-1), after.shape[-1], dtype=jnp.float32)
  return best * differs[:, None]


def improvement_reward(tau_before_T, tau_after_Txk) -> jax.Array:
  """τ before − τ after, nats per token.

  A dream that made a copy's loss no number is as bad as the worst of the
  others, or earns 0 if there is no other and nothing to compare.
  """
  gain = jnp.asarray(tau_before_T)[:, None] - jnp.asarray(tau_after_Txk)
  finite = jnp.isfinite(gain)
  worst = jnp.where(finite, gain, jnp.inf).min(-1, keepdims=True)
  return jnp.where(finite, gain, jnp.where(jnp.isfinite(worst), worst, 0.0))


REWARDS = {'binary': binary_reward, 'argmax': argmax_reward,
           'improvement': improvement_reward}
