"""Models as Hugging Face folders that transformers and servers load."""

import contextlib
import dataclasses
import json
import os
import pathlib
import shutil
from collections.abc import Iterator

import safetensors

from sleepjax.data import files
from sleepjax.data.tokenizer import Tokenizer
from sleepjax.errors import UserError
from sleepjax.models import hf, hf_config, tensor_files
from sleepjax.models.config import ModelConfig

# Classes whose special tokens, where config.json is silent, are those of one
# vocabulary; generation_config.json names a model's own.
_OWN_IDS = ('SmolLM3ForCausalLM', 'Gemma3ForCausalLM')


def check_exportable(config: ModelConfig) -> None:
  """Checks that a model, its slots folded, has a form outside of this package.

  Whatever can be loaded or trained for hours is checked before: see
  `load.load_pretrained`. With a model that passes, `growth.fold.fold_slots` and
  `export_hf` do not refuse.

  Raises:
    UserError: naming what no supported family computes.
  """
  if config.num_slots:
    check_foldable(config)
  config_json(config)


def check_foldable(config: ModelConfig) -> None:
  """Checks that slots of this kind are hidden units of a dense SwiGLU MLP.

  Raises:
    UserError: they are routed, or of another form.
  """
  if config.slot_routing != 'none':
    raise UserError(
        f'slot_routing={config.slot_routing!r}: routed slots do not fold into '
        "a dense MLP; train them with slot_routing='none' to export them.")
  if config.slot_form != 'swiglu':
    raise UserError(
        f'slot_form={config.slot_form!r}: only slots of form \'swiglu\' fold '
        "into a SwiGLU MLP; train them with slot_form='swiglu' to export them.")


def config_json(config: ModelConfig) -> dict:
  """The contents of config.json; `hf_config.config_from_hf` is the inverse.

  Raises:
    UserError: no supported family has this architecture.
  """
  family = family_of(config)
  _check_expressible(config, family)
  settings = {
      'architectures': [family],
      'model_type': hf_config.FAMILIES[family].model_type,
      'vocab_size': config.vocab_size, 'hidden_size': config.embed_dim,
      'intermediate_size': config.mlp_dim,
      'num_hidden_layers': config.num_layers,
      'num_attention_heads': config.num_heads,
      'num_key_value_heads': config.num_kv_heads, 'head_dim': config.head_dim,
      'max_position_embeddings': config.max_context,
      'rope_theta': config.rope_theta, 'rms_norm_eps': config.rms_eps,
      'tie_word_embeddings': config.tie_embeddings, 'hidden_act': 'silu',
      'attention_bias': False, 'mlp_bias': False, 'torch_dtype': 'float32'}
  if config.rope_scaling is not None:
    settings['rope_scaling'] = _rope_settings(config.rope_scaling)
  if family in _OWN_IDS:
    settings |= dict.fromkeys(('bos_token_id', 'eos_token_id', 'pad_token_id'))
  if family == 'SmolLM3ForCausalLM':
    settings['no_rope_layers'] = [
        int(kind != 'unrotated') for kind in config.layer_kinds]
  if family == 'Gemma3ForCausalLM':
    del settings['mlp_bias'], settings['hidden_act']
    settings |= {
        'hidden_activation': 'gelu_pytorch_tanh',
        'query_pre_attn_scalar': config.head_dim,
        'rope_local_base_freq': config.window_theta,
        'sliding_window': config.window or config.max_context,
        'layer_types': [
            'sliding_attention' if kind == 'window' else 'full_attention'
            for kind in config.layer_kinds or ['full'] * config.num_layers]}
  return settings


def family_of(config: ModelConfig) -> str:
  """The class of transformers that computes this.

  Raises:
    UserError: none does.
  """
  fixed = ('qkv_bias', 'qk_norm', 'mlp_activation', 'post_norms')
  plain = {field.name: field.default for field in dataclasses.fields(config)}
  have = {name: getattr(config, name) for name in fixed}
  kinds = set(config.kinds) - {'full'}
  for name, family in hf_config.FAMILIES.items():
    wanted = {key: family.features.get(key, plain[key]) for key in fixed}
    scale, own = 1.0, set()
    if name == 'Gemma3ForCausalLM':
      scale, own = config.embed_dim ** 0.5, {'window'}
    if name == 'SmolLM3ForCausalLM':
      own = {'unrotated'}
    if have == wanted and kinds <= own and config.embed_scale == scale:
      return name
  have |= {'embed_scale': config.embed_scale, 'layer kinds': config.kinds}
  raise UserError(
      'no Hugging Face family has '
      f'{", ".join(f"{key}={value}" for key, value in have.items())}: expected '
      f'what one of {", ".join(hf_config.FAMILIES)} has.')


