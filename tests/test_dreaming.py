import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from sleepjax.dreaming import inner, loss, outer, sample, select
from sleepjax.dreaming.round import DreamingConfig, dream_round
from sleepjax.errors import UserError
from sleepjax.growth import slots
from sleepjax.models import layout, transformer
from sleepjax.sampling import rows as rows_lib
from sleepjax.sampling.rows import Rows

SETTINGS = DreamingConfig(
    dreams=6, dream_tokens=5, prompt_tokens=8, top_k=2, random=2,
    gradient_rows=2, inner_steps=3, inner_learning_rate=3e-3, outer_steps=3,
    outer_learning_rate=3e-3, max_retention_divergence=1e9)
INDEX = 1
STOP = (0,)
VOCABULARY = 61
# Compiled once for all tests; run eagerly, they take most of the time.
sft_losses = jax.jit(loss.sft_losses, static_argnums=0)
held_in_loss = jax.jit(loss.held_in_loss, static_argnums=0)
logits = jax.jit(transformer.logits, static_argnums=0)


@functools.partial(jax.jit, static_argnums=0)
def sft_gradient(config, frozen, slot, index, rows, weights):
  return jax.grad(lambda s: jnp.dot(
      weights, loss.sft_losses(config, frozen, s, index, rows)))(slot)


def random_slot(config, seed):
  slot = slots.new_slot(config, jax.random.key(seed), config.slot_rank)
  shape = slot['down'].shape
  return {**slot,
          'down': 0.3 * jax.random.normal(jax.random.key(seed + 1), shape)}


@pytest.fixture(scope='module')
def layouts(slotted):
  """{unroll: (config, frozen, slot, index)}; slot 1, open in one layer."""
  return {unroll: (*layout.for_compute(*slotted, 'float32', unroll),
                   random_slot(slotted[0], 5), jnp.int32(INDEX))
          for unroll in (False, True)}


@pytest.fixture(params=[False, True], ids=['scanned', 'unrolled'])
def model(request, layouts):
  return layouts[request.param]


@pytest.fixture
def scanned(layouts):
  return layouts[False]


def random_rows(seed, lengths, prompt_lengths=None, P=8, N=5) -> Rows:
  rng = np.random.default_rng(seed)
  draw = lambda n: rng.integers(1, VOCABULARY, n).tolist()
  prompt_lengths = prompt_lengths or [3 + i % 4 for i in range(len(lengths))]
  return Rows(*rows_lib.pad_left([draw(n) for n in prompt_lengths], P),
              *rows_lib.pad_right([draw(n) for n in lengths], N))


ALL_DREAMS = random_rows(0, [5, 2, 4, 1, 3, 5])
DREAMS = Rows(*(part[:4] for part in ALL_DREAMS))
HELD_IN = random_rows(1, [2, 3, 1], P=6, N=3)
RETENTION = random_rows(2, [4, 4], P=6, N=4)
PROMPTS = [[3, 4, 5], [6, 7], [8, 9, 10, 11]]


def row(rows, i) -> Rows:
  return Rows(*(part[i:i + 1] for part in rows))


def trials_of(model, dreams=DREAMS, held_in=HELD_IN,
              learning_rate=SETTINGS.inner_learning_rate):
  return inner.dream_trials(
      *model, dreams, held_in, SETTINGS.inner_steps, learning_rate)


def outer_of(model, dreams, rewards):
  return outer.outer_update(
      *model, dreams, rewards, HELD_IN, RETENTION, SETTINGS.outer_steps,
      SETTINGS.outer_learning_rate)


def norms_of(model, dreams, rows_at_once=2):
  return select.gradient_norms(*model, dreams, rows_at_once=rows_at_once)


def dreams_of_round(model, key=7):
  """The very dreams of `run_round`: learning them must lower τ on them."""
  dream_key, _ = jax.random.split(jax.random.key(key))
  return sample.sample_dreams(*model, PROMPTS, SETTINGS, STOP, dream_key)


def run_round(model, settings=SETTINGS, key=7, retention=RETENTION,
              report=lambda *_: None, prompts=PROMPTS, held_in=None):
  """A round, by default with its own dreams as the held-in rows."""
  config, frozen, slot, _ = model
  held_in = dreams_of_round(model, key) if held_in is None else held_in
  return dream_round(config, frozen, slot, INDEX, settings, prompts, held_in,
                     retention, STOP, jax.random.key(key), report)


