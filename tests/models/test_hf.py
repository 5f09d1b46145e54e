import dataclasses
import json
import pathlib
import shutil

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest
import safetensors.numpy

from sleepjax.errors import UserError
from sleepjax.mesh import sharding
from sleepjax.mesh.sharding import MeshConfig
from sleepjax.model import load_pretrained
from sleepjax.models import hf, hf_config, transformer
from sleepjax.models.config import ModelConfig, RopeScaling

GOLDEN = pathlib.Path(__file__).parents[1] / 'golden'
FAMILIES = ['llama', 'qwen2', 'qwen3', 'mistral', 'smollm3', 'gemma3']
# Gemma's files have the scales of norms less 1.
ROUNDING = {family: 5e-7 if family == 'gemma3' else 0 for family in FAMILIES}


@pytest.fixture
def edited(tmp_path):
  """A copy of a golden folder, with some entries of config.json replaced."""
  def make(family, **changes):
    folder = tmp_path / family
    shutil.copytree(GOLDEN / family, folder)
    path = folder / 'config.json'
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))
    return folder
  return make


def tensors_of(folder):
  merged = {}
  for path in sorted(folder.glob('*.safetensors')):
    merged |= safetensors.numpy.load_file(path)
  return merged


@pytest.mark.parametrize('family', FAMILIES)
def test_logits_equal_transformers(family):
  config, params = hf.load_hf(GOLDEN / family)
  golden = np.load(GOLDEN / family / 'logits.npz')
  params = jax.tree.map(jnp.asarray, params)
  logits = transformer.logits(config, params, golden['tokens'])
  np.testing.assert_allclose(logits, golden['logits'], atol=1e-4, rtol=0)
  mask = golden['mask']
  padded = np.asarray(
      transformer.logits(config, params, golden['tokens'], mask))
  np.testing.assert_allclose(
      padded[mask], golden['padded_logits'][mask], atol=1e-4, rtol=0)


@pytest.mark.parametrize('family', FAMILIES)
def test_tree_is_the_one_the_config_asks_for(family):
  config, params = hf.load_hf(GOLDEN / family)
  want = transformer.abstract_params(config)
  assert (jax.tree.map(lambda a: (a.shape, a.dtype), params)
          == jax.tree.map(lambda a: (a.shape, a.dtype), want))


@pytest.mark.parametrize('family', FAMILIES)
def test_parameters_come_onto_a_mesh_as_they_are(family):
  """`test_sharded_steps` loads parts of leaves onto eight devices."""
  mesh = sharding.make_mesh(MeshConfig())
  _, wanted = hf.load_hf(GOLDEN / family)
  _, params = hf.load_hf(GOLDEN / family, mesh)
  jax.tree.map(np.testing.assert_array_equal, params, wanted)
  placed = jax.tree.map(lambda leaf: leaf.sharding, params)
  assert placed == sharding.param_shardings(params, mesh)


@pytest.mark.parametrize('family', FAMILIES)
def test_tensors_written_back_are_those_read(family):
  config, params = hf.load_hf(GOLDEN / family)
  have, want = hf.to_hf_tensors(config, params), tensors_of(GOLDEN / family)
  assert have.keys() == want.keys()
  for name in want:
    assert have[name].flags.c_contiguous
    np.testing.assert_allclose(have[name], want[name].astype(np.float32),
                               rtol=0, atol=ROUNDING[family])


@pytest.mark.parametrize('family', FAMILIES)
def test_round_trip_of_random_parameters(family, tmp_path):
  config, _ = hf.load_hf(GOLDEN / family)
  leaves, treedef = jax.tree.flatten(transformer.abstract_params(config))
  rng = np.random.default_rng(0)
  params = treedef.unflatten(
      [rng.normal(size=leaf.shape).astype(np.float32) for leaf in leaves])
  shutil.copy(GOLDEN / family / 'config.json', tmp_path)
  safetensors.numpy.save_file(
      hf.to_hf_tensors(config, params), tmp_path / 'model.safetensors')
  config_again, again = hf.load_hf(tmp_path)
  assert config_again == config
  jax.tree.map(lambda have, want: np.testing.assert_allclose(
      have, want, rtol=0, atol=ROUNDING[family]), again, params)


