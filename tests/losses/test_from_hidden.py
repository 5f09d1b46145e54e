import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sleepjax.errors import UserError
from sleepjax.losses import divergences as dv
from sleepjax.losses import from_hidden as ch

BETA, TOP_K = 0.3, 3
KINDS = tuple(dv.DIVERGENCES)
FORWARD, JSD = dv.ForwardKL(), dv.JensenShannon()

forward_kl = functools.partial(dv.of_logits, FORWARD)


def of(kind, **settings):
  return dv.DivergenceConfig(kind, **settings).make()


def rows(num_rows=10, student_dim=6, teacher_dim=5, vocab=13, seed=0):
  rng = np.random.default_rng(seed)
  def draw(*shape):
    return rng.normal(size=shape).astype(np.float32)
  weight = rng.choice([0, 1, 1, 0.5], num_rows).astype(np.float32)
  th, tw = draw(num_rows, teacher_dim), draw(teacher_dim, vocab)
  sh, sw = draw(num_rows, student_dim), draw(student_dim, vocab)
  # Related models, so that they agree on some rows.
  sh[:, :teacher_dim] = th
  sw[:teacher_dim] += 2 * tw
  return th, tw, sh, sw, weight


def divergence_from_hidden(divergence, th, tw, sh, sw, weight, **options):
  return ch.divergence_from_hidden(
      divergence, (th, tw), (sh, sw), weight, **options)


def check_same(chunked, direct, sh, sw, weight, masked_sh=None):
  """Value and gradients in student and head; returns the chunked auxiliaries.

  `chunked` reads `masked_sh`, if given, in place of `sh`.
  """
  expected, expected_grads = jax.jit(
      jax.value_and_grad(direct, (0, 1)))(sh, sw)
  read_sh = sh if masked_sh is None else masked_sh
  (loss, (total, aux)), grads = jax.jit(jax.value_and_grad(
      chunked, (0, 1), has_aux=True))(read_sh, sw)
  np.testing.assert_allclose(loss, expected, rtol=1e-5)
  np.testing.assert_allclose(total, weight.sum())
  for grad, wanted in zip(grads, expected_grads, strict=True):
    np.testing.assert_allclose(grad, wanted, atol=1e-5)
  return aux


@pytest.mark.parametrize('kind, chunk_rows', [
    ('forward_kl', 3), ('forward_kl', 512), ('reverse_kl', 4), ('jsd', 1),
    ('jsd', 10), ('skewed_forward_kl', 4), ('skewed_reverse_kl', 3),
    ('top_k_forward_kl', 4)])
def test_chunks_change_nothing(kind, chunk_rows):
  th, tw, sh, sw, weight = rows()
  divergence = of(kind, beta=BETA, top_k=TOP_K)

  def direct(sh, sw):
    value = dv.of_logits(divergence, th @ tw, sh @ sw, temperature=1.3)
    return jnp.sum(weight * value)

  def chunked(sh, sw):
    loss, total, aux = divergence_from_hidden(
        divergence, th, tw, sh, sw, weight, temperature=1.3,
        chunk_rows=chunk_rows)
    return loss, (total, aux)

  aux = check_same(chunked, direct, sh, sw, weight)
  log_q = jax.nn.log_softmax(sh @ sw / 1.3)
  np.testing.assert_allclose(
      aux['student_entropy'], -weight @ (np.exp(log_q) * log_q).sum(-1),
      rtol=1e-5)
  agree = (th @ tw).argmax(-1) == (sh @ sw).argmax(-1)
  assert 0 < agree.sum() < len(agree)
  np.testing.assert_allclose(aux['top1_agreement'], weight @ agree)


