"""Folding is exact, and what is exported comes back the same."""

import dataclasses
import json
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments import export as export_command
from sleepjax import library
from sleepjax.errors import UserError
from sleepjax.growth import fold, slots
from sleepjax.model import load_pretrained
from sleepjax.models import export, hf, transformer
from sleepjax.models.config import RopeScaling
from sleepjax.training import checkpoints
from tests import fuzz_files
from tests.conftest import CONFIG, random_params

GOLDEN = pathlib.Path(__file__).parents[1] / 'golden'
FAMILIES = ('llama', 'qwen2', 'qwen3', 'mistral', 'smollm3', 'gemma3')


def grown(family, open_layers=(True, False, True), rank=5):
  """A golden model with two trained slots, the first closed in one layer."""
  model = load_pretrained(str(GOLDEN / family))
  config, params = model.config, jax.tree.map(jnp.asarray, model.params)
  for n, layers in enumerate((open_layers, (True,) * 3)):
    slot = slots.new_slot(config, jax.random.key(n), rank)
    slot['down'] = jax.random.normal(
        jax.random.key(9 + n), slot['down'].shape) * 0.3
    config, params = slots.append_slot(config, params, slot, layers)
  return model, config, params


def logits(config, params):
  tokens = jax.random.randint(jax.random.key(3), (2, 17), 0, config.vocab_size)
  return np.asarray(jax.jit(transformer.logits, static_argnums=0)(
      config, params, tokens))


@pytest.mark.parametrize('family', FAMILIES)
def test_fold_keeps_the_function(family):
  model, config, params = grown(family)
  folded_config, folded = fold.fold_slots(config, params)
  assert folded_config == dataclasses.replace(
      model.config, mlp_dim=model.config.mlp_dim + 10)
  assert jax.tree.map(jnp.shape, folded) == jax.tree.map(
      jnp.shape, transformer.abstract_params(folded_config))
  want = logits(config, params)
  assert np.abs(want - logits(model.config, model.params)).max() > 0.1
  np.testing.assert_allclose(logits(folded_config, folded), want, atol=2e-5)


def test_fold_drops_a_slot_that_is_closed_everywhere():
  model, config, params = grown('llama', open_layers=(False,) * 3)
  folded_config, folded = fold.fold_slots(config, params)
  assert folded_config.mlp_dim == model.config.mlp_dim + 5
  np.testing.assert_allclose(
      logits(folded_config, folded), logits(config, params), atol=2e-5)


@pytest.mark.slow
def test_fold_leaves_the_slots_of_other_levels(levels):
  config = dataclasses.replace(levels[0], slot_routing='none', slot_top_k=0)
  params = random_params(config)
  folded_config, folded = fold.fold_slots(config, params)
  assert (folded_config.level_slots, folded_config.slot_rank) == ((0, 2), 4)
  assert jax.tree.map(jnp.shape, folded) == jax.tree.map(
      jnp.shape, transformer.abstract_params(folded_config))
  want = logits(config, params)
  np.testing.assert_allclose(
      logits(folded_config, folded), want, atol=1e-5 * np.abs(want).max())


def test_fold_without_slots_changes_nothing():
  model = load_pretrained(str(GOLDEN / 'llama'))
  assert fold.fold_slots(model.config, model.params) == (
      model.config, model.params)


@pytest.mark.parametrize('family', FAMILIES)
def test_import_of_export_is_the_same_model(family, tmp_path):
  model, config, params = grown(family)
  config, params = fold.fold_slots(config, params)
  export.export_hf(config, params, model.tokenizer, tmp_path / 'out')
  back = load_pretrained(str(tmp_path / 'out'))
  assert back.config == config
  jax.tree.map(np.testing.assert_array_equal, back.params, dict(params))
  assert back.tokenizer.encode('a b') == model.tokenizer.encode('a b')


@pytest.mark.parametrize('dtype', ['bfloat16', 'float16'])
def test_weights_of_two_bytes_in_several_files(dtype, tmp_path):
  model, config, params = grown('qwen2')
  config, params = fold.fold_slots(config, params)
  export.export_hf(config, params, model.tokenizer, tmp_path / 'out',
                   dtype=dtype, most_bytes=20_000)
  settings = json.loads((tmp_path / 'out/config.json').read_text())
  assert settings['torch_dtype'] == dtype
  files = [*(tmp_path / 'out').glob('model-*.safetensors')]
  assert len(files) > 2
  back = load_pretrained(str(tmp_path / 'out'))
  assert back.config == config
  jax.tree.map(lambda have, want: np.testing.assert_array_equal(
      have, np.asarray(jnp.asarray(want, dtype), np.float32)),
               back.params, dict(params))


