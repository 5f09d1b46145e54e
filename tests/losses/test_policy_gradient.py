import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sleepjax.errors import UserError
from sleepjax.losses import divergences
from sleepjax.losses import policy_gradient as pg

ADVANTAGES = (pg.leave_one_out_advantage, pg.group_normalised_advantage)


def test_leave_one_out_worked_by_hand():
  rewards = jnp.array([[1.0, 0.0, 0.5], [0.0, 0.0, 1.0]])
  np.testing.assert_allclose(
      pg.leave_one_out_advantage(rewards),
      [[0.75, -0.75, 0.0], [-0.5, -0.5, 1.0]], atol=1e-7)


def test_group_normalised_worked_by_hand():
  rewards = jnp.array([[1.0, 0.0], [2.0, 6.0]])
  np.testing.assert_allclose(
      pg.group_normalised_advantage(rewards, eps=0.5),
      [[0.5, -0.5], [-0.8, 0.8]], rtol=1e-6)


def test_leave_one_out_matches_its_definition():
  rewards = np.random.default_rng(0).normal(size=(2, 3, 5))
  expected = np.empty_like(rewards)
  for *group, k in np.ndindex(rewards.shape):
    others = np.delete(rewards[tuple(group)], k)
    expected[(*group, k)] = rewards[(*group, k)] - others.mean()
  np.testing.assert_allclose(
      pg.leave_one_out_advantage(jnp.asarray(rewards)), expected, atol=1e-6)
  np.testing.assert_allclose(
      pg.group_normalised_advantage(jnp.asarray(rewards), eps=1e-9),
      (rewards - rewards.mean(-1, keepdims=True))
      / rewards.std(-1, keepdims=True), atol=1e-5)


@pytest.mark.parametrize('advantage', ADVANTAGES)
@pytest.mark.parametrize('size', [2, 3, 7])
def test_equal_rewards_give_exactly_zero(advantage, size):
  values = np.array([0, 1, 0.1, 1 / 3, 0.7, 1e30, 1e-30, -5.1], np.float32)
  rewards = np.repeat(values[:, None], size, axis=1)
  for fn in (advantage, jax.jit(advantage)):
    np.testing.assert_array_equal(fn(rewards), 0 * rewards)


@pytest.mark.parametrize('advantage', ADVANTAGES)
def test_advantages_of_a_group_sum_to_zero_and_ignore_a_shift(advantage):
  rewards = np.random.default_rng(1).random((6, 4)).astype(np.float32)
  value = advantage(rewards)
  np.testing.assert_allclose(value.sum(-1), 0, atol=1e-5)
  np.testing.assert_allclose(advantage(rewards + 3), value, atol=1e-4)
  np.testing.assert_allclose(jax.vmap(advantage)(rewards), value, atol=1e-6)


@pytest.mark.parametrize('advantage', ADVANTAGES)
def test_a_group_of_one_is_refused(advantage):
  with pytest.raises(UserError, match='at least 2'):
    advantage(jnp.ones((3, 1)))


def test_eps_must_be_positive():
  with pytest.raises(UserError, match='eps'):
    pg.group_normalised_advantage(jnp.ones((3, 2)), eps=0.0)


def test_constant_groups():
  rewards = jnp.array([[1.0, 1.0], [0.0, 1.0], [0.0, 0.0], [0.2, 0.1]])
  assert pg.constant_groups(rewards) == 0.5
  assert jax.jit(pg.constant_groups)(rewards[1:2]) == 0


def test_loss_worked_by_hand():
  log_probs = jnp.array([[-1.0, -2.0, -4.0], [-0.5, -3.0, -8.0]])
  mask = jnp.array([[1, 1, 0], [1, 0, 0]], bool)
  loss, weight, aux = pg.policy_gradient_loss(
      log_probs, jnp.array([2.0, -1.0]), mask)
  # -(2 * (-1 - 2) + -1 * -0.5)
  assert loss == 5.5 and weight == 2 and aux == {'log_prob': -3.5}


def test_loss_gradient_is_minus_advantage_on_sampled_tokens_only():
  rng = np.random.default_rng(2)
  log_probs = rng.normal(size=(3, 4)).astype(np.float32)
  advantage = rng.normal(size=3).astype(np.float32)
  mask = rng.random((3, 4)) < 0.6
  def loss(log_probs, advantage):
    return pg.policy_gradient_loss(log_probs, advantage, mask)[0]
  grads = jax.jit(jax.grad(loss, (0, 1)))(log_probs, advantage)
  np.testing.assert_array_equal(grads[0], -advantage[:, None] * mask)
  np.testing.assert_array_equal(grads[1], 0 * advantage)


