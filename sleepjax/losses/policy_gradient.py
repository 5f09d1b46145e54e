"""Policy gradient: one on-policy step, no critic.

For every prefix the student samples K completions. Each completion's baseline
comes from the others of its group, and one gradient step is taken per batch of
samples, so the samples are on-policy and nothing needs clipping; where several
are taken, `clipped_policy_gradient_loss` clips. The paper (arXiv 2606.03979)
leaves the estimator open; this one is unbiased.

It serves the imitation reward, one number a completion, and the reverse KL of
whole completions, which is a cost at every token.

In this module G counts groups (one per prefix) and K completions per group; B
counts the completions of all groups.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Num, Shaped

from sleepjax.errors import UserError
from sleepjax.models.arrays import AnyArray

# A sum, the weight that divides it, and sums of metrics.
Sums = tuple[Float[Array, ''], Float[Array, ''], dict[str, Float[Array, '']]]

# Largest log of a ratio. Far beyond what any clip holds, and exp(88) and more
# would be infinite in float32, its gradient NaN.
_LARGEST_LOG_RATIO = 20.0


def leave_one_out_advantage(
    rewards_GxK: Num[AnyArray, '*groups K']) -> Float[Array, '*groups K']:
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
    rewards_GxK: Num[AnyArray, '*groups K'], eps: float = 1e-4
) -> Float[Array, '*groups K']:
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


# By the name that configurations have for it.
ADVANTAGES = {'leave_one_out': leave_one_out_advantage,
              'group_normalised': group_normalised_advantage}


def constant_groups(
    rewards_GxK: Num[AnyArray, '*groups K']) -> Float[Array, '']:
  """Fraction of groups whose rewards are all equal: they teach nothing.

  Args:
    rewards_GxK: rewards, completions of a group last.

  Returns:
    [], float32 in [0, 1].
  """
  constant = jnp.max(rewards_GxK, axis=-1) == jnp.min(rewards_GxK, axis=-1)
  return jnp.mean(constant.astype(jnp.float32))


def policy_gradient_loss(
    log_probs_BxT: Float[AnyArray, 'B T'],
    advantage_B: Num[AnyArray, ' B'],
    mask_BxT: Shaped[AnyArray, 'B T'],
) -> Sums:
  """REINFORCE: minus advantage times log-probability of the completion.

    sum    = - sum_b A_b sum_t mask_bt log pi(y_bt | y_b<t)
    weight =   the number of completions with a sampled token

  The gradient of sum / weight is an unbiased estimate of that of -E[r]: r is
  one number a completion. Divided by tokens it would be smaller by the mean
  length and, as that is random, biased.

  The completions must be sampled from the policy that is differentiated here
  (same parameters, same temperature). There is no importance ratio: the value
  of the loss means nothing, its gradient does.

  Args:
    log_probs_BxT: log-probability of every sampled token.
    advantage_B: advantage of every completion; receives no gradient.
    mask_BxT: bool or 0/1; true for sampled tokens, the end-of-sequence token
      included, false for prompt and padding.

  Returns:
    (sum [], weight [], aux), aux holding `log_prob`: the sum of the
    completions' log-probabilities, to be divided by the same weight.
  """
  mask_BxT = mask_BxT.astype(bool)
  # Selected, not multiplied: a masked -inf or NaN must not reach the sum.
  log_probs_BxT = jnp.where(mask_BxT, log_probs_BxT, 0)
  log_prob_B = jnp.sum(log_probs_BxT, axis=-1)
  loss = -jnp.sum(jax.lax.stop_gradient(advantage_B) * log_prob_B)
  weight = jnp.sum(mask_BxT.any(-1), dtype=loss.dtype)
  aux = {'log_prob': jax.lax.stop_gradient(jnp.sum(log_prob_B))}
  return loss, weight, aux


def clipped_policy_gradient_loss(
    log_probs_BxT: Float[AnyArray, 'B T'],
    sampled_log_probs_BxT: Float[AnyArray, 'B T'],
    advantage_B: Num[AnyArray, ' B'],
    mask_BxT: Shaped[AnyArray, 'B T'],
    clip: float = 0.2,
) -> Sums:
  """Policy gradient for several updates on one batch of samples (PPO).

    sum    = - sum_bt min(rho_bt A_b, clip(rho_bt, 1 - clip, 1 + clip) A_b),
    rho_bt = pi(y_bt | y_b<t) / pi_sampled(y_bt | y_b<t)

  (Schulman et al. 2017, arXiv 1707.06347, Eq. 7, a ratio per token). A token
  that has already moved by `clip` in the direction that its advantage wants
  gets no gradient, nor does one whose ratio exceeds exp(20), which counts as
  that. Where both policies are the same the gradient is that of
  `policy_gradient_loss`.

  Args:
    log_probs_BxT: of every sampled token under the policy that learns.
    sampled_log_probs_BxT: under the policy that sampled it; no gradient.
    advantage_B: advantage of every completion; receives no gradient.
    mask_BxT: bool or 0/1; true for sampled tokens.
    clip: largest change of a ratio that is still rewarded, positive.

  Returns:
    (sum [], weight [], aux): weight is the number of completions; aux holds
    `clipped`, the number of tokens without gradient.

  Raises:
    UserError: clip <= 0.
  """
  if not clip > 0:
    raise UserError(f'clip={clip} must be positive: no ratio could change.')
  mask_BxT = mask_BxT.astype(bool)
  fixed = jax.lax.stop_gradient
  # Selected, not multiplied: a masked -inf or NaN must not reach the sum.
  log_ratio_BxT = jnp.where(
      mask_BxT, log_probs_BxT - fixed(sampled_log_probs_BxT), 0)
  ratio_BxT = jnp.exp(jnp.minimum(log_ratio_BxT, _LARGEST_LOG_RATIO))
  advantage_Bx1 = fixed(advantage_B)[:, None]
  held_BxT = jnp.clip(ratio_BxT, 1 - clip, 1 + clip) * advantage_Bx1
  free_BxT = ratio_BxT * advantage_Bx1
  loss = -jnp.sum(jnp.where(mask_BxT, jnp.minimum(free_BxT, held_BxT), 0))
  weight = jnp.sum(mask_BxT.any(-1), dtype=loss.dtype)
  clipped = jnp.sum((held_BxT < free_BxT) & mask_BxT, dtype=loss.dtype)
  return loss, weight, {'clipped': clipped}


def sampled_reverse_kl(
    student_log_probs_BxT: Float[AnyArray, 'B T'],
    teacher_log_probs_BxT: Float[AnyArray, 'B T'],
    mask_BxT: Shaped[AnyArray, 'B T'],
    group_size: int | None = None,
) -> Sums:
  """KL(student || teacher) of completions that the student wrote.

  With the cost c_t = log Q(y_t | y_<t) - log P(y_t | y_<t) of a sampled token,

    value    = sum_b sum_t c_bt
    gradient = sum_b sum_t (R_bt - b_bt) grad log Q(y_bt | y_b<t),
               R_bt = sum_{s >= t} c_bs

  For y ~ Q their expectations are B times KL(Q || P) of whole completions and
  B times its exact gradient, sampling included: a token answers for the later
  ones that it leads to. The reverse KL summed over the positions of a rollout
  (`divergences.ReverseKL`) has the same expected value, but its gradient
  leaves that part out. The gradient is not the derivative of the value here:
  do not take a second one.

  Two things keep the variance down. A token answers only for costs from itself
  on (the earlier ones have expectation zero), and b, if asked for, is the mean
  R_t of the group's other completions, zero for those that have ended, which
  does not depend on completion b (leave-one-out, as in
  `leave_one_out_advantage`; score function with costs to go: Schulman et al.
  2015, arXiv 1506.05254).

  Args:
    student_log_probs_BxT: log Q of every sampled token, of the policy that
      sampled it (same parameters, same temperature).
    teacher_log_probs_BxT: log P of the same tokens; receives no gradient.
      Finite, as `from_hidden.sequence_log_probs_from_hidden` returns them.
    mask_BxT: bool or 0/1; true for sampled tokens, the end-of-sequence token
      included, false for prompt and padding.
    group_size: K consecutive rows went on from one prefix and are each
      other's baseline; None for no baseline.

  Returns:
    (sum [], weight [], aux): the value in nats, the number of tokens, and
    `log_prob`, as from `policy_gradient_loss`.

  Raises:
    UserError: group_size is 1 or does not divide B.
  """
  mask_BxT = mask_BxT.astype(bool)
  # Selected, not multiplied: a masked -inf or NaN must not reach the sum.
  log_q_BxT = jnp.where(mask_BxT, student_log_probs_BxT, 0)
  fixed_BxT = jax.lax.stop_gradient(log_q_BxT)
  cost_BxT = fixed_BxT - jax.lax.stop_gradient(
      jnp.where(mask_BxT, teacher_log_probs_BxT, 0))
  to_go_BxT = jnp.cumsum(cost_BxT[:, ::-1], axis=-1)[:, ::-1]
  if group_size is not None:
    to_go_BxT = _token_advantage(to_go_BxT, group_size)
  # The difference is zero and has the gradient of log Q.
  total = jnp.sum(cost_BxT) + jnp.sum(to_go_BxT * (log_q_BxT - fixed_BxT))
  weight = jnp.sum(mask_BxT, dtype=total.dtype)
  return total, weight, {'log_prob': jnp.sum(fixed_BxT)}


def _token_advantage(to_go_BxT, group_size):
  """Leave-one-out at every token, in groups of consecutive rows."""
  B, T = to_go_BxT.shape
  if group_size < 1 or B % group_size:
    raise UserError(
        f'{B} completions do not make groups of group_size={group_size}: '
        'every prefix needs as many.')
  groups_GxKxT = to_go_BxT.reshape(-1, group_size, T)
  advantage_GxTxK = leave_one_out_advantage(groups_GxKxT.swapaxes(1, 2))
  return advantage_GxTxK.swapaxes(1, 2).reshape(B, T)


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
  rewards_GxK = jnp.asarray(rewards_GxK)
  offset = rewards_GxK - rewards_GxK[..., :1]
  return offset - jnp.mean(offset, axis=-1, keepdims=True)
