"""Policy gradient for the imitation reward: one on-policy step, no critic.

For every prefix the student samples K completions. Each completion's baseline
comes from the others of its group, and one gradient step is taken per batch of
samples, so the samples are on-policy and nothing needs clipping. The paper
(arXiv 2606.03979) leaves the estimator open; this one is unbiased.

In this module G counts groups (one per prefix) and K completions per group.
"""

import jax
import jax.numpy as jnp

from sleepjax.errors import UserError


def leave_one_out_advantage(rewards_GxK: jax.Array) -> jax.Array:
  """Reward minus the mean reward of the group's other completions.

    A_k = r_k - 1/(K - 1) sum_{j != k} r_j = K/(K - 1) (r_k - mean r)

  The baseline does not depend on completion k, so the policy gradient stays
  unbiased (RLOO; Kool et al. 2019, Ahmadian et al. 2024, arXiv 2402.14740).

  Args:
    rewards_GxK: rewards; any leading axes, completions of a group last.

  Returns:
    Same shape. Exactly 0 in a group whose rewards are all equal.

  Raises:
    UserError: K = 1.
  """
  size = _group_size(rewards_GxK)
  return size / (size - 1) * _centered(rewards_GxK)


def group_normalised_advantage(
    rewards_GxK: jax.Array, eps: float = 1e-4) -> jax.Array:
  """Reward centred and scaled within its group (GRPO, arXiv 2402.03300).

    A_k = (r_k - mean r) / (std r + eps)

  with the population standard deviation. Every group then pulls about equally
  hard, however small its differences: the expected gradient is no longer that
  of the mean reward.

  Args:
    rewards_GxK: rewards; any leading axes, completions of a group last.
    eps: positive; differences well below it are treated as noise.

  Returns:
    Same shape. Exactly 0 in a group whose rewards are all equal.

  Raises:
    UserError: K = 1 or eps <= 0.
  """
  if not eps > 0:
    raise UserError(
        f'eps={eps} must be positive: a group of equal rewards has standard '
        'deviation 0.')
  _group_size(rewards_GxK)
  centered = _centered(rewards_GxK)
  variance = jnp.mean(jnp.square(centered), axis=-1, keepdims=True)
  return centered / (jnp.sqrt(variance) + eps)


def constant_groups(rewards_GxK: jax.Array) -> jax.Array:
  """Fraction of groups whose rewards are all equal: they teach nothing.

  Args:
    rewards_GxK: rewards, completions of a group last.

  Returns:
    [], float32 in [0, 1].
  """
  constant = jnp.max(rewards_GxK, axis=-1) == jnp.min(rewards_GxK, axis=-1)
  return jnp.mean(constant.astype(jnp.float32))


def policy_gradient_loss(
    log_probs_BxT: jax.Array,
    advantage_B: jax.Array,
    mask_BxT: jax.Array,
) -> tuple[jax.Array, jax.Array, dict[str, jax.Array]]:
  """REINFORCE: minus advantage times log-probability of the completion.

    sum    = - sum_b A_b sum_t mask_bt log pi(y_bt | y_b<t)
    weight =   sum_bt mask_bt

  Minimising sum / weight ascends the expected reward. The weight is the number
  of *tokens*, as in a per-token divergence, so the two terms are of one scale
  and alpha keeps its meaning at any completion length. It is one number for
  the whole batch: a long completion is not pulled less per token than a short
  one, and relative to the mean over completions the gradient is only divided
  by the mean length.

  The completions must be sampled from the policy that is differentiated here
  (same parameters, same temperature). There is no importance ratio: the value
  of the loss means nothing, its gradient does.

  Args:
    log_probs_BxT: log-probability of every sampled token.
    advantage_B: advantage of every completion; receives no gradient.
    mask_BxT: bool or 0/1; true for sampled tokens, the end-of-sequence token
      included, false for prompt and padding.

  Returns:
    (sum [], weight [], aux), aux holding `log_prob`: the sum of the sampled
    tokens' log-probabilities, to be divided by the same weight.
  """
  mask_BxT = mask_BxT.astype(bool)
  # Selected, not multiplied: a masked -inf or NaN must not reach the sum.
  log_probs_BxT = jnp.where(mask_BxT, log_probs_BxT, 0)
  log_prob_B = jnp.sum(log_probs_BxT, axis=-1)
  loss = -jnp.sum(jax.lax.stop_gradient(advantage_B) * log_prob_B)
  weight = jnp.sum(mask_BxT, dtype=log_prob_B.dtype)
  aux = {'log_prob': jax.lax.stop_gradient(jnp.sum(log_prob_B))}
  return loss, weight, aux


def _group_size(rewards_GxK):
  size = rewards_GxK.shape[-1]
  if size < 2:
    raise UserError(
        f'Groups of {size} completion per prefix have no baseline: sample at '
        'least 2 completions per prefix.')
  return size


def _centered(rewards_GxK):
  """Reward minus group mean, exactly 0 where all rewards are equal."""
  # Subtracting one member first makes equal rewards zeros before any rounding.
  offset = rewards_GxK - rewards_GxK[..., :1]
  return offset - jnp.mean(offset, axis=-1, keepdims=True)
