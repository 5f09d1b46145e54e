"""What a teacher names in place of its distributions."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sleepjax.growth import slots
from sleepjax.models import transformer
from sleepjax.seeding import targets, update
from tests.seeding import small_seeder
from tests.seeding.small_seeder import INDEX, SETTINGS


@pytest.fixture(scope='module')
def seeder(slotted):
  return small_seeder.seeder(*slotted)


def test_samples_have_the_teachers_distribution(slotted):
  """A position asked 4,000 times, and another one beside it."""
  config, params = slotted
  hidden = 2 * jax.random.normal(jax.random.key(0), (2, config.embed_dim))
  logits = np.asarray(hidden @ transformer.unembedding(params), np.float64)
  want = np.exp(logits - logits.max(-1, keepdims=True))
  want /= want.sum(-1, keepdims=True)
  asked = jnp.broadcast_to(hidden, (4000, *hidden.shape))
  got = np.asarray(targets.teacher_tokens(
      config, params, asked, jax.random.key(1)))
  for place in (0, 1):
    share = np.bincount(got[:, place], minlength=len(want[place])) / 4000
    spread = np.sqrt(want[place] * (1 - want[place]) / 4000)
    assert (abs(share - want[place]) < 5 * spread + 1e-3).all()
  likeliest = targets.teacher_tokens(config, params, asked[:3])
  np.testing.assert_array_equal(likeliest, [logits.argmax(-1)] * 3)


@pytest.mark.slow
def test_only_some_targets_are_named(seeder):
  hidden = np.zeros((2, 3, seeder.learner.config.embed_dim), np.float32)
  ask = lambda target: targets.named_by(
      target, seeder.learner, hidden, jax.random.key(0))
  assert ask('teacher') is None and ask('tokens') is None
  assert ask('sampled').shape == ask('likeliest').shape == (2, 3)


@pytest.mark.slow
@pytest.mark.parametrize('target', [
    pytest.param('sampled', marks=pytest.mark.slow), 'likeliest'])
def test_every_update_learns_what_the_teacher_names(
    seeder, target, monkeypatch):
  """Of dreams and of rollouts."""
  named = []
  whole = targets.named_by

  def recorded(*args):
    named.append(np.asarray(whole(*args)))
    return whole(*args)

  monkeypatch.setattr(targets, 'named_by', recorded)
  settings = dataclasses.replace(SETTINGS, target=target)
  own = dataclasses.replace(seeder, settings=settings)
  state = update.init_state(settings, slots.read_slot(
      seeder.learner.config, seeder.learner.frozen, INDEX))
  lines = []
  for step in range(4):
    state, line, _ = own.update(state, step, jax.random.key(3))
    lines.append(line)
  assert {line['on_policy'] for line in lines} == {0.0, 1.0}
  assert all(tokens.shape == (4, 6) for tokens in named)
  assert any((named[0] != tokens).any() for tokens in named)
  # A cross-entropy, and no entropy of a distribution.
  assert all('entropy' not in line for line in lines)
  assert all(0 < float(line['divergence']) < 20 for line in lines)
