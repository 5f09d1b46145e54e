"""Compute – consolidate – update between neighbouring memory levels."""

import dataclasses
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sleepjax.growth import slots
from sleepjax.memory import consolidate as lib
from sleepjax.memory.consolidate import Sides
from sleepjax.memory.stretches import StretchConfig, Stretches
from sleepjax.models import transformer
from sleepjax.seeding.settings import SeedingConfig
from sleepjax.training.observer import Observer
from tests.conftest import CONFIG, random_params

pytestmark = pytest.mark.slow

RANK = 8
SETTINGS = lib.ConsolidationConfig(
    SeedingConfig(steps=30, rows=4, group_size=2, on_policy=0.2, rehearsal=0.0,
                  learning_rate=0.02),
    StretchConfig(dreams=8, prompt_tokens=4, dream_tokens=6))
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


class Heard(Observer):
  """Keeps the divergence of every update."""

  def __init__(self):
    super().__init__()
    self.history = []

  def wrote(self, phase, step, values):
    self.history.append(float(values['divergence']))


def assert_same(have, want):
  jax.tree.map(np.testing.assert_array_equal, have, want)


def test_an_mlp_level_hands_over(model):
  config, params = model
  untouched = jax.tree.map(np.array, params)
  heard = Heard()
  student, hand_over, _ = lib.consolidate(
      config, Sides(params, moved(params)), 1, STREAM, SETTINGS,
      jax.random.key(0), observer=heard)
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
  # What the update and the pruning took away has partly come back, also on
  # prompts that it did not learn from.
  history = heard.history
  assert np.mean(history[-5:]) < 0.6 * np.mean(history[:5])
  assert (hand_over.sender, hand_over.receiver) == ('mlp 0', 'mlp 1')
  assert hand_over.divergence_after < hand_over.divergence_before
  assert hand_over.closed == pytest.approx(
      1 - hand_over.divergence_after / hand_over.divergence_before)
  assert not hand_over.rolled_back and hand_over.retention_divergence is None


def test_attention_hands_over_what_is_in_context(model):
  config, params = model
  heard = Heard()
  student, hand_over, _ = lib.consolidate(
      config, Sides(params, params), 0, STREAM, SETTINGS, jax.random.key(0),
      observer=heard)
  history = heard.history
  assert slots.is_open(config, student, 0).tolist() == [True, True]
  assert slots.is_open(config, student, 1).tolist() == [True, False]
  assert history[0] > 0.05  # The context matters to the teacher.
  assert np.mean(history[-5:]) < 0.8 * np.mean(history[:5])
  assert hand_over.sender == 'context' and hand_over.divergence_before > 0.05


def test_what_must_stay_is_rehearsed_retained_and_guarded(model):
  """The terms are in the loss; what moves them too far is undone."""
  config, params = model
  asking = Stretches(SETTINGS.stretches, np.arange(24).reshape(3, 8),
                     np.arange(8).reshape(2, 4))
  lines = []
  observer = Heard()
  observer.wrote = lambda phase, step, values: lines.append(values)
  settings = dataclasses.replace(SETTINGS, seeding=dataclasses.replace(
      SETTINGS.seeding, steps=3, rehearsal=1.0))
  run = lambda limit: lib.consolidate(
      config, Sides(params, params), 0, STREAM, dataclasses.replace(
          settings, max_retention_divergence=limit), jax.random.key(0),
      source=lib.Source(asking), observer=observer)
  student, hand_over, _ = run(1.0)
  assert {'rehearsal_divergence', 'retention_divergence'} <= set(lines[0])
  assert hand_over.retention_divergence > 0 and not hand_over.rolled_back
  undone, hand_over, _ = run(0.0)
  assert hand_over.rolled_back
  index = int(np.argmin(slots.is_open(config, params, 0)))
  assert (slots.read_slot(config, undone, index, 0)['down'] == 0).all()
  assert (slots.read_slot(config, student, index, 0)['down'] != 0).any()


def test_a_failure_leaves_the_model_as_it_was(model):
  config, params = model
  untouched = jax.tree.map(np.array, params)

  def fail(phase, step, values):
    if step == 1:
      raise KeyboardInterrupt

  observer = Heard()
  observer.wrote = fail

  with pytest.raises(KeyboardInterrupt):
    lib.consolidate(config, Sides(params, moved(params)), 1, STREAM, SETTINGS,
                    jax.random.key(0), observer=observer)
  assert_same(params, untouched)


def test_a_full_pool_merges_its_oldest(model):
  config, params = model
  slot = jax.tree.map(lambda x: 2 * x, slots.new_slot(
      config, jax.random.key(7), RANK))
  slot['down'] = 0.3 * jax.random.normal(
      jax.random.key(8), slot['down'].shape)
  full = slots.open_slot(config, params, slot, 1, ALL)
  heard = Heard()
  quiet = dataclasses.replace(SETTINGS, seeding=dataclasses.replace(
      SETTINGS.seeding, on_policy=0.0, learning_rate=0.01, steps=60))
  merged = lib.merge_oldest(
      config, full, -1, STREAM, quiet, jax.random.key(1), observer=heard)
  history = heard.history
  assert slots.is_open(config, merged).tolist() == [True, False]
  assert np.mean(history[-5:]) < 0.5 * np.mean(history[:5]), history
  # And consolidation makes room by it.
  student, *_ = lib.consolidate(
      config, Sides(full, moved(full)), 1, STREAM,
      dataclasses.replace(SETTINGS, seeding=dataclasses.replace(
          SETTINGS.seeding, steps=1)), jax.random.key(0))
  assert slots.is_open(config, student).tolist() == [True, True]
  assert np.isfinite(logits(config, student, np.array([STREAM]))).all()


def test_the_same_key_gives_the_same_model(model):
  config, params = model
  short = dataclasses.replace(SETTINGS, seeding=dataclasses.replace(
      SETTINGS.seeding, steps=2))
  runs = [lib.consolidate(config, Sides(params, params), 0, STREAM, short,
                          jax.random.key(seed))[0] for seed in (5, 5, 6)]
  assert_same(runs[0], runs[1])
  assert (runs[0]['layers']['level_0']['slots']['down']
          != runs[2]['layers']['level_0']['slots']['down']).any()


@pytest.mark.parametrize('sender, message', [
    (2, 'sender=2: expected a memory level from 0 (attention) to 1'),
    (-1, 'sender=-1')])
def test_levels_without_a_receiver(model, sender, message):
  config, params = model
  with pytest.raises(ValueError, match=re.escape(message)):
    lib.consolidate(config, Sides(params, params), sender, STREAM, SETTINGS,
                    jax.random.key(0))


def test_a_receiver_needs_a_pool(plain):
  with pytest.raises(ValueError, match='allocate at least two'):
    config, params = plain
    lib.consolidate(config, Sides(params, params), 0, STREAM, SETTINGS,
                    jax.random.key(0))
