import dataclasses
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sleepjax.models import layout, transformer


def test_unrolled_layers_hold_the_same_numbers(every_part):
  config, params = every_part
  computed, unrolled = layout.for_compute(config, params, 'float32', True)
  assert computed == dataclasses.replace(
      config, scan_layers=False, cpu_layout=True)
  assert set(unrolled) == {
      'embed', 'layer_0', 'layer_1', 'final_norm', 'head'}
  for i in range(2):
    have = unrolled[f'layer_{i}']
    want = jax.tree.map(lambda leaf, i=i: leaf[i], params['layers'])
    attn, mlp = want['attn'], want['mlp']
    rows = lambda w, inputs: np.asarray(w).reshape(
        math.prod(w.shape[:inputs]), -1).T
    want['attn'] = {
        **{name: attn[name] for name in attn if name not in ('o', *'qkv')},
        'qkv': np.concatenate([rows(attn[name], 1) for name in 'qkv']),
        'out': rows(attn['o'], 2)}
    want['mlp'] = {
        'gate_up': np.concatenate([rows(mlp['gate'], 1), rows(mlp['up'], 1)]),
        'out': rows(mlp['down'], 1)}
    assert jax.tree.structure(have) == jax.tree.structure(want)
    jax.tree.map(np.testing.assert_array_equal, have, want)


def test_tied_head_is_transposed_once(plain):
  _, unrolled = layout.for_compute(*plain, 'float32', True)
  np.testing.assert_array_equal(
      unrolled['head']['kernel'], plain[1]['embed']['table'].T)
  assert unrolled['head']['rows'] is unrolled['embed']['table']
  _, scanned = layout.for_compute(*plain, 'float32', False)
  assert 'head' not in scanned


@pytest.mark.parametrize('unroll', [True, False])
def test_only_matrices_are_rounded(every_part, unroll):
  config, params = layout.for_compute(*every_part, 'bfloat16', unroll)
  assert config == dataclasses.replace(
      every_part[0], scan_layers=not unroll, cpu_layout=unroll,
      matmul_dtype='bfloat16')
  matrices = {'q', 'k', 'v', 'o', 'qkv', 'gate', 'up', 'gate_up', 'down', 'out',
              'kernel', 'rows'}
  for path, leaf in jax.tree_util.tree_leaves_with_path(params):
    names = [key.key for key in path]
    assert isinstance(leaf, jax.Array)
    if names[-1] == 'open':
      assert leaf.dtype == bool
    elif names[-1] in matrices and 'slots' not in names:
      assert leaf.dtype == jnp.bfloat16, names
    else:
      assert leaf.dtype == jnp.float32, names


def test_canonical_parameters_are_not_changed(every_part):
  config, params = every_part
  before = jax.tree.map(np.array, params)
  layout.for_compute(config, params, 'bfloat16', True)
  assert jax.tree.structure(params) == jax.tree.structure(before)
  jax.tree.map(np.testing.assert_array_equal, params, before)


def test_numpy_parameters_are_taken(plain):
  config, params = plain
  computed, have = layout.for_compute(
      config, jax.tree.map(np.asarray, params), 'float32', False)
  assert computed == config
  jax.tree.map(np.testing.assert_array_equal, have, params)
  assert all(isinstance(leaf, jax.Array) for leaf in jax.tree.leaves(have))


@pytest.mark.parametrize('changes', [
    {'scan_layers': False}, {'cpu_layout': True}], ids=str)
def test_only_the_canonical_layout_is_converted(plain, changes):
  config = dataclasses.replace(plain[0], **changes)
  with pytest.raises(ValueError, match='expects the canonical layout'):
    layout.for_compute(config, plain[1])


def test_defaults_suit_this_machine(plain):
  config, _ = layout.for_compute(*plain)
  assert config.matmul_dtype == layout.fastest_matmul_dtype()
  assert config.scan_layers == (jax.default_backend() != 'cpu')
  assert layout.fastest_matmul_dtype('tpu') == 'bfloat16'
  assert layout.fastest_matmul_dtype('gpu') == 'bfloat16'
  assert layout.fastest_matmul_dtype('cpu') in ('float32', 'bfloat16')


def test_unembedding_matmul_rounds_as_the_model_does(every_part):
  config, params = layout.for_compute(*every_part, 'bfloat16', True)
  tokens = jnp.arange(4)[None]
  hidden, _ = jax.jit(transformer.hidden_states, static_argnums=0)(
      config, params, tokens)
  np.testing.assert_array_equal(
      layout.unembedding_matmul(config)(
          hidden, transformer.unembedding(params)),
      jax.jit(transformer.logits, static_argnums=0)(config, params, tokens))


def test_angles_are_worked_out_once_for_all_layers(plain):
  """Not merged with each of their uses, as XLA's CPU code would have it."""
  config, params = layout.for_compute(*plain, 'float32', unroll=True)
  compiled = jax.jit(transformer.hidden_states, static_argnums=0).lower(
      config, params, np.ones((2, 5), np.int32)).compile()
  assert config.num_layers > 1
  assert compiled.as_text().count(' cosine(') == 1
