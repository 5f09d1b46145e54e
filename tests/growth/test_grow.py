"""A whole training state grows: parameters, moments, lineage, shardings."""

import dataclasses
import re

import jax
import jax.numpy as jnp
import numpy as np
import optax
import optax.contrib
import pytest
from jax.sharding import AbstractMesh, AxisType

from sleepjax.errors import UserError
from sleepjax.growth import expansion as lib
from sleepjax.growth import grow, slots
from sleepjax.growth.grow import ModelState
from sleepjax.growth.operators import (
  HiddenWidth,
  MlpWidth,
  QueryHeads,
)
from sleepjax.growth.slot_operators import AppendSlot, CloseSlot, OpenSlot
from sleepjax.mesh import sharding
from sleepjax.models import transformer
from sleepjax.pretraining import next_token
from sleepjax.pretraining.next_token import PretrainingConfig
from tests.conftest import CONFIG

PLAN = [MlpWidth(56), QueryHeads(3), HiddenWidth(40)]
SETTINGS = PretrainingConfig(rows=4, window=8, warmup_steps=1,
                             learning_rate=0.003, weight_decay=0.0,
                             clip_norm=1e9)  # New entries count in the norm.
STREAM = jnp.asarray(np.random.default_rng(0).integers(0, 61, 50), jnp.int32)
KEY = jax.random.key(0)


@pytest.fixture(scope='module')
def state(plain):
  """After three updates of training."""
  config, params = plain[0], jax.tree.map(jnp.copy, plain[1])
  opt_state = next_token.make_optimizer(SETTINGS).init(params)
  for i in range(3):
    params, opt_state, _ = next_token.pretraining_step(
        config, SETTINGS, params, opt_state, STREAM, jax.random.key(i))
  return ModelState(params, opt_state, config)


@pytest.fixture(scope='module')
def larger(state):
  return grow.grow(PLAN)(state, KEY)


def adam(state):
  parts = jax.tree.leaves(
      state.opt_state, is_leaf=lambda part: hasattr(part, 'nu'))
  return next(part for part in parts if hasattr(part, 'nu'))


@pytest.mark.slow
def test_everything_grows_together(state, larger):
  shapes = jax.tree.map(jnp.shape, transformer.abstract_params(larger.config))
  assert (larger.config.mlp_dim, larger.config.num_heads,
          larger.config.embed_dim) == (56, 6, 40)
  assert jax.tree.map(jnp.shape, larger.params) == shapes
  for moments in (adam(larger).mu, adam(larger).nu):
    assert jax.tree.map(jnp.shape, moments) == shapes
  assert int(adam(larger).count) == 3
  assert larger.lineage == tuple(map(str, PLAN))
  assert grow.max_logit_change(state, larger, STREAM[:9]) < 1e-4
  # Moments of what was there are kept; a gain shrunk by s has gradients 1/s as
  # large, and squares 1/s².
  gate = adam(larger).mu['layers']['mlp']['gate']
  np.testing.assert_array_equal(
      gate[:, :32, :48], adam(state).mu['layers']['mlp']['gate'])
  assert not gate[:, 32:].any() and not gate[:, :, 48:].any()
  for name, power in (('mu', 1), ('nu', 2)):
    have = getattr(adam(larger), name)['final_norm']['scale']
    want = getattr(adam(state), name)['final_norm']['scale']
    np.testing.assert_allclose(
        have[:32], want * (40 / 32) ** (power / 2), rtol=1e-5)


@pytest.mark.slow
def test_training_goes_on_without_a_jump(state, larger):
  """The next update moves the old entries as it would have moved them."""
  step = lambda s: next_token.pretraining_step(
      s.config, SETTINGS, *jax.tree.map(jnp.copy, (s.params, s.opt_state)),
      STREAM, jax.random.key(9))
  have, _, metrics = step(larger)
  want, _, before = step(state)
  np.testing.assert_allclose(metrics['loss'], before['loss'], rtol=1e-5)
  moved = have['layers']['mlp']['gate'] - larger.params['layers']['mlp']['gate']
  np.testing.assert_allclose(
      moved[:, :32, :48],
      want['layers']['mlp']['gate'] - state.params['layers']['mlp']['gate'],
      atol=2e-5)
  # New output rows start to move at once.
  fresh = have['layers']['mlp']['down'][:, 48:, :32]
  assert np.abs(fresh).max() > 1e-4


def test_jit_gives_the_same_state(state, larger):
  have = jax.jit(grow.grow(PLAN))(state, KEY)
  assert have.lineage == larger.lineage and have.config == larger.config
  jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6),
               have, larger)


