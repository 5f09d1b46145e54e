"""Pools of slots: the same numbers as appended ones, and nothing recompiled."""

import dataclasses
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sleepjax.errors import UserError
from sleepjax.growth import fold, slots
from sleepjax.models import layout, transformer
from sleepjax.models.config import SLOT_MATRICES
from sleepjax.sampling import rows as rows_lib
from sleepjax.sampling.rows import Rows
from sleepjax.seeding import objective, update
from sleepjax.seeding.objective import Batch
from sleepjax.seeding.settings import SeedingConfig
from tests.conftest import CONFIG, random_params

TOKENS = np.random.default_rng(0).integers(0, 61, (2, 9))
ALL = jnp.ones(CONFIG.num_layers, bool)
RANK = 4

logits = jax.jit(transformer.logits, static_argnums=0)


def close(have, want, tolerance):
  np.testing.assert_allclose(
      have, want, rtol=0, atol=tolerance * np.abs(np.asarray(want)).max())


def seeded(config, params, index):
  """Three updates of one slot towards another model's hidden states.

  Returns:
    (params with the slot, its gradient before the first update).
  """
  settings = SeedingConfig(
      steps=3, rows=2, group_size=2, rehearsal=0.0, learning_rate=0.02)
  rows = Rows(*rows_lib.pad_left([[3, 4], [5]], 2),
              *rows_lib.pad_right([[7, 8, 9], [1, 2]], 3))
  hidden = np.random.default_rng(1).normal(size=(2, 3, CONFIG.embed_dim))
  state = update.init_state(
      settings, slots.read_slot(config, params, index))
  batch = Batch(rows, hidden.astype(np.float32))
  gradient = jax.jit(
      jax.grad(objective.objective, 3, has_aux=True), static_argnums=(0, 1))(
          config, settings, params, state.slot, index, batch)[0]
  for _ in range(3):
    state, _ = update.seeding_step(
        config, settings, params, state, jnp.int32(index), batch)
  return layout.insert_slot(config, params, state.slot, index), gradient


@pytest.mark.slow
def test_a_pool_gives_the_numbers_of_appended_slots(plain):
  """Two sleeps each way, with the same keys.

  Adam divides gradients near zero by themselves, so that rounding shows more in
  the trained slot than in its gradient and in the logits.
  """
  appended, pool = plain, slots.allocate_pool(*plain, 3, RANK)
  np.testing.assert_array_equal(logits(*pool, TOKENS), logits(*plain, TOKENS))
  for index in range(2):
    slot = slots.new_slot(CONFIG, jax.random.key(index), RANK)
    config, params = slots.append_slot(*appended, slot, ALL)
    params, want = seeded(config, params, index)
    appended = config, params
    params, have = seeded(
        pool[0], slots.open_slot(*pool, slot, index, ALL), index)
    pool = pool[0], params
    for name, leaf in slots.read_slot(*appended, index).items():
      close(have[name], want[name], 1e-6)
      # 1.03e-5 on one kind of processor, less on another.
      close(slots.read_slot(*pool, index)[name], leaf, 5e-5)
    close(logits(*pool, TOKENS), logits(*appended, TOKENS), 1e-6)
  assert np.abs(logits(*pool, TOKENS) - logits(*plain, TOKENS)).max() > 0.1


def test_opening_does_not_recompile(plain):
  config, params = slots.allocate_pool(*plain, 2, RANK)
  traced = []

  @jax.jit
  def step(params, slot, index):
    traced.append(index)
    params = slots.open_slot(config, params, slot, index, ALL)
    return params, transformer.logits(config, params, TOKENS)

  for index in range(2):
    params, _ = step(
        params, slots.new_slot(config, jax.random.key(index), RANK), index)
  assert len(traced) == 1
  assert slots.is_open(config, params).tolist() == [True, True]


