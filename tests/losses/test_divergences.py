import dataclasses
import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sleepjax.errors import UserError
from sleepjax.losses import divergences as dv

BETA, TOP_K = 0.3, 3
KINDS = tuple(dv.DIVERGENCES)

forward_kl = functools.partial(dv.of_logits, dv.ForwardKL())
reverse_kl = functools.partial(dv.of_logits, dv.ReverseKL())


def with_option(divergence):
  return lambda teacher, student, option, temperature=1.0: dv.of_logits(
      divergence(option), teacher, student, temperature)


jensen_shannon = with_option(dv.JensenShannon)
skewed_forward_kl = with_option(dv.SkewedForwardKL)
skewed_reverse_kl = with_option(dv.SkewedReverseKL)
top_k_forward_kl = with_option(dv.TopKForwardKL)


def from_logits(kind, teacher, student, temperature=1.0):
  """As configurations name it."""
  divergence = dv.DivergenceConfig(kind, beta=BETA, top_k=TOP_K).make()
  return dv.of_logits(divergence, teacher, student, temperature)


def softmax(x):
  e = np.exp(np.float64(x) - np.max(x, -1, keepdims=True))
  return e / e.sum(-1, keepdims=True)


def buckets(p, q, k):
  """The top k of p and the rest as one, [..., k + 1] of both."""
  order = np.argsort(-p, axis=-1, kind='stable')
  p, q = (np.take_along_axis(x, order, -1) for x in (p, q))
  return [np.concatenate(
      [x[..., :k], x[..., k:].sum(-1, keepdims=True)], -1) for x in (p, q)]


def reference(kind, teacher, student, temperature=1.0, beta=BETA):
  """Float64, straight from the definitions."""
  def kl(a, b):
    return (a * np.log(a / b)).sum(-1)

  p, q = softmax(teacher / temperature), softmax(student / temperature)
  m = beta * p + (1 - beta) * q
  return {
      'forward_kl': kl(p, q), 'reverse_kl': kl(q, p),
      'jsd': beta * kl(p, m) + (1 - beta) * kl(q, m),
      'skewed_forward_kl': kl(p, m),
      'skewed_reverse_kl': kl(q, beta * q + (1 - beta) * p),
      'top_k_forward_kl': kl(*buckets(p, q, TOP_K))}[kind]


def test_values_worked_by_hand():
  teacher, student = np.log([1 / 2, 1 / 2]), np.log([1 / 4, 3 / 4])
  log = math.log
  np.testing.assert_allclose(
      forward_kl(teacher, student), log(2) / 2 + log(2 / 3) / 2, rtol=1e-5)
  np.testing.assert_allclose(
      reverse_kl(teacher, student), log(1 / 2) / 4 + log(3 / 2) * 3 / 4,
      rtol=1e-5)
  # beta = 1/4 on the teacher: the mixture is (5/16, 11/16).
  to_teacher = log(16 / 10) / 2 + log(16 / 22) / 2
  to_student = log(16 / 20) / 4 + log(48 / 44) * 3 / 4
  np.testing.assert_allclose(
      jensen_shannon(teacher, student, 0.25),
      to_teacher / 4 + to_student * 3 / 4, rtol=1e-5)
  np.testing.assert_allclose(
      skewed_forward_kl(teacher, student, 0.25), to_teacher, rtol=1e-5)
  # beta = 1/4 on the student: the mixture is (7/16, 9/16).
  np.testing.assert_allclose(
      skewed_reverse_kl(teacher, student, 0.25),
      log(4 / 7) / 4 + log(4 / 3) * 3 / 4, rtol=1e-5)


@pytest.mark.parametrize('top_k, value', [
    (1, math.log(2) / 2 + math.log(2 / 3) / 2),
    (2, math.log(2) / 2 + math.log(1 / 2) / 4),
    (3, math.log(2) / 2 + math.log(1 / 3) / 8),
    (4, math.log(2) / 2 + math.log(1 / 3) / 8)])
