"""Streams side by side are the streams alone: nothing leaks between them."""

import dataclasses

import jax
import numpy as np
import pytest

from sleepjax.errors import UserError
from sleepjax.memory import continuum, streams
from sleepjax.memory.consolidate import ConsolidationConfig
from sleepjax.memory.continuum import ContinuumConfig
from sleepjax.memory.wake import WakeConfig
from tests.conftest import CONFIG, random_params

SETTINGS = ContinuumConfig(
    WakeConfig((6, 12, 24), (0.5, 0.05), clip_norm=1e9), None,
    level_dims=(16,))
# Three streams of eight windows: the fast level steps four times, the slow one
# twice.
STREAMS = np.random.default_rng(3).integers(0, 61, (3, 48))


@pytest.fixture(scope='module')
def model():
  config = dataclasses.replace(CONFIG, level_dims=(16,))
  return config, random_params(config)


def beside(model, texts):
  """(state, losses [windows, B], number of levels that were due)."""
  state, losses, due = streams.init_state(*model, SETTINGS, len(texts)), [], 0
  for windows in texts.reshape(len(texts), -1, 6).swapaxes(0, 1):
    state, metrics = streams.read(*model, SETTINGS, state, windows)
    losses.append(metrics['loss'])
    due += sum(sender > 0 for sender, _ in metrics['due'])
  return state, np.array(losses), due


@pytest.fixture(scope='module')
def two(model):
  return beside(model, STREAMS[:2])


@pytest.mark.slow
def test_a_stream_is_the_same_alone_and_beside_another(model, two):
  config, params = model
  state, losses, due = two
  assert due == 4 + 2 and state.tokens_read.tolist() == [48, 48]
  after = []
  for i in range(2):
    heard = []
    alone = continuum.read(
        config, SETTINGS, continuum.init_state(config, params, SETTINGS),
        STREAMS[i], jax.random.key(0), heard.append)
    np.testing.assert_allclose(
        losses[:, i], [h['loss'] for h in heard], rtol=1e-5)
    after.append(streams.model_of(config, params, state, i))
    jax.tree.map(lambda have, want: np.testing.assert_allclose(
        have, want, rtol=0, atol=1e-5 * (1 + np.abs(want).max())),
        after[i], alone.params)
  # Each has learnt, and from its own text.
  ups = [tree['layers']['mlp']['up'] for tree in (params, *after)]
  for one, other in ((0, 1), (0, 2), (1, 2)):
    assert np.abs(ups[one] - ups[other]).max() > 1e-3


@pytest.mark.slow
def test_what_another_stream_says_does_not_matter(model, two):
  """Bit for bit; and the other does change with what it says."""
  _, params = model
  state, losses, _ = two
  other, other_losses, _ = beside(model, STREAMS[[0, 2]])
  row = lambda tree, i: jax.tree.map(lambda leaf: leaf[i], tree)
  jax.tree.map(np.testing.assert_array_equal, row(state, 0), row(other, 0))
  np.testing.assert_array_equal(losses[:, 0], other_losses[:, 0])
  assert (losses[:, 1] != other_losses[:, 1]).all()
  up = lambda tree: tree.weights[-1]['mlp']['up'][1]
  assert np.abs(up(state) - up(other)).max() > 1e-3


def test_streams_that_hand_over_are_refused(model):
  with pytest.raises(UserError, match='2 streams side by side, and levels that '
                                      'hand over: slots that one stream'):
    streams.init_state(*model, dataclasses.replace(
        SETTINGS, sleep=ConsolidationConfig()), 2)


def test_windows_are_whole(model):
  state = streams.init_state(*model, SETTINGS, 2)
  with pytest.raises(ValueError, match=r'shape \(2, 5\) must have the 6'):
    streams.read(*model, SETTINGS, state, STREAMS[:2, :5])
  with pytest.raises(ValueError, match='do not fit a state with rows'):
    streams.read(*model, SETTINGS, state, STREAMS[:, :6])