def test_masked_tokens_are_silent_whatever_they_hold():
  log_probs = np.full((2, 3), -1.0, np.float32)
  mask = np.array([[1, 1, 0], [0, 0, 0]], bool)
  def loss(x):
    out = pg.policy_gradient_loss(x, jnp.array([1.0, 5.0]), mask)
    return out[0], out
  grad, clean = jax.grad(loss, has_aux=True)(log_probs)
  for content in (-np.inf, np.nan, 1e38):
    dirty_log_probs = np.where(mask, log_probs, content)
    dirty_grad, dirty = jax.grad(loss, has_aux=True)(dirty_log_probs)
    assert dirty == clean
    np.testing.assert_array_equal(dirty_grad, grad)
  assert (np.asarray(grad)[~mask] == 0).all() and clean[:2] == (2, 1)


def test_expected_gradient_is_the_gradient_of_the_expected_reward():
  """All groups of two completions of a policy small enough to enumerate.

  Three tokens, at most two of them, token 0 ends: seven completions of
  unequal length, and every pair of them weighted by its probability.
  """
  completions = [(0, 0)] + list(itertools.product((1, 2), range(3)))
  tokens = np.array(completions)
  mask = jnp.stack([jnp.ones(7, bool), tokens[:, 0] != 0], axis=1)
  pair = np.array(list(itertools.product(range(7), repeat=2)))
  with jax.enable_x64(True):
    rng = np.random.default_rng(3)
    rewards = jnp.asarray(rng.random(7))
    logits = {
        'first': rng.normal(size=3), 'second': rng.normal(size=(3, 3))}

    def token_log_probs(logits):
      first = jax.nn.log_softmax(logits['first'])[tokens[:, 0]]
      second = jax.nn.log_softmax(logits['second'])[tokens[:, 0], tokens[:, 1]]
      return jnp.stack([first, second], axis=1)

    def probability(logits):
      return jnp.exp(jnp.sum(jnp.where(mask, token_log_probs(logits), 0), 1))

    def expected_reward(logits):
      return probability(logits) @ rewards

    def loss_of_pair(logits, chosen):
      advantage = pg.leave_one_out_advantage(rewards[chosen])
      total, weight, _ = pg.policy_gradient_loss(
          token_log_probs(logits)[chosen], advantage, mask[chosen])
      return total / weight

    np.testing.assert_allclose(probability(logits).sum(), 1)
    grads = jax.jit(jax.vmap(
        jax.grad(loss_of_pair), (None, 0)))(logits, pair)
    chance = jnp.prod(probability(logits)[pair], axis=1)
    estimate = jax.tree.map(
        lambda g: -jnp.tensordot(chance, g, axes=1), grads)
    exact = jax.jit(jax.grad(expected_reward))(logits)
    assert max(np.abs(x).max() for x in jax.tree.leaves(exact)) > 0.01
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, atol=1e-12),
        estimate, exact)


LOG_Q = np.array([[-1.0, -2.0, -4.0], [-0.5, -3.0, -8.0]], np.float32)
LOG_P = np.array([[-2.0, -1.0, -9.0], [-1.5, -1.0, 0.0]], np.float32)
WRITTEN = np.array([[1, 1, 0], [1, 0, 0]], bool)


def test_clipped_loss_worked_by_hand():
  """Ratios 1.5, 0.5 and 1.1 of a good and of a bad completion, clip 0.2."""
  new = jnp.log(jnp.array([[1.5, 0.5, 1.1]] * 2) * 0.3)
  old = jnp.log(jnp.full((2, 3), 0.3))
  advantage, mask = jnp.array([2.0, -1.0]), jnp.ones((2, 3), bool)
  loss = lambda new: pg.clipped_policy_gradient_loss(
      new, old, advantage, mask, 0.2)
  total, weight, aux = loss(new)
  np.testing.assert_allclose(
      total, -2 * (1.2 + 0.5 + 1.1) + (1.5 + 0.8 + 1.1), rtol=1e-6)
  assert weight == 2 and aux['clipped'] == 2
  # No gradient where a token has gone far enough the way it was asked to.
  np.testing.assert_allclose(
      jax.grad(lambda new: loss(new)[0])(new),
      [[0, -2 * 0.5, -2 * 1.1], [1.5, 0, 1.1]], atol=1e-6)


