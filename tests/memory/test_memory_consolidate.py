"""Compute – consolidate – update between neighbouring memory levels."""

import dataclasses
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sleepjax.growth import slots
from sleepjax.memory import consolidate as lib
from sleepjax.models import transformer
from sleepjax.seeding.objective import SeedingConfig
from tests.conftest import CONFIG, random_params

RANK = 8
SETTINGS = lib.ConsolidationConfig(
    SeedingConfig(steps=30, rows=4, group_size=2, on_policy=0.2, rehearsal=0.0,
                  learning_rate=0.02),
    dreams=8, prompt_tokens=4, dream_tokens=6)
STREAM = np.random.default_rng(3).integers(0, 61, 32).tolist()
ALL = jnp.ones(CONFIG.num_layers, bool)

logits = jax.jit(transformer.logits, static_argnums=0)


@pytest.fixture(scope='module')
def model():
  """(config, params): one extra level; pools of two, one entry of each open."""
  config = dataclasses.replace(CONFIG, level_dims=(16,))
  params = random_params(config)
  for level in range(2):
    config, params = slots.allocate_pool(config, params, 2, RANK, level)
    slot = jax.tree.map(lambda x: 4 * x, slots.new_slot(
        config, jax.random.key(level), RANK))
    slot['down'] += 0.05
    params = slots.open_slot(config, params, slot, 0, ALL, level)
  return config, params


def moved(params):
  """The prospective model: the extra level has other base weights."""
  level = params['layers']['level_0']
  mlp = {**level['mlp'], 'down': level['mlp']['down'] * 1.2}
  return {**params, 'layers': {
      **params['layers'], 'level_0': {**level, 'mlp': mlp}}}


def assert_same(have, want):
  jax.tree.map(np.testing.assert_array_equal, have, want)


def test_an_mlp_level_hands_over(model):
  config, params = model
  untouched = jax.tree.map(np.array, params)
  history = []
  student = lib.consolidate(
      config, params, moved(params), 1, STREAM, SETTINGS, jax.random.key(0),
      report=lambda step, m, tokens: history.append(float(m['divergence'])))
  assert_same(params, untouched)
  # The update is in place, the sender's slots are pruned, and one is new.
  layers = student['layers']
  assert_same(layers['level_0']['mlp'],
              moved(params)['layers']['level_0']['mlp'])
  assert not slots.is_open(config, student, 0).any()
  assert slots.is_open(config, student, 1).tolist() == [True, True]
  assert_same(slots.read_slot(config, student, 0, 1),
              slots.read_slot(config, params, 0, 1))
  for name in ('attn', 'attn_norm', 'mlp', 'mlp_norm'):
    assert_same(layers[name], params['layers'][name])
  assert_same(student['embed'], params['embed'])
  # What the update and the pruning took away has partly come back.
  assert np.mean(history[-5:]) < 0.6 * np.mean(history[:5])


def test_attention_hands_over_what_is_in_context(model):
  config, params = model
  history = []
  student = lib.consolidate(
      config, params, params, 0, STREAM, SETTINGS, jax.random.key(0),
      report=lambda step, m, tokens: history.append(float(m['divergence'])))
  assert slots.is_open(config, student, 0).tolist() == [True, True]
  assert slots.is_open(config, student, 1).tolist() == [True, False]
  assert history[0] > 0.05  # The context matters to the teacher.
  assert np.mean(history[-5:]) < 0.8 * np.mean(history[:5])


def test_a_failure_leaves_the_model_as_it_was(model):
  config, params = model
  untouched = jax.tree.map(np.array, params)

  def fail(step, metrics, tokens):
    if step == 1:
      raise KeyboardInterrupt

  with pytest.raises(KeyboardInterrupt):
    lib.consolidate(config, params, moved(params), 1, STREAM, SETTINGS,
                    jax.random.key(0), report=fail)
  assert_same(params, untouched)


def test_a_full_pool_merges_its_oldest(model):
  config, params = model
  slot = jax.tree.map(lambda x: 2 * x, slots.new_slot(
      config, jax.random.key(7), RANK))
  slot['down'] = 0.3 * jax.random.normal(
      jax.random.key(8), slot['down'].shape)
  full = slots.open_slot(config, params, slot, 1, ALL)
  history = []
  quiet = dataclasses.replace(SETTINGS, seeding=dataclasses.replace(
      SETTINGS.seeding, on_policy=0.0, learning_rate=0.01, steps=60))
  merged = lib.merge_oldest(
      config, full, -1, STREAM, quiet, jax.random.key(1),
      lambda step, m, tokens: history.append(float(m['divergence'])))
  assert slots.is_open(config, merged).tolist() == [True, False]
  assert np.mean(history[-5:]) < 0.5 * np.mean(history[:5]), history
  # And consolidation makes room by it.
  student = lib.consolidate(
      config, full, moved(full), 1, STREAM,
      dataclasses.replace(SETTINGS, seeding=dataclasses.replace(
          SETTINGS.seeding, steps=1)), jax.random.key(0))
  assert slots.is_open(config, student).tolist() == [True, True]
  assert np.isfinite(logits(config, student, np.array([STREAM]))).all()


def test_the_same_key_gives_the_same_model(model):
  config, params = model
  short = dataclasses.replace(SETTINGS, seeding=dataclasses.replace(
      SETTINGS.seeding, steps=2))
  runs = [lib.consolidate(config, params, params, 0, STREAM, short,
                          jax.random.key(seed)) for seed in (5, 5, 6)]
  assert_same(runs[0], runs[1])
  assert (runs[0]['layers']['level_0']['slots']['down']
          != runs[2]['layers']['level_0']['slots']['down']).any()


def test_stretches():
  have = lib.stretches(range(10, 20), 50, 3, jax.random.key(0))
  assert have.shape == (50, 3)
  assert (np.diff(have, axis=1) == 1).all()
  assert set(have[:, 0].tolist()) == set(range(10, 18))
  with pytest.raises(ValueError, match=re.escape('prompt_tokens=4')):
    lib.stretches([1, 2, 3], 1, 4, jax.random.key(0))


@pytest.mark.parametrize('sender, message', [
    (2, 'sender=2: expected a memory level from 0 (attention) to 1'),
    (-1, 'sender=-1')])
def test_levels_without_a_receiver(model, sender, message):
  config, params = model
  with pytest.raises(ValueError, match=re.escape(message)):
    lib.consolidate(config, params, params, sender, STREAM, SETTINGS,
                    jax.random.key(0))


def test_a_receiver_needs_a_pool(plain):
  with pytest.raises(ValueError, match='allocate at least two'):
    lib.consolidate(*plain, plain[1], 0, STREAM, SETTINGS, jax.random.key(0))