def assert_same(a, b):
  jax.tree.map(np.testing.assert_array_equal, a, b)


def log_softmax_by_hand(model, rows, i, slot=None):
  """(log p [N, V] of row i's completion, its tokens), from the plain text.

  The text starts at the first column and nothing is masked: what follows it
  cannot be read, and fills it up to one shape.
  """
  config, frozen, own, index = model
  params = layout.insert_slot(
      config, frozen, own if slot is None else slot, index)
  prompt = rows.prompt[i][rows.prompt_mask[i]].tolist()
  completion = rows.completion[i][rows.completion_mask[i]].tolist()
  ids = np.asarray([(prompt + completion + [1] * 16)[:16]], np.int32)
  scores = np.asarray(logits(config, params, ids), np.float64)[0]
  log_p = scores - np.log(np.exp(scores).sum(-1, keepdims=True))
  return log_p[len(prompt) - 1:][:len(completion)], completion


def nll_by_hand(model, rows, i):
  log_p, completion = log_softmax_by_hand(model, rows, i)
  return [-log_p[n, token] for n, token in enumerate(completion)]


def test_losses_equal_those_of_unpadded_texts(model):
  each = [nll_by_hand(model, DREAMS, i) for i in range(4)]
  np.testing.assert_allclose(
      sft_losses(*model, DREAMS), [np.mean(nll) for nll in each], rtol=1e-4)
  held = sum((nll_by_hand(model, HELD_IN, i) for i in range(3)), [])
  assert len(held) == 6
  np.testing.assert_allclose(
      held_in_loss(*model, HELD_IN), np.mean(held), rtol=1e-4)


def test_rows_without_tokens_have_loss_zero_and_do_not_count(scanned):
  model = scanned
  empty = row(DREAMS, 0)._replace(completion_mask=np.zeros((1, 5), bool))
  assert float(sft_losses(*model, empty)[0]) == 0
  padded = Rows(*(np.concatenate(pair) for pair in zip(DREAMS, empty)))
  np.testing.assert_allclose(
      held_in_loss(*model, padded),
      held_in_loss(*model, DREAMS), rtol=1e-5)


def test_gradient_norms_equal_a_loop_over_dreams(model):
  expected = []
  for i in range(6):
    gradient = sft_gradient(*model, row(ALL_DREAMS, i), np.ones(1))
    expected.append(np.sqrt(sum(
        np.square(g, dtype=np.float64).sum() for g in gradient.values())))
  assert min(expected) > 1e-3
  np.testing.assert_allclose(
      norms_of(model, ALL_DREAMS), expected, rtol=1e-4)


def test_gradients_in_chunks_that_do_not_divide_the_dreams(scanned):
  np.testing.assert_allclose(
      norms_of(scanned, ALL_DREAMS, rows_at_once=4),
      norms_of(scanned, ALL_DREAMS), rtol=1e-4)


def test_masked_tokens_do_not_count(model):
  def noisy(rows):
    return rows._replace(
        completion=np.where(rows.completion_mask, rows.completion, 39),
        prompt=np.where(rows.prompt_mask, rows.prompt, 38))

  assert (noisy(DREAMS).completion != DREAMS.completion).any()
  np.testing.assert_allclose(
      norms_of(model, noisy(ALL_DREAMS)), norms_of(model, ALL_DREAMS),
      rtol=1e-5)
  np.testing.assert_allclose(
      trials_of(model, noisy(DREAMS), noisy(HELD_IN)).tau_after,
      trials_of(model).tau_after, rtol=1e-5)


def adam_by_hand(model, rows, weights, steps, learning_rate):
  config, frozen, slot, index = model
  optimizer = optax.adam(learning_rate)
  state = optimizer.init(slot)
  for _ in range(steps):
    gradient = sft_gradient(
        config, frozen, slot, index, rows, np.asarray(weights))
    updates, state = optimizer.update(gradient, state)
    slot = optax.apply_updates(slot, updates)
  return slot


