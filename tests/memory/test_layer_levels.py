"""Levels that are groups of a model's layers: nothing new, own paces."""

import dataclasses
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sleepjax.errors import UserError
from sleepjax.growth import slots
from sleepjax.growth.slot_operators import OpenSlot
from sleepjax.memory import continuum, wake
from sleepjax.memory.wake import WakeConfig
from sleepjax.models import layout, transformer
from tests.conftest import CONFIG, random_params
from tests.memory.test_continuum import KEY, SETTINGS, STREAM, assert_same

GROUPS = dataclasses.replace(
    SETTINGS, level_dims=(), level_layers=(2, 1), slots=(1, 2),
    wake=WakeConfig((8, 8, 32), learning_rates=(0.1, 0.1)))


@pytest.fixture(scope='module')
def plain():
  """(config, params) of three layers."""
  config = dataclasses.replace(CONFIG, num_layers=3)
  return config, random_params(config)


@pytest.fixture(scope='module')
def model(plain):
  """(config, params): the lower two layers are fast, the upper one slow."""
  return continuum.add_levels(*plain, GROUPS, KEY)


def test_nothing_is_new_but_room_for_slots(plain, model):
  config, params = model
  assert config.num_levels == 2 and config.slots_of(0) == config.slots_of(1)
  bare = {**params, 'layers': {
      k: v for k, v in params['layers'].items() if k != 'slots'}}
  assert_same(bare, plain[1])
  np.testing.assert_array_equal(
      transformer.logits(config, params, STREAM[None]),
      transformer.logits(*plain, STREAM[None]))
  assert jax.tree.map(jnp.shape, params) == jax.tree.map(
      jnp.shape, transformer.abstract_params(config))
  # Models may exchange weights however their levels learn.
  assert config.architecture() == transformer.with_slots(
      plain[0], config.num_slots, config.slot_rank).architecture()
  assert config.of_layers(1, 3).level_layers == (1, 1)


@pytest.mark.slow
def test_only_the_layers_of_a_level_move(plain, model):
  """Eq. 2: its gradient is that of the whole MLP, in those layers."""
  config, params = model
  start = wake.init_wake(config, params, GROUPS.wake)
  state, _ = wake.read_window(config, params, GROUPS.wake, start, STREAM[:8])
  one = WakeConfig((8, 8), (0.1,))
  whole, _ = wake.read_window(
      *plain, one, wake.init_wake(*plain, one), STREAM[:8])
  jax.tree.map(lambda low, high, both: np.testing.assert_allclose(
      np.concatenate([low, high]), both, rtol=0,
      atol=1e-5 * np.abs(both).max()), *state.gradients, whole.gradients[0])
  after = wake.updated(GROUPS.wake, state, 0)
  merged = wake.merge_levels(config, params, after.weights)
  for name, leaf in merged['layers']['mlp'].items():
    old = params['layers']['mlp'][name]
    np.testing.assert_array_equal(leaf[2:], old[2:])
    assert all((leaf[i] != old[i]).any() for i in range(2))
  for name in ('attn', 'attn_norm', 'mlp_norm', 'slots'):
    assert_same(merged['layers'][name], params['layers'][name])
  wake.check_read(config, merged, after, {'loss': 1.0})


@pytest.mark.parametrize('unrolled', [False, True])
def test_slots_are_open_in_the_layers_of_their_level(model, unrolled):
  config, params = model
  newborn = slots.new_slot(config, KEY, config.slot_rank, 0)
  assert newborn['down'].shape == (2, config.slot_rank, config.embed_dim)
  newborn['down'] += 1
  grown = slots.open_slot(config, params, newborn, 1, [True, True], 0)
  pool = grown['layers']['slots']
  np.testing.assert_array_equal(
      pool['open'], [[False, True], [False, True], [False, False]])
  assert not pool['down'][2].any()
  assert slots.is_open(config, grown, 0).tolist() == [False, True]
  assert not slots.is_open(config, grown, 1).any()
  assert_same(slots.read_slot(config, grown, 1, 0), newborn)
  ordered = slots.open_first(config, grown, 0)
  assert slots.is_open(config, ordered, 0).tolist() == [True, False]
  assert_same(slots.close_all(config, grown, KEY, 0)['layers']['slots']['open'],
              params['layers']['slots']['open'])
  if unrolled:  # As a step that trains a slot puts it there.
    computed, ready = layout.for_compute(
        config, slots.set_open(config, params, 1, [True, True], 0), 'float32',
        unroll=True)
    np.testing.assert_allclose(
        transformer.logits(computed, layout.insert_slot(
            computed, ready, newborn, 1, 0), STREAM[None]),
        transformer.logits(config, grown, STREAM[None]), rtol=1e-4, atol=1e-4)
  with pytest.raises(UserError, match='a level has only some'):
    OpenSlot(0)(config)


@pytest.mark.slow
def test_groups_hand_over(model):
  """The context to the lower layers, these to the upper one, full pools too."""
  config, params = model
  state = continuum.init_state(config, params, GROUPS)
  state = continuum.read(config, GROUPS, state, STREAM[:72], KEY)
  assert state.sleeps.tolist() == [9, 9]
  opened = np.asarray(state.params['layers']['slots']['open'])
  # The fast level was pruned, then got a slot; the slow one has two, merged.
  np.testing.assert_array_equal(opened.sum(1), [1, 1, config.num_slots])
  assert_same(state.params, wake.merge_levels(
      config, state.params, state.wake.weights))
  for name in ('attn', 'attn_norm', 'mlp_norm'):
    assert_same(state.params['layers'][name], params['layers'][name])


@pytest.mark.parametrize('fields, message', [
    (dict(level_layers=(2, 2)), 'must share out all 3 layers'),
    (dict(level_layers=(2, 1), level_dims=(4,)), 'no place for the extra')])
def test_groups_are_checked(plain, fields, message):
  with pytest.raises(ValueError, match=re.escape(message)):
    dataclasses.replace(plain[0], **fields)