def _check_expressible(config, family):
  """Refuses what no Hugging Face family computes."""
  K = config.head_dim
  if (family in ('LlamaForCausalLM', 'Gemma3ForCausalLM')
      and config.embed_dim % config.num_heads):
    raise UserError(
        f'embed_dim={config.embed_dim} is no multiple of num_heads='
        f'{config.num_heads}: transformers refuses such a '
        f'{family.removesuffix("ForCausalLM")}. Give each group more query '
        'heads, or the model more hidden units.')
  if config.value_dim not in (None, K):
    raise UserError(
        f'value_dim={config.value_dim} differs from head_dim={K}: no Hugging '
        'Face family has heads of two sizes; grow heads instead.')
  if config.qk_norm and config.qk_norm_eps not in (None, config.rms_eps):
    raise UserError(
        f'qk_norm_eps={config.qk_norm_eps} differs from rms_eps='
        f'{config.rms_eps}: Qwen3 has one eps for both; grow the hidden width '
        'by duplication, which keeps eps.')
  if config.level_dims:
    raise UserError(
        f'level_dims={config.level_dims}: no Hugging Face family has extra MLP '
        'levels; export a model with one MLP level per block.')


def _rope_settings(scaling):
  if scaling.is_linear:
    return {'rope_type': 'linear', 'factor': scaling.factor}
  return {'rope_type': 'llama3', 'factor': scaling.factor,
          'low_freq_factor': scaling.low_freq_factor,
          'high_freq_factor': scaling.high_freq_factor,
          'original_max_position_embeddings': scaling.original_max_context}


def check_new_folder(folder: str | os.PathLike) -> pathlib.Path:
  """Checks that nothing is in a folder yet, and returns its path.

  Raises:
    UserError: it holds something, or is a file.
  """
  folder = pathlib.Path(folder)
  if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
    raise UserError(f'{folder} is not empty: give a new folder.')
  return folder


def export_hf(config: ModelConfig, params, tokenizer: Tokenizer,
              folder: str | os.PathLike, *, dtype: str = 'float32',
              most_bytes: int | None = None) -> None:
  """Writes config.json, model.safetensors and the tokenizer files.

  The folder appears only when all of it is written.

  Args:
    config: a model without slots; fold them first (`growth.fold`).
    params: canonical parameters.
    tokenizer: saved beside them.
    folder: must not exist, or be empty.
    dtype: of the weights: 'float32', 'bfloat16' or 'float16', rounded.
    most_bytes: of one file of weights; more are several. None for one file.

  Raises:
    UserError: the folder is in use or cannot be written, no family has this
      architecture, or a weight does not fit into the type.
  """
  settings = config_json(config) | {'torch_dtype': dtype}
  with new_folder(folder) as part:
    tokenizer.save(part)
    (part / 'config.json').write_text(json.dumps(settings, indent=2) + '\n')
    tensor_files.write(part, tensor_files.rounded(
        hf.to_hf_tensors(config, params), dtype), most_bytes)


@contextlib.contextmanager
def new_folder(folder: str | os.PathLike) -> Iterator[pathlib.Path]:
  """A folder to write into, which gets its name when all is written.

  Args:
    folder: must not exist, or be empty.

  Raises:
    UserError: it is in use or cannot be written.
  """
  folder = check_new_folder(folder)
  part = folder.with_name(folder.name + '.part')
  shutil.rmtree(part, ignore_errors=True)
  try:
    part.mkdir(parents=True)
    yield part
    if folder.exists():
      folder.rmdir()
    os.replace(part, folder)
  except (OSError, safetensors.SafetensorError) as error:
    raise files.unwritable(folder, error) from error
  finally:
    shutil.rmtree(part, ignore_errors=True)
