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
from sleepjax.models import hf_files, weight_map
from sleepjax.models.config import ModelConfig, RopeScaling

FAMILIES = {
    'LlamaForCausalLM': {},
    'Qwen2ForCausalLM': {'qkv_bias': True},
    'Qwen3ForCausalLM': {'qk_norm': True},
}
MODEL_TYPES = {'LlamaForCausalLM': 'llama', 'Qwen2ForCausalLM': 'qwen2',
               'Qwen3ForCausalLM': 'qwen3'}
_FLOATS = ('F64', 'F32', 'F16', 'BF16')
_LARGEST = 1e300  # JSON has integers that no float holds.

# What asks for another function, or another way to read the weights, and the
# values by which it does not. The classes of transformers ignore some of these;
# whoever wrote one into a config.json meant it.
_NEUTRAL = {
    'hidden_act': ('silu', 'swish'), 'attention_bias': (False,),
    'mlp_bias': (False,), 'use_sliding_window': (False,),
    'attention_chunk_size': (0,), 'is_causal': (True,),
    'is_encoder_decoder': (False,), 'quantization_config': ({},),
    'compression_config': ({},), 'transformers_weights': (),
    'partial_rotary_factor': (1,), 'no_rope_layer_interval': (0,),
    'use_mrope': (False,), 'rope_ratio': (1,), 'alibi': (False,),
    'use_dynamic_ntk': (False,), 'use_logn_attn': (False,),
    'logit_scale': (1,), 'logits_scaling': (1,), 'residual_multiplier': (1,),
    'embedding_multiplier': (1,), 'attention_multiplier': (),
    'scale_emb': (1,), 'scale_depth': (), 'dim_model_base': (),
    'attn_logit_softcapping': (0,), 'final_logit_softcapping': (0,),
    'query_pre_attn_scalar': (), 'clip_qkv': (), 'attn_output_gate': (False,),
    'use_qk_norm': (False,), 'qk_layernorm': (False,),
    'use_parallel_residual': (False,), 'parallel_residual': (False,),
    'num_experts': (0,), 'num_local_experts': (0,), 'n_routed_experts': (0,),
    'pruned_heads': ({},),
}


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
  config = read_config(folder)
  tensors = hf_files.Tensors(hf_files.weight_files(folder).read)
  shapes = {}
  for name in tensors:
    dtype, shapes[name] = tensors.spec(name)
    if dtype not in _FLOATS:
      raise UserError(
          f'{tensors.file_of(name)}: tensor {name} has type {dtype}; expected '
          f'one of {", ".join(_FLOATS)}. Quantised checkpoints are not '
          'supported: take the model they were made from.')

  # Files of older versions keep this buffer, which the configuration fixes.
  shapes = {n: s for n, s in shapes.items()
            if not n.endswith('rotary_emb.inv_freq')}
  if config.tie_embeddings and 'lm_head.weight' in shapes:
    _check_head_is_tied(tensors, shapes, folder)
    del shapes['lm_head.weight']
  read = lambda name, _: weight_map.finite_float32(
      tensors.read(name), name, tensors.file_of(name))
  params = weight_map.stacked_params(
      config, shapes, read, names='hf', where=str(folder), mesh=mesh)
  return config, params


def read_config(folder: str | os.PathLike) -> ModelConfig:
  """The architecture of a Hugging Face folder; no weights are read.

  Raises:
    UserError: the folder is not that of one whole model, or its architecture
      is not supported.
  """
  folder = pathlib.Path(folder)
  hf_files.check_folder(folder)
  return config_from_hf(
      model_files.read_json(folder / 'config.json'), str(folder))


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
  _refuse_unsupported(hf, family, where)
  integer = lambda key, default=None: _integer(hf, key, where, default)
  tied = hf.get('tie_word_embeddings')
  if not isinstance(tied, bool | None):
    raise UserError(f'{where}: config.json has tie_word_embeddings={tied!r}; '
                    'expected true or false.')
  embed_dim = integer('hidden_size')
  num_heads = integer('num_attention_heads')
  # Qwen3 heads are wider than D/H, so its files must say how wide.
  head_dim = integer('head_dim', None if family == 'Qwen3ForCausalLM' else
                     embed_dim // num_heads)
  try:
    rope_theta, rope_scaling = _rope(hf, where)
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
        tie_embeddings=bool(tied),
        **FAMILIES[family])
  except ValueError as e:
    raise e if isinstance(e, UserError) else UserError(f'{where}: {e}') from e


