"""What is written as GGUF is read again as the same model."""

import dataclasses

import gguf
import jax
import numpy as np
import pytest

from experiments import export as export_command
from sleepjax.data import model_files
from sleepjax.data.tokenizer import Tokenizer
from sleepjax.errors import UserError
from sleepjax.growth import fold
from sleepjax.model import load_pretrained
from sleepjax.models import gguf_export, transformer, weight_map
from sleepjax.models.config import ModelConfig, RopeScaling
from sleepjax.models.gguf import FAMILIES
from sleepjax.training import checkpoints
from tests.models.test_gguf_families import (
    GOLDEN,
    VOCABULARIES,
    qwen2_file,
    write_with_vocabulary,
)

PLAIN = ModelConfig(
    vocab_size=310, num_layers=2, embed_dim=16, mlp_dim=30, num_heads=2,
    num_kv_heads=1, head_dim=8, max_context=64, rms_eps=1e-6, num_slots=2,
    slot_rank=3)
MODELS = {
    'llama': {'tie_embeddings': False},
    'llama, wide heads': {'head_dim': 12, 'rope_scaling': RopeScaling(4.0)},
    'llama3': {'head_dim': 16, 'rope_theta': 5e5,
               'rope_scaling': RopeScaling(32.0, 1.0, 4.0, 8192)},
    'qwen2': {}, 'qwen3': {},
    'smollm3': {'num_layers': 5,
                'layer_kinds': ('full',) * 3 + ('unrotated', 'full')},
    'gemma3': {'layer_kinds': ('window',) * 2, 'window': 8,
               'embed_scale': 4.0}}


def model_of(name):
  """(config, random parameters, tokenizer) with two slots that do something."""
  config = dataclasses.replace(PLAIN, **FAMILIES.get(name, {}), **MODELS[name])
  rng = np.random.default_rng(0)
  params = jax.tree.map(
      lambda leaf: (rng.normal(size=leaf.shape) / 4).astype(leaf.dtype),
      transformer.abstract_params(config))
  return config, params, Tokenizer.trained_on(
      'a tower, a lighthouse, another tower\n' * 9, 300)


def logits(config, params):
  tokens = jax.random.randint(jax.random.key(3), (2, 17), 0, 300)
  return np.asarray(transformer.logits(config, params, tokens))


@pytest.mark.parametrize('name', MODELS)
def test_what_is_read_again(name, tmp_path):
  config, params, tokenizer = model_of(name)
  folded, plain = fold.fold_slots(config, params)
  path, = gguf_export.export_gguf(
      folded, plain, tokenizer, tmp_path / 'm.gguf')
  back = load_pretrained(str(path))
  assert back.config == folded
  jax.tree.map(np.testing.assert_array_equal, back.params, dict(plain))
  if name == 'llama':  # Of the others the same follows, and takes longer.
    want = logits(config, params)
    assert want.std() > 0.1
    np.testing.assert_allclose(
        logits(back.config, back.params), want, atol=1e-5, rtol=1e-5)
  text = "A lighthouse, 1969: it's\n\n  tall.\n"
  assert back.tokenizer.encode(text) == tokenizer.encode(text)
  assert back.tokenizer.stop_ids == tokenizer.stop_ids
  assert [p.name for p in tmp_path.iterdir()] == ['m.gguf']


@pytest.mark.parametrize('dtype', gguf_export.DTYPES)
def test_types_and_several_files(dtype, tmp_path):
  config, params = fold.fold_slots(*model_of('qwen2')[:2])
  config, params = fold.pad_units(config, params, 32)
  paths = gguf_export.export_gguf(
      config, params, model_of('qwen2')[2], tmp_path / 'm.gguf', dtype=dtype,
      most_bytes=9_000)
  assert len(paths) > 1 and paths[0].name.startswith('m-00001-of-')
  back = load_pretrained(str(paths[0]))
  kind = gguf_export.DTYPES[dtype][0]
  sizes = weight_map.axis_sizes(config)
  for weight in weight_map.weights_of(config):
    have, want = (np.asarray(weight_map.leaf_at(tree, weight.path))
                  for tree in (back.params, params))
    for one, other in zip(have, want) if weight.stacked else [(have, want)]:
      one, other = (weight.to_stored(a, sizes) for a in (one, other))
      if other.ndim > 1:
        rows = gguf.GGML_QUANT_SIZES[kind][0]
        stored = gguf.GGMLQuantizationType.F16 if (
            other.shape[-1] % rows) else kind
        other = gguf.dequantize(gguf.quantize(other, stored), stored)
      np.testing.assert_array_equal(one, other)