@pytest.mark.parametrize('temperature', [1.0, 1.3])
def test_log_probs_of_tokens_join_the_sum(temperature):
  """Rows may count in either sum, in both or in none; weights have any sign."""
  th, tw, sh, sw, weight = rows()
  rng = np.random.default_rng(8)
  targets = rng.integers(0, 13, 10).astype(np.int32)
  likelihood = np.array([1, -2, 0, 0.5, 0, -1, 3, 0, 1, -1], np.float32)
  weight[[2, 3, 4]] = 0, 0, 1
  nothing = (weight == 0) & (likelihood == 0)
  assert nothing.any() and ((weight == 0) & (likelihood != 0)).any()

  def direct(sh, sw):
    log_q = jax.nn.log_softmax(sh @ sw)[np.arange(10), targets]
    return (weight @ forward_kl(th @ tw, sh @ sw, temperature=temperature)
            + likelihood @ log_q)

  def chunked(sh, sw):
    loss, total, aux = divergence_from_hidden(
        FORWARD, np.where(weight[:, None] == 0, np.nan, th), tw, sh, sw,
        weight, targets=(targets, likelihood),
        temperature=temperature, chunk_rows=4)
    return loss, (total, aux)

  sh_or_nan = np.where(nothing[:, None], np.nan, sh)
  aux = check_same(chunked, direct, sh, sw, weight, sh_or_nan)
  alone = divergence_from_hidden(
      FORWARD, th, tw, sh_or_nan, sw, weight, temperature=temperature)
  np.testing.assert_allclose(aux['divergence'], alone[0], rtol=1e-5)
  for name, value in alone[2].items():
    np.testing.assert_allclose(aux[name], value, rtol=1e-5)


@pytest.mark.parametrize('kind', ['jsd', 'top_k_forward_kl'])
def test_masked_rows_equal_removed_rows(kind):
  th, tw, sh, sw, weight = rows()
  keep = weight != 0
  assert 0 < keep.sum() < len(keep)
  run = jax.jit(functools.partial(
      divergence_from_hidden, of(kind, top_k=TOP_K), chunk_rows=4))
  loss, total, aux = run(th, tw, sh, sw, weight)
  less = run(th[keep], tw, sh[keep], sw, weight[keep])
  np.testing.assert_allclose(loss, less[0], rtol=1e-5)
  np.testing.assert_allclose(total, less[1])
  for name, value in aux.items():
    np.testing.assert_allclose(value, less[2][name], rtol=1e-5)


@pytest.mark.parametrize('kind', KINDS)
def test_masked_rows_are_exactly_silent_whatever_they_hold(kind):
  th, tw, sh, sw, weight = rows()
  masked = weight == 0

  @jax.jit
  @functools.partial(jax.value_and_grad, argnums=(0, 1))
  def loss(sh, sw, th):
    return divergence_from_hidden(
        of(kind, top_k=TOP_K), th, tw, sh, sw, weight, chunk_rows=4)[0]

  clean, clean_grads = loss(sh, sw, th)
  for content in (1e30, -3e38, np.inf, np.nan):
    dirty_sh, dirty_th = sh.copy(), th.copy()
    dirty_sh[masked] = dirty_th[masked] = content
    dirty, grads = loss(dirty_sh, sw, dirty_th)
    assert dirty == clean
    assert (np.asarray(grads[0])[masked] == 0).all()
    assert (np.asarray(grads[0])[~masked] != 0).any(axis=1).all()
    for grad, wanted in zip(grads, clean_grads, strict=True):
      np.testing.assert_array_equal(grad, wanted)


def test_all_rows_masked_and_no_rows_give_zero():
  th, tw, sh, sw, weight = rows()
  for num_rows in (10, 0):
    loss, total, aux = divergence_from_hidden(
        FORWARD, th[:num_rows], tw, sh[:num_rows], sw,
        0 * weight[:num_rows])
    assert loss == 0 and total == 0 and not any(aux.values())


@pytest.mark.parametrize('kind', KINDS)
def test_teacher_gets_no_gradient(kind):
  th, tw, sh, sw, weight = rows()
  grads = jax.jit(jax.grad(
      lambda th, tw: divergence_from_hidden(
          of(kind, top_k=TOP_K), th, tw, sh, sw, weight)[0], (0, 1)))(th, tw)
  for grad in grads:
    assert not np.any(grad)


def test_one_head_shared_by_teacher_and_student_learns_as_the_students():
  th, tw, sh, _, weight = rows(student_dim=5)
  run = functools.partial(divergence_from_hidden, dv.ReverseKL())
  shared = jax.grad(lambda w: run(th, w, sh, w, weight)[0])(tw)
  student = jax.grad(lambda w: run(th, tw, sh, w, weight)[0])(tw)
  np.testing.assert_array_equal(shared, student)
  assert np.any(student)


def test_batch_shape_is_flattened_to_rows():
  th, tw, sh, sw, weight = rows(12)
  run = jax.jit(
      functools.partial(divergence_from_hidden, JSD, chunk_rows=5))
  flat = run(th, tw, sh, sw, weight)
  batched = run(
      th.reshape(3, 4, -1), tw, sh.reshape(3, 4, -1), sw,
      weight.reshape(3, 4))
  jax.tree.map(
      lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6), flat, batched)


