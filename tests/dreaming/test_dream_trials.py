"""Losses of dreams, their selection, what learning one alone does, rewards."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sleepjax.dreaming import inner, loss, reward, select
from sleepjax.dreaming.inner import Descent
from sleepjax.dreaming.settings import DreamingConfig
from sleepjax.errors import UserError
from sleepjax.growth.adapters import LowRank
from sleepjax.growth.learner import Learner
from sleepjax.models import layout
from sleepjax.seeding import consolidation
from tests import dream_models as dm
from tests.dream_models import INDEX, SETTINGS, assert_same, row

ALL_DREAMS = dm.random_rows(0, [5, 2, 4, 1, 3, 5])
DREAMS = type(ALL_DREAMS)(*(part[:4] for part in ALL_DREAMS))
HELD_IN = dm.random_rows(1, [2, 3, 1], P=6, N=3)
OTHER = dm.random_rows(3, [1, 1, 3], P=6, N=3)
BOTH = dm.stacked(HELD_IN, OTHER)
TASKS = np.array([0, 1, 1, 0])
RETENTION = dm.random_rows(2, [4, 4], P=6, N=4)


@pytest.fixture(scope='module')
def layouts(slotted):
  return dm.layouts_of(slotted)


@pytest.fixture(params=[
    pytest.param(False, id='scanned'),
    pytest.param(True, id='unrolled', marks=pytest.mark.slow)])
def model(request, layouts):
  return layouts[request.param]


@pytest.fixture
def scanned(layouts):
  return layouts[False]


def trials_of(model, dreams=DREAMS, held_in=BOTH, task_n=TASKS,
              learning_rate=SETTINGS.inner_learning_rate, **how):
  return inner.dream_trials(
      model, dreams, held_in, task_n,
      Descent(SETTINGS.inner_steps, learning_rate), **how)


def scores_of(model, dreams=ALL_DREAMS, rows_at_once=2):
  return select.gradient_scores(
      model, dreams, BOTH, np.arange(len(dreams.prompt)) % 2,
      rows_at_once=rows_at_once)


def test_losses_equal_those_of_unpadded_texts(model):
  each = [dm.nll_by_hand(model, DREAMS, i) for i in range(4)]
  np.testing.assert_allclose(
      dm.sft_losses(model, DREAMS), [np.mean(nll) for nll in each], rtol=1e-4)
  held = sum((dm.nll_by_hand(model, HELD_IN, i) for i in range(3)), [])
  assert len(held) == 6
  np.testing.assert_allclose(
      dm.held_in_loss(model, HELD_IN), np.mean(held), rtol=1e-4)


def test_rows_without_tokens_have_loss_zero_and_do_not_count(scanned):
  model = scanned
  empty = row(DREAMS, 0)._replace(completion_mask=np.zeros((1, 5), bool))
  assert float(dm.sft_losses(model, empty)[0]) == 0
  np.testing.assert_allclose(
      dm.held_in_loss(model, dm.joined(DREAMS, empty)),
      dm.held_in_loss(model, DREAMS), rtol=1e-5)


def by_hand(model, dreams):
  """(norms, influences) of a loop over dreams, in float64."""
  gradient = jax.jit(lambda rows: jax.grad(lambda slot: loss.held_in_loss(
      model.with_value(slot), rows))(model.value))
  directions = [gradient(HELD_IN), gradient(OTHER)]
  norms, influences = [], []
  for i in range(len(dreams.prompt)):
    g = dm.sft_gradient(model, row(dreams, i), np.ones(1))
    flat = lambda tree: np.concatenate([
        np.ravel(leaf).astype(np.float64) for leaf in jax.tree.leaves(tree)])
    norms.append(np.linalg.norm(flat(g)))
    influences.append(flat(g) @ flat(directions[i % 2]))
  return norms, influences


@pytest.mark.slow
def test_gradient_scores_equal_a_loop_over_dreams(model):
  norms, influences = by_hand(model, ALL_DREAMS)
  assert min(norms) > 1e-3 and min(influences) < 0 < max(influences)
  scores = scores_of(model)
  np.testing.assert_allclose(scores.norm, norms, rtol=1e-4)
  np.testing.assert_allclose(scores.influence, influences, rtol=1e-3,
                             atol=1e-4)


@pytest.mark.slow
def test_scores_in_chunks_that_do_not_divide_the_dreams(scanned):
  for a, b in zip(scores_of(scanned, rows_at_once=4), scores_of(scanned)):
    np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)


@pytest.mark.slow
def test_influence_foretells_a_small_step(scanned):
  """τ(θ − η g) − τ(θ) ≈ −η ⟨g, ∇τ⟩."""
  influence = np.asarray(scores_of(scanned).influence)
  for i, held_in in ((0, HELD_IN), (1, OTHER), (2, HELD_IN)):
    g = dm.sft_gradient(scanned, row(ALL_DREAMS, i), np.ones(1))
    moved = [jax.tree.map(lambda s, d, eta=eta: s - eta * d, scanned.value, g)
             for eta in (1e-2, -1e-2)]
    tau = [float(dm.held_in_loss(scanned.with_value(s), held_in))
           for s in moved]
    np.testing.assert_allclose((tau[1] - tau[0]) / 2e-2, influence[i],
                               rtol=0.05, atol=1e-3)


@pytest.mark.slow
def test_masked_tokens_do_not_count(model):
  def noisy(rows):
    return rows._replace(
        completion=np.where(rows.completion_mask, rows.completion, 39),
        prompt=np.where(rows.prompt_mask, rows.prompt, 38))

  assert (noisy(DREAMS).completion != DREAMS.completion).any()
  np.testing.assert_allclose(
      scores_of(model, noisy(ALL_DREAMS)).norm, scores_of(model).norm,
      rtol=1e-5)
  np.testing.assert_allclose(
      trials_of(model, noisy(DREAMS), noisy(BOTH)).tau_after,
      trials_of(model).tau_after, rtol=1e-5)


@pytest.mark.slow
def test_a_copy_is_trained_as_if_alone(model):
  before = jax.tree.map(np.array, model)
  trials = trials_of(model)
  assert_same(before, model)
  held = [HELD_IN, OTHER]
  for t in range(2):
    np.testing.assert_allclose(
        trials.tau_before[t], dm.held_in_loss(model, held[t]), rtol=1e-5)
  for i in (0, 2, 3):
    alone = dm.adam_by_hand(
        lambda s, i=i: dm.sft_gradient(
            model.with_value(s), row(DREAMS, i), np.ones(1)), model.value,
        SETTINGS.inner_steps, SETTINGS.inner_learning_rate)
    tau = dm.held_in_loss(model.with_value(alone), held[TASKS[i]])
    assert abs(float(tau - trials.tau_before[TASKS[i]])) > 1e-3
    np.testing.assert_allclose(trials.tau_after[i], tau, rtol=1e-3)


@pytest.mark.parametrize('at_once', [1, 3, 100])
@pytest.mark.slow
def test_copies_together_equal_copies_one_after_the_other(model, at_once):
  for a, b in zip(trials_of(model, copies_at_once=at_once), trials_of(model)):
    np.testing.assert_allclose(a, b, rtol=1e-4)


def test_copies_do_not_see_each_other(model):
  tau = np.asarray(trials_of(model).tau_after)
  order = np.array([2, 0, 3, 1])
  shuffled = type(DREAMS)(*(part[order] for part in DREAMS))
  np.testing.assert_allclose(
      trials_of(model, shuffled, task_n=TASKS[order]).tau_after, tau[order],
      rtol=1e-6)
  others = type(DREAMS)(*(np.concatenate([a[:2], b[2:]])
                          for a, b in zip(DREAMS, dm.random_rows(9, [1] * 4))))
  changed = np.asarray(trials_of(model, others).tau_after)
  np.testing.assert_allclose(changed[:2], tau[:2], rtol=1e-6)
  assert (abs(changed[2:] - tau[2:]) > 1e-4).all()


@pytest.mark.slow
def test_low_rank_copies_are_trained_as_if_alone(model):
  part = LowRank(2, 4.0)
  born = part.init(model.config, jax.random.key(1))
  copy = Learner(model.config, model.params, part, None, value=born)
  trials = trials_of(copy)
  gradient = jax.jit(lambda value: jax.grad(lambda v: loss.sft_losses(
      copy.with_value(v), row(DREAMS, 1))[0])(value))
  alone = dm.adam_by_hand(gradient, born, SETTINGS.inner_steps,
                          SETTINGS.inner_learning_rate)
  tau = loss.held_in_loss(copy.with_value(alone), OTHER)
  assert abs(float(tau - trials.tau_before[1])) > 1e-4
  np.testing.assert_allclose(trials.tau_after[1], tau, rtol=1e-3)


@pytest.mark.slow
def test_memory_grows_by_adapters_and_activations_only(scanned):
  """Doubling the copies never copies the frozen weights."""
  config, frozen, slot = scanned.config, scanned.frozen, scanned.value
  wide = {**frozen, 'layers': {**frozen['layers'], 'mlp': jax.tree.map(
      lambda leaf: jnp.pad(leaf, [(0, 0)] + [
          (0, 2048 if n == 48 else 0) for n in leaf.shape[1:]]),
      frozen['layers']['mlp'])}}
  config = type(config)(**{**vars(config), 'mlp_dim': 2048 + 48})
  base = sum(leaf.nbytes for leaf in jax.tree.leaves(wide))
  peaks = []
  for n in (4, 8):
    dreams = dm.joined(*[DREAMS] * (n // 4))
    compiled = jax.jit(
        lambda frozen, slot, dreams, n=n: inner.dream_trials(
            Learner(config, frozen, index=INDEX, value=slot), dreams, BOTH,
            np.arange(n) % 2, Descent(3, 1e-3))
    ).lower(wide, slot, dreams).compile()
    peaks.append(compiled.memory_analysis().temp_size_in_bytes)
  slot_bytes = sum(leaf.nbytes for leaf in jax.tree.leaves(slot))
  # Rows: 13 positions of a dream and 27 of questions, each MLP 3 wide arrays.
  activations = 40 * (2048 + 48) * 4 * 3 * config.num_layers
  assert peaks[1] - peaks[0] < 4 * (12 * slot_bytes + activations)
  assert peaks[1] - peaks[0] < 4 * base


def test_the_trained_slot_stands_in_its_place_beside_the_other(model):
  stranger = dm.random_slot(model.config, 11)
  tau = dm.held_in_loss(model, HELD_IN)
  with_stranger = lambda index: dataclasses.replace(
      model, frozen=layout.insert_slot(
          model.config, model.frozen, stranger, index))
  assert_same(dm.held_in_loss(with_stranger(INDEX), HELD_IN), tau)
  assert dm.held_in_loss(with_stranger(0), HELD_IN) != tau


def test_retention_divergence_by_hand(model):
  other = dm.random_slot(model.config, 21)
  kl = []
  for i in range(2):
    log_p, _ = dm.log_softmax_by_hand(model, RETENTION, i)
    log_q, _ = dm.log_softmax_by_hand(model, RETENTION, i, other)
    kl += (np.exp(log_p) * (log_p - log_q)).sum(-1).tolist()
  assert len(kl) == 8 and np.mean(kl) > 0.01
  divergence = jax.jit(consolidation.retention_divergence, static_argnums=0)
  params, moved = model.params, model.with_value(other).params
  np.testing.assert_allclose(
      divergence(model.config, params, moved, RETENTION), np.mean(kl),
      rtol=1e-3)
  assert float(divergence(model.config, params, params, RETENTION)) == 0


def test_binary_reward_needs_strict_improvement():
  tau = jnp.array([1.5], jnp.float32)
  after = jnp.array([[1.5, np.nextafter(np.float32(1.5), np.float32(0)),
                      np.nextafter(np.float32(1.5), np.float32(2)), np.nan]])
  np.testing.assert_array_equal(
      reward.binary_reward(tau, after), [[0, 1, 0, 0]])


def test_argmax_reward_takes_the_best_of_each_memory():
  before = jnp.array([1.0, 1.0, 1.0, 1.0])
  after = jnp.array([[3.0, 2, 2.5], [2, 2, 2], [np.nan, 0.5, 0.4],
                     [np.nan, np.nan, np.nan]])
  np.testing.assert_array_equal(
      reward.argmax_reward(before, after),
      [[0, 1, 0], [0, 0, 0], [0, 0, 1], [0, 0, 0]])
  np.testing.assert_array_equal(
      reward.argmax_reward(before[:2], after[:2, :1]), [[1], [1]])


def test_improvement_reward_is_signed_and_finite():
  before = jnp.array([1.0, 2.0, 1.0])
  after = jnp.array([[0.5, 1.5, np.nan], [2, np.inf, 2.5], [np.nan] * 3])
  np.testing.assert_allclose(
      reward.improvement_reward(before, after),
      [[0.5, -0.5, -0.5], [0, -0.5, -0.5], [0, 0, 0]])


@pytest.mark.slow
def test_learning_the_held_in_answers_is_rewarded(scanned):
  trials = trials_of(scanned, held_in=dm.stacked(row(DREAMS, 0)),
                     task_n=np.zeros(4, int))
  rewards = reward.binary_reward(trials.tau_before, trials.tau_after[None])
  assert float(rewards[0, 0]) == 1


def test_a_copy_that_learns_nothing_has_exactly_the_old_tau(model):
  trials = trials_of(model, learning_rate=1e-30)
  assert_same(trials.tau_after, np.asarray(trials.tau_before)[TASKS])


def test_selection_is_top_k_and_random_others_without_duplicates():
  importance = jnp.array([[1, 9, 2, 8, 3, 7, 4, 6, 5, 0.5],
                          [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]])
  drawn = set()
  for seed in range(20):
    first, second = np.asarray(select.selected_dreams(
        importance, jax.random.key(seed), 3, 4)).tolist()
    assert first[:3] == [1, 3, 5] and second[:3] == [9, 8, 7]
    assert len(set(first)) == len(set(second)) == 7
    drawn |= set(first[3:])
  assert drawn == {0, 2, 4, 6, 7, 8, 9}
  everything = select.selected_dreams(importance, jax.random.key(0), 0, 10)
  assert sorted(np.asarray(everything)[0].tolist()) == list(range(10))


def test_rank_correlation():
  assert select.rank_correlation([1, 2, 3], [10, 20, 90]) == pytest.approx(1)
  assert select.rank_correlation([1, 2, 3], [3, 2, 1]) == pytest.approx(-1)
  # 1 − 6 Σ d² / (n (n² − 1)) with ranks 1234 and 2143.
  assert select.rank_correlation(
      [1, 2, 3, 4], [2, 1, 4, 3]) == pytest.approx(1 - 6 * 4 / 60)
  assert select.rank_correlation([1, 2], [1, 2]) is None
  assert select.rank_correlation([1, 1, 1], [1, 2, 3]) is None


@pytest.mark.parametrize('wrong', [
    dict(dreams=5, top_k=4, random=2), dict(top_k=0, random=0),
    dict(top_k=-1), dict(inner_steps=0), dict(temperature=0.0),
    dict(outer_learning_rate=0.0), dict(gradient_rows=0), dict(rounds=-1),
    dict(selection='best'), dict(reward='x'), dict(outer='ppo'),
    dict(agreement=1.5), dict(generator_rank=0), dict(curriculum='hard'),
    dict(generator='merged', write_back_steps=0),
    dict(max_retention_divergence=float('nan'))])
def test_settings_that_cannot_work_are_refused(wrong):
  with pytest.raises(UserError, match=next(iter(wrong))):
    DreamingConfig(**wrong)


def test_group_relative_needs_a_group():
  with pytest.raises(UserError, match='at least 2'):
    DreamingConfig(outer='group_relative', top_k=1, random=0)