@pytest.mark.parametrize('family', FAMILIES)
def test_padding_keeps_the_function(family):
  _, config, params = grown(family)
  config, params = fold.fold_slots(config, params)
  wide, padded = fold.pad_units(config, params, 128)
  assert wide.mlp_dim == -(-config.mlp_dim // 128) * 128 > config.mlp_dim
  assert jax.tree.map(jnp.shape, padded) == jax.tree.map(
      jnp.shape, transformer.abstract_params(wide))
  np.testing.assert_allclose(
      logits(wide, padded), logits(config, params), atol=1e-6, rtol=1e-6)
  assert fold.pad_units(wide, padded, 64) == (wide, padded)
  with pytest.raises(UserError, match='must be at least 1'):
    fold.pad_units(config, params, 0)


@pytest.mark.parametrize('family', ['smollm3', 'gemma3'])
def test_special_tokens_are_not_those_of_the_class(family):
  """A pad_token_id of 128,004, as SmolLM3 has it, is no row of this model."""
  settings = export.config_json(hf.read_config(GOLDEN / family))
  assert settings['pad_token_id'] is settings['eos_token_id'] is None


def test_export_refuses_what_no_family_has(tmp_path):
  model, config, params = grown('llama')
  with pytest.raises(UserError, match='fold'):
    export.export_hf(config, params, model.tokenizer, tmp_path / 'a')
  both = dataclasses.replace(model.config, qkv_bias=True, qk_norm=True)
  with pytest.raises(UserError, match='family'):
    export.config_json(both)
  (tmp_path / 'full').mkdir()
  (tmp_path / 'full/file').write_text('x')
  with pytest.raises(UserError, match='not empty'):
    export.export_hf(
        model.config, model.params, model.tokenizer, tmp_path / 'full')
  assert [p.name for p in tmp_path.iterdir()] == ['full']


LLAMA3 = RopeScaling(8.0, 1.0, 4.0, 16)
GEMMA3 = {
    'layer_kinds': ('window', 'full'), 'window': 4, 'window_theta': 100.0,
    'mlp_activation': 'gelu', 'post_norms': True, 'qk_norm': True,
    'embed_scale': CONFIG.embed_dim ** 0.5}
# What changes in the small Llama of `conftest`, and whether it can be exported.
VARIANTS = {
    'llama': ({}, True),
    'untied': ({'tie_embeddings': False}, True),
    'one group': ({'num_kv_heads': 1}, True),
    'wide heads': ({'head_dim': 12}, True),
    'heads that do not divide': ({'num_heads': 3, 'num_kv_heads': 3}, False),
    'qwen2': ({'qkv_bias': True}, True),
    'qwen2, wide heads': ({'qkv_bias': True, 'head_dim': 12}, True),
    'qwen2, three heads': (
        {'qkv_bias': True, 'num_heads': 3, 'num_kv_heads': 3}, True),
    'qwen3': ({'qk_norm': True, 'tie_embeddings': False}, True),
    'qwen3, one eps': ({'qk_norm': True, 'qk_norm_eps': 1e-5}, True),
    'qwen3, two eps': ({'qk_norm': True, 'qk_norm_eps': 1e-3}, False),
    'bias and norm': ({'qkv_bias': True, 'qk_norm': True}, False),
    'unrotated layers': ({'layer_kinds': ('full', 'unrotated')}, True),
    'windows in a llama': (
        {'layer_kinds': ('full', 'window'), 'window': 4}, False),
    'gemma3': (GEMMA3, True),
    'gemma3 without windows': (
        {**GEMMA3, 'layer_kinds': (), 'window': 0}, True),
    'gemma3, slots': ({**GEMMA3, 'num_slots': 2}, True),
    'gemma3, another scale': ({**GEMMA3, 'embed_scale': 2.0}, False),
    'gemma3, unrotated layers': (
        {**GEMMA3, 'layer_kinds': ('unrotated', 'window')}, False),
    'gelu in a llama': ({'mlp_activation': 'gelu'}, False),
    'linear scaling': ({'rope_scaling': RopeScaling(4.0)}, True),
    'llama3 scaling': ({'rope_scaling': LLAMA3}, True),
    'values as wide as keys': ({'value_dim': 8}, True),
    'narrow values': ({'value_dim': 6}, False),
    'slots': ({'num_slots': 2}, True),
    'slots, qwen2': ({'num_slots': 2, 'qkv_bias': True}, True),
    'slots, linear scaling': (
        {'num_slots': 2, 'rope_scaling': RopeScaling(4.0)}, True),
    'silu slots': ({'num_slots': 2, 'slot_form': 'silu'}, False),
    'linear slots': ({'num_slots': 2, 'slot_form': 'linear'}, False),
    'routed slots': ({'num_slots': 2, 'slot_routing': 'sigmoid'}, False),
    'routed slots, top 1': (
        {'num_slots': 2, 'slot_routing': 'sigmoid', 'slot_top_k': 1}, False),
    'levels': ({'level_dims': (12,)}, False),
    'levels with slots': ({'level_dims': (12,), 'level_slots': (2,)}, False)}


@pytest.mark.parametrize('name', VARIANTS)
def test_what_passes_the_check_can_be_exported(name, byte_tokenizer, tmp_path):
  changes, exportable = VARIANTS[name]
  config = dataclasses.replace(
      CONFIG, vocab_size=byte_tokenizer.vocab_size, slot_rank=4, **changes)
  params = random_params(config)

  def exported():
    export.export_hf(*fold.fold_slots(config, params), byte_tokenizer,
                     tmp_path / 'out')

  if not exportable:
    with pytest.raises(UserError) as reason:
      export.check_exportable(config)
    with pytest.raises(UserError) as error:
      exported()
    assert str(error.value) == str(reason.value)
    return
  export.check_exportable(config)
  exported()
  back = load_pretrained(str(tmp_path / 'out'))
  np.testing.assert_allclose(
      logits(back.config, back.params), logits(config, params), atol=2e-5)


@pytest.mark.parametrize('origin', [*FAMILIES, 'gguf', 'gguf, linear scaling'])
def test_what_loads_can_leave(origin, tmp_path):
  """A model and its tokenizer, with a slot that it has grown."""
  source = GOLDEN / origin
  if origin.startswith('gguf'):
    source = tmp_path / 'm.gguf'
    fuzz_files.write_gguf_model(source, [
        ('add_rope_scaling_factor', 4.0)] if 'linear' in origin else [])
  model = load_pretrained(str(source))
  slot = slots.new_slot(model.config, jax.random.key(0), 5)
  slot['down'] = slot['down'] + 0.3
  grown = slots.append_slot(
      model.config, jax.tree.map(jnp.asarray, model.params), slot,
      (True,) * model.config.num_layers)
  export.check_exportable(grown[0])
  export.export_hf(
      *fold.fold_slots(*grown), model.tokenizer, tmp_path / 'out')
  back = load_pretrained(str(tmp_path / 'out'))
  np.testing.assert_allclose(
      logits(back.config, back.params), logits(*grown), atol=2e-5, rtol=1e-5)
  message = [{'role': 'user', 'content': 'Who? 12'}]
  rendered = model.tokenizer.render_chat(message)
  assert back.tokenizer.render_chat(message) == rendered
  assert (back.tokenizer.encode(rendered)
          == model.tokenizer.encode(rendered))
  assert back.tokenizer.stop_ids == model.tokenizer.stop_ids


def test_export_is_refused_before_arrays_are_read(byte_tokenizer, tmp_path,
                                                  monkeypatch):
  config = dataclasses.replace(
      CONFIG, vocab_size=byte_tokenizer.vocab_size, level_dims=(12,))
  checkpoints.save_model(
      tmp_path / 'model', config, random_params(config), byte_tokenizer, {})
  monkeypatch.setattr(checkpoints, 'load_model', None)
  command = lambda out: export_command.main(
      ['export', f'--checkpoint={tmp_path}', f'--out={out}'])
  with pytest.raises(UserError, match='level_dims'):
    command(tmp_path / 'out')
  with pytest.raises(UserError, match='not empty'):
    command(tmp_path)


def test_the_command_takes_type_size_and_width(tmp_path):
  model, config, params = grown('llama')
  checkpoints.save_model(
      tmp_path / 'model', config, params, model.tokenizer, {})
  export_command.main([
      'export', f'--checkpoint={tmp_path}', f'--out={tmp_path / "out"}',
      '--dtype=bfloat16', '--pad-to=256', '--shard-gib=0.00002'])
  back = load_pretrained(str(tmp_path / 'out'))
  assert back.config.mlp_dim == 256
  assert (tmp_path / 'out/model.safetensors.index.json').is_file()
  for flag in '--pad-to=0', '--shard-gib=0':
    with pytest.raises(UserError, match=flag):
      export_command.main(['export', f'--checkpoint={tmp_path}',
                           f'--out={tmp_path / "other"}', flag])
  library.export_hf(model.with_params(config, params), tmp_path / 'library',
                    dtype='bfloat16', pad_to=256)
  jax.tree.map(np.testing.assert_array_equal, back.params,
               load_pretrained(str(tmp_path / 'library')).params)