@pytest.fixture(scope='module')
def slotted_state(slotted):
  """Two slots of rank 4, and moments that are nowhere zero."""
  config, params = slotted
  ones = jax.tree.map(
      lambda x: x + 1 if x.dtype != bool else x, optax.adam(1e-3).init(params))
  return ModelState(params, ones, config)


@pytest.mark.parametrize('operator', [OpenSlot(1, layers=(0,)), CloseSlot(1)])
def test_a_slot_starts_anew_with_its_moments(slotted_state, operator):
  after = grow.grow([operator])(slotted_state, KEY)
  pool = after.params['layers']['slots']
  want = [isinstance(operator, OpenSlot), False]
  assert pool['open'][:, 1].tolist() == want
  step_key = jax.random.fold_in(KEY, 0)
  newborn = slots.new_slot(after.config, step_key, 4)
  for name, leaf in newborn.items():
    np.testing.assert_array_equal(pool[name][:, 1], leaf)
    old = slotted_state.params['layers']['slots'][name]
    np.testing.assert_array_equal(pool[name][:, 0], old[:, 0])
  for moments in (adam(after).mu, adam(after).nu):
    for leaf in newborn:
      assert not moments['layers']['slots'][leaf][:, 1].any()
      assert (moments['layers']['slots'][leaf][:, 0] == 1).all()
  # Nothing else moved, and neither did the function but for the lost slot.
  jax.tree.map(np.testing.assert_array_equal, after.params['layers']['mlp'],
               slotted_state.params['layers']['mlp'])
  closed = slots.set_open(slotted_state.config, slotted_state.params, 1,
                          jnp.zeros(2, bool))
  assert grow.max_logit_change(
      slotted_state.replace(params=closed), after, STREAM[:9]) == 0


def test_operators_of_slots_refuse(slotted_state):
  with pytest.raises(UserError, match='index=2: the pool has 2 slots'):
    CloseSlot(2)(slotted_state.config)
  with pytest.raises(UserError, match='index=0: the pool has 0 slots'):
    OpenSlot(0)(CONFIG)
  with pytest.raises(UserError, match='rank=0 must be at least 1'):
    AppendSlot(0)(CONFIG)


def test_no_optimizer_is_fine_and_a_strange_one_is_not(state):
  bare = grow.grow(PLAN)(state.replace(opt_state=None), KEY)
  assert bare.opt_state is None
  momentum = optax.sgd(0.1, momentum=0.9).init(state.params)
  trace = grow.grow(PLAN)(state.replace(opt_state=momentum), KEY).opt_state
  assert jax.tree.map(jnp.shape, trace[0].trace) == jax.tree.map(
      jnp.shape, bare.params)
  strange = optax.adafactor(0.1, min_dim_size_to_factor=4).init(state.params)
  with pytest.raises(ValueError, match='neither a number nor shaped like'):
    grow.grow(PLAN)(state.replace(opt_state=strange), KEY)


@pytest.mark.parametrize('optimizer, orders', [
    (optax.adamw(0.1), {'mu': 1, 'nu': 2}),
    (optax.amsgrad(0.1), {'mu': 1, 'nu': 2, 'nu_max': 2}),
    (optax.adabelief(0.1), {'mu': 1, 'nu': 2}),
    (optax.adagrad(0.1), {'sum_of_squares': 2}),
    (optax.rmsprop(0.1, centered=True), {'mu': 1, 'nu': 2}),
    (optax.lion(0.1), {'mu': 1}), (optax.sgd(0.1, 0.9), {'trace': 1}),
    (optax.MultiSteps(optax.adam(0.1), 2),
     {'acc_grads': 1, 'mu': 1, 'nu': 2}),
    (optax.chain(optax.clip(1.0), optax.masked(optax.adam(0.1), True)),
     {'mu': 1, 'nu': 2}),
    (optax.inject_hyperparams(optax.adam)(0.1), {'mu': 1, 'nu': 2}),
    (optax.multi_transform({'all': optax.adam(0.1)},
                           lambda tree: jax.tree.map(lambda _: 'all', tree)),
     {'mu': 1, 'nu': 2})])
def test_moments_are_scaled_by_their_order(plain, optimizer, orders):
  config, params = plain
  ones = jax.tree.map(jnp.ones_like, optimizer.init(params))
  after = grow.grow([HiddenWidth(40)])(
      ModelState(params, ones, config), KEY).opt_state
  scale = {path[-3].name: leaf for path, leaf in
           jax.tree_util.tree_leaves_with_path(after)
           if 'final_norm' in jax.tree_util.keystr(path)}
  assert set(scale) == set(orders)
  for name, order in orders.items():
    np.testing.assert_allclose(
        scale[name][:32], (40 / 32) ** (order / 2), rtol=1e-5)


