"""Models in Hugging Face folders: config.json and safetensors files.

Read: LlamaForCausalLM (Llama 2 and 3, SmolLM2), Qwen2ForCausalLM (Qwen2 and
2.5) and Qwen3ForCausalLM. What these files can say but our decoder does not
compute is refused, never ignored.
"""

import os
import pathlib
from collections.abc import Mapping
from typing import Any

import numpy as np
from jax.sharding import Mesh

from sleepjax.data import model_files
from sleepjax.errors import UserError
from sleepjax.models import weight_map
from sleepjax.models.config import ModelConfig, RopeScaling

FAMILIES = {
    'LlamaForCausalLM': {},
    'Qwen2ForCausalLM': {'qkv_bias': True},
    'Qwen3ForCausalLM': {'qk_norm': True},
}
_FLOATS = ('F64', 'F32', 'F16', 'BF16')
_LARGEST = 1e300  # JSON has integers that no float holds.
_LONGEST_NAME = 200  # Of a file.
_INDEX = 'model.safetensors.index.json'


def load_hf(folder: str | os.PathLike,
            mesh: Mesh | None = None) -> tuple[ModelConfig, dict]:
  """The configuration and the parameters of a Hugging Face folder.

  Args:
    folder: holds config.json and model.safetensors, or several safetensors
      files with their index.
    mesh: see `weight_map.stacked_params`.

  Returns:
    `(config, params)`, params as float32 numpy arrays, or jax arrays on a mesh.

  Raises:
    UserError: a file is missing or damaged, the architecture is not
      supported, or tensors do not fit config.json.
  """
  folder = pathlib.Path(folder)
  config = config_from_hf(
      model_files.read_json(folder / 'config.json'), str(folder))
  handles = map(model_files.open_safetensors, _weight_files(folder))
  owner = {name: handle for handle in handles for name in handle.keys()}
  shapes = {}
  for name, handle in owner.items():
    view = handle.get_slice(name)
    if view.get_dtype() not in _FLOATS:
      raise UserError(
          f'{folder}: tensor {name} has type {view.get_dtype()}; expected one '
          f'of {", ".join(_FLOATS)}. Quantised checkpoints are not supported.')
    shapes[name] = tuple(view.get_shape())

  # Files of older versions keep this buffer, which the configuration fixes.
  shapes = {n: s for n, s in shapes.items()
            if not n.endswith('rotary_emb.inv_freq')}
  if config.tie_embeddings and 'lm_head.weight' in shapes:
    _check_head_is_tied(owner, folder)
    del shapes['lm_head.weight']
  params = weight_map.stacked_params(
      config, shapes, lambda name, _: owner[name].get_tensor(name),
      names='hf', where=str(folder), mesh=mesh)
  return config, params


def to_hf_tensors(
    config: ModelConfig, params: Mapping) -> dict[str, np.ndarray]:
  """The inverse of the import: parameters under their Hugging Face names.

  Args:
    config: an architecture without slots.
    params: canonical (stacked) tree.

  Returns:
    Contiguous float arrays of the dtype of `params`, by name. A tied head is
    left out, as `save_pretrained` does.

  Raises:
    UserError: the model has slots, which these formats cannot express.
  """
  if config.num_slots or 'slots' in params['layers']:
    raise UserError(
        f'a model with {config.num_slots} slots per layer has no Hugging Face '
        'form; fold the slots into the MLP first.')
  sizes = weight_map.axis_sizes(config)
  tensors = {}
  for weight in weight_map.weights_of(config):
    array = np.asarray(weight_map.leaf_at(params, weight.path))
    layers = array if weight.stacked else [array]
    for i, layer in enumerate(layers):
      tensors[weight.hf.format(i)] = weight.to_stored(layer, sizes)
  return tensors


