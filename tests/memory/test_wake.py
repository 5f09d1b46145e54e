"""Eq. 2 on token streams: what gathers, what moves, and what never mixes."""

import dataclasses
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sleepjax.memory import wake
from sleepjax.memory.wake import WakeConfig
from sleepjax.models import transformer
from tests.conftest import CONFIG, random_params

SETTINGS = WakeConfig(chunks=(6, 12, 24), learning_rates=(0.5, 0.05),
                      clip_norm=1e9)
STREAM = np.random.default_rng(0).integers(0, 61, 24)


@pytest.fixture(scope='module')
def model():
  """(config, params) with one extra level, which has learnt something."""
  config = dataclasses.replace(CONFIG, level_dims=(16,))
  return config, random_params(config)


def assert_same(have, want):
  jax.tree.map(np.testing.assert_array_equal, have, want)


def read_all(model, state, tokens, settings=SETTINGS):
  losses = []
  for window in np.asarray(tokens).reshape(*np.shape(tokens)[:-1], -1, 6
                                           ).swapaxes(0, -2):
    state, metrics = wake.read_window(*model, settings, state, window)
    losses.append(metrics['loss'])
  return state, losses


@pytest.mark.slow
def test_each_token_is_predicted_once(model):
  """The loss of two windows, from logits in float64."""
  config, params = model
  state = wake.init_wake(config, params, SETTINGS)
  state, losses = read_all(model, state, STREAM[:12])
  want = []
  for inputs in (STREAM[:5], STREAM[5:11]):
    logits = np.asarray(transformer.logits(config, params, inputs[None])[0],
                        np.float64)
    targets = STREAM[1:6] if len(inputs) == 5 else STREAM[6:12]
    log_z = np.log(np.exp(logits).sum(-1))
    want.append((log_z - logits[np.arange(len(inputs)), targets]).mean())
  np.testing.assert_allclose(losses, want, rtol=1e-5)
  assert int(state.tokens_read) == 12 and int(state.previous) == STREAM[11]
  assert [float(count) for count in state.counts] == [11, 11]


def test_a_level_steps_once_in_its_chunk(model):
  """Eq. 2 against plain gradient descent on the whole chunk."""
  config, params = model
  start = wake.init_wake(config, params, SETTINGS)
  state, _ = read_all(model, start, STREAM[:12])
  assert_same(state.weights, start.weights)  # Reading moves nothing.

  def chunk_loss(level):
    merged = wake.merge_levels(config, params, (level, {}))
    total = 0.0
    for inputs, targets in ((STREAM[:5], STREAM[1:6]),
                            (STREAM[5:11], STREAM[6:12])):
      log_p = jax.nn.log_softmax(
          transformer.logits(config, merged, inputs[None])[0])
      total -= log_p[jnp.arange(len(targets)), targets].sum()
    return total / 11

  gradient = jax.jit(jax.grad(chunk_loss))(start.weights[0])
  after = wake.updated(SETTINGS, state, 0)
  jax.tree.map(
      lambda have, old, g: np.testing.assert_allclose(
          have, old - 0.5 * g, rtol=0, atol=1e-5 * np.abs(g).max()),
      after.weights[0], start.weights[0], gradient)
  assert max(np.abs(g).max() for g in jax.tree.leaves(gradient)) > 1e-3
  # Only the level that was due has moved and starts anew.
  assert_same(after.weights[1], start.weights[1])
  assert_same(after.gradients[1], state.gradients[1])
  assert not any(np.any(g) for g in jax.tree.leaves(after.gradients[0]))
  assert [float(count) for count in after.counts] == [0, 11]
  # Computing the update left the state it was computed from.
  assert float(state.counts[0]) == 11
  # A second update without new tokens does nothing, momentum or not.
  assert_same(wake.updated(SETTINGS, after, 0).weights, after.weights)


def test_an_update_is_clipped_and_may_be_adamw(model):
  config, params = model
  settings = dataclasses.replace(
      SETTINGS, optimizer='adamw', clip_norm=0.1, learning_rates=(0.01, 0.01))
  state = wake.init_wake(config, params, settings)
  state, _ = read_all(model, state, STREAM[:6], settings)
  after = wake.updated(settings, state, 1)
  moved = jax.tree.map(lambda new, old: np.abs(new - old).max(),
                       after.weights[1], state.weights[1])
  # Adam's first step is the learning rate wherever there is a gradient.
  np.testing.assert_allclose(moved['mlp']['down'], 0.01, rtol=1e-3)
  assert_same(after.opt_states[0], state.opt_states[0])