def test_top_k_worked_by_hand(top_k, value):
  """Whatever the order of the tokens."""
  teacher = np.log([1 / 2, 1 / 4, 1 / 8, 1 / 8])
  student = np.log([1 / 4, 1 / 4, 1 / 8, 3 / 8])
  for order in ([0, 1, 2, 3], [3, 0, 2, 1]):
    np.testing.assert_allclose(
        top_k_forward_kl(teacher[order], student[order], top_k), value,
        rtol=1e-5)


def test_top_k_takes_lower_ids_of_equally_likely_tokens():
  student = np.log([0.1, 0.2, 0.3, 0.4])
  np.testing.assert_allclose(
      top_k_forward_kl(np.zeros(4), student, 2),
      (math.log(2.5) + math.log(1.25)) / 4 + math.log(5 / 7) / 2, rtol=1e-5)


@pytest.mark.parametrize('kind', KINDS)
@pytest.mark.parametrize('temperature', [1.0, 0.7])
def test_matches_the_definition(kind, temperature):
  rng = np.random.default_rng(1)
  teacher, student = (
      2 * rng.normal(size=(2, 4, 3, 11))).astype(np.float32)
  plain = lambda *x: from_logits(kind, *x, temperature)
  for function in (plain, jax.jit(plain)):
    value = function(teacher, student)
    assert value.shape == (4, 3) and value.dtype == jnp.float32
    np.testing.assert_allclose(
        value, reference(kind, teacher, student, temperature), rtol=2e-5)


@pytest.mark.parametrize('kind', KINDS)
def test_equal_distributions_are_at_distance_zero(kind):
  logits = np.random.default_rng(2).normal(size=(5, 7)).astype(np.float32)
  np.testing.assert_allclose(
      from_logits(kind, logits, logits + 3), 0, atol=1e-6)


def test_jensen_shannon_tends_to_the_two_kls():
  with jax.enable_x64(True):
    teacher, student = np.random.default_rng(3).normal(size=(2, 5, 7))
    small = 1e-6
    np.testing.assert_allclose(
        jensen_shannon(teacher, student, small) / small,
        forward_kl(teacher, student), rtol=1e-4)
    np.testing.assert_allclose(
        jensen_shannon(teacher, student, 1 - small) / small,
        reverse_kl(teacher, student), rtol=1e-4)
    np.testing.assert_allclose(
        jensen_shannon(teacher, student, 0.2),
        jensen_shannon(student, teacher, 0.8), rtol=1e-12)


def test_skewed_kls_tend_to_the_plain_ones_and_make_up_jensen_shannon():
  with jax.enable_x64(True):
    teacher, student = np.random.default_rng(3).normal(size=(2, 5, 7))
    for skewed, plain in ((skewed_forward_kl, forward_kl),
                          (skewed_reverse_kl, reverse_kl)):
      np.testing.assert_allclose(
          skewed(teacher, student, 1e-6), plain(teacher, student), rtol=1e-4)
      assert (skewed(teacher, student, 1 - 1e-6) < 1e-9).all()
    np.testing.assert_allclose(
        skewed_reverse_kl(teacher, student, 0.2),
        skewed_forward_kl(student, teacher, 0.2), rtol=1e-12)
    np.testing.assert_allclose(
        0.2 * skewed_forward_kl(teacher, student, 0.2)
        + 0.8 * skewed_reverse_kl(teacher, student, 0.8),
        jensen_shannon(teacher, student, 0.2), rtol=1e-12)


def test_top_k_bounds_the_forward_kl_from_below_and_reaches_it():
  with jax.enable_x64(True):
    rng = np.random.default_rng(7)
    teacher, student = rng.normal(size=(2, 50, 6)) * rng.uniform(0, 9, (50, 1))
    whole = forward_kl(teacher, student)
    values = [top_k_forward_kl(teacher, student, k) for k in range(1, 7)]
    assert (np.diff([0 * whole, *values], axis=0) > -1e-12).all()
    np.testing.assert_allclose(values[-2], whole, rtol=1e-12)
    np.testing.assert_allclose(values[-1], whole, rtol=1e-12)
    assert (values[-3] < whole).mean() > 0.9
  # A small rest is not lost to rounding.
  teacher, student = np.array([[3, 2, 1, 0], [40, 0, 10, -5]], np.float32)
  np.testing.assert_allclose(
      top_k_forward_kl(teacher, student, 3),
      reference('forward_kl', teacher, student), rtol=1e-6)


