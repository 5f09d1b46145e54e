"""Initial fast weights: episodes, the step, and what it learns through it."""

import dataclasses
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sleepjax.data import world
from sleepjax.memory import continuum, wake
from sleepjax.memory.wake import WakeConfig
from sleepjax.pretraining import fast_weights as lib
from sleepjax.pretraining.fast_weights import FastWeightsConfig
from tests.world_runs import random_model

SETTINGS = FastWeightsConfig(
    steps=40, streams=2, windows=2, window=40, facts=2, known=1,
    rate=0.5, learning_rate=0.05, warmup_steps=1)
AWAKE = WakeConfig((40, 40, 40), (0.5, 0.0), clip_norm=1e9)


@pytest.fixture(scope='module')
def born():
  """(model, config, params) with a newborn fast level."""
  model = random_model()
  return model, *continuum.newborn_levels(
      model.config, jax.tree.map(jnp.asarray, model.params), (8,),
      jax.random.key(1))


def test_episodes_ask_for_what_was_told_and_for_what_is_known(born):
  model = born[0]
  windows, rows = lib.sample_episodes(model.tokenizer, SETTINGS, 3)
  assert windows.shape == (2, 2, 40) and rows.prompt.shape == (2, 3, 16)
  decode = lambda ids, mask: model.tokenizer.decode(ids[mask].tolist()).strip()
  for stream in range(2):
    told = model.tokenizer.decode(windows[:, stream].reshape(-1).tolist())
    asked = list(map(decode, rows.prompt[stream], rows.prompt_mask[stream]))
    answers = list(map(
        decode, rows.completion[stream], rows.completion_mask[stream]))
    for question, answer in zip(asked[:2], answers[:2], strict=True):
      person, = {*re.findall(r'\w+', question)} & {*world.NEW_NAMES}
      assert person in told and answer in told
    assert world.answer_to(asked[2], world.known_facts()) == answers[2]
  other, _ = lib.sample_episodes(model.tokenizer, SETTINGS, 4)
  assert (other != windows).any()


def test_a_level_learns_as_one_that_is_awake(born):
  """The step is Eq. 2: what `wake` makes of the same windows."""
  model, config, params = born
  value = lib.init_value(config, params, SETTINGS)
  windows = lib.sample_episodes(model.tokenizer, SETTINGS, 0).windows[:, 0]
  learnt = jax.jit(lib.learnt, static_argnums=(0, 2, 3))(
      config, params, SETTINGS, AWAKE, value, windows)
  state = wake.init_wake(config, params, AWAKE)
  for window in windows:
    state, _ = wake.read_window(config, params, AWAKE, state, window)
    state = wake.updated(AWAKE, state, 0)
  jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-6),
               learnt, state.weights[0])
  assert np.abs(learnt['mlp']['down']).max() > 0


def test_settings_are_checked():
  with pytest.raises(ValueError, match='fewer than steps=20'):
    FastWeightsConfig(steps=20)


@pytest.mark.slow
def test_the_gradient_goes_through_the_step(born):
  """Central differences of the loss in the logarithm of the rate; constant
  gradients leave the same there and lose the rest."""
  model, config, params = born
  value = lib.init_value(config, params, SETTINGS)
  value['level']['mlp']['down'] += 0.1
  episodes = lib.sample_episodes(model.tokenizer, SETTINGS, 0)

  def loss(settings, value):
    return lib.asked(config, params, settings, AWAKE, value, episodes)[0]

  exact, constant = (jax.grad(lambda v, s=s: loss(s, v))(value) for s in (
      SETTINGS, dataclasses.replace(SETTINGS, first_order=True)))
  shifted = lambda by: loss(SETTINGS, {
      **value, 'log_rate': value['log_rate'] + by})
  by_hand = (shifted(0.02) - shifted(-0.02)) / 0.04
  assert float(exact['log_rate']) == pytest.approx(float(by_hand), rel=0.05)
  assert not np.allclose(exact['level']['mlp']['gate'],
                         constant['level']['mlp']['gate'], rtol=0.01)


@pytest.mark.slow
def test_training_lowers_what_is_lost_after_reading(born):
  model, config, params = born
  value = lib.init_value(config, params, SETTINGS)
  state = lib.make_optimizer(SETTINGS).init(value)
  episodes = lib.sample_episodes(model.tokenizer, SETTINGS, 0)
  losses = []
  for _ in range(30):
    value, state, metrics = lib.meta_step(
        config, params, SETTINGS, AWAKE, value, state, episodes)
    losses.append(float(metrics['loss']))
  assert losses[-1] < losses[0] - 0.5 and losses[-1] == min(losses)