def _refuse_unsupported(hf, family, where):
  kind = hf.get('model_type')
  if kind not in (None, MODEL_TYPES[family]):
    raise UserError(
        f'{where}: config.json has model_type={kind!r} with architectures='
        f'[{family!r}]; expected {MODEL_TYPES[family]!r}. Use the config.json '
        'that came with the weights.')
  asked = {key: hf[key] for key, neutral in _NEUTRAL.items()
           if hf.get(key) is not None and hf[key] not in neutral}
  # 1 marks a layer that is rotated.
  for key, plain in (('layer_types', 'full_attention'), ('no_rope_layers', 1)):
    kinds = hf.get(key) or []
    if not isinstance(kinds, list) or any(kind != plain for kind in kinds):
      asked[key] = kinds
  # Qwen's files have it whether or not they use it.
  unused = (family != 'LlamaForCausalLM'
            or hf.get('use_sliding_window') is False)
  if hf.get('sliding_window') and not unused:
    asked['sliding_window'] = hf['sliding_window']
  if 'AutoModelForCausalLM' in str(hf.get('auto_map')):
    asked['auto_map'] = hf['auto_map']  # Code of its own.
  if asked:
    what = ', '.join(f'{k}={str(v)[:60]}' for k, v in asked.items())
    raise UserError(
        f'{where}: config.json asks for what this decoder does not compute: '
        f'{what}. Supported are SwiGLU (hidden_act=silu) without biases other '
        "than Qwen2's on q, k, v, and full attention. Take another model; or "
        'delete a setting from config.json if the weights were trained without '
        'it.')


def _rope(hf, where) -> tuple[float, RopeScaling | None]:
  """Base and scaling; version 5 moved both into `rope_parameters`, and lets
  the older `rope_scaling` replace it as a whole."""
  rope = hf.get('rope_scaling') or hf.get('rope_parameters') or {}
  if not isinstance(rope, Mapping):
    raise UserError(f'{where}: rotary settings {rope!r} are not an object.')
  theta = _number({'rope_theta': 10_000.0, **hf, **rope}, 'rope_theta', where)
  kind = rope.get('rope_type', rope.get('type', 'default'))
  if (kind not in ('default', 'linear', 'llama3')
      or rope.get('partial_rotary_factor') not in (None, 1)
      or any(isinstance(value, Mapping) for value in rope.values())):
    raise UserError(
        f'{where}: rotary settings {dict(rope)} are not supported; expected '
        "rope_type 'default', 'linear' or 'llama3', the same in all layers and "
        'on all features of a head.')
  if kind == 'default':
    return theta, None
  factor = _number(rope, 'factor', where)
  if kind == 'linear':
    return theta, RopeScaling(factor)
  # Beside the other settings of rotation it goes before the one among them.
  original = {'original_max_position_embeddings': hf.get(
      'max_position_embeddings'), **rope, **hf}
  return theta, RopeScaling(
      factor=factor,
      low_freq_factor=_number(rope, 'low_freq_factor', where),
      high_freq_factor=_number(rope, 'high_freq_factor', where),
      original_max_context=_integer(
          original, 'original_max_position_embeddings', where))


def _integer(settings, key, where, default=None) -> int:
  value = settings.get(key)
  if value is None:
    value = default
  if not isinstance(value, int) or isinstance(value, bool) or value < 1:
    raise UserError(
        f'{where}: config.json has {key}={value!r}; expected a positive '
        'integer.')
  return value


def _number(settings, key, where) -> float:
  value = settings.get(key)
  if (not isinstance(value, (int, float)) or isinstance(value, bool)
      or not 0 < value <= _LARGEST):
    raise UserError(
        f'{where}: config.json has {key}={value!r}; expected a positive '
        'number.')
  return float(value)


def _check_head_is_tied(tensors, shapes, folder):
  """A head saved beside a tied embedding must repeat it."""
  if 'model.embed_tokens.weight' not in shapes:
    return  # Reported with the other missing tensors.
  # NaN is no difference between them: it is refused when it is read.
  if not np.array_equal(tensors.read('model.embed_tokens.weight'),
                        tensors.read('lm_head.weight'), equal_nan=True):
    raise UserError(
        f'{folder}: config.json says tie_word_embeddings=true, but '
        'lm_head.weight differs from model.embed_tokens.weight. Set '
        'tie_word_embeddings to false to use both.')