def test_forward_kl_gradient_is_student_minus_teacher():
  teacher, student = np.random.default_rng(4).normal(size=(2, 9)).astype('f')
  grad = jax.grad(forward_kl, argnums=1)(teacher, student, 2.0)
  np.testing.assert_allclose(
      grad, (jax.nn.softmax(student / 2) - jax.nn.softmax(teacher / 2)) / 2,
      atol=1e-6)


def test_gradients_of_the_other_forward_kls_by_formula():
  with jax.enable_x64(True):
    teacher, student = np.random.default_rng(4).normal(size=(2, 9))
    p, q = softmax(teacher), softmax(student)
    pull = p * (1 - BETA) * q / (BETA * p + (1 - BETA) * q)
    grad = jax.grad(skewed_forward_kl, argnums=1)(teacher, student, BETA)
    np.testing.assert_allclose(grad, q * pull.sum() - pull, atol=1e-12)
    rest = np.argsort(-p)[TOP_K:]
    target = p.copy()
    target[rest] = q[rest] / q[rest].sum() * p[rest].sum()
    grad = jax.grad(top_k_forward_kl, argnums=1)(teacher, student, TOP_K)
    np.testing.assert_allclose(grad, q - target, atol=1e-12)


@pytest.mark.parametrize('kind', KINDS)
@pytest.mark.parametrize('argument', [0, 1])
def test_gradient_matches_finite_differences(kind, argument):
  with jax.enable_x64(True):
    logits = np.random.default_rng(5).normal(size=(2, 6))

    def value(x):
      both = list(logits)
      both[argument] = x
      return from_logits(kind, *both, 0.8)

    grad = jax.jit(jax.grad(value))(logits[argument])
    assert grad.dtype == jnp.float64
    step = 1e-6 * np.eye(6)
    batch = jax.jit(jax.vmap(value))
    numeric = (
        batch(logits[argument] + step) - batch(logits[argument] - step)) / 2e-6
    np.testing.assert_allclose(grad, numeric, atol=1e-8)


@pytest.mark.parametrize('kind', KINDS)
def test_extreme_logits_stay_finite(kind):
  extremes = np.array([
      [1e30, -1e30, 0, 5],
      [-1e30, 1e30, 0, 5],
      [3e38, -3e38, 0, 1],
      [0, -np.inf, 1, -np.inf],
      [-np.inf, 0, 1, -np.inf],
      [0, 0, 0, 0]], np.float32)
  teacher = np.repeat(extremes, 6, axis=0)
  student = np.tile(extremes, (6, 1))
  value, grad = jax.jit(jax.vmap(jax.value_and_grad(
      lambda t, s: from_logits(kind, t, s, 0.1), argnums=1)))(
          teacher, student)
  assert np.isfinite(value).all() and np.isfinite(grad).all()
  # A row against itself.
  np.testing.assert_allclose(value[::7], 0, atol=1e-6)


def logits_with_offset(offset, seed=0):
  """[3, 49152] float32 of a likely teacher and of a student close to it."""
  rng = np.random.default_rng(seed)
  teacher = 3 * rng.normal(size=(3, 49_152))
  student = teacher + 0.02 * rng.normal(size=teacher.shape)
  return [(x + offset).astype(np.float32) for x in (teacher, student)]


@pytest.mark.parametrize('offset', [0, 1e3, -1e5, 1e5])
@pytest.mark.parametrize('temperature', [1.0, 0.1])
def test_a_common_offset_changes_nothing(offset, temperature):
  """Against float64 on the same float32 logits, which the offset rounds."""
  teacher, student = logits_with_offset(offset)
  p, q = (softmax(np.float64(x) / temperature) for x in (teacher, student))
  have = jax.jit(dv.log_softmax)(teacher, temperature)
  likely = p > 1e-12
  assert np.abs(have - np.log(p))[likely].max() < 4e-6
  np.testing.assert_allclose(
      jax.jit(forward_kl)(teacher, student, temperature),
      (p * np.log(p / q)).sum(-1), rtol=1e-4, atol=4e-6)
  np.testing.assert_allclose(
      jax.jit(jax.grad(lambda x: forward_kl(
          teacher, x, temperature).sum()))(student),
      (q - p) / temperature, atol=1e-6 / temperature)
  # Of equal distributions, whatever the offsets of both, there is little.
  far = (teacher - np.float32(offset)) + np.float32(offset)
  value = jax.jit(forward_kl)(far, far - np.float32(offset), temperature)
  np.testing.assert_allclose(value, 0, atol=4e-6)