def vocabularies(folder):
  return {
      'qwen2': qwen2_file(folder / 'qwen2.gguf'),
      'llama3': write_with_vocabulary(
          folder / 'llama3.gguf', 'llama3', rule='llama-bpe',
          end=VOCABULARIES['llama3']['tokens'].index('<|end_of_text|>'),
          add_bos_token_id=VOCABULARIES['llama3']['tokens'].index(
              '<|begin_of_text|>')),
      'sentencepiece': write_with_vocabulary(
          folder / 'sentencepiece.gguf', 'sentencepiece')}


@pytest.mark.parametrize('name', VOCABULARIES)
def test_vocabularies_leave_as_they_came(name, tmp_path):
  source = vocabularies(tmp_path)[name]
  model = load_pretrained(str(source))
  path, = gguf_export.export_gguf(
      model.config, model.params, model.tokenizer, tmp_path / 'out.gguf')
  again = load_pretrained(str(path)).tokenizer
  for row in VOCABULARIES[name]['encoded']:
    assert again.encode(row['text']) == row['ids']
  assert (again.stop_ids, again.pad_id, again.text_start) == (
      model.tokenizer.stop_ids, model.tokenizer.pad_id,
      model.tokenizer.text_start)
  assert again.chat_template == model.tokenizer.chat_template
  have, want = (model_files.open_gguf(p).metadata for p in (path, source))
  for key in ('model', 'tokens', 'token_type', 'merges'):
    assert have.get(f'tokenizer.ggml.{key}') == want.get(
        f'tokenizer.ggml.{key}')


def test_what_a_file_cannot_say(tmp_path):
  model = load_pretrained(str(GOLDEN / 'llama'))  # Words are its tokens.
  export = lambda *what: gguf_export.export_gguf(*what, tmp_path / 'm.gguf')
  with pytest.raises(UserError, match='WordLevel.*Export a Hugging Face'):
    export(model.config, model.params, model.tokenizer)
  config, params, tokenizer = model_of('gemma3')
  config, params = fold.fold_slots(dataclasses.replace(
      config, layer_kinds=('full', 'window')), params)
  with pytest.raises(UserError, match='layer_kinds.*cannot say'):
    export(config, params, tokenizer)
  config, params = fold.fold_slots(*model_of('llama')[:2])
  with pytest.raises(UserError, match='65504'):
    gguf_export.export_gguf(
        config, jax.tree.map(lambda a: a * 1e6, params), tokenizer,
        tmp_path / 'm.gguf', dtype='float16')
  assert not [*tmp_path.iterdir()]


def test_the_command_writes_a_file(tmp_path, capsys):
  config, params, tokenizer = model_of('qwen3')
  checkpoints.save_model(tmp_path / 'model', config, params, tokenizer, {
      'answer_prompt': '{question} Be brief.'})
  command = lambda *flags: export_command.main(
      ['export', f'--checkpoint={tmp_path}', f'--out={tmp_path / "m.gguf"}',
       *flags])
  command('--dtype=q8_0', '--pad-to=64')
  out = capsys.readouterr().out
  assert 'intermediate_size 30 -> 64, 2 slots' in out
  assert "asked as '{question} Be brief.'" in out
  assert load_pretrained(str(tmp_path / 'm.gguf')).config.mlp_dim == 64
  with pytest.raises(UserError, match='there already'):
    command('--format=gguf')
  with pytest.raises(UserError, match='--dtype=q8_0: with --format=hf'):
    command('--format=hf', '--dtype=q8_0')
