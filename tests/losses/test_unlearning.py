"""Gradient ascent and negative preference optimisation, by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sleepjax.errors import UserError
from sleepjax.losses import unlearning

MASK = jnp.array([[1, 1, 0], [1, 0, 0], [0, 0, 0]])
# Probabilities 1/4 · 1/2 and 1/2; what is masked must not be seen.
LOG_PROBS = jnp.log(jnp.array(
    [[0.25, 0.5, 0.0], [0.5, 0.0, 0.1], [0.0, 0.3, 0.3]]))
REFERENCE = jnp.log(jnp.array(
    [[0.5, 1.0, 0.0], [0.5, 0.2, 0.1], [0.1, 0.0, 0.3]]))


def test_ascent_by_hand():
  total, weight, aux = unlearning.gradient_ascent_loss(LOG_PROBS, MASK)
  np.testing.assert_allclose(total, np.log(1 / 8 * 1 / 2), rtol=1e-6)
  assert weight == 2 and aux['log_prob'] == total


def test_negative_preference_by_hand():
  """Ratios 1/4 and 1; beta 1/2: 4 (log(1 + 1/2) + log 2)."""
  total, weight, _ = unlearning.negative_preference_loss(
      LOG_PROBS, REFERENCE, MASK, beta=0.5)
  np.testing.assert_allclose(total, 4 * np.log(1.5 * 2), rtol=1e-6)
  assert weight == 2


def test_its_gradient_is_that_of_ascent_by_a_weight():
  """2 r^beta / (1 + r^beta): 2 · ½ / 1½ and 1, at every token of a row."""
  gradient, of_reference = jax.grad(
      lambda *log_probs: unlearning.negative_preference_loss(
          *log_probs, MASK, beta=0.5)[0], argnums=(0, 1))(LOG_PROBS, REFERENCE)
  np.testing.assert_allclose(
      gradient, [[2 / 3, 2 / 3, 0], [1, 0, 0], [0, 0, 0]], rtol=1e-6)
  np.testing.assert_array_equal(of_reference, 0)
  ascent = jax.grad(lambda log_probs: unlearning.gradient_ascent_loss(
      log_probs, MASK)[0])(LOG_PROBS)
  np.testing.assert_array_equal(ascent, MASK)


def test_a_small_beta_is_ascent():
  gradient = jax.grad(lambda log_probs: unlearning.negative_preference_loss(
      log_probs, REFERENCE, MASK, beta=1e-4)[0])(LOG_PROBS)
  np.testing.assert_allclose(gradient, MASK, atol=1e-3)


def test_beta_must_be_positive():
  with pytest.raises(UserError, match='beta=0.0 must be positive'):
    unlearning.negative_preference_loss(LOG_PROBS, REFERENCE, MASK, 0.0)
