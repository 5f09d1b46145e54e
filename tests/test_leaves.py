"""The one table of leaves says of every leaf what the model makes of it."""

import dataclasses

import jax
import pytest

from sleepjax import leaves
from sleepjax.models import layout, transformer, weight_map
from sleepjax.models.config import ModelConfig
from sleepjax.models.named_leaves import named_leaves

CONFIG = ModelConfig(
    vocab_size=61, num_layers=3, embed_dim=32, mlp_dim=48, num_heads=4,
    num_kv_heads=2, head_dim=10, value_dim=7, max_context=64,
    tie_embeddings=False, qkv_bias=True, qk_norm=True, post_norms=True,
    num_slots=5, slot_rank=9, slot_routing='sigmoid', level_dims=(12,),
    level_slots=(2,))


@pytest.mark.parametrize('changes', [
    {}, {'post_norms': False, 'tie_embeddings': True}], ids=repr)
def test_axes_are_those_of_the_model(changes):
  config = dataclasses.replace(CONFIG, **changes)
  own = {**weight_map.axis_sizes(config), 'N': 5, 'R': 9}
  fast = {**own, 'F': 12, 'N': 2}
  for path, leaf in named_leaves(transformer.abstract_params(config)).items():
    row = leaves.leaf_of(path)
    assert row.shape(fast if 'level_0' in path else own) == leaf.shape, path


def test_a_matrix_reads_its_inputs_and_writes_its_outputs():
  split = {name: (leaf.inputs, leaf.outputs)
           for name, leaf in leaves.MATRICES.items()}
  assert split == {
      'q': ('D', 'HK'), 'k': ('D', 'GK'), 'v': ('D', 'GC'), 'o': ('HC', 'D'),
      'gate': ('D', 'F'), 'up': ('D', 'F'), 'down': ('F', 'D')}


def test_the_layout_of_cpus_has_what_the_table_says():
  have = named_leaves(jax.eval_shape(
      lambda params: layout.for_compute(CONFIG, params, 'float32', True)[1],
      transformer.abstract_params(CONFIG)))
  sizes = {**weight_map.axis_sizes(CONFIG), 'A': 4 * 7}
  joined = {'qkv': 4 * 10 + 2 * 10 + 2 * 7, 'gate_up': 2 * 48}
  for row in leaves.CPU_LEAVES:
    path = row.path.replace('layers/', 'layer_1/')
    sizes['J'] = joined.get(row.name, 0)
    assert have[path].shape == leaves.sized(row.axes, sizes)
