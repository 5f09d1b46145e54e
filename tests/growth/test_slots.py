import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sleepjax.errors import UserError
from sleepjax.growth import slots
from sleepjax.models import layout, transformer

logits = jax.jit(transformer.logits, static_argnums=0)
TOKENS = np.random.default_rng(0).integers(0, 61, (2, 8))

layouts = pytest.mark.parametrize(
    'unroll', [False, True], ids=['scanned', 'unrolled'])


def computed(config, params, unroll):
  return layout.for_compute(config, params, 'float32', unroll)


def random_slot(config, rank, seed=1):
  """A slot that has learnt something."""
  slot = slots.new_slot(config, jax.random.key(seed), rank)
  down = np.random.default_rng(seed).normal(size=slot['down'].shape)
  return {**slot, 'down': jnp.asarray(0.3 * down, jnp.float32)}


def all_layers(config):
  return slots.layer_mask(config, ())


def test_new_slot(plain):
  config, _ = plain
  slot = slots.new_slot(config, jax.random.key(0), 64)
  assert jax.tree.map(lambda x: (x.shape, x.dtype), slot) == {
      'gate': ((2, 32, 64), jnp.float32), 'up': ((2, 32, 64), jnp.float32),
      'down': ((2, 64, 32), jnp.float32)}
  assert not slot['down'].any()
  for name in ('gate', 'up'):
    # 4096 draws: the standard deviation of their spread is 1.1 percent.
    assert abs(float(slot[name].std()) * 32 ** 0.5 - 1) < 0.05
  assert not np.allclose(slot['gate'], slot['up'])


@pytest.mark.parametrize('base, unroll', [
    ('plain', False), ('slotted', True)])
def test_an_opened_slot_changes_nothing(base, unroll, request):
  config, params = request.getfixturevalue(base)
  rank = config.slot_rank or 5
  slot = slots.new_slot(config, jax.random.key(1), rank)
  grown, larger = slots.append_slot(config, params, slot, all_layers(config))
  assert grown.num_slots == config.num_slots + 1
  before = logits(*computed(config, params, unroll), TOKENS)
  after = logits(*computed(grown, larger, unroll), TOKENS)
  np.testing.assert_array_equal(after, before)


def test_append_slot_fits_its_config(slotted):
  config, params = slotted
  slot = random_slot(config, 4)
  grown, larger = slots.append_slot(
      config, params, slot, slots.layer_mask(config, [1]))
  assert jax.tree.map(lambda x: (x.shape, x.dtype), larger) == jax.tree.map(
      lambda x: (x.shape, x.dtype), transformer.abstract_params(grown))
  pool, old = larger['layers']['slots'], params['layers']['slots']
  for name in old:
    np.testing.assert_array_equal(pool[name][:, :2], old[name])
  assert pool['open'][:, 2].tolist() == [False, True]
  jax.tree.map(np.testing.assert_array_equal,
               slots.read_slot(grown, larger, 2), slot)
  # What was there is shared, and the argument is as it was.
  assert larger['layers']['attn']['q'] is params['layers']['attn']['q']
  assert params['layers']['slots']['open'].shape == (2, 2)


def test_slots_of_one_model_share_a_rank(slotted):
  config, params = slotted
  slot = slots.new_slot(config, jax.random.key(0), 5)
  with pytest.raises(ValueError, match='slot rank 5 differs.*slot_rank=4'):
    slots.append_slot(config, params, slot, all_layers(config))


@layouts
def test_a_closed_slot_adds_exactly_nothing(plain, unroll):
  config, params = plain
  closed = jnp.zeros(config.num_layers, bool)
  grown, larger = slots.append_slot(
      config, params, random_slot(config, 4), closed)
  before = logits(*computed(config, params, unroll), TOKENS)
  after = logits(*computed(grown, larger, unroll), TOKENS)
  np.testing.assert_array_equal(after, before)
  opened = {**larger['layers']['slots'], 'open': ~closed[:, None]}
  larger = {**larger, 'layers': {**larger['layers'], 'slots': opened}}
  changed = logits(*computed(grown, larger, unroll), TOKENS)
  assert np.abs(changed - before).max() > 0.1