def config_from_hf(hf: Mapping[str, Any], where: str) -> ModelConfig:
  """Reads the architecture from the contents of a config.json.

  Args:
    hf: the parsed file, of any version of the format.
    where: its origin, for messages.

  Raises:
    UserError: a field is missing or asks for something unsupported.
  """
  names = hf.get('architectures')
  family = names[0] if isinstance(names, list) and len(names) == 1 else None
  if not isinstance(family, str) or family not in FAMILIES:
    raise UserError(
        f'{where}: architectures={names} is not supported; expected one of '
        f'{", ".join(FAMILIES)}.')
  _refuse_unsupported(hf, where)

  def integer(key, default=None):
    value = hf.get(key)
    if value is None:
      value = default
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
      raise UserError(
          f'{where}: config.json has {key}={value!r}; expected a positive '
          'integer.')
    return value

  embed_dim = integer('hidden_size')
  num_heads = integer('num_attention_heads')
  # Qwen3 heads are wider than D/H, so its files must say how wide.
  head_dim = integer('head_dim', None if family == 'Qwen3ForCausalLM' else
                     embed_dim // num_heads)
  rope_theta, rope_scaling = _rope(hf, where)
  try:
    return ModelConfig(
        vocab_size=integer('vocab_size'),
        num_layers=integer('num_hidden_layers'),
        embed_dim=embed_dim,
        mlp_dim=integer('intermediate_size'),
        num_heads=num_heads,
        num_kv_heads=integer('num_key_value_heads', num_heads),
        head_dim=head_dim,
        max_context=integer('max_position_embeddings'),
        rope_theta=rope_theta,
        rope_scaling=rope_scaling,
        rms_eps=_number(hf, 'rms_norm_eps', where),
        tie_embeddings=bool(hf.get('tie_word_embeddings', False)),
        **FAMILIES[family])
  except ValueError as e:
    raise e if isinstance(e, UserError) else UserError(f'{where}: {e}') from e


def _refuse_unsupported(hf, where):
  sliding = hf.get('use_sliding_window') or any(
      kind != 'full_attention' for kind in hf.get('layer_types') or ())
  problems = {
      'hidden_act': hf.get('hidden_act', 'silu') != 'silu',
      'attention_bias': bool(hf.get('attention_bias')),
      'mlp_bias': bool(hf.get('mlp_bias')),
      'use_sliding_window': bool(sliding),
      'quantization_config': bool(hf.get('quantization_config')),
      'partial_rotary_factor': hf.get('partial_rotary_factor', 1) != 1,
  }
  found = [k for k, wrong in problems.items() if wrong]
  if found:
    what = ', '.join(f'{k}={str(hf.get(k))[:60]}' for k in found)
    raise UserError(
        f'{where}: config.json asks for what this decoder does not compute: '
        f'{what}. Supported are SwiGLU (hidden_act=silu) without biases other '
        "than Qwen2's on q, k, v, and full attention.")


def _rope(hf, where) -> tuple[float, RopeScaling | None]:
  """Base and scaling; version 5 moved both into `rope_parameters`, and lets
  the older `rope_scaling` replace it as a whole."""
  rope = hf.get('rope_scaling') or hf.get('rope_parameters') or {}
  if not isinstance(rope, Mapping):
    raise UserError(f'{where}: rotary settings {rope!r} are not an object.')
  theta = _number({'rope_theta': 10_000.0, **hf, **rope}, 'rope_theta', where)
  kind = rope.get('rope_type', rope.get('type', 'default'))
  if (kind not in ('default', 'llama3')
      or rope.get('partial_rotary_factor', 1) != 1
      or any(isinstance(value, Mapping) for value in rope.values())):
    raise UserError(
        f'{where}: rotary settings {dict(rope)} are not supported; expected '
        "rope_type 'default' or 'llama3', the same in all layers and on all "
        'features of a head.')
  if kind == 'default':
    return theta, None
  return theta, RopeScaling(
      factor=_number(rope, 'factor', where),
      low_freq_factor=_number(rope, 'low_freq_factor', where),
      high_freq_factor=_number(rope, 'high_freq_factor', where),
      original_max_context=int(
          _number(rope, 'original_max_position_embeddings', where)))


def _number(settings, key, where) -> float:
  value = settings.get(key)
  if (not isinstance(value, (int, float)) or isinstance(value, bool)
      or not 0 < value <= _LARGEST):
    raise UserError(
        f'{where}: config.json has {key}={value!r}; expected a positive '
        'number.')
  return float(value)


def _weight_files(folder: pathlib.Path) -> list[pathlib.Path]:
  if (folder / _INDEX).is_file():
    shards = model_files.read_json(folder / _INDEX).get('weight_map')
    if not isinstance(shards, dict) or not shards:
      raise UserError(
          f"{folder / _INDEX}: has no 'weight_map' from tensor to file.")
    names = sorted(set(map(str, shards.values())))
    for name in names:
      if pathlib.PurePath(name).name != name or len(name) > _LONGEST_NAME:
        raise UserError(
            f'{folder / _INDEX}: names the file {name[:80]!r}; expected a file '
            'of the same folder.')
  else:
    names = ['model.safetensors']
  missing = [name for name in names if not (folder / name).is_file()]
  if missing:
    hint = ''
    if list(folder.glob('*.bin')) or list(folder.glob('*.pth')):
      hint = ' Convert the PyTorch files there to safetensors.'
    raise UserError(
        f'{folder}: has no {", ".join(missing)}. Download all of the model: '
        f'config.json, tokenizer files and *.safetensors.{hint}')
  return [folder / name for name in names]


def _check_head_is_tied(owner, folder):
  """A head saved beside a tied embedding must repeat it."""
  embed = owner.get('model.embed_tokens.weight')
  if embed is None:
    return  # Reported with the other missing tensors.
  embed = embed.get_tensor('model.embed_tokens.weight')
  head = owner['lm_head.weight'].get_tensor('lm_head.weight')
  if not np.array_equal(embed, head):
    raise UserError(
        f'{folder}: config.json says tie_word_embeddings=true, but '
        'lm_head.weight differs from model.embed_tokens.weight. Set '
        'tie_word_embeddings to false to use both.')
