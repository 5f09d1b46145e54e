"""Rules on shapes; `test_sharded_steps` computes with them."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.sharding import AbstractMesh, AxisType, NamedSharding
from jax.sharding import PartitionSpec as P

from sleepjax.errors import UserError
from sleepjax.growth.adapters import AllLayers, LowRank
from sleepjax.mesh import sharding
from sleepjax.mesh.sharding import MeshConfig
from sleepjax.models import layout, transformer
from sleepjax.models.config import ModelConfig
from sleepjax.models.named_leaves import named_leaves
from sleepjax.models.transformer import Segment
from sleepjax.pretraining.next_token import PretrainingConfig, make_optimizer
from sleepjax.sampling.rows import Rows
from sleepjax.seeding import objective, update
from sleepjax.seeding.settings import SeedingConfig

MESH = AbstractMesh((2, 4, 2), sharding.AXES,
                    axis_types=(AxisType.Auto,) * 3)
CONFIG = ModelConfig(
    vocab_size=64, num_layers=3, embed_dim=32, mlp_dim=48, num_heads=4,
    num_kv_heads=2, head_dim=8, max_context=64, tie_embeddings=False,
    qkv_bias=True, qk_norm=True, num_slots=2, slot_rank=4, level_dims=(16,),
    level_slots=(1,))


def _specs(tree, mesh=MESH):
  return {path: s.spec for path, s in named_leaves(
      sharding.param_shardings(tree, mesh)).items()}


def test_sizes_of_a_mesh():
  assert MeshConfig().sizes(8) == (1, 1, 1)
  assert MeshConfig(fsdp=-1).sizes(8) == (1, 8, 1)
  assert MeshConfig(data=2, fsdp=-1, tensor=2).sizes(16) == (2, 4, 2)
  with pytest.raises(UserError, match='8 devices do not divide by 3'):
    MeshConfig(data=-1, tensor=3).sizes(8)
  with pytest.raises(UserError, match='data=2, fsdp=8, tensor=1 need 16 dev'):
    MeshConfig(data=2, fsdp=8).sizes(8)
  with pytest.raises(UserError, match='mesh.tensor=0 must be positive'):
    MeshConfig(tensor=0)
  with pytest.raises(UserError, match='only one of them may be -1'):
    MeshConfig(data=-1, fsdp=-1)


def test_mesh_of_the_devices_here():
  mesh = sharding.make_mesh(MeshConfig())
  assert dict(mesh.shape) == {'data': 1, 'fsdp': 1, 'tensor': 1}
  assert mesh.axis_types == (AxisType.Auto,) * 3
  explicit = sharding.make_mesh(MeshConfig(), axis_type=AxisType.Explicit)
  assert explicit.axis_types == (AxisType.Explicit,) * 3
  with pytest.raises(UserError, match='need 512 devices'):
    sharding.make_mesh(MeshConfig(fsdp=512))


def test_rules_of_the_canonical_tree():
  assert _specs(transformer.abstract_params(CONFIG)) == {
      'embed/table': P('tensor', 'fsdp'),
      'head/kernel': P('fsdp', 'tensor'),
      'final_norm/scale': P(),
      'layers/attn/q': P(None, 'fsdp', 'tensor'),
      'layers/attn/k': P(None, 'fsdp', 'tensor'),
      'layers/attn/v': P(None, 'fsdp', 'tensor'),
      'layers/attn/o': P(None, 'tensor', None, 'fsdp'),
      'layers/attn/q_bias': P(None, 'tensor'),
      'layers/attn/k_bias': P(None, 'tensor'),
      'layers/attn/v_bias': P(None, 'tensor'),
      'layers/attn/q_norm': P(),
      'layers/attn/k_norm': P(),
      'layers/attn_norm/scale': P(),
      'layers/mlp/gate': P(None, 'fsdp', 'tensor'),
      'layers/mlp/up': P(None, 'fsdp', 'tensor'),
      'layers/mlp/down': P(None, 'tensor', 'fsdp'),
      'layers/mlp_norm/scale': P(),
      'layers/slots/gate': P(None, None, 'fsdp', 'tensor'),
      'layers/slots/up': P(None, None, 'fsdp', 'tensor'),
      'layers/slots/down': P(None, None, 'tensor', 'fsdp'),
      'layers/slots/open': P(),
      'layers/level_0/norm/scale': P(),
      'layers/level_0/mlp/gate': P(None, 'fsdp', 'tensor'),
      'layers/level_0/mlp/up': P(None, 'fsdp', 'tensor'),
      'layers/level_0/mlp/down': P(None, 'tensor', 'fsdp'),
      'layers/level_0/slots/gate': P(None, None, 'fsdp', 'tensor'),
      'layers/level_0/slots/up': P(None, None, 'fsdp', 'tensor'),
      'layers/level_0/slots/down': P(None, None, 'tensor', 'fsdp'),
      'layers/level_0/slots/open': P(),
  }


@pytest.mark.parametrize('mesh', [
    MESH, AbstractMesh((1, 16, 1), sharding.AXES,
                       axis_types=(AxisType.Auto,) * 3)])
@pytest.mark.parametrize('unroll', [False, True])
def test_every_shape_takes_its_shardings(unroll, mesh):
  """Of all layouts; no leaf but small ones is whole if its axes divide."""
  config = dataclasses.replace(
      CONFIG, num_heads=16, num_kv_heads=16, slot_rank=16)
  params = jax.eval_shape(lambda: layout.for_compute(
      config, transformer.init(config, jax.random.key(0)), 'float32',
      unroll=unroll)[1])
  specs = _specs(params, mesh)
  for path, leaf in named_leaves(params).items():
    NamedSharding(mesh, specs[path]).shard_shape(leaf.shape)  # It divides.
    if leaf.size > 1024:
      assert specs[path] != P(), path


def test_moments_and_what_is_trained_lie_as_their_parameters():
  # Boolean masks of slots are no numbers to be trained.
  config = dataclasses.replace(
      CONFIG, num_slots=0, level_dims=(), level_slots=())
  params = transformer.abstract_params(config)
  for optimizer in (optax.adamw(1e-3), optax.sgd(1e-3, momentum=0.9),
                    make_optimizer(PretrainingConfig()),
                    make_optimizer(PretrainingConfig(
                        matrix_learning_rate=0.01))):
    state = jax.eval_shape(optimizer.init, params)
    specs, wanted = _specs(state), _specs(params)
    assert len(specs) >= len(wanted)
    for path, spec in specs.items():
      owner = [name for name in wanted if path.endswith('/' + name)]
      assert spec == (wanted[owner[0]] if owner else P()), path
  slot = {'gate': jnp.zeros((3, 32, 4)), 'up': jnp.zeros((3, 32, 4)),
          'down': jnp.zeros((3, 4, 32))}
  specs = _specs(update.init_state(
      SeedingConfig(teacher='ema'), slot))
  for place in ('slot', 'teacher', 'opt_state/1/0/mu', 'opt_state/1/0/nu'):
    assert specs[f'{place}/up'] == P(None, 'fsdp', 'tensor')
    assert specs[f'{place}/down'] == P(None, 'tensor', 'fsdp')
  assert specs['step'] == P()


def test_deltas_lie_as_what_they_are_added_to():
  low_rank = _specs(LowRank(rank=4).init(CONFIG, jax.random.key(0)))
  assert low_rank['q/a'] == P(None, 'fsdp')
  assert low_rank['q/b'] == P(None, None, 'tensor')
  assert low_rank['o/a'] == P(None, 'tensor')
  assert low_rank['o/b'] == P(None, None, 'fsdp')
  assert low_rank['down/a'] == P(None, 'tensor')
  every = _specs(AllLayers().init(CONFIG))
  layers = _specs(transformer.abstract_params(CONFIG))
  for name, spec in every.items():
    module = 'attn' if name in 'qkvo' else 'mlp'
    assert spec == layers[f'layers/{module}/{name}']


def test_what_does_not_divide_is_whole():
  config = dataclasses.replace(CONFIG, num_heads=3, num_kv_heads=1)
  params = transformer.abstract_params(config)
  specs = _specs(params)
  assert specs['layers/attn/q'] == P(None, 'fsdp')
  assert specs['layers/attn/o'] == P(None, None, None, 'fsdp')
  left = sharding.whole_axes(params, MESH)
  assert left['layers/attn/q'] == left['layers/attn/k'] == 'tensor'
  assert set(left) == {f'layers/attn/{n}' for n in (
      'q', 'k', 'v', 'o', 'q_bias', 'k_bias', 'v_bias')}
  assert not sharding.whole_axes(transformer.abstract_params(CONFIG), MESH)


def test_a_path_without_a_rule_is_refused():
  with pytest.raises(UserError, match='no sharding rule for layers/mlp/new'):
    sharding.param_shardings({'layers': {'mlp': {'new': jnp.ones(3)}}}, MESH)


def test_batches_are_split_by_row():
  rows = Rows(*(np.zeros((8, n), np.int32) for n in (5, 5, 3, 3)))
  batch = objective.Batch(
      rows, np.zeros((8, 3, 32)), advantage=np.zeros(8),
      rehearsal=Rows(*(part[:1] for part in rows)),
      shared_prefix=np.zeros(8, np.int32),
      importance={'up': np.zeros((3, 32, 4))})
  specs = jax.tree.map(
      lambda s: s.spec, sharding.batch_shardings(batch, MESH),
      is_leaf=lambda s: isinstance(s, NamedSharding))
  by_row = P(('data', 'fsdp'))
  assert specs.rows == Rows(by_row, by_row, by_row, by_row)
  assert specs.teacher_hidden == specs.advantage == by_row
  assert specs.rehearsal.prompt == specs.shared_prefix == P()
  assert specs.importance['up'] == P(None, 'fsdp', 'tensor')
  assert sharding.batch_spec('tokens', (6, 9), MESH) == P('data')


def test_keys_and_values_are_split_by_row_and_head():
  stacked = Segment(*(jnp.zeros((3, 8, 5, 2, 8)) for _ in 'kv'),
                    jnp.ones((8, 5), bool))
  one_by_one = Segment(*((jnp.zeros((1, 5, 2, 8)),) * 3 for _ in 'kv'),
                       jnp.ones((1, 5), bool))
  stacked, one_by_one = (
      [s.spec for s in jax.tree.leaves(sharding.batch_shardings(x, MESH))]
      for x in (stacked, one_by_one))
  keys = P(None, ('data', 'fsdp'), None, 'tensor')
  assert stacked == [keys, keys, P(('data', 'fsdp'))]
  assert one_by_one == [P(None, None, 'tensor')] * 6 + [P()]


def test_arrays_are_born_and_put_where_they_belong():
  mesh = sharding.make_mesh(MeshConfig())
  config = dataclasses.replace(CONFIG, num_slots=0)
  params = sharding.born_sharded(
      lambda key: transformer.init(config, key), mesh, jax.random.key(0))
  wanted = sharding.param_shardings(params, mesh)
  jax.tree.map(lambda leaf, s: None if leaf.sharding == s else
               pytest.fail(f'{leaf.sharding} {s}'), params, wanted)
  copy = sharding.put(jax.tree.map(np.asarray, params), wanted)
  jax.tree.map(np.testing.assert_array_equal, copy, params)
  shapes = sharding.abstract(params, wanted)
  assert shapes['embed']['table'].sharding == wanted['embed']['table']