def test_jit_and_vmap_agree_with_plain_calls():
  th, tw, sh, sw, weight = rows(12)

  def loss(th, sh, weight):
    out = divergence_from_hidden(
        JSD, th, tw, sh, sw, weight, chunk_rows=5)
    return out[0], out

  grad = jax.jit(jax.grad(loss, 1, has_aux=True))
  jitted = grad(th, sh, weight)
  plain = jax.grad(loss, 1, has_aux=True)(th, sh, weight)
  jax.tree.map(
      lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5), plain, jitted)
  groups = [x.reshape(3, 4, *x.shape[1:]) for x in (th, sh, weight)]
  mapped_grad, mapped = jax.vmap(grad)(*groups)
  np.testing.assert_allclose(
      mapped_grad.reshape(sh.shape), plain[0], atol=1e-5)
  jax.tree.map(
      lambda a, b: np.testing.assert_allclose(a.sum(0), b, rtol=1e-5),
      mapped, plain[1])


def largest_intermediate(jaxpr):
  largest = 0
  for eqn in jaxpr.eqns:
    for var in eqn.outvars:
      largest = max(largest, math.prod(var.aval.shape))
    for value in jax.tree.leaves(
        eqn.params, is_leaf=lambda x: hasattr(x, 'eqns') or hasattr(x, 'jaxpr')
    ):
      inner = getattr(value, 'jaxpr', value)
      if hasattr(inner, 'eqns'):
        largest = max(largest, largest_intermediate(inner))
  return largest


@pytest.mark.parametrize('kind', ['jsd', 'top_k_forward_kl'])
def test_no_tensor_is_larger_than_one_chunk_of_logits(kind):
  num_rows, dim, vocab, chunk = 64, 4, 101, 8
  th, tw, sh, sw, weight = rows(num_rows, dim, dim, vocab)
  targets = np.zeros(num_rows, np.int32)

  def divergence(sh, sw):
    return divergence_from_hidden(
        of(kind), th, tw, sh, sw, weight, chunk_rows=chunk)[0]

  def log_prob(sh, sw):
    return ch.sequence_log_probs_from_hidden(
        sh, sw, targets, chunk_rows=chunk).sum()

  def direct(sh, sw):
    return jnp.sum(forward_kl(th @ tw, sh @ sw))

  def measure(fn):
    return largest_intermediate(
        jax.make_jaxpr(jax.value_and_grad(fn, (0, 1)))(sh, sw).jaxpr)

  assert measure(direct) == num_rows * vocab
  assert measure(divergence) == chunk * vocab
  assert measure(log_prob) == chunk * vocab


def test_logits_are_computed_once_where_the_head_is_frozen():
  """The compiled program has one product for the logits of each model, and one
  for the gradient."""
  th, tw, sh, sw, weight = rows()
  tokens = (np.arange(10), weight)

  def products(*learnt, targets=None):
    def loss(sh, sw):
      return divergence_from_hidden(
          FORWARD, th, tw, sh, sw, weight, chunk_rows=3,
          targets=targets)[0]

    compiled = jax.jit(jax.grad(loss, learnt)).lower(sh, sw).compile()
    return compiled.as_text().count(' dot(')

  assert products(0) == products(0, targets=tokens) == 3
  assert products(0, 1) > 4  # A gradient in the head computes them again.


def test_own_matmul_is_used_forward_and_backward():
  th, tw, sh, sw, weight = rows()

  @jax.custom_vjp
  def rounded(x, w):
    return jnp.dot(
        x.astype(jnp.bfloat16), w.astype(jnp.bfloat16),
        preferred_element_type=jnp.float32)

  # A backward pass unlike the true one, to see that it is the one that runs.
  rounded.defvjp(
      lambda x, w: (rounded(x, w), (x, w)),
      lambda res, g: (2 * (g @ res[1].T), 2 * (res[0].T @ g)))

  def loss(sh, sw, matmul):
    return divergence_from_hidden(
        FORWARD, th, tw, sh, sw, weight, chunk_rows=3, matmul=matmul)[0]

  expected = jnp.sum(weight * forward_kl(rounded(th, tw), rounded(sh, sw)))
  np.testing.assert_allclose(loss(sh, sw, rounded), expected, rtol=1e-5)
  assert abs(loss(sh, sw, None) - expected) > 1e-4
  grad = jax.jit(jax.grad(loss, (0, 1)), static_argnums=2)
  own, plain = grad(sh, sw, rounded), grad(sh, sw, None)
  for a, b in zip(own, plain, strict=True):
    np.testing.assert_allclose(a, 2 * b, atol=0.1)