def test_half_precision_is_read_exactly(edited):
  folder = edited('llama')
  tensors = tensors_of(folder)
  for dtype in (np.float16, ml_dtypes.bfloat16):
    rounded = {k: v.astype(dtype) for k, v in tensors.items()}
    safetensors.numpy.save_file(rounded, folder / 'model.safetensors')
    _, params = hf.load_hf(folder)
    np.testing.assert_array_equal(
        params['head']['kernel'],
        rounded['lm_head.weight'].astype(np.float32).T)


def test_slots_have_no_form_here():
  config, params = hf.load_hf(GOLDEN / 'llama')
  config = transformer.with_slots(config, 1, 4)
  with pytest.raises(UserError, match='fold the slots'):
    hf.to_hf_tensors(config, params)


def test_older_and_newer_rope_settings_mean_the_same():
  new = json.loads((GOLDEN / 'llama/config.json').read_text())
  old = dict(new)
  rope = dict(old.pop('rope_parameters'))
  old['rope_theta'] = rope.pop('rope_theta')
  old['rope_scaling'] = rope
  assert hf_config.config_from_hf(old, '') == hf_config.config_from_hf(new, '')
  plain = old | {'rope_scaling': None}
  assert hf_config.config_from_hf(plain, '').rope_scaling is None


def test_older_rope_settings_replace_newer_ones_as_a_whole():
  """As in transformers' `convert_rope_params_to_dict`."""
  both = json.loads((GOLDEN / 'llama/config.json').read_text())
  llama3 = {**both['rope_parameters'], 'factor': 2.0}
  assert llama3.pop('rope_theta') and llama3['rope_type'] == 'llama3'
  both |= {'rope_scaling': llama3, 'rope_theta': 70.0}
  config = hf_config.config_from_hf(both, '')
  assert config.rope_scaling.factor == 2.0 and config.rope_theta == 70.0


def test_llama_32_1b_config():
  # The published settings of Llama-3.2-1B, as transformers 4 wrote them.
  config = hf_config.config_from_hf({
      'architectures': ['LlamaForCausalLM'], 'attention_bias': False,
      'bos_token_id': 128000, 'eos_token_id': 128001, 'head_dim': 64,
      'hidden_act': 'silu', 'hidden_size': 2048, 'intermediate_size': 8192,
      'max_position_embeddings': 131072, 'mlp_bias': False,
      'num_attention_heads': 32, 'num_hidden_layers': 16,
      'num_key_value_heads': 8, 'pretraining_tp': 1, 'rms_norm_eps': 1e-05,
      'rope_scaling': {
          'factor': 32.0, 'high_freq_factor': 4.0, 'low_freq_factor': 1.0,
          'original_max_position_embeddings': 8192, 'rope_type': 'llama3'},
      'rope_theta': 500000.0, 'tie_word_embeddings': True,
      'vocab_size': 128256}, '')
  assert config == ModelConfig(
      vocab_size=128256, num_layers=16, embed_dim=2048, mlp_dim=8192,
      num_heads=32, num_kv_heads=8, head_dim=64, max_context=131072,
      rope_theta=5e5, rope_scaling=RopeScaling(32.0, 1.0, 4.0, 8192),
      rms_eps=1e-5, tie_embeddings=True)
  leaves = jax.tree.leaves(transformer.abstract_params(config))
  assert sum(leaf.size for leaf in leaves) == 1_235_814_400


