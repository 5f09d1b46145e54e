import dataclasses
import pathlib

import gguf as gguf_package
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sleepjax import model as load
from sleepjax.errors import UserError
from sleepjax.models import gguf, ops, transformer
from sleepjax.models.config import ModelConfig, RopeScaling
from tests.gguf_files import write_gguf

GOLDEN = pathlib.Path(__file__).parents[1] / 'golden'
CONFIG = ModelConfig(
    vocab_size=11, num_layers=2, embed_dim=8, mlp_dim=12, num_heads=2,
    num_kv_heads=1, head_dim=4, max_context=32, rope_theta=1e5,
    tie_embeddings=False)


@pytest.fixture(scope='module')
def smollm2():
  model = load.load_pretrained('smollm2-135m-instruct')
  return model, jax.tree.map(jnp.asarray, model.params)


def random_params(config):
  leaves, treedef = jax.tree.flatten(transformer.abstract_params(config))
  rng = np.random.default_rng(0)
  return treedef.unflatten(
      [rng.normal(size=leaf.shape).astype(np.float32) for leaf in leaves])


@pytest.mark.parametrize('tied', [True, False])
def test_small_file_round_trip(tmp_path, tied):
  config = ModelConfig(**{**CONFIG.architecture(), 'tie_embeddings': tied})
  params = random_params(config)
  path = write_gguf(tmp_path / 'm.gguf', config, params)
  loaded_config, loaded = gguf.load_gguf(path)
  assert loaded_config == config
  jax.tree.map(np.testing.assert_array_equal, loaded, params)


def test_half_rotation_rows_of_two_heads():
  rows = np.arange(8)[:, None] * np.ones((1, 3))
  # Head 0 is rows 0-3: pairs (0, 1), (2, 3) become (0, 2), (1, 3).
  np.testing.assert_array_equal(
      gguf.half_rotation_rows(rows, 4)[:, 0], [0, 2, 1, 3, 4, 6, 5, 7])


@pytest.mark.slow
def test_smollm2_architecture(smollm2):
  model, params = smollm2
  assert model.name == 'smollm2-135m-instruct'
  assert model.config == ModelConfig(
      vocab_size=49152, num_layers=30, embed_dim=576, mlp_dim=1536,
      num_heads=9, num_kv_heads=3, head_dim=64, max_context=8192,
      rope_theta=100_000.0, rms_eps=1e-5, tie_embeddings=True)
  assert transformer.parameter_count(params) == 134_515_008
  want = transformer.abstract_params(model.config)
  assert (jax.tree.map(lambda a: (a.shape, a.dtype), params)
          == jax.tree.map(lambda a: (a.shape, a.dtype), want))


@pytest.mark.slow
def test_smollm2_next_token_logprobs(smollm2):
  # By a numpy forward pass with interleaved rotation, and, within 2e-4, by
  # llama.cpp on the dequantised weights.
  want = {' Paris': -0.2581, ' the': -2.7408, ' London': -4.3844,
          ' Le': -4.6199, ' New': -4.6778}
  model, params = smollm2
  tokens = jnp.array([model.tokenizer.encode('The capital of France is')])
  logits = transformer.logits(model.config, params, tokens)
  logprobs = jax.nn.log_softmax(logits[0, -1])
  ids = np.array([model.tokenizer.encode(word) for word in want])[:, 0]
  np.testing.assert_allclose(
      logprobs[ids], list(want.values()), atol=1e-4, rtol=0)


@pytest.mark.slow
def test_smollm2_logits_equal_transformers(smollm2):
  golden = np.load(GOLDEN / 'smollm2_logits.npz')
  model, params = smollm2
  logits = transformer.logits(model.config, params, golden['tokens'][None])
  np.testing.assert_allclose(
      logits[0][:, golden['vocab_ids']], golden['logits'], atol=1e-3, rtol=0)


def test_truncated_anywhere(tmp_path):
  path = write_gguf(tmp_path / 'm.gguf', CONFIG, random_params(CONFIG))
  whole = path.read_bytes()
  gguf.load_gguf(path)
  for kept in [*range(0, len(whole) - 32, 97), len(whole) - 32]:
    path.write_bytes(whole[:kept])
    with pytest.raises(UserError, match='cut short'):
      gguf.load_gguf(path)


def test_not_gguf(tmp_path):
  path = tmp_path / 'm.gguf'
  path.write_text('<html>rate limit exceeded</html>')
  with pytest.raises(UserError, match='cannot be read as GGUF'):
    load.load_pretrained(str(path))
  with pytest.raises(UserError, match='no such file'):
    gguf.load_gguf(tmp_path / 'other.gguf')


def removed(name):
  return lambda tensors: tensors.pop(name)


def replaced(name, *shape):
  return lambda tensors: tensors.update(
      {name: np.zeros(shape, np.float32)})