@pytest.mark.parametrize('advantage, total, gradient', [
    (1, -2.2, [-1, 0]), (0, 0, [0, 0]), (-1, 1 + np.exp(20.0), [1, 0])])
def test_ratios_that_no_float_holds(advantage, total, gradient):
  """exp(98) is infinite in float32; a ratio of more than exp(20) is that."""
  loss = lambda new, old: pg.clipped_policy_gradient_loss(
      new, old, jnp.full(1, advantage, jnp.float32), jnp.ones((1, 2), bool))[0]
  for function in (jax.value_and_grad(loss), jax.jit(jax.value_and_grad(loss))):
    for old in (-100.0, -1e30, -jnp.inf):
      value, grad = function(
          jnp.array([[-1.0, -2.0]]), jnp.array([[-1.0, old]]))
      np.testing.assert_allclose(value, total, rtol=1e-6)
      np.testing.assert_allclose(grad, [gradient], rtol=1e-6)
    # The other way round: the ratio is 0.
    for new in (-100.0, -1e30, -jnp.inf):
      value, grad = function(
          jnp.array([[-1.0, new]]), jnp.array([[-1.0, -2.0]]))
      np.testing.assert_allclose(value, -advantage if advantage >= 0 else 1.8)
      np.testing.assert_allclose(grad, [[-advantage, 0]], atol=1e-30)


def test_clipping_changes_nothing_on_fresh_samples():
  rng = np.random.default_rng(0)
  log_probs = jnp.asarray(-rng.exponential(size=(4, 5)))
  advantage, mask = jnp.asarray(rng.normal(size=4)), jnp.asarray(
      rng.random((4, 5)) < 0.7)
  plain = jax.grad(lambda x: pg.policy_gradient_loss(
      x, advantage, mask)[0])(log_probs)
  clipped = jax.jit(jax.grad(lambda x: pg.clipped_policy_gradient_loss(
      x, log_probs, advantage, mask)[0]))(log_probs)
  np.testing.assert_allclose(clipped, plain, atol=1e-6)
  hidden = jnp.where(mask, log_probs, -jnp.inf)
  total, _, _ = pg.clipped_policy_gradient_loss(
      hidden, log_probs, advantage, mask)
  np.testing.assert_allclose(
      total, -(advantage[:, None] * mask).sum(), rtol=1e-6)
  with pytest.raises(UserError, match='clip=0 must be positive'):
    pg.clipped_policy_gradient_loss(log_probs, log_probs, advantage, mask, 0)


@pytest.mark.parametrize('group_size, gradient', [
    (None, [[0, -1, 0], [1, 0, 0]]), (2, [[-1, -1, 0], [1, 0, 0]])])
def test_sampled_reverse_kl_worked_by_hand(group_size, gradient):
  """Costs 1, -1 and 1; costs to go 0, -1 and 1; nothing where one ended."""
  def loss(log_q, log_p):
    out = pg.sampled_reverse_kl(log_q, log_p, WRITTEN, group_size)
    return out[0], out

  measure = jax.grad(loss, (0, 1), has_aux=True)
  for run in (measure, jax.jit(measure)):
    grads, (total, weight, aux) = run(LOG_Q, LOG_P)
    np.testing.assert_allclose(grads[0], gradient, atol=1e-6)
    np.testing.assert_array_equal(grads[1], 0 * LOG_P)
    assert total == 1 and weight == 3 and aux == {'log_prob': -3.5}


@pytest.mark.parametrize('group_size', [None, 2])
def test_sampled_reverse_kl_of_masked_and_hopeless_tokens(group_size):
  def loss(log_q, log_p):
    out = pg.sampled_reverse_kl(log_q, log_p, WRITTEN, group_size)
    return out[0], out

  clean_grad, clean = jax.grad(loss, has_aux=True)(LOG_Q, LOG_P)
  for content in (-np.inf, np.nan, 1e38):
    dirty_grad, dirty = jax.grad(loss, has_aux=True)(
        *(np.where(WRITTEN, x, np.float32(content)) for x in (LOG_Q, LOG_P)))
    assert dirty == clean
    np.testing.assert_array_equal(dirty_grad, clean_grad)
  # Nothing the teacher would ever say; log_softmax stops at -1e30.
  grad, (total, *_) = jax.grad(loss, has_aux=True)(LOG_Q, LOG_P - 1e30)
  assert np.isfinite(grad).all() and np.isfinite(total)


