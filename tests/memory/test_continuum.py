"""Levels that read a stream: clocks, hand-overs, and the state as a value."""

import dataclasses
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sleepjax.growth import slots
from sleepjax.memory import clock, consolidate, continuum, wake
from sleepjax.memory.consolidate import ConsolidationConfig
from sleepjax.memory.continuum import ContinuumConfig
from sleepjax.memory.stretches import StretchConfig
from sleepjax.memory.wake import WakeConfig
from sleepjax.models import transformer
from sleepjax.seeding.settings import SeedingConfig
from sleepjax.training.observer import Observer

CHUNKS = (8, 8, 16, 32)
SETTINGS = ContinuumConfig(
    WakeConfig(CHUNKS, learning_rates=(0.1, 0.1, 0.01)),
    ConsolidationConfig(
        SeedingConfig(steps=2, rows=4, group_size=2, on_policy=0.5,
                      rehearsal=0.0, learning_rate=0.01),
        StretchConfig(dreams=4, prompt_tokens=3, dream_tokens=4)),
    level_dims=(12, 12), slot_rank=4)
STREAM = np.random.default_rng(1).integers(0, 61, 83)
KEY = jax.random.key(0)


@pytest.fixture(scope='module')
def model(plain):
  """(config, params) with three MLP levels and pools."""
  return continuum.add_levels(*plain, SETTINGS, jax.random.key(1))


@pytest.fixture(scope='module')
def whole(model):
  """(state, reports) after STREAM, read at once."""
  config, params = model
  reports = []
  state = continuum.init_state(config, params, SETTINGS)
  state = continuum.read(config, SETTINGS, state, STREAM, KEY, reports.append)
  return state, reports


def assert_same(have, want):
  jax.tree.map(np.testing.assert_array_equal, have, want)


def test_levels_are_added_without_a_change(plain, model):
  config, params = model
  assert config.level_dims == (12, 12)
  assert [config.slots_of(i) for i in range(3)] == [2, 2, 2]
  np.testing.assert_array_equal(
      transformer.logits(config, params, STREAM[None]),
      transformer.logits(*plain, STREAM[None]))
  assert jax.tree.map(jnp.shape, params) == jax.tree.map(
      jnp.shape, transformer.abstract_params(config))
  with pytest.raises(ValueError, match='has 3 levels already'):
    continuum.add_levels(config, params, SETTINGS, KEY)


@pytest.mark.slow
def test_every_clock_fires(whole):
  state, reports = whole
  assert [r['tokens_read'] for r in reports] == list(range(8, 81, 8))
  assert [r['due'] for r in reports] == [
      clock.due(n, CHUNKS) for n in range(8, 81, 8)]
  assert state.sleeps.tolist() == [10, 10, 5]
  handed = [h for r in reports for h in r['hand_overs']]
  assert len(handed) == 25
  assert all(h['divergence_before'] >= 0 and h['divergence_after'] >= 0
             for h in handed)
  assert state.sleeps.sum() == clock.sleeps(80, CHUNKS)
  assert np.isfinite([float(r['loss']) for r in reports]).all()
  assert state.pending.tolist() == STREAM[80:].tolist()
  # All slept after 80, slow before fast, and then got what was handed on.
  assert [len(s) for s in state.seen] == [0, 8, 16]


@pytest.mark.slow
def test_the_state_speaks_with_the_newest_weights(model, whole):
  config, params = model
  state, _ = whole
  assert_same(state.params, wake.merge_levels(
      config, state.params, state.wake.weights))
  for name in ('attn', 'attn_norm', 'mlp_norm'):
    assert_same(state.params['layers'][name], params['layers'][name])
  for level in range(3):
    assert (state.wake.weights[level]['mlp']['down'] != wake.init_wake(
        config, params, SETTINGS.wake).weights[level]['mlp']['down']).any()


@pytest.mark.slow
def test_stretches_do_not_matter(model, whole):
  """Bit for bit, however the stream is cut."""
  config, params = model
  state = continuum.init_state(config, params, SETTINGS)
  for part in np.split(STREAM, [3, 21, 22, 70]):
    state = continuum.read(config, SETTINGS, state, part, KEY)
  assert_same(state, whole[0])


@pytest.mark.slow
def test_an_update_is_the_trained_student(model):
  """Bit for bit, for a sender that is an MLP level."""
  config, params = model
  start = continuum.init_state(config, params, SETTINGS)
  quick = dataclasses.replace(SETTINGS, wake=dataclasses.replace(
      SETTINGS.wake, chunks=(8, 64, 128, 256)))
  state = continuum.read(config, quick, start, STREAM[:16], KEY)
  before = jax.tree.map(np.array, state)
  after, report = continuum.hand_over(config, SETTINGS, state, (1, 2), KEY)
  prospective = wake.merge_levels(config, state.params, wake.updated(
      SETTINGS.wake, state.wake, 0).weights)
  student, expected, _ = consolidate.consolidate(
      config, consolidate.Sides(state.params, prospective), 1, STREAM[:16],
      SETTINGS.sleep, KEY)
  assert report == expected
  assert_same(after.params, student)
  assert_same(state, before)
  assert not slots.is_open(config, after.params, 0).any()
  assert len(after.seen[1]) == 0 and len(after.seen[2]) == 16