@pytest.mark.parametrize('kind', KINDS)
def test_every_divergence_ignores_a_common_offset(kind):
  teacher, student = (x[:, :99] for x in logits_with_offset(1e5))
  run = jax.jit(jax.value_and_grad(
      lambda t, s: from_logits(kind, t, s, 0.1).sum(), argnums=1))
  value, grad = run(teacher, student)
  shift = np.float32(1e5)  # Exact: the logits are multiples of 2^-7.
  want, want_grad = run(teacher - shift, student - shift)
  np.testing.assert_allclose(value, want, rtol=1e-5, atol=1e-6)
  np.testing.assert_allclose(grad, want_grad, atol=1e-5)
  np.testing.assert_allclose(
      value, reference(kind, np.float64(teacher), np.float64(student), 0.1
                       ).sum(), rtol=1e-4, atol=2e-6)


def test_mixtures_bound_the_divergence_of_disjoint_supports():
  logits = np.array([100.0, -100.0], np.float32)
  entropy = -BETA * math.log(BETA) - (1 - BETA) * math.log(1 - BETA)
  np.testing.assert_allclose(
      jensen_shannon(logits, -logits, BETA), entropy, rtol=1e-6)
  for skewed in (skewed_forward_kl, skewed_reverse_kl):
    np.testing.assert_allclose(
        skewed(logits, -logits, BETA), -math.log(BETA), rtol=1e-6)


@pytest.mark.parametrize('settings, message', [
    ({'kind': 'kl'}, "kind='kl' is no divergence"),
    ({'kind': 'jsd', 'beta': 0.0}, 'beta=0.0 must lie inside'),
    ({'kind': 'jsd', 'beta': 1.0}, 'beta=1.0 must lie inside'),
    ({'kind': 'skewed_forward_kl', 'beta': 0.0}, 'at 0 this is forward_kl'),
    ({'kind': 'skewed_reverse_kl', 'beta': 0.0}, 'at 0 this is reverse_kl'),
    ({'kind': 'skewed_reverse_kl', 'beta': 1.0}, 'beta=1.0 must lie inside'),
    ({'kind': 'top_k_forward_kl', 'top_k': 0}, 'top_k=0 must be at least 1'),
    ({'temperature': 0.0}, 'temperature'),
    ({'chunk_rows': 0}, 'chunk_rows')])
def test_config_refuses(settings, message):
  with pytest.raises(UserError, match=message):
    dv.DivergenceConfig(**settings)


def test_config_ignores_what_the_kind_does_not_use():
  dv.DivergenceConfig('forward_kl', beta=0.0, top_k=0)
  dv.DivergenceConfig('jsd', top_k=0)
  dv.DivergenceConfig('top_k_forward_kl', beta=1.0)


def test_a_name_sets_every_field_of_its_divergence():
  config = {'beta': 0.2, 'top_k': 5}
  for kind, divergence in dv.DIVERGENCES.items():
    made = dv.DivergenceConfig(kind, **config).make()
    assert type(made) is divergence
    assert dataclasses.asdict(made).items() <= config.items()


def test_bad_arguments_are_named():
  logits = np.zeros((2, 5), np.float32)
  for function in (
      jensen_shannon, skewed_forward_kl, skewed_reverse_kl):
    with pytest.raises(UserError, match='beta=1.0'):
      function(logits, logits, 1.0)
  with pytest.raises(UserError, match='top_k=0'):
    top_k_forward_kl(logits, logits, 0)
  with pytest.raises(UserError, match='top_k=6 must not exceed the 5 tokens'):
    top_k_forward_kl(logits, logits, 6)
