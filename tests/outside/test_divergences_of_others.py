"""Divergences beside those of optax and scipy."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import scipy.spatial
import scipy.special

from sleepjax.losses import divergences

RANDOM = np.random.default_rng(0)
TEACHER, STUDENT = RANDOM.normal(size=(2, 5, 17)).astype(np.float32) * 2
LOG_P, LOG_Q = map(divergences.log_softmax, (TEACHER, STUDENT))
P, Q = map(np.exp, (LOG_P, LOG_Q))


@pytest.mark.parametrize('ours, theirs', [
    (divergences.ForwardKL(), lambda p, q: (q, jnp.exp(p))),
    (divergences.ReverseKL(), lambda p, q: (p, jnp.exp(q)))])
def test_kullback_leibler_and_its_slope(ours, theirs):
  """Theirs takes log-probabilities, and the probabilities of the first."""
  of = lambda function: jax.value_and_grad(lambda logits: function(
      LOG_P, divergences.log_softmax(logits)).sum())(STUDENT)
  value, slope = of(ours)
  expected, expected_slope = of(
      lambda p, q: optax.losses.kl_divergence(*theirs(p, q)))
  assert value == pytest.approx(float(expected), rel=1e-5)
  np.testing.assert_allclose(slope, expected_slope, rtol=1e-4, atol=1e-6)


def test_jensen_shannon():
  np.testing.assert_allclose(
      divergences.JensenShannon(0.5)(LOG_P, LOG_Q),
      scipy.spatial.distance.jensenshannon(P, Q, axis=1) ** 2, rtol=1e-4)


@pytest.mark.parametrize('beta', [0.1, 0.5, 0.9])
def test_mixtures(beta):
  """Theirs is Σ x log(x / y)."""
  kl = lambda x, y: scipy.special.rel_entr(x, y).sum(1)
  middle = beta * P + (1 - beta) * Q
  for ours, expected in (
      (divergences.JensenShannon(beta),
       beta * kl(P, middle) + (1 - beta) * kl(Q, middle)),
      (divergences.SkewedForwardKL(beta), kl(P, middle)),
      (divergences.SkewedReverseKL(beta), kl(Q, beta * Q + (1 - beta) * P))):
    np.testing.assert_allclose(ours(LOG_P, LOG_Q), expected, rtol=1e-4)
