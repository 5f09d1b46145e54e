"""A few updates from one key, against numbers that they had before."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sleepjax.growth import slots
from sleepjax.seeding import loop, update
from tests.seeding import small_seeder
from tests.seeding.small_seeder import INDEX, SETTINGS

# Of each update, from before the objective was a sum of functions.
WANT = {
    'on_policy': [1, 1, 0, 0],
    'tokens': [129, 139, 46, 44],
    'reward': [0.0458333, 0, 0, 0],
    'loss': [0.836842, 0.888634, 0.975475, 0.896425],
    'divergence': [1.329737, 1.480613, 1.624785, 1.492183],
    'rehearsal_divergence': [0, 0.000277, 0.000740, 0.001218],
    'retention_divergence': [0, 0.000242, 0.000286, 0.000876],
}


@pytest.fixture(scope='module')
def seeder(slotted):
  """All terms; the teacher alone has read the document."""
  return small_seeder.seeder(*slotted)


@pytest.mark.slow
def test_updates_are_what_they_were(seeder):
  """Which rows are drawn, what is written, and every term."""
  slot = slots.read_slot(
      seeder.learner.config, seeder.learner.frozen, INDEX)
  lines = []
  state = seeder.run(
      update.init_state(SETTINGS, jax.tree.map(jnp.copy, slot)),
      jax.random.key(3), lambda step, line, tokens: lines.append(
          {**line, 'tokens': tokens}))
  assert int(state.step) == 4
  for name, want in WANT.items():  # Adam enlarges differences of rounding.
    np.testing.assert_allclose(
        [line.get(name, 0.0) for line in lines], want, rtol=0.02, atol=1e-4,
        err_msg=name)


@pytest.mark.slow
def test_rehearsal_may_come_in_some_updates_and_weighs_as_much(seeder):
  often = dataclasses.replace(SETTINGS, on_policy=0.0)
  rare = dataclasses.replace(often, rehearsal_every=3)
  lines = {}
  for settings in (often, rare):
    own = dataclasses.replace(seeder, settings=settings)
    lines[settings] = []
    own.run(update.init_state(settings, slots.read_slot(
        seeder.learner.config, seeder.learner.frozen, INDEX)),
            jax.random.key(3), lambda step, line, tokens, lines=lines[settings]:
            lines.append({**line, 'tokens': tokens}))
  has = ['rehearsal_divergence' in line for line in lines[rare]]
  assert has == [True, False, False, True]
  assert all('rehearsal_divergence' in line for line in lines[often])
  assert lines[rare][1]['tokens'] < lines[often][1]['tokens']
  first = lines[rare][3]  # Three times 0.7.
  np.testing.assert_allclose(
      first['loss'], 0.6 * first['divergence'] + 3 * 0.7 * first[
          'rehearsal_divergence'] + 0.3 * first['retention_divergence'],
      rtol=1e-5)


@pytest.mark.slow
def test_every_prompt_has_one_rollout_in_a_pass(seeder, monkeypatch):
  """Self-distillation on all dreams: nothing is compared, nothing left out."""
  settings = dataclasses.replace(
      SETTINGS, rows=1, group_size=1, alpha=1.0, on_policy=1.0, prefix=0.0,
      in_passes=True)
  own, seen = dataclasses.replace(seeder, settings=settings), []

  def noted(config, settings, frozen, state, index, batch, part):
    assert batch.advantage is None
    rows = batch.rows
    seen.append(tuple(rows.prompt[0][rows.prompt_mask[0]].tolist()))
    return state._replace(step=state.step + 1), {}

  monkeypatch.setattr(loop, 'seeding_step', noted)
  monkeypatch.setattr(loop.blame, 'check_update', lambda *_: None)
  state = update.init_state(settings, slots.read_slot(
      seeder.learner.config, seeder.learner.frozen, INDEX))
  for step in range(10):
    state, metrics, _ = own.update(state, step, jax.random.key(3))
    assert metrics == {'on_policy': 1.0}
  prompts = sorted(map(tuple, small_seeder.PROMPTS))
  assert sorted(seen[:5]) == sorted(seen[5:]) == prompts
  assert seen[:5] != seen[5:]