def test_a_copy_is_trained_as_if_alone(model):
  config, frozen, slot, index = model
  before = jax.tree.map(np.array, (frozen, slot))
  trials = trials_of(model)
  assert_same(before, (frozen, slot))
  np.testing.assert_allclose(
      trials.tau_before, held_in_loss(*model, HELD_IN), rtol=1e-5)
  for i in (0, 3):
    alone = adam_by_hand(model, row(DREAMS, i), [1.0], SETTINGS.inner_steps,
                         SETTINGS.inner_learning_rate)
    tau = held_in_loss(config, frozen, alone, index, HELD_IN)
    assert abs(float(tau - trials.tau_before)) > 1e-3
    np.testing.assert_allclose(trials.tau_after[i], tau, rtol=1e-3)


def test_copies_do_not_see_each_other(model):
  tau = np.asarray(trials_of(model).tau_after)
  order = np.array([2, 0, 3, 1])
  shuffled = Rows(*(part[order] for part in DREAMS))
  assert_same(trials_of(model, shuffled).tau_after, tau[order])
  others = Rows(*(np.concatenate([a[:2], b[2:]])
                  for a, b in zip(DREAMS, random_rows(9, [1] * 4))))
  changed = np.asarray(trials_of(model, others).tau_after)
  assert_same(changed[:2], tau[:2])
  assert (changed[2:] != tau[2:]).all()


def test_the_trained_slot_stands_in_its_place_beside_the_other(model):
  config, frozen, slot, index = model
  stranger = random_slot(config, 11)
  tau = held_in_loss(*model, HELD_IN)
  ignored = layout.insert_slot(config, frozen, stranger, INDEX)
  assert_same(held_in_loss(config, ignored, slot, index, HELD_IN), tau)
  other = layout.insert_slot(config, frozen, stranger, 0)
  assert held_in_loss(config, other, slot, index, HELD_IN) != tau


def test_reward_needs_strict_improvement():
  tau = jnp.float32(1.5)
  after = jnp.array([1.5, np.nextafter(np.float32(1.5), np.float32(0)),
                     np.nextafter(np.float32(1.5), np.float32(2)), np.nan])
  np.testing.assert_array_equal(
      inner.improvement_reward(tau, after), [0, 1, 0, 0])


def test_learning_the_held_in_answers_is_rewarded(scanned):
  trials = trials_of(scanned, held_in=row(DREAMS, 0))
  assert float(inner.improvement_reward(*trials)[0]) == 1


def test_a_copy_that_learns_nothing_has_exactly_the_old_tau(model):
  trials = trials_of(model, learning_rate=1e-30)
  assert_same(trials.tau_after, np.full(4, trials.tau_before))
  np.testing.assert_array_equal(inner.improvement_reward(*trials), np.zeros(4))


def test_reward_weighted_gradient_is_the_weighted_sum(model):
  config, frozen, slot, index = model
  value_and_gradient = jax.jit(jax.value_and_grad(
      lambda s, rewards: outer.reward_weighted_loss(
          config, frozen, s, index, DREAMS, rewards)))
  _, gradient = value_and_gradient(slot, jnp.array([1, 0, 1, 0.5]))
  each = [sft_gradient(*model, row(DREAMS, i), np.ones(1)) for i in (0, 2, 3)]
  for name in slot:
    expected = (each[0][name] + each[1][name] + 0.5 * each[2][name]) / 2.5
    np.testing.assert_allclose(gradient[name], expected, atol=1e-5)
    assert np.abs(expected).max() > 1e-3
  nothing = value_and_gradient(slot, jnp.zeros(4))
  assert not any(np.asarray(leaf).any() for leaf in jax.tree.leaves(nothing))


def test_outer_update_learns_rewarded_dreams_from_the_current_slot(model):
  config, frozen, slot, index = model
  rewards = jnp.array([0, 1.0, 0, 1])
  outcome = outer_of(model, DREAMS, rewards)
  expected = adam_by_hand(model, DREAMS, rewards / 2, SETTINGS.outer_steps,
                          SETTINGS.outer_learning_rate)
  assert_near = lambda a, b: np.testing.assert_allclose(a, b, atol=1e-4)
  jax.tree.map(assert_near, outcome.slot, expected)
  np.testing.assert_allclose(
      outcome.tau,
      held_in_loss(config, frozen, outcome.slot, index, HELD_IN), rtol=1e-5)
  # What stands in place of a dream without reward makes no difference.
  unrewarded = np.asarray(rewards)[:, None] == 0
  swapped = Rows(*(np.where(unrewarded, b, a)
                   for a, b in zip(DREAMS, random_rows(9, [5] * 4))))
  jax.tree.map(assert_near, outer_of(model, swapped, rewards).slot,
               outcome.slot)