def test_a_closed_slot_is_newborn(slotted):
  config, params = slotted
  closed = slots.close_slot(config, params, 0, jax.random.key(3))
  assert slots.is_open(config, closed).tolist() == [False, True]
  have = slots.read_slot(config, closed, 0)
  want = slots.new_slot(config, jax.random.key(3), RANK)
  jax.tree.map(np.testing.assert_array_equal, have, want)
  jax.tree.map(np.testing.assert_array_equal,
               slots.read_slot(config, closed, 1),
               slots.read_slot(config, params, 1))
  empty = slots.close_all(config, params, jax.random.key(0))
  assert not slots.is_open(config, empty).any()
  bare = {**params, 'layers': {
      k: v for k, v in params['layers'].items() if k != 'slots'}}
  np.testing.assert_array_equal(
      logits(config, empty, TOKENS), logits(CONFIG, bare, TOKENS))


def test_open_entries_come_first(slotted):
  config, params = slots.append_slot(
      *slotted, jax.tree.map(lambda x: x + 1, slots.read_slot(*slotted, 1)),
      ALL)
  params = slots.set_open(config, params, 1, jnp.zeros(2, bool))
  ordered = slots.open_first(config, params)
  assert slots.is_open(config, ordered).tolist() == [True, True, False]
  jax.tree.map(np.testing.assert_array_equal,
               slots.read_slot(config, ordered, 1),
               slots.read_slot(config, params, 2))
  close(logits(config, ordered, TOKENS), logits(config, params, TOKENS), 1e-6)


def test_the_strongest_units_of_two_slots(plain):
  """One slot with large units 0, 1 and one with 1, 3, in every layer."""
  config, params = plain
  for large in ([0, 1], [1, 3]):
    slot = slots.new_slot(config, jax.random.key(large[1]), RANK)
    down = jnp.full_like(slot['down'], 0.01).at[:, np.array(large)].set(1.0)
    config, params = slots.append_slot(
        config, params, {**slot, 'down': down}, ALL)
  have = slots.strongest_units(config, params, 0, 1)
  first, second = (slots.read_slot(config, params, i) for i in range(2))
  for layer in range(config.num_layers):
    columns = {tuple(c) for c in np.asarray(have['gate'][layer]).T.tolist()}
    want = [*first['gate'][layer].T[:2], second['gate'][layer].T[1],
            second['gate'][layer].T[3]]
    assert columns == {tuple(np.asarray(c).tolist()) for c in want}
  np.testing.assert_array_equal(have['down'], jnp.ones_like(have['down']))
  # What is closed in a layer is not taken there.
  half = slots.set_open(config, params, 1, jnp.array([True, False]))
  alone = slots.strongest_units(config, half, 0, 1)['gate'][1]
  np.testing.assert_array_equal(np.sort(alone), np.sort(first['gate'][1]))


def float64_slot(form, slot, x):
  """The definition of one slot in one layer, in numpy."""
  leaf = {name: np.asarray(slot[name][0], np.float64) for name in slot}
  silu = lambda z: z / (1 + np.exp(-z))
  return {'swiglu': lambda: (silu(x @ leaf['gate']) * (x @ leaf['up'])),
          'silu': lambda: silu(x @ leaf['gate']),
          'linear': lambda: x @ leaf['up']}[form]() @ leaf['down']