@pytest.mark.parametrize('family, changes, named', [
    ('llama', {'architectures': ['MixtralForCausalLM']}, 'MixtralForCausalLM'),
    ('llama', {'architectures': None}, 'architectures=None'),
    ('llama', {'hidden_act': 'gelu'}, 'hidden_act=gelu'),
    ('llama', {'attention_bias': True}, 'attention_bias=True'),
    ('llama', {'mlp_bias': True}, 'mlp_bias=True'),
    ('llama', {'quantization_config': {'bits': 4}}, 'quantization_config'),
    ('llama', {'rope_parameters': {'rope_type': 'yarn', 'factor': 4.0}},
     'yarn'),
    ('llama', {'rope_parameters': {'rope_type': 'llama3', 'factor': 4.0}},
     'low_freq_factor=None'),
    ('llama', {'rope_parameters': {
        'rope_type': 'llama3', 'factor': 4.0, 'low_freq_factor': 1.0,
        'high_freq_factor': 4.0, 'original_max_position_embeddings': 64,
        'partial_rotary_factor': 0.5}}, "'partial_rotary_factor': 0.5"),
    ('llama', {'rope_parameters': {'full_attention': {
        'rope_type': 'default', 'rope_theta': 1e6}}}, 'full_attention'),
    ('llama', {'num_hidden_layers': '3'}, "num_hidden_layers='3'"),
    ('llama', {'num_key_value_heads': 3}, 'num_kv_heads=3'),
    ('llama', {'rms_norm_eps': -1}, 'rms_norm_eps=-1'),
    ('llama', {'num_hidden_layers': 10**12}, '1000000000000 layers'),
    ('qwen2', {'use_sliding_window': True}, 'use_sliding_window=True'),
    ('qwen2', {'layer_types': ['sliding_attention'] * 3}, 'full attention'),
    ('qwen3', {'head_dim': None}, 'head_dim=None'),
    ('llama', {'model_type': 'mistral'}, "model_type='mistral'"),
    ('llama', {'sliding_window': 64}, 'sliding_window=64'),
    ('llama', {'no_rope_layers': [1, 1, 0]}, r'no_rope_layers=\[1, 1, 0\]'),
    ('llama', {'layer_types': 3}, 'layer_types=3'),
    ('llama', {'partial_rotary_factor': 0.5}, 'partial_rotary_factor=0.5'),
    ('llama', {'residual_multiplier': 0.22}, 'residual_multiplier=0.22'),
    ('llama', {'logits_scaling': 8.0}, 'logits_scaling=8.0'),
    ('llama', {'attn_logit_softcapping': 50.0}, 'attn_logit_softcapping=50.0'),
    ('llama', {'num_local_experts': 8}, 'num_local_experts=8'),
    ('llama', {'is_causal': False}, 'is_causal=False'),
    ('llama', {'auto_map': {'AutoModelForCausalLM': 'modeling.Model'}},
     'auto_map'),
    ('llama', {'transformers_weights': 'other.safetensors'},
     'transformers_weights=other'),
    ('llama', {'tie_word_embeddings': 'false'}, "embeddings='false'"),
    *(('llama', {'rope_scaling': {'type': kind, 'factor': 2.0}}, kind)
      for kind in ('dynamic', 'yarn', 'longrope', 'proportional', 'mrope')),
    ('llama', {'rope_scaling': {'type': 'linear'}}, 'factor=None'),
    ('llama', {'rope_scaling': {
        'rope_type': 'llama3', 'factor': 4.0, 'low_freq_factor': 4.0,
        'high_freq_factor': 4.0, 'original_max_position_embeddings': 64}},
     'low_freq_factor=4.0 must be below'),
    ('llama', {'head_dim': 10, 'num_attention_heads': 3,
               'num_key_value_heads': 3}, 'no multiple of num_heads=3'),
    ('mistral', {'sliding_window': 64}, 'sliding_window=64 .* less than '
     'max_position_embeddings=256.*Mistral 7B from v0.2 on'),
    ('mistral', {'sliding_window': True}, 'sliding_window=True'),
    ('smollm3', {'no_rope_layers': [1, 0]}, 'for each of the 3 layers'),
    ('smollm3', {'no_rope_layers': [1, 0, 2]}, r'no_rope_layers=\[1, 0, 2\]'),
    ('smollm3', {'use_sliding_window': True}, 'use_sliding_window=True'),
    ('gemma3', {'query_pre_attn_scalar': 8},
     'query_pre_attn_scalar=8 with head_dim=12.*but 27B'),
    ('gemma3', {'use_bidirectional_attention': True}, 'bidirectional'),
    ('gemma3', {'hidden_activation': 'silu'}, 'hidden_activation=silu'),
    ('gemma3', {'final_logit_softcapping': 30.0}, 'final_logit_softcapping'),
    ('gemma3', {'layer_types': ['chunked_attention'] * 3}, 'chunked_attention'),
    ('gemma3', {'sliding_window': None}, 'sliding_window=None'),
    ('gemma3', {'rope_parameters': {
        'full_attention': {'rope_theta': 1e6}, 'sliding_attention': {
            'rope_theta': 1e4, 'rope_type': 'linear', 'factor': 2.0}}},
     'of windows are scaled'),
])
def test_unsupported_settings_are_refused(edited, family, changes, named):
  folder = edited(family, **changes)
  with pytest.raises(UserError, match=named) as error:
    load_pretrained(str(folder))
  assert str(folder) in str(error.value)