@pytest.mark.parametrize('settings, named', [
    (dict(architecture='gemma'), "'gemma' is not supported"),
    (dict(metadata=[('add_rope_scaling_type',
                     gguf_package.RopeScalingType.YARN)]),
     'llama.rope.scaling.type=yarn'),
    (dict(change=replaced('rope_freqs.weight', 2)), 'rotary'),
    (dict(metadata=[('add_expert_count', 4)]), 'llama.expert_count=4'),
    (dict(metadata=[('add_rope_dimension_count', 2)]),
     'llama.rope.dimension_count=2'),
    (dict(metadata=[('add_value_length', 8)]), 'attention.value_length=8'),
    (dict(metadata=[('add_sliding_window', 16)]), 'sliding_window=16'),
    (dict(metadata=[('add_logit_scale', 0.5)]), 'logit_scale=0.5'),
    (dict(metadata=[('add_residual_scale', 0.5)]), 'residual_scale=0.5'),
    (dict(metadata=[('add_attn_logit_softcapping', 50.0)]), 'softcapping=50.0'),
    (dict(metadata=[('add_attention_scale', 0.25)]), 'attention.scale=0.25'),
    (dict(metadata=[('add_causal_attention', False)]), 'causal=False'),
    (dict(metadata=[('add_rope_scaling_attn_factors', 1.2)]),
     'rope.scaling.attn_factor=1.2'),
    (dict(metadata=[('add_bool', 'llama.of_the_future', False)]),
     'llama.of_the_future=False'),
    (dict(metadata=[('add_float32', 'llama.rope.scale_linear', -2.0)]),
     'not a positive number'),
    (dict(metadata=[('add_type', 'adapter')]), "general.type='adapter'"),
    (dict(architecture='qwen3moe'), 'expected one of llama, qwen2, qwen3'),
    (dict(architecture='phi3'), 'No other file of this model would help'),
    (dict(change=replaced('token_embd.weight', 12, 8)),
     r'output.weight  \[11, 8\]  \[12, 8\]'),
    (dict(change=lambda tensors: tensors.update(
        {'blk.2.attn_k.weight': np.zeros((4, 8), np.float32)})),
     'block_count is 2, but there are tensors of 3 layers'),
    (dict(change=lambda tensors: tensors['blk.1.ffn_up.weight'].fill(np.nan)),
     'tensor blk.1.ffn_up.weight has 96 of 96 entries that are NaN'),
    (dict(change=removed('token_embd.weight')), 'no tensor token_embd'),
    (dict(change=removed('blk.1.attn_k.weight')),
     r'blk.1.attn_k.weight  missing  \[4, 8\]'),
    (dict(change=replaced('blk.0.ffn_up.weight', 13, 8)),
     r'blk.0.ffn_up.weight  \[13, 8\]  \[12, 8\]'),
    (dict(change=replaced('blk.0.attn_q.bias', 8)),
     r'blk.0.attn_q.bias  \[8\] +no such tensor'),
])
def test_unsupported_files_are_refused(tmp_path, settings, named):
  path = write_gguf(
      tmp_path / 'm.gguf', CONFIG, random_params(CONFIG), **settings)
  with pytest.raises(UserError, match=named) as error:
    gguf.load_gguf(path)
  assert str(path) in str(error.value)


@pytest.mark.parametrize('metadata', [
    [('add_rope_scaling_type', gguf_package.RopeScalingType.NONE),
     ('add_rope_scaling_factor', 4.0)],
    [('add_float32', 'llama.rope.scale_linear', 1.0)],
    [('add_rope_scaling_factor', 0.0)],
    [('add_attention_scale', 0.5), ('add_logit_scale', 1.0),
     ('add_expert_count', 0), ('add_expert_used_count', 0),
     ('add_value_length', 4), ('add_rope_dimension_count', 4),
     ('add_causal_attention', True), ('add_vocab_size', 11),
     ('add_rope_scaling_finetuned', False), ('add_sliding_window', 0)]])
def test_metadata_that_changes_nothing(tmp_path, metadata):
  path = write_gguf(
      tmp_path / 'm.gguf', CONFIG, random_params(CONFIG), metadata)
  assert gguf.load_gguf(path)[0] == CONFIG


@pytest.mark.parametrize('metadata', [
    [('add_float32', 'llama.rope.scale_linear', 4.0)],
    [('add_rope_scaling_factor', 4.0)],
    [('add_rope_scaling_factor', 4.0),
     ('add_float32', 'llama.rope.scale_linear', 8.0)],
    [('add_rope_scaling_factor', 4.0),
     ('add_rope_scaling_type', gguf_package.RopeScalingType.LINEAR)]])
def test_linear_scaling(tmp_path, metadata):
  """Which divides positions: see `test_hf`."""
  path = write_gguf(
      tmp_path / 'm.gguf', CONFIG, random_params(CONFIG), metadata)
  config, _ = gguf.load_gguf(path)
  assert config == dataclasses.replace(CONFIG, rope_scaling=RopeScaling(4.0))