@pytest.mark.parametrize('routing', ['none', 'sigmoid'])
@pytest.mark.parametrize('form', list(SLOT_MATRICES))
def test_forms_and_routing(form, routing):
  """The module against its definition; top 2 of the open 3 of 4 slots."""
  config = dataclasses.replace(
      CONFIG, num_slots=4, slot_rank=3, slot_form=form, slot_routing=routing,
      slot_top_k=2 if routing == 'sigmoid' else 0)
  params = random_params(config)
  params = slots.set_open(config, params, 2, jnp.zeros(2, bool))
  params = slots.set_open(config, params, 3, jnp.ones(2, bool))
  opened = np.asarray(params['layers']['slots']['open'][0])
  assert opened.tolist() == [True, False, False, True]
  params = slots.set_open(config, params, 1, jnp.ones(2, bool))
  x = np.random.default_rng(2).normal(size=(5, CONFIG.embed_dim))
  layer = jax.tree.map(lambda leaf: leaf[0], params['layers']['slots'])
  have = transformer.Slots(config, 4).apply(
      {'params': layer}, jnp.asarray(x, jnp.float32))
  gates = np.ones((5, 4))
  if routing == 'sigmoid':
    router = np.asarray(layer['router'], np.float64)
    gates = 2 / (1 + np.exp(-x @ router.T))
    gates[:, 2] = -np.inf
    for row in gates:
      row[np.argsort(row)[:2]] = 0.0
  else:
    gates[:, 2] = 0
  want = sum(gates[:, n, None] * float64_slot(
      form, slots.read_slot(config, params, n), x) for n in range(4))
  close(have, want, 1e-5)
  assert np.abs(want).max() > 0.1


@pytest.mark.parametrize('routing', [
    pytest.param('none', marks=pytest.mark.slow), 'sigmoid'])
@pytest.mark.parametrize('form', list(SLOT_MATRICES))
def test_every_form_is_zero_at_birth(form, routing):
  """Growing changes no logit; only `down` has a gradient at first."""
  config = dataclasses.replace(
      CONFIG, slot_form=form, slot_routing=routing)
  params = random_params(config)
  slot = slots.new_slot(config, jax.random.key(0), 3)
  assert set(slot) == {*SLOT_MATRICES[form], *(
      ['router'] if routing == 'sigmoid' else [])}
  grown, larger = slots.append_slot(config, params, slot, ALL)
  np.testing.assert_array_equal(
      logits(grown, larger, TOKENS), logits(config, params, TOKENS))
  loss = lambda slot: (transformer.logits(grown, slots.open_slot(
      grown, larger, slot, 0, ALL), TOKENS) ** 2).sum()
  for name, leaf in jax.jit(jax.grad(loss))(slot).items():
    assert (np.abs(leaf).max() > 1e-3) == (name == 'down'), name


def test_levels_have_pools_of_their_own(levels):
  config, params = slots.allocate_pool(*levels, 2, 4, level=0)
  assert (config.slots_of(0), config.slots_of(1), config.slots_of(2)) == (
      2, 2, 3)
  assert jax.tree.map(jnp.shape, params) == jax.tree.map(
      jnp.shape, transformer.abstract_params(config))
  close(logits(config, params, TOKENS), logits(*levels, TOKENS), 1e-6)
  slot = jax.tree.map(lambda x: x + 1, slots.read_slot(config, params, 0, 0))
  opened = slots.open_slot(config, params, slot, 1, ALL, level=0)
  assert slots.is_open(config, opened, 0).tolist() == [False, True]
  changed = np.abs(logits(config, opened, TOKENS)
                   - logits(config, params, TOKENS)).max()
  assert changed > 0.1


@pytest.mark.parametrize('fields, message', [
    (dict(slot_routing='softmax'), 'growth would change the function'),
    (dict(slot_form='relu'), "slot_form='relu' must be one of swiglu"),
    (dict(slot_top_k=1), "slot_top_k=1 must be 0"),
    (dict(level_dims=(4, 4), level_slots=(1,)), 'level_slots=(1,) must name'),
])
def test_configs_that_are_refused(fields, message):
  with pytest.raises(ValueError, match=re.escape(message)):
    dataclasses.replace(CONFIG, **fields)


@pytest.mark.parametrize('fields, message', [
    (dict(slot_routing='sigmoid'), "train them with slot_routing='none'"),
    (dict(slot_form='linear'), "train them with slot_form='swiglu'"),
])
def test_slots_that_do_not_fold(fields, message):
  config = dataclasses.replace(CONFIG, num_slots=1, slot_rank=4, **fields)
  with pytest.raises(UserError, match=re.escape(message)):
    fold.fold_slots(config, random_params(config))