@pytest.mark.parametrize('family, changes', [
    ('llama', {'hidden_act': 'swish', 'attention_bias': None,
               'residual_multiplier': 1.0, 'num_local_experts': 0,
               'layer_types': ['full_attention'] * 3, 'is_causal': True,
               'auto_map': {'AutoModelForSequenceClassification': 'm.M'},
               'no_rope_layers': [1, 1, 1], 'model_type': None}),
    ('llama', {'sliding_window': 64, 'use_sliding_window': False}),
    ('qwen2', {'sliding_window': 64, 'max_window_layers': 1}),
    ('mistral', {'sliding_window': 256}),
    ('smollm3', {'no_rope_layers': None, 'no_rope_layer_interval': 2}),
    ('gemma3', {'layer_types': None, 'sliding_window_pattern': 2}),
    ('gemma3', {'rope_parameters': None, 'rope_theta': 1e5,
                'rope_local_base_freq': 1e4,
                'rope_scaling': {'rope_type': 'linear', 'factor': 2.0}})])
def test_settings_that_change_nothing(edited, family, changes):
  config, _ = hf.load_hf(edited(family, **changes))
  assert config == hf.load_hf(GOLDEN / family)[0]


@pytest.mark.parametrize('spelling', ['type', 'rope_type'])
def test_linear_scaling_divides_positions(edited, spelling):
  """The model without it, at a quarter of every position."""
  folder = edited('llama', rope_theta=1e4, rope_parameters=None,
                  rope_scaling={spelling: 'linear', 'factor': 4.0})
  config, params = hf.load_hf(folder)
  assert config.rope_scaling == RopeScaling(4.0)
  tokens = np.arange(20)[None]
  plain = dataclasses.replace(config, rope_scaling=None)
  hidden, _ = transformer.Decoder(plain).apply(
      {'params': params}, tokens, tokens / 4,
      np.tril(np.ones((20, 20), bool))[None], ())
  want = np.asarray(hidden) @ params['head']['kernel']
  np.testing.assert_allclose(
      transformer.logits(config, params, tokens), want, atol=1e-4)
  unscaled = np.asarray(transformer.logits(plain, params, tokens))
  assert np.abs(unscaled - want).max() > 0.1


def test_original_context_of_llama3_scaling():
  """As in transformers: beside the settings, among them, or the context."""
  hf_settings = json.loads((GOLDEN / 'llama/config.json').read_text())
  rope = hf_settings['rope_parameters']
  original = lambda: hf_config.config_from_hf(
      hf_settings, '').rope_scaling.original_max_context
  assert original() == rope.pop('original_max_position_embeddings')
  assert original() == hf_settings['max_position_embeddings']
  hf_settings['original_max_position_embeddings'] = 32
  assert original() == 32


def test_every_misfit_is_listed_before_memory_is_spent(edited):
  folder = edited('llama', intermediate_size=10**9)
  tensors = tensors_of(folder)
  del tensors['model.norm.weight']
  tensors['model.layers.0.self_attn.o_proj.bias'] = np.zeros(32, np.float32)
  safetensors.numpy.save_file(tensors, folder / 'model.safetensors')
  with pytest.raises(UserError) as error:
    hf.load_hf(folder)
  assert str(error.value).splitlines() == [
      f'{folder}: 11 tensor(s) do not fit the architecture that its '
      'configuration describes. Use the weights and the configuration of one '
      'model.',
      '  tensor                                 have      want',
      '  model.layers.0-2.mlp.gate_proj.weight  [48, 32]  [1000000000, 32]',
      '  model.layers.0-2.mlp.up_proj.weight    [48, 32]  [1000000000, 32]',
      '  model.layers.0-2.mlp.down_proj.weight  [32, 48]  [32, 1000000000]',
      '  model.norm.weight                      missing   [32]',
      '  model.layers.0.self_attn.o_proj.bias   [32]      no such tensor']


