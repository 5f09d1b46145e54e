"""Gradients of groups of rows add up to the batch's, whatever it contains."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sleepjax.errors import UserError
from sleepjax.growth import slots
from sleepjax.growth.adapters import OWN_MLP_SLOT, AllLayers, LowRank
from sleepjax.losses.divergences import DivergenceConfig
from sleepjax.sampling.rows import Rows
from sleepjax.seeding import update
from sleepjax.seeding.objective import Batch
from sleepjax.seeding.settings import SeedingConfig

# No clipping, so that the first moment of Adam is a tenth of the gradient.
SETTINGS = SeedingConfig(
    rows=12, group_size=2, alpha=0.3, rehearsal=0.5, retention=0.25,
    clip_norm=1e6, masked_first_tokens=2)


def rows_of(count, seed):
  """Random rows; prompts and completions of unlike lengths, the last empty."""
  rng = np.random.default_rng(seed)
  start, end = rng.integers(0, 4, count), rng.integers(1, 7, count)
  end[-1] = 0
  return Rows(
      rng.integers(3, 60, (count, 5)), np.arange(5) >= start[:, None],
      rng.integers(3, 60, (count, 6)), np.arange(6) < end[:, None])


@pytest.fixture(scope='module')
def batch(slotted):
  """All terms; every row has another share of tokens and of the reward."""
  rng = np.random.default_rng(7)
  hidden = lambda rows: rng.normal(
      size=(*rows.completion.shape, slotted[0].embed_dim)).astype(np.float32)
  rows, rehearsal, retention = rows_of(12, 0), rows_of(3, 1), rows_of(4, 2)
  return Batch(
      rows, hidden(rows), rng.normal(size=12).astype(np.float32),
      rehearsal, hidden(rehearsal), retention, hidden(retention),
      shared_prefix=np.array([5, 6, 7]), prefixes=rng.integers(0, 4, 12))


@pytest.fixture(scope='module')
def alone(batch):
  """Rollouts, without the terms of other rows."""
  return Batch(batch.rows, batch.teacher_hidden, batch.advantage)


def gradient_of(model, settings, batch, part=OWN_MLP_SLOT):
  """(gradient, metrics) of one step."""
  config, frozen = model
  if part is OWN_MLP_SLOT:
    slot, index = slots.read_slot(config, frozen, 1), 1
  else:
    slot = jax.tree.map(lambda x: x + 0.01, part.init(config))
    index = 0
  state = update.init_state(settings, jax.tree.map(jnp.copy, slot))
  state, metrics = update.seeding_step(
      config, settings, frozen, state, index, batch, part)
  moments = jax.tree.leaves(state.opt_state[1][0].mu)
  return np.concatenate([10 * np.ravel(x) for x in moments]), metrics


def check_same(model, settings, batch, sizes, part=OWN_MLP_SLOT):
  want, want_metrics = gradient_of(model, settings, batch, part)
  assert np.linalg.norm(want) > 1e-3
  for size in sizes:
    got, metrics = gradient_of(
        model, dataclasses.replace(settings, rows_at_once=size), batch, part)
    np.testing.assert_allclose(
        got, want, rtol=1e-4, atol=1e-5 * np.abs(want).max())
    assert metrics.keys() == want_metrics.keys()
    for name in metrics:
      np.testing.assert_allclose(
          metrics[name], want_metrics[name], rtol=1e-4, atol=1e-6,
          err_msg=name)


@pytest.mark.slow
def test_all_terms(slotted, batch):
  check_same(slotted, SETTINGS, batch, (4,))


@pytest.mark.slow
def test_rows_alone(slotted, alone):
  check_same(slotted, SETTINGS, alone._replace(advantage=None), (1, 6))


@pytest.mark.slow
def test_tokens_as_target(slotted, alone):
  settings = dataclasses.replace(SETTINGS, target='tokens', on_policy=0.0)
  check_same(slotted, settings, alone._replace(advantage=None), (3,))


@pytest.mark.slow
def test_clipped_ratios(slotted, alone):
  settings = dataclasses.replace(SETTINGS, updates_per_rollout=2)
  sampled = np.random.default_rng(3).uniform(-5, -3, (12, 6))
  check_same(slotted, settings, alone._replace(
      sampled_log_probs=sampled.astype(np.float32)), (3,))


@pytest.mark.slow
def test_sampled_estimator_keeps_its_groups(slotted, alone):
  settings = dataclasses.replace(
      SETTINGS, on_policy=1.0, estimator='sampled', masked_first_tokens=0,
      divergence=DivergenceConfig('reverse_kl'))
  check_same(slotted, settings, alone, (4,))


def test_elastic_weight_consolidation_counts_once(slotted, alone):
  part = AllLayers(('down',))
  importance = jax.tree.map(jnp.ones_like, part.init(slotted[0]))
  check_same(slotted, dataclasses.replace(SETTINGS, ewc=3.0),
             alone._replace(importance=importance), (4,), part)


@pytest.mark.slow
def test_fewer_rows_at_once_need_less_memory(slotted):
  """Counted by the compiler, without what goes in and out."""
  config, frozen = slotted
  rows = rows_of(64, 0)
  batch = Batch(rows, np.zeros(
      (*rows.completion.shape, config.embed_dim), np.float32))

  def temporaries(rows_at_once):
    settings = SeedingConfig(rows=64, rows_at_once=rows_at_once)
    state = update.init_state(settings, slots.read_slot(config, frozen, 1))
    return update.seeding_step.lower(
        config, settings, frozen, state, jnp.int32(1), batch).compile(
        ).memory_analysis().temp_size_in_bytes

  assert temporaries(8) < temporaries(0) / 3


def test_settings_that_do_not_fit_are_refused(slotted, alone):
  for wrong in (5, -1, 24):
    with pytest.raises(ValueError, match='divide rows=12'):
      dataclasses.replace(SETTINGS, rows_at_once=wrong)
  with pytest.raises(ValueError, match='multiple of group_size=2'):
    SeedingConfig(
        rows=12, group_size=2, on_policy=1.0, estimator='sampled',
        rows_at_once=3, divergence=DivergenceConfig('reverse_kl'))
  with pytest.raises(UserError, match='rows_at_once=8 must divide the 12 rows'):
    gradient_of(slotted, SeedingConfig(rows=16, rows_at_once=8), alone)


@pytest.mark.slow
@pytest.mark.parametrize('part', [
    OWN_MLP_SLOT, LowRank(1)], ids=['slot', 'low rank'])
def test_float32_is_float32_on_accelerators(slotted, batch, part):
  """Which multiply it in fewer bits unless every product asks for all."""
  config, frozen = slotted
  slot = part.init(config, jax.random.key(0)) if part is not OWN_MLP_SLOT else (
      slots.read_slot(config, frozen, 1))
  with jax.default_matmul_precision('default'):
    text = update.seeding_step.lower(
        config, SETTINGS, frozen, update.init_state(SETTINGS, slot),
        1 if part is OWN_MLP_SLOT else 0, batch, part).as_text()
  products = [line for line in text.splitlines() if 'dot_general' in line]
  assert len(products) > 30
  assert [p for p in products if 'HIGHEST, HIGHEST' not in p] == []