@pytest.mark.slow
def test_an_interrupted_sleep_changes_nothing(model):
  config, params = model
  state = continuum.init_state(config, params, SETTINGS)
  state = state._replace(seen=(STREAM[:8].astype(np.int32),) * 3)
  before = jax.tree.map(np.array, state)

  class Interrupts(Observer):
    def wrote(self, phase, step, values):
      raise KeyboardInterrupt

  with pytest.raises(KeyboardInterrupt):
    continuum.hand_over(
        config, SETTINGS, state, (0, 1), KEY, observer=Interrupts())
  assert_same(state, before)


def test_a_receiver_is_asked_later_for_what_it_gets_after_its_sleep(model):
  config, params = model
  state = continuum.init_state(config, params, SETTINGS)
  tokens = [STREAM[i:i + 8].astype(np.int32) for i in (0, 8, 16)]
  state = state._replace(seen=(tokens[0], np.zeros(0, np.int32), tokens[2]))

  class Nothing:
    """Hands nothing over."""

    def write(self, holder, key):
      del holder, key

  after, _ = continuum.hand_over(
      config, SETTINGS, state, (0, 1), KEY, Nothing())
  assert_same(after.seen, (np.zeros(0, np.int32), tokens[0], tokens[2]))
  # One that has not slept has read them itself.
  state = state._replace(seen=(tokens[0], tokens[0], tokens[2]))
  after, _ = continuum.hand_over(
      config, SETTINGS, state, (0, 1), KEY, Nothing())
  assert_same(after.seen, (np.zeros(0, np.int32), tokens[0], tokens[2]))


@pytest.mark.slow
def test_the_end_of_a_stream(model, whole):
  """Three tokens remain: they are learnt from, dreamt of, and counted."""
  config, _ = model
  state = continuum.finish(config, SETTINGS, whole[0], KEY)
  assert int(state.wake.tokens_read) == 88
  assert len(state.pending) == 0 and not any(map(len, state.seen))
  assert state.sleeps.tolist() == [11, 11, 6]
  assert all(float(count) == 0 for count in state.wake.counts)
  going_on = continuum.read(config, SETTINGS, state, STREAM[:8], KEY)
  assert int(going_on.wake.tokens_read) == 96
  assert going_on.sleeps.tolist() == [12, 12, 7]


def test_every_sender_has_its_budget():
  own = dataclasses.replace(
      SETTINGS, sleep_steps=(5, 6, 7), sleep_rates=(0.1, 0.2, 0.3))
  for sender in range(3):
    seeding = own.sleep_of(sender).seeding
    assert (seeding.steps, seeding.learning_rate) == (
        5 + sender, (0.1, 0.2, 0.3)[sender])
    assert SETTINGS.sleep_of(sender) == SETTINGS.sleep
  with pytest.raises(ValueError, match='hand nothing over'):
    dataclasses.replace(SETTINGS, sleep=None).sleep_of(0)


@pytest.mark.slow
def test_levels_that_only_learn_awake(model):
  """Eq. 2 by hand: every level is what `wake` makes of the stream."""
  config, params = model
  awake = dataclasses.replace(SETTINGS, sleep=None)
  reports = []
  state = continuum.read(config, awake, continuum.init_state(
      config, params, awake), STREAM[:25], KEY, reports.append)
  by_hand = wake.init_wake(config, params, SETTINGS.wake)
  for start, levels in ((0, (0,)), (8, (1, 0)), (16, (0,))):
    by_hand, _ = wake.read_window(
        config, params, SETTINGS.wake, by_hand, STREAM[start:start + 8])
    for level in levels:
      by_hand = wake.updated(SETTINGS.wake, by_hand, level)
  assert_same(state.wake, by_hand)
  assert [r['hand_overs'] for r in reports] == [[], [], []]
  assert not slots.is_open(config, state.params, 0).any()
  assert [len(s) for s in state.seen] == [0, 0, 8]


def test_what_was_asked_is_kept_in_order(model):
  config, params = model
  state = continuum.init_state(config, params, SETTINGS)
  assert state.earlier() == ()
  state = state._replace(asked=np.array([3, 4, -1, 5, -1], np.int32))
  assert state.earlier() == ((3, 4), (5,))


@pytest.mark.parametrize('fields, message', [
    (dict(level_dims=(12,)), 'must name attention and 2 MLP levels'),
    (dict(slots=(2, 2)), 'slots=(2, 2) must name one pool for each of the 3'),
    (dict(sleep_steps=(2, 2)), 'sleep_steps=(2, 2) must name a positive'),
    (dict(sleep_rates=(1., 0., 1.)), 'for each of the 3 senders')])
def test_settings_are_checked(fields, message):
  with pytest.raises(ValueError, match=re.escape(message)):
    dataclasses.replace(SETTINGS, **fields)