def test_retention_divergence_by_hand(model):
  config, frozen, slot, index = model
  other = random_slot(config, 21)
  kl = []
  for i in range(2):
    log_p, _ = log_softmax_by_hand(model, RETENTION, i)
    log_q, _ = log_softmax_by_hand(model, RETENTION, i, other)
    kl += (np.exp(log_p) * (log_p - log_q)).sum(-1).tolist()
  assert len(kl) == 8 and np.mean(kl) > 0.01
  divergence = jax.jit(outer.retention_divergence, static_argnums=0)
  np.testing.assert_allclose(
      divergence(config, frozen, slot, other, index, RETENTION), np.mean(kl),
      rtol=1e-3)
  same = divergence(config, frozen, slot, slot, index, RETENTION)
  assert float(same) == 0


def test_selection_is_top_k_and_random_others_without_duplicates():
  importance = jnp.array([1, 9, 2, 8, 3, 7, 4, 6, 5, 0.5])
  drawn = set()
  for seed in range(20):
    chosen = np.asarray(select.selected_dreams(
        importance, jax.random.key(seed), 3, 4)).tolist()
    assert chosen[:3] == [1, 3, 5]
    assert len(set(chosen)) == 7
    drawn |= set(chosen[3:])
  assert drawn == {0, 2, 4, 6, 7, 8, 9}
  everything = select.selected_dreams(importance, jax.random.key(0), 0, 10)
  assert sorted(np.asarray(everything).tolist()) == list(range(10))


def test_dreams_use_prompts_in_turn_or_at_even_distances():
  assert sample.dreamt_prompts(2, 5) == [0, 1, 0, 1, 0]
  assert sample.dreamt_prompts(3, 3) == [0, 1, 2]
  assert sample.dreamt_prompts(5, 3) == [0, 1, 3]
  assert sample.dreamt_prompts(40, 4) == [0, 10, 20, 30]


def test_dreams_cycle_prompts_and_come_from_the_slot(scanned):
  config, frozen, _, index = scanned
  how = PROMPTS, SETTINGS, STOP, jax.random.key(3)
  dreams = sample.sample_dreams(*scanned, *how)
  assert dreams.prompt.shape == (6, 8) and dreams.completion.shape == (6, 5)
  for i in range(6):
    assert (dreams.prompt[i][dreams.prompt_mask[i]].tolist()
            == PROMPTS[i % 3])
  lists = sample.token_lists(dreams)
  assert [len(d) for d in lists] == dreams.completion_mask.sum(-1).tolist()
  assert all(1 <= len(d) <= 5 and 0 not in d[:-1] for d in lists)
  other = sample.sample_dreams(
      config, frozen, random_slot(config, 21), index, *how)
  assert sample.token_lists(other) != lists


def test_a_round_learns_and_reports(model, slotted):
  config, frozen, slot, index = model
  parts = []
  new, report = run_round(model, report=lambda *part: parts.append(part))
  kept = SETTINGS.kept
  assert len(report.dreams) == len(report.importance) == 6
  assert report.prompts == [0, 1, 2, 0, 1, 2]
  assert len(set(report.selected)) == len(report.rewards) == kept
  assert set(report.selected[:2]) == set(
      np.argsort(report.importance)[-2:].tolist())
  assert report.rewards == [float(d > 0) for d in report.improvement]
  assert report.success_rate == sum(report.rewards) / kept > 0
  np.testing.assert_allclose(
      report.improvement,
      np.array(report.tau_before) - report.tau_after_inner, atol=1e-6)
  assert not (report.skipped or report.rolled_back)
  assert report.tau_after == report.tau_updated <= report.tau_before
  np.testing.assert_allclose(
      held_in_loss(config, frozen, new, index, dreams_of_round(model)),
      report.tau_after, rtol=1e-5)
  assert report.retention_divergence > 0
  open_here = np.asarray(slotted[1]['layers']['slots']['open'])[:, INDEX]
  assert open_here.any() and not open_here.all()
  for name in slot:
    changed = np.asarray(new[name] != slot[name]).any((1, 2))
    np.testing.assert_array_equal(changed, open_here)
  assert [step for step, _, _ in parts] == [0, 1, 2, 3]
  assert all(tokens > 0 and metrics for _, metrics, tokens in parts)
  merged = {k: v for _, metrics, _ in parts for k, v in metrics.items()}
  assert merged['dream_rolled_back'] == merged['dream_skipped'] == 0
  assert merged['dream_success_rate'] == report.success_rate
  assert all(isinstance(value, float) for value in merged.values())