def test_bfloat16_hidden_states_accumulate_in_float32():
  th, tw, sh, sw, weight = (
      jnp.asarray(x, jnp.bfloat16) for x in rows(num_rows=40))
  run = functools.partial(
      divergence_from_hidden, FORWARD, chunk_rows=16)
  loss, total, aux = run(th, tw, sh, sw, weight)
  # Logits are never rounded to bfloat16 on their way.
  program = str(jax.make_jaxpr(run)(th, tw, sh, sw, weight))
  assert 'f32[16,13]' in program and 'bf16[16,13]' not in program
  assert {x.dtype for x in (loss, total, *aux.values())} == {jnp.dtype('f4')}
  exact = [np.asarray(x, np.float64) for x in (th, tw, sh, sw, weight)]
  with jax.enable_x64(True):
    wanted = exact[4] @ forward_kl(exact[0] @ exact[1], exact[2] @ exact[3])
  np.testing.assert_allclose(loss, wanted, rtol=1e-5)


def test_bad_arguments_are_named():
  th, tw, sh, sw, weight = rows()
  run = divergence_from_hidden
  with pytest.raises(UserError, match='top_k=14 .* the 13 tokens'):
    run(dv.TopKForwardKL(14), th, tw, sh, sw, weight)
  with pytest.raises(UserError, match='chunk_rows'):
    run(JSD, th, tw, sh, sw, weight, chunk_rows=0)
  with pytest.raises(ValueError, match='vocabulary'):
    run(JSD, th, tw[:, :-1], sh, sw, weight)
  with pytest.raises(ValueError, match='student hidden'):
    run(JSD, th, tw, sh[:-1], sw, weight)
  with pytest.raises(ValueError, match='teacher unembedding'):
    run(JSD, th, tw.T, sh, sw, weight)


@pytest.mark.parametrize('offset', [0, 1e3, 1e5])
@pytest.mark.parametrize('temperature', [1.0, 0.1])
def test_a_common_offset_of_logits_changes_nothing(offset, temperature):
  """The sum, its auxiliaries, log-probabilities and all their gradients.

  Hidden states are the logits here, so that what is compared with, in float64,
  has the float32 logits that the offset has rounded.
  """
  rng = np.random.default_rng(0)
  teacher = 2 * rng.normal(size=(5, 600))
  student = teacher + 0.1 * rng.normal(size=teacher.shape)
  teacher, student = (
      (x + offset).astype(np.float32) for x in (teacher, student))
  targets = student.argmax(-1).astype(np.int32)
  head, ones = np.eye(600, dtype=np.float32), np.ones(5, np.float32)

  def log_softmax(x, temperature):
    x = np.float64(x) / temperature
    x -= x.max(-1, keepdims=True)
    return x - np.log(np.exp(x).sum(-1, keepdims=True))

  def loss(student):
    total, _, aux = divergence_from_hidden(
        FORWARD, teacher, head, student, head, ones,
        targets=(targets, ones), temperature=temperature, chunk_rows=2,
        matmul=lambda x, w: x)
    return total, aux

  (total, aux), grad = jax.jit(jax.value_and_grad(loss, has_aux=True))(student)
  log_p, log_q = (log_softmax(x, temperature) for x in (teacher, student))
  plain = log_softmax(student, 1)
  divergence = (np.exp(log_p) * (log_p - log_q)).sum()
  likelihood = plain[np.arange(5), targets].sum()
  np.testing.assert_allclose(aux['divergence'], divergence, atol=1e-5)
  np.testing.assert_allclose(total, divergence + likelihood, atol=1e-5)
  np.testing.assert_allclose(
      aux['student_entropy'], -(np.exp(log_q) * log_q).sum(), rtol=1e-5)
  np.testing.assert_allclose(
      grad, (np.exp(log_q) - np.exp(log_p)) / temperature + head[targets]
      - np.exp(plain), atol=2e-5)
  scored = jax.jit(functools.partial(
      ch.sequence_log_probs_from_hidden, chunk_rows=2, temperature=temperature,
      matmul=lambda x, w: x))(student, head, targets)
  np.testing.assert_allclose(
      scored, log_q[np.arange(5), targets], atol=2e-6)