@layouts
def test_a_closed_slot_gets_exactly_no_gradient(plain, unroll):
  config, params = plain
  slot = random_slot(config, 4)
  grown, larger = slots.append_slot(
      config, params, slot, slots.layer_mask(config, [1]))
  grown, frozen = computed(grown, larger, unroll)

  def loss(slot):
    student = layout.insert_slot(grown, frozen, slot, 0)
    return jnp.square(transformer.logits(grown, student, TOKENS)).sum()

  for leaf in jax.jit(jax.grad(loss))(slot).values():
    assert (np.asarray(leaf[0]) == 0).all()
    assert (np.asarray(leaf[1]) != 0).all()


@layouts
def test_insert_slot(slotted, unroll):
  """The same as having appended it, at any place, also a traced one."""
  config, params = slotted
  other, inserted = random_slot(config, 4, 2), random_slot(config, 4, 3)
  insert = jax.jit(layout.insert_slot, static_argnums=0)
  for index in range(2):
    kept = slots.read_slot(config, params, 1 - index)
    both = [inserted, kept] if index == 0 else [kept, inserted]
    pool = {name: np.stack([slot[name] for slot in both], 1) for name in kept}
    pool['open'] = params['layers']['slots']['open']
    want = {**params, 'layers': {**params['layers'], 'slots': pool}}
    grown, frozen = computed(config, params, unroll)
    frozen = layout.insert_slot(grown, frozen, other, index)
    have = insert(grown, frozen, inserted, jnp.int32(index))
    _, want = computed(config, want, unroll)
    jax.tree.map(np.testing.assert_array_equal, have, want)


def test_insert_slot_shares_the_rest(slotted):
  config, params = slotted
  slot = random_slot(config, 4)
  larger = layout.insert_slot(config, params, slot, 0)
  assert larger['layers']['mlp']['up'] is params['layers']['mlp']['up']
  assert larger['layers']['slots']['open'] is params['layers']['slots']['open']
  jax.tree.map(np.testing.assert_array_equal,
               slots.read_slot(config, larger, 0), slot)
  assert not np.allclose(params['layers']['slots']['gate'][:, 0], slot['gate'])


@layouts
def test_slots_are_hidden_units_of_the_mlp(slotted, unroll):
  """What makes a grown model fold into a plain, wider one."""
  config, params = slotted
  pool = dict(params['layers']['slots'])
  N, D, R = pool['gate'].shape[1:]
  wide = lambda w: w.transpose(0, 2, 1, 3).reshape(-1, D, N * R)
  down = pool['down'] * pool['open'][:, :, None, None]
  units = {'gate': wide(pool['gate']), 'up': wide(pool['up']),
           'down': down.reshape(-1, N * R, D)}
  mlp = params['layers']['mlp']
  layers = {**params['layers'], 'mlp': {
      name: np.concatenate([mlp[name], units[name]], 1 if name == 'down' else 2)
      for name in mlp}}
  del layers['slots']
  folded = dataclasses.replace(
      transformer.with_slots(config, 0, 0), mlp_dim=config.mlp_dim + N * R)
  want = logits(
      *computed(folded, {**params, 'layers': layers}, unroll), TOKENS)
  have = logits(*computed(config, params, unroll), TOKENS)
  np.testing.assert_allclose(have, want, atol=1e-6 * np.abs(want).max())
  pool['open'] = jnp.zeros_like(pool['open'])
  layers = {**params['layers'], 'slots': pool}
  without = logits(
      *computed(config, {**params, 'layers': layers}, unroll), TOKENS)
  assert np.abs(without - want).max() > 0.1


def test_layer_mask(plain):
  config = dataclasses.replace(plain[0], num_layers=4)
  mask = lambda layers: slots.layer_mask(config, layers).tolist()
  assert mask(()) == [True] * 4
  assert mask([0, 3]) == [True, False, False, True]
  assert mask((2,)) == [False, False, True, False]
  assert slots.layer_mask(config, [1]).dtype == bool


@pytest.mark.parametrize('layers', [[4], [-1], [0, 7]], ids=str)
def test_layers_that_are_not_there(plain, layers):
  config = dataclasses.replace(plain[0], num_layers=4)
  with pytest.raises(UserError, match='the model has layers 0 to 3'):
    slots.layer_mask(config, layers)
