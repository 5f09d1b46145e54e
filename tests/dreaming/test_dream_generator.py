"""Writing dreams with random experts, their diversity, learning to write."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sleepjax.dreaming import curriculum, diversity, loss, outer, sample
from sleepjax.dreaming.inner import Descent
from sleepjax.errors import UserError
from sleepjax.growth.adapters import LowRank
from sleepjax.growth.learner import Learner
from sleepjax.models import layout, transformer
from tests import dream_models as dm
from tests.dream_models import SETTINGS, STOP, assert_same, row

DREAMS = dm.random_rows(0, [5, 2, 4, 1])
PROMPTS = [[3, 4, 5], [6, 7], [8, 9, 10, 11]]
PART = LowRank(2, 4.0)


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


def born(model):
  """A generator that is not zero."""
  tree = PART.init(model.config, jax.random.key(3))
  return jax.tree.map(
      lambda leaf: leaf + 0.05 * jax.random.normal(
          jax.random.key(leaf.size), leaf.shape), tree)


def test_dreams_use_prompts_in_turn_or_at_even_distances():
  assert sample.dreamt_prompts(2, 5) == [0, 1, 0, 1, 0]
  assert sample.dreamt_prompts(3, 3) == [0, 1, 2]
  assert sample.dreamt_prompts(5, 3) == [0, 1, 3]
  assert sample.dreamt_prompts(40, 4) == [0, 10, 20, 30]


@pytest.mark.slow
def test_dreams_of_each_memory_cycle_its_prompts(scanned):
  config = scanned.config
  how = [PROMPTS, PROMPTS[:1]], SETTINGS, STOP, jax.random.key(3)
  dreams = sample.sample_dreams(scanned, *how)
  assert dreams.prompt.shape == (12, 8) and dreams.completion.shape == (12, 5)
  for i in range(12):
    assert (dreams.prompt[i][dreams.prompt_mask[i]].tolist()
            == (PROMPTS[i % 3] if i < 6 else PROMPTS[0]))
  lists = sample.token_lists(dreams)
  assert [len(d) for d in lists] == dreams.completion_mask.sum(-1).tolist()
  assert all(1 <= len(d) <= 5 and 0 not in d[:-1] for d in lists)
  other = sample.sample_dreams(
      scanned.with_value(dm.random_slot(config, 21)), *how)
  assert sample.token_lists(other) != lists
  adapted = sample.sample_dreams(scanned, *how, PART, born(scanned))
  assert sample.token_lists(adapted) != lists
  # At birth it changes nothing.
  unchanged = sample.sample_dreams(
      scanned, *how, PART, PART.init(config, jax.random.key(0)))
  assert sample.token_lists(unchanged) == lists


def test_random_experts_are_open_ones_or_none_evenly():
  opened = np.array([[True, False, True], [False, True, False],
                     [False, False, False]])
  drawn = np.asarray(sample.random_experts(opened, 3000, jax.random.key(0)))
  assert drawn.shape == (3, 3000, 3)
  assert (drawn.sum(-1) <= 1).all()
  shares = drawn.mean(1)
  np.testing.assert_allclose(
      shares, [[1 / 3, 0, 1 / 3], [0, 1 / 2, 0], [0, 0, 0]], atol=0.03)
  assert not (drawn[0, :-1] == drawn[0, 1:]).all()  # Anew for each dream.


def hidden_with(model, extra):
  params = model.params
  if extra is not None:
    params = layout.with_extra_slots(model.config, params, extra)
  tokens = np.array([[3, 4, 5], [3, 4, 5]], np.int32)
  return np.asarray(transformer.hidden_states(
      model.config, params, tokens)[0])


def test_an_extra_slot_counts_twice_in_its_row(model):
  plain = hidden_with(model, None)
  extra = np.zeros((2, 2, 2), bool)
  np.testing.assert_allclose(hidden_with(model, extra), plain, atol=1e-6)
  extra[0, 1, 0] = True  # Slot 0 is open in layer 0; row 1 only.
  changed = hidden_with(model, extra)
  np.testing.assert_allclose(changed[0], plain[0], atol=1e-6)
  assert np.abs(changed[1] - plain[1]).max() > 1e-3
  # As with twice its output matrix.
  name = 'layers' if model.config.scan_layers else 'layer_0'
  double = np.array([[2.0, 1.0], [1.0, 1.0]]) if name == 'layers' else (
      np.array([2.0, 1.0]))
  slots = model.frozen[name]['slots']
  frozen = {**model.frozen, name: {**model.frozen[name], 'slots': {
      **slots, 'down': slots['down'] * double[..., None, None]}}}
  twice = hidden_with(dataclasses.replace(model, frozen=frozen), None)
  np.testing.assert_allclose(changed[1], twice[1], atol=1e-5)


def test_a_closed_slot_stays_closed(model):
  opened = np.asarray(sample.open_slots(model.config, model.frozen))
  layer, slot = np.argwhere(~opened)[0]
  extra = np.zeros((2, 2, 2), bool)
  extra[layer, :, slot] = True
  np.testing.assert_allclose(
      hidden_with(model, extra), hidden_with(model, None), atol=1e-6)


def test_a_router_uses_the_extra_slot_besides_its_own(slotted):
  """With top-1 routing and an extra slot, as with both slots used."""
  config, params = slotted
  pool = params['layers']['slots']
  pool = {**pool, 'open': jnp.ones_like(pool['open']),
          'router': jax.random.normal(jax.random.key(1), (2, 2, 32))}
  params = {**params, 'layers': {**params['layers'], 'slots': pool}}
  routed = dataclasses.replace(config, slot_routing='sigmoid', slot_top_k=1)
  everything = dataclasses.replace(routed, slot_top_k=2)
  tokens = np.array([[3, 4, 5]], np.int32)
  both = np.ones((2, 1, 2), bool)
  hidden = lambda c, p: transformer.hidden_states(c, p, tokens)[0]
  one = hidden(routed, params)
  extended = hidden(routed, layout.with_extra_slots(routed, params, both))
  np.testing.assert_allclose(extended, hidden(everything, params), atol=1e-5)
  assert np.abs(np.asarray(extended - one)).max() > 1e-3


@pytest.mark.slow
def test_random_experts_change_what_is_dreamt(scanned):
  settings = dataclasses.replace(SETTINGS, dreams=12, random_expert=True)
  how = STOP, jax.random.key(3)
  with_expert = sample.sample_dreams(scanned, [PROMPTS], settings, *how)
  without = sample.sample_dreams(scanned, [PROMPTS], dataclasses.replace(
      settings, random_expert=False), *how)
  assert sample.token_lists(with_expert) != sample.token_lists(without)


def test_diversity():
  assert diversity.distinct_n([[1, 2, 3], [1, 2, 4]], 2) == 3 / 4
  assert diversity.distinct_n([[1]], 2) == 1
  assert diversity.pairwise_similarity([[1, 2, 3], [1, 2, 3]]) == 1
  # Distances 1 of 3, 3 of 3 and 3 of 3.
  assert diversity.pairwise_similarity(
      [[1, 2, 3], [1, 2, 4], [7, 8, 9]]) == pytest.approx((2 / 3 + 0 + 0) / 3)
  assert diversity.pairwise_similarity([[1, 2]]) == 0


@pytest.mark.parametrize('kind, expected', [
    ('rest_em', [1, 0, 1, 0, 0, 0]),
    ('reward_weighted', [0.5, 0, 1, 0, 0, 0]),
    ('group_relative', None)])
def test_dream_weights(kind, expected):
  rewards = np.array([[0.5, -0.5, 1.0], [0, 0, 0]])
  weights = np.asarray(outer.dream_weights(kind, rewards))
  if expected is None:
    centred = rewards[0] - rewards[0].mean()
    expected = [*(centred / (rewards[0].std() + 1e-4)), 0, 0, 0]
  np.testing.assert_allclose(weights, expected, rtol=1e-5)


@pytest.mark.parametrize('kind', ['rest_em', 'group_relative'])
def test_gradient_is_the_weighted_sum_over_dreams(model, kind):
  value = born(model)
  generator = Learner(model.config, model.params, PART, None)
  weights = np.array([1.0, 0, -0.5 if kind == 'group_relative' else 0.5, 0])

  @jax.jit
  def gradient(value, weights):
    return jax.grad(lambda v: outer.weighted_dream_loss(
        generator.with_value(v), DREAMS, weights, kind))(value)

  @jax.jit
  def of_one(value, one):
    return jax.grad(lambda v: loss.completion_nll(
        generator.with_value(v), one).sum())(value)

  each = [of_one(value, row(DREAMS, i)) for i in (0, 2)]
  lengths = np.asarray(DREAMS.completion_mask).sum(-1)
  if kind == 'rest_em':
    factors = [1 / lengths[0] / 1.5, 0.5 / lengths[2] / 1.5]
  else:
    factors = [1 / 4, -0.5 / 4]  # Of four dreams.
  jax.tree.map(lambda g, a, b: np.testing.assert_allclose(
      g, factors[0] * a + factors[1] * b, atol=1e-5),
               gradient(value, weights), *each)
  zero = gradient(value, np.zeros(4))
  assert not any(np.asarray(leaf).any() for leaf in jax.tree.leaves(zero))


@pytest.mark.slow
def test_outer_update_makes_rewarded_dreams_likelier(scanned):
  weights = jnp.array([1.0, 0, 0, 1])
  start = PART.init(scanned.config, jax.random.key(0))
  generator = Learner(scanned.config, scanned.params, PART, None, value=start)
  losses = lambda value: np.asarray(loss.sft_losses(
      generator.with_value(value), DREAMS))
  outcome = outer.outer_update(
      generator, DREAMS, weights, Descent(20, 3e-3), outer='rest_em')
  before, after = losses(start), losses(outcome.generator)
  assert after[0] < before[0] - 0.1 and after[3] < before[3] - 0.1
  by_hand = dm.adam_by_hand(
      lambda v: jax.grad(lambda v: outer.weighted_dream_loss(
          generator.with_value(v), DREAMS, weights, 'rest_em'))(v),
      start, 2, 3e-3)
  two = outer.outer_update(
      generator, DREAMS, weights, Descent(2, 3e-3), outer='rest_em')
  jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-4),
               two.generator, by_hand)


@pytest.mark.parametrize('prompts, message', [
    ([[]], 'at least one prompt'),
    ([[[1], [1] * 9]], 'has 9 tokens.*prompt_tokens=8'),
    ([PROMPTS, [[]]], 'memory 1: a prompt has 0 tokens')])
def test_prompts_that_cannot_be_used_are_named(scanned, prompts, message):
  with pytest.raises(UserError, match=message):
    sample.sample_dreams(
        scanned, prompts, SETTINGS, STOP, jax.random.key(0))


def test_answer_probabilities_and_learnability(model):
  held_in = dm.random_rows(1, [2, 3, 1], P=6, N=3)
  held_in.completion_mask[2] = False
  p = np.asarray(curriculum.answer_probabilities(model, held_in))
  expected = [np.exp(-sum(dm.nll_by_hand(model, held_in, i))) for i in (0, 1)]
  np.testing.assert_allclose(p[:2], expected, rtol=1e-3)
  assert np.isnan(p[2])
  assert curriculum.learnability([0.5, 0.9, np.nan]) == pytest.approx(
      (1 + 0.36) / 2)
  assert curriculum.learnability([0.0, 1.0]) == 0


def test_memories_are_drawn_by_learnability_and_staleness():
  weights = curriculum.memory_weights([0.5, 0.25, 0.0], [1, 4, 1])
  np.testing.assert_allclose(weights, np.array([0.5, 1.0, 0.02]) / 1.52)
  rng = np.random.default_rng(0)
  draws = [curriculum.drawn_memories(weights, 1, rng)[0] for _ in range(2000)]
  np.testing.assert_allclose(
      np.bincount(draws, minlength=3) / 2000, weights, atol=0.03)
  assert curriculum.drawn_memories(weights, 5, rng) == [0, 1, 2]
  assert_same(curriculum.memory_weights(np.ones(4), np.ones(4)), [0.25] * 4)