def test_a_frozen_level_has_no_weights(model):
  config, params = model
  settings = dataclasses.replace(SETTINGS, learning_rates=(0.5, 0.0))
  state = wake.init_wake(config, params, settings)
  assert state.weights[1] == state.gradients[1] == {}
  state, _ = read_all(model, state, STREAM, settings)
  after = wake.updated(settings, state, 1)
  assert_same(
      wake.merge_levels(config, params, after.weights)['layers']['mlp'],
      params['layers']['mlp'])


@pytest.mark.slow
def test_rows_never_mix(model):
  """Row 0 is the same bit for bit whatever row 1 reads."""
  config, params = model
  rows = np.stack([STREAM[:12], STREAM[12:]])
  other = np.stack([STREAM[:12], STREAM[12:][::-1]])
  ends = []
  for batch in (rows, other):
    state = wake.init_wake(config, params, SETTINGS, rows=2)
    for start in (0, 6):
      state, _ = wake.read_window(
          config, params, SETTINGS, state, batch[:, start:start + 6])
    ends.append(wake.updated(SETTINGS, state, 0))
  row = lambda state, i: jax.tree.map(lambda leaf: leaf[i], state)
  assert_same(row(ends[0], 0), row(ends[1], 0))
  assert (ends[0].weights[0]['mlp']['up'][1]
          != ends[1].weights[0]['mlp']['up'][1]).any()
  # And each is what it would be alone.
  for i in range(2):
    alone, _ = read_all(model, wake.init_wake(config, params, SETTINGS),
                        rows[i])
    alone = wake.updated(SETTINGS, alone, 0)
    jax.tree.map(lambda have, want: np.testing.assert_allclose(
        have, want, rtol=0, atol=1e-5 * (1 + np.abs(want).max())),
        row(ends[0], i), alone)


@pytest.mark.slow
def test_a_partial_window_is_a_shorter_one(model):
  """Masked tokens change nothing: no loss, no gradient, no count."""
  config, params = model
  start = wake.init_wake(config, params, SETTINGS)
  start, _ = read_all(model, start, STREAM[:6])
  want, loss = wake.read_window(
      config, params, SETTINGS, start, STREAM[6:10])
  for filler in (0, 7):
    padded = np.append(STREAM[6:10], [filler, filler])
    have, metrics = wake.read_window(
        config, params, SETTINGS, start, padded, np.arange(6) < 4)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(
        a, b, rtol=0, atol=1e-5 * (1e-3 + np.abs(b).max())), have, want)
    np.testing.assert_allclose(metrics['loss'], loss['loss'], rtol=1e-5)
  assert int(have.tokens_read) == 10 and int(have.previous) == STREAM[9]


@pytest.mark.slow
def test_a_newborn_level_learns_a_text():
  """Zero at birth, it changes nothing; then the same text gets easier."""
  config = dataclasses.replace(CONFIG, level_dims=(16,))
  params = random_params(config)
  level = params['layers']['level_0']
  level['mlp'] = {**level['mlp'], 'down': 0 * level['mlp']['down']}
  np.testing.assert_array_equal(
      transformer.logits(config, params, STREAM[None]),
      transformer.logits(CONFIG, {**params, 'layers': {
          k: v for k, v in params['layers'].items() if k != 'level_0'}},
          STREAM[None]))
  settings = dataclasses.replace(
      SETTINGS, learning_rates=(0.02, 0.0), optimizer='adamw')
  state, history = wake.init_wake(config, params, settings), []
  for _ in range(15):
    state, losses = read_all((config, params), state, STREAM, settings)
    state = wake.updated(settings, state, 0)
    history.append(np.mean(losses))
  assert history[-1] < history[0] - 0.5


@pytest.mark.parametrize('fields, message', [
    (dict(learning_rates=(0.1,)), 'learning_rates=(0.1,) must name one rate'),
    (dict(learning_rates=(0.1, -1.0)), '0 or more'),
    (dict(chunks=(6, 13, 26)), '13 must be a multiple of 6'),
    (dict(optimizer='lion'), "optimizer='lion' must be 'sgd' or 'adamw'")])
def test_settings_are_checked(fields, message):
  with pytest.raises(ValueError, match=re.escape(message)):
    dataclasses.replace(SETTINGS, **fields)


def test_shapes_are_checked(model, plain):
  config, params = model
  state = wake.init_wake(config, params, SETTINGS)
  with pytest.raises(ValueError, match='exceeds the attention chunk of 6'):
    wake.read_window(config, params, SETTINGS, state, STREAM[:7])
  with pytest.raises(ValueError, match='do not fit a state with rows'):
    wake.read_window(config, params, SETTINGS, state, STREAM[:12].reshape(2, 6))
  with pytest.raises(ValueError, match='are for 2 MLP levels; the model has 1'):
    wake.init_wake(*plain, SETTINGS)
