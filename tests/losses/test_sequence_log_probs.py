"""Log-probabilities of tokens from hidden states."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sleepjax.losses import from_hidden as ch


@pytest.mark.parametrize('chunk_rows', [1, 4, 512])
def test_sequence_log_probs(chunk_rows):
  rng = np.random.default_rng(6)
  hidden, head = (rng.normal(size=shape).astype(np.float32)
                  for shape in ((10, 6), (6, 13)))
  targets = rng.integers(0, 13, 10).astype(np.int32)

  def direct(hidden, head):
    log_p = jax.nn.log_softmax(hidden @ head / 0.7)
    return jnp.take_along_axis(log_p, targets[:, None], axis=1)[:, 0]

  def chunked(hidden, head):
    return ch.sequence_log_probs_from_hidden(
        hidden, head, targets, chunk_rows=chunk_rows, temperature=0.7)

  np.testing.assert_allclose(
      chunked(hidden, head), direct(hidden, head), rtol=1e-5)
  np.testing.assert_allclose(
      jax.jit(chunked)(hidden, head), direct(hidden, head), rtol=1e-5)
  batched = ch.sequence_log_probs_from_hidden(
      hidden.reshape(2, 5, -1), head, targets.reshape(2, 5), temperature=0.7,
      chunk_rows=chunk_rows)
  np.testing.assert_allclose(
      batched, direct(hidden, head).reshape(2, 5), rtol=1e-5)
  # Weighted by row, so that rows in a wrong order would show.
  scale = np.arange(1, 11)
  grads, wanted = (
      jax.jit(jax.grad(lambda *x, f=f: f(*x) @ scale, (0, 1)))(hidden, head)
      for f in (chunked, direct))
  for a, b in zip(grads, wanted, strict=True):
    np.testing.assert_allclose(a, b, atol=1e-4)


def test_log_prob_of_a_hopeless_or_meaningless_target_is_finite():
  hidden = np.array([[1e30], [1.0]], np.float32)
  head = np.array([[1.0, -1.0, 0.0]], np.float32)
  value, grad = jax.value_and_grad(
      lambda h: ch.sequence_log_probs_from_hidden(
          h, head, np.array([1, -1])).sum())(hidden)
  assert np.isfinite(value) and np.isfinite(grad).all()
