"""Llama-architecture models from GGUF files."""

import os

import gguf
import numpy as np
from jax.sharding import Mesh

from sleepjax.data import model_files
from sleepjax.errors import UserError
from sleepjax.models import hf, weight_map
from sleepjax.models.config import ModelConfig, RopeScaling

_ADVICE = {name: f'Load its Hugging Face folder: {family} is supported.'
           for name, family in (('qwen2', 'Qwen2ForCausalLM'),
                                ('qwen3', 'Qwen3ForCausalLM'))}

# Keys under 'llama.' that `config_from_gguf` reads.
_COMPUTED = {
    'context_length', 'embedding_length', 'block_count', 'feed_forward_length',
    'attention.head_count', 'attention.head_count_kv', 'attention.key_length',
    'attention.layer_norm_rms_epsilon', 'rope.freq_base', 'rope.scale_linear',
    'rope.scaling.factor'}
_EXPERTS = (
    'expert_used_count', 'expert_shared_count', 'expert_feed_forward_length',
    'expert_shared_feed_forward_length', 'expert_weights_scale',
    'expert_weights_norm', 'expert_gating_func', 'interleave_moe_layer_step',
    'moe_every_n_layers', 'leading_dense_block_count')

# The other keys under 'llama.', and the values by which they change nothing;
# None where no value does. What is not here is refused.
_NEUTRAL = {
    'vocab_size': None, 'tensor_data_layout': None, 'pooling_type': None,
    'attention.layer_norm_epsilon': None,
    # They describe how the model was trained, or belong to a type of scaling
    # that is refused.
    'rope.scaling.original_context_length': None,
    'rope.scaling.finetuned': None, 'rope.scaling.yarn_beta_fast': None,
    'rope.scaling.yarn_beta_slow': None,
    'rope.scaling.type': ('none', 'linear'), 'rope.scaling.alpha': (0,),
    'rope.scaling.attn_factor': (1,), 'rope.scaling.yarn_attn_factor': (1,),
    'rope.scaling.yarn_ext_factor': (0, -1),
    'rope.scaling.yarn_log_multiplier': (0,),
    'rope.dimension_sections': ([0, 0, 0, 0],),
    'attention.causal': (True,), 'attention.sliding_window': (0,),
    'attention.clamp_kqv': (0,), 'attention.max_alibi_bias': (0,),
    'attention.output_scale': (0, 1), 'attn_logit_softcapping': (0,),
    'final_logit_softcapping': (0,), 'logit_scale': (0, 1),
    'residual_scale': (0, 1), 'embedding_scale': (0, 1),
    'use_parallel_residual': (False,), 'nextn_predict_layers': (0,),
    'expert_count': (0,), 'expert_group_count': (0,),
}


def load_gguf(
    source: str | os.PathLike | model_files.GgufFile,
    mesh: Mesh | None = None,
) -> tuple[ModelConfig, dict]:
  """The configuration and the dequantised parameters of a GGUF file.

  Args:
    source: a path, or a file that is already open.
    mesh: see `weight_map.stacked_params`.

  Returns:
    `(config, params)`, params as float32 numpy arrays, or jax arrays on a mesh.

  Raises:
    UserError: the file is damaged, of another architecture, or its tensors
      do not fit its own metadata.
  """
  file = source
  if not isinstance(file, model_files.GgufFile):
    file = model_files.open_gguf(source)
  config = config_from_gguf(file)
  tensors = {t.name: t for t in file.reader.tensors}

  def read(name, weight):
    tensor = tensors[name]
    try:
      array = gguf.dequantize(tensor.data, tensor.tensor_type)
    except NotImplementedError as e:
      raise UserError(
          f'{file.path}: tensor {name} is stored as '
          f'{tensor.tensor_type.name}, which cannot be dequantised here. Use '
          'a file of type F16, Q8_0, Q4_K or the like.') from e
    if weight.rotated:
      array = half_rotation_rows(array, config.head_dim)
    return weight_map.finite_float32(array, name, file.path)

  params = weight_map.stacked_params(
      config, {name: _shape(t) for name, t in tensors.items()}, read,
      names='gguf', where=str(file.path), mesh=mesh)
  return config, params