@pytest.mark.parametrize('optimizer, named', [
    (optax.adadelta(0.1), 'e_g is not known to be a moment'),
    (optax.contrib.schedule_free_adamw(0.1), 'z is not known to be a moment'),
    (optax.rprop(0.1), 'step_sizes is not known'),
    (optax.adan(0.1), 'm is not known'),
    (optax.rmsprop(0.1, momentum=0.9), 'trace sums updates that are divided'),
    (next_token.make_optimizer(PretrainingConfig(matrix_learning_rate=0.1)),
     'neither a number nor shaped like')])
def test_optimizers_of_unknown_states_are_refused(plain, optimizer, named):
  config, params = plain
  state = ModelState(params, optimizer.init(params), config)
  with pytest.raises(ValueError, match=f'{named}.*Use SGD, momentum or Adam'):
    grow.grow(PLAN)(state, KEY)


def test_a_plan_is_checked_before_memory_is_spent(plain):
  config, params = plain

  @dataclasses.dataclass(frozen=True)
  class Wrong:
    """Forgets the rows of `down`."""

    def __call__(self, config):
      good = MlpWidth(56)(config)
      return lib.Expansion(good.config, good.changes[:2])

  with pytest.raises(UserError) as caught:
    grow.validate([Wrong()], config)
  lines = str(caught.value).splitlines()
  assert lines[1].split() == ['path', 'have', 'want']
  assert lines[2].split('  ')[0] == 'layers/mlp/down'
  assert '[2, 48, 32]' in lines[2] and '[2, 56, 32]' in lines[2]
  broken = {**params, 'embed': {'table': jnp.zeros((61, 31), 'float32')}}
  with pytest.raises(UserError, match=re.escape('float32[61, 31]')):
    grow.validate(PLAN, config, broken)


def test_shape_table(state, larger):
  rows = lib.shape_table(state.params, larger.params).splitlines()
  assert rows[0].split() == ['path', 'before', 'after']
  assert any(row.split('  ')[0] == 'layers/mlp/gate' and '[2, 40, 56]' in row
             for row in rows)


def test_new_entries_warm_up():
  """Old entries learn at once, new ones a quarter more at each step."""
  masks = grow.new_entries([AppendSlot(4), MlpWidth(56)], CONFIG)
  gate = masks['layers']['mlp']['gate']
  assert gate[:, :, 48:].all() and not gate[:, :, :48].any()
  assert masks['layers']['slots']['down'].all()
  assert not masks['embed']['table'].any()
  warm_up = grow.warm_up_new({'w': jnp.array([False, True])}, 4)
  state, factors = warm_up.init(None), []
  for _ in range(6):
    updates, state = warm_up.update({'w': jnp.ones(2)}, state)
    factors.append(np.asarray(updates['w']).tolist())
  assert factors == [[1, 0.25], [1, 0.5], [1, 0.75], [1, 1], [1, 1], [1, 1]]
  with pytest.raises(ValueError, match='steps=0 must be at least 1'):
    grow.warm_up_new(masks, 0)


def test_growth_on_a_mesh_is_refused_where_it_would_not_stay_split():
  """`test_sharded_steps` grows a state on eight devices."""
  mesh = AbstractMesh((1, 4, 2), sharding.AXES,
                      axis_types=(AxisType.Auto,) * 3)
  state = grow.ModelState(transformer.abstract_params(CONFIG), None, CONFIG)
  larger = lambda *plan: jax.eval_shape(grow.grow(plan, mesh), state, KEY)
  up = larger(MlpWidth(56), AppendSlot(4)).params['layers']['mlp']['up']
  assert up.shape == (2, 32, 56)
  with pytest.raises(UserError, match='layers/mlp/down would no longer divide '
                     r'by mesh axes tensor \(2 parts\)'):
    larger(MlpWidth(57))
  mesh = AbstractMesh((1, 1, 4), sharding.AXES,
                      axis_types=(AxisType.Auto,) * 3)
  odd = dataclasses.replace(CONFIG, embed_dim=30)
  state = grow.ModelState(transformer.abstract_params(odd), None, odd)
  with pytest.raises(UserError, match='no other axis divides by their 4 parts'):
    larger(MlpWidth(56))
