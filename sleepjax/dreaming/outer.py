"""The outer update: the generator learns to write dreams that help.

The generator is an adapter in front of the sleeping model, a LoRA. The paper
says that it follows SEAL's ReST-EM (section 3.4) and not which parameters that
changes.

  rest_em          supervised learning of the dreams with a reward > 0, all
                   alike (the M-step of ReST-EM, arXiv 2312.06585)
  reward_weighted  the same, weighted by their rewards
  group_relative   policy gradient with the reward normalised within a memory's
                   dreams (GRPO, arXiv 2402.03300); one step from where they
                   were sampled is on-policy, but for the random experts
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp

from sleepjax.dreaming import inner, loss
from sleepjax.dreaming.inner import Descent
from sleepjax.growth.learner import Learner
from sleepjax.losses import policy_gradient
from sleepjax.sampling.rows import Rows


class Outcome(NamedTuple):
  """generator: as it is now; loss: [] before the last update."""

  generator: dict
  loss: jax.Array


def dream_weights(outer: str, rewards_Txk) -> jax.Array:
  """How much each dream pulls [T k]; all zero where nothing can be learnt.

  Args:
    outer: 'rest_em', 'reward_weighted' or 'group_relative'.
    rewards_Txk: of the dreams of every memory.
  """
  rewards = jnp.asarray(rewards_Txk, jnp.float32)
  if outer == 'group_relative':
    return policy_gradient.group_normalised_advantage(rewards).reshape(-1)
  if outer == 'rest_em':
    return (rewards > 0).astype(jnp.float32).reshape(-1)
  return jnp.maximum(rewards, 0.0).reshape(-1)


def weighted_dream_loss(generator: Learner, dreams: Rows, weights_n,
                        outer: str) -> jax.Array:
  """Σ_i w_i L_SFT(dream_i) / Σ_i w_i, or the policy gradient's surrogate.

  Zero, and with zero gradient, if all weights are zero.
  """
  if outer == 'group_relative':
    nll = loss.completion_nll(generator, dreams)
    total, weight, _ = policy_gradient.policy_gradient_loss(
        -nll, weights_n, dreams.completion_mask)
    return total / jnp.maximum(weight, 1.0)
  losses_n = loss.sft_losses(generator, dreams)
  total = weights_n.sum()
  return (weights_n * losses_n).sum() / jnp.where(total > 0, total, 1.0)


@functools.partial(jax.jit, static_argnames='outer')
def outer_update(generator: Learner, dreams: Rows, weights_n,
                 descent: Descent, *, outer: str) -> Outcome:
  """Adam updates of the generator from a fresh state.

  Args:
    generator: the sleeping model, its slot in place among what is frozen, and
      the adapter where it starts.
    dreams: the tried dreams, [n, P] and [n, N].
    weights_n: of `dream_weights`.
    descent: how far the generator goes; may be traced.
    outer: which loss, static.
  """
  return Outcome(*inner.descended(
      lambda value: weighted_dream_loss(
          generator.with_value(value), dreams, weights_n, outer),
      generator.value, descent))