def test_a_round_follows_from_its_key(model):
  first, second, other = (run_round(model, key=k) for k in (7, 7, 8))
  assert first[1] == second[1]
  assert_same(first[0], second[0])
  assert first[1].dreams != other[1].dreams


def test_both_layouts_dream_the_same(layouts):
  reports = [run_round(layouts[unroll])[1] for unroll in (False, True)]
  assert reports[0].dreams == reports[1].dreams
  assert reports[0].selected == reports[1].selected
  np.testing.assert_allclose(
      reports[0].tau_after_inner, reports[1].tau_after_inner, rtol=1e-3)


def test_without_reward_the_slot_stays_bit_for_bit(scanned):
  still = dataclasses.replace(SETTINGS, inner_learning_rate=1e-30)
  parts = []
  slot, report = run_round(scanned, still,
                           report=lambda *part: parts.append(part))
  assert report.skipped and not report.rolled_back
  assert report.success_rate == 0 and report.rewards == [0.0] * 4
  assert report.tau_after == report.tau_before
  assert report.tau_updated is None and report.retention_divergence is None
  assert_same(slot, scanned[2])
  assert parts[-1] == (3, {'dream_tau_after': report.tau_before,
                           'dream_skipped': 1.0, 'dream_rolled_back': 0.0}, 0)


@pytest.mark.parametrize('change', [
    dict(max_retention_divergence=0.0), dict(outer_learning_rate=1.0),
    dict(outer_learning_rate=1e30)], ids=['moved', 'worse', 'nan'])
def test_rollback_returns_the_slot_bit_for_bit(scanned, change):
  settings = dataclasses.replace(SETTINGS, **change)
  parts = []
  slot, report = run_round(scanned, settings,
                           report=lambda *part: parts.append(part))
  assert report.rolled_back and not report.skipped
  assert parts[-1][1]['dream_rolled_back'] == 1
  assert report.tau_after == report.tau_before
  if 'max_retention_divergence' in change:
    assert report.tau_updated <= report.tau_before
    assert report.retention_divergence > 0
  else:
    assert not report.tau_updated <= report.tau_before
  assert_same(slot, scanned[2])


def test_a_round_without_retention_rows(scanned):
  settings = dataclasses.replace(SETTINGS, max_retention_divergence=0.0)
  _, report = run_round(scanned, settings, retention=None)
  assert report.retention_divergence is None and not report.rolled_back


@pytest.mark.parametrize('wrong, message', [
    (dict(prompts=[]), 'at least one prompt'),
    (dict(prompts=[[1], [1] * 9]), 'prompt 1 has 9 tokens.*prompt_tokens=8'),
    (dict(prompts=[[]]), 'prompt 0 has 0 tokens'),
    (dict(held_in=HELD_IN._replace(completion_mask=np.zeros((3, 3), bool))),
     'held_in rows'),
    (dict(retention=RETENTION._replace(
        completion_mask=np.zeros((2, 4), bool))), 'retention rows')])
def test_input_that_cannot_be_used_is_named(scanned, wrong, message):
  with pytest.raises(UserError, match=message):
    run_round(scanned, **wrong)


@pytest.mark.parametrize('wrong', [
    dict(dreams=5, top_k=4, random=2), dict(top_k=0, random=0),
    dict(top_k=-1), dict(inner_steps=0), dict(temperature=0.0),
    dict(outer_learning_rate=0.0), dict(gradient_rows=0),
    dict(max_retention_divergence=float('nan'))])
def test_settings_that_cannot_work_are_refused(wrong):
  with pytest.raises(UserError, match=next(iter(wrong))):
    DreamingConfig(**wrong)
