"""Unlearning: losses that make given completions less likely.

A completion is one event, log pi(y | x) = sum_t log pi(y_t | x, y_<t).
"""

import jax
import jax.numpy as jnp
from jaxtyping import Float, Shaped

from sleepjax.errors import UserError
from sleepjax.losses.policy_gradient import Sums
from sleepjax.models.arrays import AnyArray


def gradient_ascent_loss(
    log_probs_BxT: Float[AnyArray, 'B T'],
    mask_BxT: Shaped[AnyArray, 'B T'],
) -> Sums:
  """Log-likelihood of completions: descent on it is ascent on their loss.

    sum = sum_b log pi(y_b | x_b)

  It has no minimum, and its gradient does not fade where a completion has
  become unlikely.

  Args:
    log_probs_BxT: log-probability of every token.
    mask_BxT: bool or 0/1; true for tokens of completions.

  Returns:
    (sum [], weight [], aux): weight is the number of completions with a token;
    aux holds `log_prob`, the same sum without gradient.
  """
  log_prob_B, present_B = _whole(log_probs_BxT, mask_BxT)
  return jnp.sum(log_prob_B), _number(present_B, log_prob_B), {
      'log_prob': jax.lax.stop_gradient(jnp.sum(log_prob_B))}


def negative_preference_loss(
    log_probs_BxT: Float[AnyArray, 'B T'],
    reference_log_probs_BxT: Float[AnyArray, 'B T'],
    mask_BxT: Shaped[AnyArray, 'B T'],
    beta: float = 0.1,
) -> Sums:
  """Negative preference optimisation (Zhang et al. 2024, arXiv 2404.05868).

    sum = 2 / beta sum_b log(1 + (pi(y_b | x_b) / pi_ref(y_b | x_b))^beta)

  DPO with dispreferred completions alone. Its gradient is that of
  `gradient_ascent_loss` times 2 r^beta / (1 + r^beta), r the ratio: 1 where pi
  is the reference, and the smaller the less likely a completion has become.
  With beta towards 0 it is gradient ascent.

  Args:
    log_probs_BxT: log-probability of every token.
    reference_log_probs_BxT: under the model before it forgets; no gradient.
    mask_BxT: bool or 0/1; true for tokens of completions.
    beta: positive.

  Returns:
    As of `gradient_ascent_loss`.

  Raises:
    UserError: beta <= 0.
  """
  if not beta > 0:
    raise UserError(f'beta={beta} must be positive.')
  log_prob_B, present_B = _whole(log_probs_BxT, mask_BxT)
  reference_B, _ = _whole(reference_log_probs_BxT, mask_BxT)
  ratio_B = beta * (log_prob_B - jax.lax.stop_gradient(reference_B))
  cost_B = 2 / beta * jax.nn.softplus(ratio_B)
  return (jnp.sum(jnp.where(present_B, cost_B, 0)),
          _number(present_B, log_prob_B), {
              'log_prob': jax.lax.stop_gradient(jnp.sum(log_prob_B))})


def _whole(log_probs_BxT, mask_BxT):
  """(log-probability of each completion, whether it has a token)."""
  mask_BxT = mask_BxT.astype(bool)
  # Selected, not multiplied: a masked -inf or NaN must not reach the sum.
  return jnp.where(mask_BxT, log_probs_BxT, 0).sum(-1), mask_BxT.any(-1)


def _number(present_B, like):
  return jnp.sum(present_B, dtype=like.dtype)