def test_scaling_of_llama3(tmp_path):
  """Files hold what frequencies are divided by, not the settings."""
  config = dataclasses.replace(
      CONFIG, num_heads=1, head_dim=8, rope_theta=5e5,
      rope_scaling=RopeScaling(32.0, 1.0, 4.0, 8192))
  plain = ops.rope_frequencies(8, 5e5)
  divisors = np.asarray(
      plain / ops.rope_frequencies(8, 5e5, config.rope_scaling))
  # By hand: of wavelengths 6, 167, 4443 and 118,000 tokens the first is short,
  # the last two are longer than 8192 / 4, and 4443 is a part of the way.
  np.testing.assert_allclose(divisors[[0, 1, 3]], [1, 1, 32], rtol=1e-5)
  assert 1 < divisors[2] < 32
  write = lambda numbers: write_gguf(
      tmp_path / 'm.gguf', config, random_params(config),
      change=lambda tensors: tensors.update({'rope_freqs.weight': numbers}))
  loaded, params = gguf.load_gguf(write(divisors))
  assert loaded == config
  jax.tree.map(np.testing.assert_array_equal, params, random_params(config))
  with pytest.raises(UserError, match="not scaled as Llama 3's"):
    gguf.load_gguf(write(divisors * np.float32([1, 1, 1.1, 1])))


@pytest.fixture
def parts(tmp_path):
  """The paths of a model in three files."""
  write_gguf(tmp_path / 'm.gguf', CONFIG, random_params(CONFIG),
             tensors_per_file=8)
  return sorted(tmp_path.glob('m-0000?-of-00003.gguf'))


def test_a_model_in_several_files(parts):
  for path in parts:
    config, params = gguf.load_gguf(path)
    assert config == CONFIG
    jax.tree.map(
        np.testing.assert_array_equal, params, random_params(CONFIG))


def test_a_part_is_missing(parts):
  parts[1].unlink()
  with pytest.raises(UserError) as error:
    load.load_pretrained(str(parts[2]))
  assert str(error.value) == (
      f'{parts[2]}: is one of 3 files that a model was split into; beside it '
      'there is no m-00002-of-00003.gguf. Download all of them into one '
      'folder.')


def test_parts_of_two_models(parts):
  parts[2].write_bytes(parts[1].read_bytes())
  with pytest.raises(UserError, match='not parts of one model'):
    load.load_pretrained(str(parts[0]))


def test_a_part_with_another_name(parts):
  renamed = parts[0].rename(parts[0].with_name('mine.gguf'))
  with pytest.raises(UserError, match='end in -00001-of-00003.gguf'):
    load.load_pretrained(str(renamed))


def test_a_piece_of_a_file(tmp_path):
  whole = write_gguf(tmp_path / 'm.gguf', CONFIG, random_params(CONFIG))
  piece = tmp_path / 'm.gguf-split-a'
  piece.write_bytes(whole.read_bytes()[:700])
  with pytest.raises(UserError, match='join all pieces'):
    load.load_pretrained(str(piece))


def test_architecture_is_refused_before_the_tokenizer(tmp_path):
  """Whose refusal would send people to a folder that does not load either."""
  path = write_gguf(tmp_path / 'm.gguf', CONFIG, random_params(CONFIG),
                    architecture='gemma')
  with pytest.raises(UserError, match="'gemma' is not supported"):
    load.load_pretrained(str(path))


@pytest.mark.parametrize('kind', [
    [('add_tokenizer_model', 'gpt2'), ('add_tokenizer_pre', 'gpt-4o')],
    [('add_tokenizer_model', 'bert'), ('add_tokenizer_pre', 'default')],
    [('add_tokenizer_model', 'llama')]])  # Without its scores and tokens.
def test_llamas_with_other_tokenizers(tmp_path, kind):
  """Their Hugging Face folder has one that can be read."""
  path = write_gguf(tmp_path / 'm.gguf', CONFIG, random_params(CONFIG), kind)
  with pytest.raises(UserError, match='oad (the|its) Hugging Face folder'):
    load.load_pretrained(str(path))


def test_missing_metadata(tmp_path):
  path = tmp_path / 'm.gguf'
  writer = gguf_package.GGUFWriter(path, 'llama')
  writer.add_tensor('token_embd.weight', np.zeros((4, 4), np.float32))
  writer.write_header_to_file()
  writer.write_kv_data_to_file()
  writer.write_tensors_to_file()
  writer.close()
  with pytest.raises(UserError, match='llama.embedding_length.*missing'):
    gguf.load_gguf(path)


def test_package_not_installed(monkeypatch):
  monkeypatch.setitem(
      load.PACKAGED, 'small', ('no_such_package_here', 'm.gguf', 'pip X'))
  with pytest.raises(UserError, match='not installed. Get it with: pip X'):
    load.load_pretrained('small')