def test_head_beside_a_tied_embedding(edited):
  folder = edited('qwen3')
  tensors = tensors_of(folder)
  tensors['lm_head.weight'] = tensors['model.embed_tokens.weight']
  safetensors.numpy.save_file(tensors, folder / 'model.safetensors')
  _, params = hf.load_hf(folder)
  assert 'head' not in params
  tensors['lm_head.weight'] = tensors['lm_head.weight'] + 1
  safetensors.numpy.save_file(tensors, folder / 'model.safetensors')
  with pytest.raises(UserError, match='tie_word_embeddings'):
    hf.load_hf(folder)
  for name in 'lm_head.weight', 'model.embed_tokens.weight':
    tensors[name] = tensors[name].astype(ml_dtypes.bfloat16) * np.nan
  safetensors.numpy.save_file(tensors, folder / 'model.safetensors')
  with pytest.raises(UserError, match='model.embed_tokens.weight has .* NaN'):
    hf.load_hf(folder)


@pytest.mark.parametrize('kept', [0, 5, 8, 500, -4, -1])
def test_truncated_safetensors(edited, kept):
  folder = edited('llama')
  path = folder / 'model.safetensors'
  path.write_bytes(path.read_bytes()[:kept])
  with pytest.raises(UserError, match='model.safetensors.*cut short'):
    hf.load_hf(folder)


def test_integer_weights_are_refused(edited):
  folder = edited('llama')
  tensors = tensors_of(folder)
  tensors['lm_head.weight'] = tensors['lm_head.weight'].astype(np.int8)
  safetensors.numpy.save_file(tensors, folder / 'model.safetensors')
  with pytest.raises(UserError, match='lm_head.weight has type I8'):
    hf.load_hf(folder)


def test_shards(edited):
  folder = edited('qwen2')
  index = folder / 'model.safetensors.index.json'
  contents = json.loads(index.read_text())
  (folder / 'model-00002-of-00002.safetensors').unlink()
  with pytest.raises(UserError, match='has no model-00002-of-00002'):
    hf.load_hf(folder)
  contents['weight_map']['lm_head.weight'] = '../model.safetensors'
  index.write_text(json.dumps(contents))
  with pytest.raises(UserError, match='a file of the same folder'):
    hf.load_hf(folder)
  index.write_text('{"weight_map": ')
  with pytest.raises(UserError, match='cannot be read as JSON'):
    hf.load_hf(folder)


def test_missing_files(edited, tmp_path):
  folder = edited('llama')
  (folder / 'model.safetensors').rename(folder / 'pytorch_model.bin')
  with pytest.raises(UserError, match='Convert the PyTorch files'):
    load_pretrained(str(folder))
  (folder / 'tokenizer.json').unlink()
  with pytest.raises(UserError, match='has no tokenizer.json'):
    load_pretrained(str(folder))
  (folder / 'config.json').unlink()
  with pytest.raises(UserError, match='config.json: no such file'):
    load_pretrained(str(folder))
  with pytest.raises(UserError, match='smollm2-135m-instruct'):
    load_pretrained(str(tmp_path / 'elsewhere'))


@pytest.mark.parametrize('family', FAMILIES)
def test_load_pretrained_folder(family):
  model = load_pretrained(str(GOLDEN / family))
  assert model.name == family
  assert model.tokenizer.vocab_size == model.config.vocab_size == 97


def test_tokenizer_of_a_larger_model_is_refused(edited):
  folder = edited('llama', vocab_size=90)
  tensors = tensors_of(folder)
  for name in ('lm_head.weight', 'model.embed_tokens.weight'):
    tensors[name] = tensors[name][:90]
  safetensors.numpy.save_file(tensors, folder / 'model.safetensors')
  with pytest.raises(UserError, match='ids up to 96.*only 90 rows'):
    load_pretrained(str(folder))