def test_sampled_reverse_kl_of_equal_models_is_silent():
  value, grad = jax.value_and_grad(
      lambda x: pg.sampled_reverse_kl(x, LOG_Q, WRITTEN)[0])(LOG_Q)
  assert value == 0 and not np.any(grad)


def test_sampled_reverse_kl_refuses_groups_that_do_not_fit():
  with pytest.raises(UserError, match='at least 2'):
    pg.sampled_reverse_kl(LOG_Q, LOG_P, WRITTEN, 1)
  for size in (0, 3):
    with pytest.raises(UserError, match=f'group_size={size}'):
      pg.sampled_reverse_kl(LOG_Q, LOG_P, WRITTEN, size)


def test_sampled_reverse_kl_has_the_exact_expectation():
  """All completions, and all pairs of them, of a policy of three tokens.

  At most three tokens are written and token 0 ends, so there are fifteen
  completions of one, two or three tokens.
  """
  tokens = np.array([y for y in itertools.product(range(3), repeat=3)
                     if y == (0, 0, 0) or y[0] and (y[1] or not y[2])])
  ended = np.cumsum(tokens == 0, axis=1) - (tokens == 0)
  mask = jnp.asarray(ended == 0)
  assert len(tokens) == 15 and sorted(mask.sum(1)) == [1] + [2] * 2 + [3] * 12
  pairs = np.array(list(itertools.product(range(15), repeat=2)))
  with jax.enable_x64(True):
    rng = np.random.default_rng(5)
    teacher, student = (
        [rng.normal(size=(3,) * n) for n in (1, 2, 3)] for _ in range(2))

    def logits_BxTxV(tables):
      first, second, third = tables
      return jnp.stack([
          jnp.broadcast_to(first, (15, 3)), jnp.asarray(second)[tokens[:, 0]],
          jnp.asarray(third)[tokens[:, 0], tokens[:, 1]]], axis=1)

    def token_log_probs(tables):
      log_p = jax.nn.log_softmax(logits_BxTxV(tables))
      return jnp.take_along_axis(log_p, tokens[..., None], axis=-1)[..., 0]

    def completion_log_probs(tables):
      return jnp.sum(jnp.where(mask, token_log_probs(tables), 0), axis=1)

    def exact(tables):
      log_q = completion_log_probs(tables)
      return jnp.exp(log_q) @ (log_q - completion_log_probs(teacher))

    def estimate(tables, chosen, group_size):
      """Expected value and gradient, per completion."""
      def loss(tables, rows):
        return pg.sampled_reverse_kl(
            token_log_probs(tables)[rows], token_log_probs(teacher)[rows],
            mask[rows], group_size)[0]

      values, grads = jax.vmap(
          jax.value_and_grad(loss), (None, 0))(tables, chosen)
      chance = jnp.prod(jnp.exp(completion_log_probs(tables))[chosen], axis=1)
      return jax.tree.map(
          lambda x: jnp.tensordot(chance, x, axes=1) / chosen.shape[1],
          (values, grads))

    def per_position(tables):
      chance = jax.lax.stop_gradient(jnp.exp(completion_log_probs(tables)))
      return chance @ jnp.sum(mask * divergences.of_logits(
          divergences.ReverseKL(),
          logits_BxTxV(teacher), logits_BxTxV(tables)), axis=1)

    def assert_same(have, want):
      jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-12),
                   have, want)

    wanted = jax.jit(jax.value_and_grad(exact))(student)
    assert min(np.abs(x).max() for x in jax.tree.leaves(wanted)) > 0.01
    run = jax.jit(estimate, static_argnums=2)
    assert_same(run(student, np.arange(15)[:, None], None), wanted)
    assert_same(run(student, pairs, 2), wanted)
    # The divergence of every position misses the gradient through sampling.
    value, grads = jax.jit(jax.value_and_grad(per_position))(student)
    assert_same(value, wanted[0])
    assert np.abs(grads[0] - wanted[1][0]).max() > 0.01
