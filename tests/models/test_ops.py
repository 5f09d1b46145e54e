import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sleepjax.models import ops
from sleepjax.models.config import RopeScaling


def normal(*shape, seed=0, scale=1.0):
  return scale * np.random.default_rng(seed).normal(size=shape).astype('f')


def rounded(x):
  """bfloat16 precision in float32."""
  return np.asarray(jnp.asarray(x, jnp.bfloat16).astype(jnp.float32))


@pytest.mark.parametrize('shape', [(5,), (3, 5), (2, 3, 5)], ids=str)
def test_matmul_equals_autodiff_of_dot(shape):
  x, w, g = normal(*shape), normal(5, 4), normal(*shape[:-1], 4, seed=1)
  value, pullback = jax.vjp(ops.matmul, x, w)
  want, want_pullback = jax.vjp(jnp.dot, x, w)
  np.testing.assert_allclose(value, want, rtol=1e-6, atol=1e-6)
  for have, want in zip(pullback(g), want_pullback(g)):
    assert have.shape == want.shape
    np.testing.assert_allclose(have, want, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize('rows', [(3,), (1,), ()], ids=str)
def test_matmul_in_bfloat16_rounds_operands_only(rows):
  """A single row, too, which is multiplied in a way of its own."""
  x, w, g = normal(*rows, 64), normal(64, 8, seed=1), normal(*rows, 8, seed=2)
  value, pullback = jax.vjp(lambda x, w: ops.matmul(x, w, 'bfloat16'), x, w)
  dx, dw = pullback(g)
  assert value.dtype == dx.dtype == dw.dtype == jnp.float32
  tight = dict(rtol=1e-5, atol=1e-5)
  np.testing.assert_allclose(value, rounded(x) @ rounded(w), **tight)
  np.testing.assert_allclose(dx, rounded(g) @ rounded(w).T, **tight)
  np.testing.assert_allclose(
      dw, rounded(x).reshape(-1, 64).T @ rounded(g).reshape(-1, 8), **tight)
  # What these tolerances tell apart: no rounding, and a rounded sum.
  assert np.abs(value - x @ w).max() > 1e-3
  assert np.abs(rounded(value) - value).max() > 1e-3


@pytest.mark.parametrize('dtype', ['float32', 'bfloat16'])
@pytest.mark.parametrize('rows', [(2, 3), (1,), (), (300,)], ids=str)
def test_matmul_with_outputs_first(rows, dtype):
  """Few rows stand on the right, many on the left, and one is not alone."""
  x, w, g = normal(*rows, 64), normal(64, 8, seed=1), normal(*rows, 8, seed=2)
  want, want_pullback = jax.vjp(lambda x, w: ops.matmul(x, w, dtype), x, w)
  have, pullback = jax.vjp(
      lambda x, w: ops.matmul(x, w, dtype, True), x, w.T)
  tight = dict(rtol=1e-5, atol=1e-4)
  np.testing.assert_allclose(have, want, **tight)
  (dx, dw), (want_dx, want_dw) = pullback(g), want_pullback(g)
  np.testing.assert_allclose(dx, want_dx, **tight)
  np.testing.assert_allclose(dw, want_dw.T, **tight)


def test_matmul_gradients_have_the_dtypes_of_their_operands():
  x = jnp.ones((2, 3), jnp.bfloat16)
  w = jnp.ones((3, 4), jnp.float32)
  value, pullback = jax.vjp(lambda x, w: ops.matmul(x, w, 'bfloat16'), x, w)
  dx, dw = pullback(jnp.ones_like(value))
  assert (value.dtype, dx.dtype, dw.dtype) == (
      jnp.float32, jnp.bfloat16, jnp.float32)


def test_matmul_under_vmap():
  x, w = normal(6, 3, 5), normal(6, 5, 4, seed=1)
  np.testing.assert_allclose(
      jax.vmap(ops.matmul)(x, w), np.einsum('bta,bac->btc', x, w), rtol=1e-5,
      atol=1e-5)
  np.testing.assert_allclose(
      jax.vmap(ops.matmul, (None, 0))(x[0], w),
      np.einsum('ta,bac->btc', x[0], w), rtol=1e-5, atol=1e-5)
  loss = lambda dot: lambda x, w: jnp.square(dot(x, w)).sum()
  for have, want in zip(
      jax.vmap(jax.grad(loss(ops.matmul), (0, 1)))(x, w),
      jax.vmap(jax.grad(loss(jnp.dot), (0, 1)))(x, w)):
    np.testing.assert_allclose(have, want, rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize('scale', [1e-3, 1.0, 1e4])
def test_rms_norm(scale):
  x, weight = normal(3, 32, scale=scale), normal(32, seed=1)
  exact = x.astype(np.float64)
  exact /= np.sqrt(np.square(exact).mean(-1, keepdims=True) + 1e-5)
  np.testing.assert_allclose(
      ops.rms_norm(x, weight, 1e-5), exact * weight, rtol=1e-5, atol=1e-6)


def test_rms_norm_by_hand():
  have = ops.rms_norm(jnp.array([3.0, 4.0]), jnp.array([1.0, 2.0]), 0.0)
  root = np.sqrt(12.5)
  np.testing.assert_allclose(have, [3 / root, 8 / root], rtol=1e-6)
  zero = ops.rms_norm(jnp.zeros(4), jnp.ones(4), 1e-5)
  np.testing.assert_array_equal(zero, np.zeros(4))


def test_rms_norm_of_bfloat16_is_computed_in_float32():
  x = jnp.asarray(normal(2, 64), jnp.bfloat16)
  have = ops.rms_norm(x, jnp.ones(64, jnp.bfloat16), 1e-5)
  assert have.dtype == jnp.float32
  np.testing.assert_allclose(
      have, ops.rms_norm(rounded(x), jnp.ones(64), 1e-5), rtol=1e-6)


def test_rope_frequencies_by_hand():
  np.testing.assert_allclose(
      ops.rope_frequencies(4, 10_000.0), [1, 0.01], rtol=1e-6)
  np.testing.assert_allclose(
      ops.rope_frequencies(8, 16.0), [1, 0.5, 0.25, 0.125], rtol=1e-6)


@pytest.mark.parametrize('low, high, want', [
    (1.0, 9.0, 1.0),         # Ten turns: more than `high`, kept.
    (11.0, 20.0, 0.125),     # Fewer than `low`: divided by the factor.
    (5.0, 15.0, 0.5625),     # Half way: the mean of 1 and 1/8.
    (9.0, 13.0, 0.34375),    # A quarter of the way.
])
def test_llama3_scaling_by_hand(low, high, want):
  # A context of 20π would be ten turns of frequency 1; this one is 10.03.
  turns = 63 / (2 * np.pi)
  low, high = low * turns / 10, high * turns / 10
  scaling = RopeScaling(8.0, low, high, 63)
  have = ops.rope_frequencies(2, 10_000.0, scaling)
  np.testing.assert_allclose(have, [want], rtol=1e-5)


def test_llama3_scaling_of_llama_3_1():
  """In wavelengths, as the setting was published, and in float64."""
  plain = 500_000.0 ** -(np.arange(0, 128, 2) / 128)
  want = []
  for frequency in plain:
    wavelength = 2 * np.pi / frequency
    if wavelength < 8192 / 4:
      want.append(frequency)
    elif wavelength > 8192 / 1:
      want.append(frequency / 8)
    else:
      smooth = (8192 / wavelength - 1) / (4 - 1)
      want.append((1 - smooth) * frequency / 8 + smooth * frequency)
  have = ops.rope_frequencies(128, 500_000.0, RopeScaling(8.0, 1.0, 4.0, 8192))
  np.testing.assert_allclose(have, want, rtol=1e-5)
  # 64 ln(8192 / 8π) / ln(500,000) = 28.2, and with 2π for 8π it is 35.0.
  kept, divided = np.isclose(have, plain), np.isclose(have, plain / 8)
  assert np.flatnonzero(kept).tolist() == list(range(29))
  assert np.flatnonzero(divided).tolist() == list(range(35, 64))


def test_rotate_is_a_turn_of_complex_numbers():
  x = normal(2, 3, 4, 8)
  positions = np.array([[0, 1, 7], [100, 255, 3]])
  frequencies = ops.rope_frequencies(8, 100.0)
  exact = np.asarray(frequencies, np.float64)
  turned = (x[..., :4] + 1j * x[..., 4:]) * np.exp(
      1j * positions[..., None, None] * exact)
  for branch in (False, True):
    have = ops.rotate(
        x, ops.rotation(jnp.asarray(positions), frequencies, branch))
    np.testing.assert_allclose(
        have, np.concatenate([turned.real, turned.imag], -1), atol=2e-5)
    np.testing.assert_array_equal(have[0, 0], x[0, 0])


def test_scores_of_rotated_vectors_depend_on_distance_only():
  q, k = normal(1, 1, 1, 8), normal(1, 1, 1, 8, seed=1)
  frequencies = ops.rope_frequencies(8, 100.0)
  turn = lambda x, at: ops.rotate(
      x, ops.rotation(jnp.array([[at]]), frequencies))
  score = lambda i, j: float((turn(q, i) * turn(k, j)).sum())
  assert abs(score(9, 4) - score(25, 20)) < 1e-5
  assert abs(score(9, 4) - score(4, 9)) > 1e-2


def brute_force_attention(q, parts):
  """One query of one row at a time, in float64."""
  B, T, H, K = q.shape
  group = H // parts[0][0].shape[2]
  out = np.zeros(q.shape)
  for b, t, h in np.ndindex(B, T, H):
    scores, values = [], []
    for k, v, allowed in parts:
      row = lambda x, b=b: x[b if x.shape[0] > 1 else 0]
      seen = row(allowed)
      seen = seen[t if seen.shape[0] > 1 else 0]
      for s in np.flatnonzero(seen):
        scores.append(q[b, t, h].astype(float) @ row(k)[s, h // group])
        values.append(row(v)[s, h // group].astype(float))
    weights = np.exp(np.array(scores) / K ** 0.5)
    out[b, t, h] = weights / weights.sum() @ np.array(values)
  return out


def attention_inputs():
  """Queries, and parts of all kinds: shared, per row, and causal."""
  random = np.random.default_rng(0)
  B, T, H, G, K = 3, 4, 6, 2, 8
  part = lambda batch, length, allowed: (
      normal(batch, length, G, K, seed=length),
      normal(batch, length, G, K, seed=length + 1), allowed)
  causal = np.tril(np.ones((T, T), bool))[None] & random.choice(
      [True, False], (B, 1, T), p=[0.8, 0.2])
  causal |= np.eye(T, dtype=bool)
  return normal(B, T, H, K, scale=2.0), [
      part(1, 5, np.array([[[True, True, False, True, False]]])),
      part(B, 7, random.choice([True, False], (B, 1, 7))),
      part(1, 3, random.choice([True, False], (B, 1, 3))),
      part(B, T, causal)]


def test_attend_equals_brute_force():
  q, parts = attention_inputs()
  np.testing.assert_allclose(
      ops.attend(q, parts, 'float32'), brute_force_attention(q, parts),
      rtol=1e-5, atol=1e-5)


def test_shared_part_equals_tiled_part():
  q, parts = attention_inputs()
  tiled = [tuple(np.repeat(x, 3 // x.shape[0], 0) for x in part)
           for part in parts]
  np.testing.assert_allclose(
      ops.attend(q, parts, 'float32'), ops.attend(q, tiled, 'float32'),
      rtol=1e-6, atol=1e-6)


def test_masked_keys_are_not_read():
  q, parts = attention_inputs()
  want = ops.attend(q, parts, 'float32')
  removed = [parts[3]]
  for k, v, allowed in parts[:3]:
    k, v, allowed = (np.array(x) for x in (k, v, allowed))
    hidden = ~allowed.any((0, 1))
    k[:, hidden] = v[:, hidden] = 1e6
    removed.append((k, v, allowed))
  assert any(not a.any((0, 1)).all() for _, _, a in parts[:3])
  np.testing.assert_allclose(
      ops.attend(q, removed, 'float32'), want, rtol=1e-5, atol=1e-5)


def test_attend_in_bfloat16_is_close_and_accumulates_in_float32():
  q, parts = attention_inputs()
  exact = ops.attend(q, parts, 'float32')
  have = ops.attend(q, parts, 'bfloat16')
  assert have.dtype == jnp.float32
  assert 1e-4 < np.abs(have - exact).max() < 0.1


def test_attend_stays_finite():
  q, parts = attention_inputs()
  nothing = [(k, v, np.zeros_like(a)) for k, v, a in parts]
  assert np.isfinite(ops.attend(q, nothing, 'float32')).all()
  assert np.isfinite(ops.attend(1e6 * q, parts, 'float32')).all()
  gradient = jax.jit(jax.grad(
      lambda q: ops.attend(q, nothing, 'float32').sum()))(q)
  assert np.isfinite(gradient).all()