def config_from_gguf(file: model_files.GgufFile) -> ModelConfig:
  """Reads the architecture from the metadata of an open file.

  Raises:
    UserError: not a Llama, or a Llama with parts that we do not compute.
  """
  kind = file.metadata.get('general.type', 'model')
  if kind != 'model':
    raise UserError(
        f'{file.path}: general.type={kind!r}; expected a whole language model. '
        'An adapter is merged into its base model with llama-export-lora.')
  architecture = file.need('general.architecture', str)
  if architecture != 'llama':
    advice = _ADVICE.get(architecture, (
        'No other file of this model would help: from Hugging Face folders, '
        f'{", ".join(hf.FAMILIES)} are supported.'))
    raise UserError(
        f'{file.path}: architecture {architecture!r} is not supported from '
        f"GGUF; expected 'llama'. {advice}")
  tensors = {t.name: t for t in file.reader.tensors}
  if 'rope_freqs.weight' in tensors:
    raise UserError(
        f'{file.path}: scaled rotary frequencies cannot be read from GGUF, '
        'which stores their values without the setting that made them. Load '
        'the Hugging Face folder of this model.')
  if 'token_embd.weight' not in tensors:
    raise UserError(f'{file.path}: has no tensor token_embd.weight; expected a '
                    'whole language model.')

  embed_dim = file.positive('llama.embedding_length')
  num_heads = file.positive('llama.attention.head_count')
  head_dim = file.positive(
      'llama.attention.key_length', embed_dim // num_heads)
  _refuse_unsupported(file, head_dim)
  try:
    return ModelConfig(
        vocab_size=_shape(tensors['token_embd.weight'])[0],
        num_layers=file.positive('llama.block_count'),
        embed_dim=embed_dim,
        mlp_dim=file.positive('llama.feed_forward_length'),
        num_heads=num_heads,
        num_kv_heads=file.positive(
            'llama.attention.head_count_kv', num_heads),
        head_dim=head_dim,
        max_context=file.positive('llama.context_length'),
        rope_theta=_decimal(
            file.metadata.get('llama.rope.freq_base', 10_000.0)),
        rope_scaling=_rope_scaling(file),
        rms_eps=_decimal(
            file.need('llama.attention.layer_norm_rms_epsilon', float)),
        tie_embeddings='output.weight' not in tensors)
  except (ValueError, ZeroDivisionError, TypeError) as e:
    if isinstance(e, UserError):
      raise
    raise UserError(f'{file.path}: {e}') from e


def _refuse_unsupported(file, head_dim):
  """Metadata that changes what the model computes, by its key."""
  neutral = {**_NEUTRAL, 'rope.dimension_count': (head_dim,),
             'attention.value_length': (head_dim,),
             'attention.scale': (0, _decimal(head_dim ** -0.5))}
  if not file.metadata.get('llama.expert_count'):
    neutral.update({key: None for key in _EXPERTS})
  asked = {}
  for name, value in file.metadata.items():
    key = name.removeprefix('llama.')
    if key == name or key in _COMPUTED:
      continue
    allowed = neutral.get(key, ())
    if isinstance(value, float) and 0 < value < float('inf'):
      value = _decimal(value)
    if allowed is not None and value not in allowed:
      asked[name] = value
  if asked:
    what = ', '.join(f'{k}={str(v)[:60]}' for k, v in asked.items())
    raise UserError(
        f'{file.path}: its metadata asks for what this decoder does not '
        f'compute, or does not know: {what}. Supported are Llamas with full '
        'attention, one dense MLP per layer (no mixture of experts), and '
        'rotary embedding of all features, without scaling or with a linear '
        "one. From a Hugging Face folder Llama 3's scaling can be read, too.")


def _rope_scaling(file) -> RopeScaling | None:
  """Linear scaling; as in llama.cpp, a factor without a type is linear."""
  if file.metadata.get('llama.rope.scaling.type', 'linear') == 'none':
    return None
  factor = file.metadata.get('llama.rope.scaling.factor', file.metadata.get(
      'llama.rope.scale_linear', 0.0))
  if factor in (0.0, 1.0):
    return None
  return RopeScaling(_decimal(factor))


def half_rotation_rows(array: np.ndarray, head_dim: int) -> np.ndarray:
  """Rows of rotated outputs, from GGUF's order to ours.

  GGUF's Llama rotates neighbours (2i, 2i + 1) of each head; we rotate the
  pairs (i, i + K/2). Within each head, row 2i + j moves to row j·K/2 + i.

  Args:
    array: [H·K, ...].
    head_dim: K.

  Returns:
    The same shape.
  """
  pairs = array.reshape(-1, head_dim // 2, 2, *array.shape[1:])
  return pairs.swapaxes(1, 2).reshape(array.shape)


def _shape(tensor) -> tuple[int, ...]:
  return tuple(int(n) for n in reversed(tensor.shape))


def _decimal(x: float) -> float:
  """The shortest decimal of a float32, so 9.9999997e-06 is read as 1e-05.

  Raises:
    ValueError: not a positive number.
  """
  if not isinstance(x, float) or not 0 < x < float('inf'):
    raise ValueError(f'{x!r} is not a positive number.')
  return float(str(np.float32(x)))
