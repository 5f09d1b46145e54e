"""Models from GGUF files: of the architectures `FAMILIES`.

Tensors of any type that the gguf package dequantises become float32.
"""

import os

import gguf
import numpy as np
from jax.sharding import Mesh

from sleepjax.data import model_files
from sleepjax.errors import UserError
from sleepjax.models import hf_config, ops, weight_map
from sleepjax.models.config import ModelConfig, RopeScaling

# Fields of ModelConfig that an architecture has.
FAMILIES = {
    'llama': {}, 'qwen2': {'qkv_bias': True}, 'qwen3': {'qk_norm': True},
    'smollm3': {},
    'gemma3': {'qk_norm': True, 'mlp_activation': 'gelu', 'post_norms': True}}
# These rotate neighbours, see `half_rotation_rows`; the others halves, as we.
ROTATE_NEIGHBOURS = ('llama', 'smollm3')
# What the files leave to the program: every fourth layer of SmolLM3 is not
# rotated, every sixth of Gemma 3 has no window, whose rotary base is this.
_UNROTATED_EVERY, _FULL_EVERY, _WINDOW_THETA = 4, 6, 10_000.0
_GEMMA_27B_LAYERS = 62  # Whose scores are scaled otherwise.

# The settings of Llama 3's scaling that all of its versions share.
_LLAMA3 = {'low_freq_factor': 1.0, 'high_freq_factor': 4.0,
           'original_max_context': 8192}

DIVISORS = 'rope_freqs.weight'

# Keys under 'llama.' and the like that `config_from_gguf` reads.
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

# The other keys there, and the values by which they change nothing;
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
    source: a path (of a split model, that of any part), or what is open.
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
  architecture = file.metadata['general.architecture']
  tensors = file.tensors

  def read(name, weight):
    tensor = tensors[name]
    try:
      array = gguf.dequantize(tensor.data, tensor.tensor_type)
    except NotImplementedError as e:
      raise UserError(
          f'{file.path}: tensor {name} is stored as '
          f'{tensor.tensor_type.name}, which cannot be dequantised here. Use '
          'a file of type F16, Q8_0, Q4_K or the like.') from e
    if weight.rotated and architecture in ROTATE_NEIGHBOURS:
      array = half_rotation_rows(array, config.head_dim)
    return weight_map.finite_float32(array, name, file.path)

  params = weight_map.stacked_params(
      config, {name: _shape(t) for name, t in tensors.items()
               if name != DIVISORS}, read,
      names='gguf', where=str(file.path), mesh=mesh)
  return config, params


def config_from_gguf(file: model_files.GgufFile) -> ModelConfig:
  """Reads the architecture from the metadata of an open file.

  Raises:
    UserError: another architecture, or one with parts that we do not compute.
  """
  kind = file.metadata.get('general.type', 'model')
  if kind != 'model':
    raise UserError(
        f'{file.path}: general.type={kind!r}; expected a whole language model. '
        'An adapter is merged into its base model with llama-export-lora.')
  architecture = file.need('general.architecture', str)
  if architecture not in FAMILIES:
    raise UserError(
        f'{file.path}: architecture {architecture!r} is not supported from '
        f'GGUF; expected one of {", ".join(FAMILIES)}. No other file of this '
        'model would help: from Hugging Face folders, '
        f'{", ".join(hf_config.FAMILIES)} are supported.')
  tensors = file.tensors
  if 'token_embd.weight' not in tensors:
    raise UserError(f'{file.path}: has no tensor token_embd.weight; expected a '
                    'whole language model.')

  size = lambda key, default=None: file.positive(
      f'{architecture}.{key}', default)
  embed_dim = size('embedding_length')
  num_heads = size('attention.head_count')
  head_dim = size('attention.key_length', embed_dim // num_heads)
  num_layers = size('block_count')
  _refuse_unsupported(file, architecture, head_dim)
  try:
    rope_theta = _decimal(file.metadata.get(
        f'{architecture}.rope.freq_base', 10_000.0))
    return ModelConfig(
        vocab_size=_shape(tensors['token_embd.weight'])[0],
        num_layers=num_layers,
        embed_dim=embed_dim,
        mlp_dim=size('feed_forward_length'),
        num_heads=num_heads,
        num_kv_heads=size('attention.head_count_kv', num_heads),
        head_dim=head_dim,
        max_context=size('context_length'),
        rope_theta=rope_theta,
        rope_scaling=_rope_scaling(
            file, architecture, head_dim, rope_theta),
        rms_eps=_decimal(file.need(
            f'{architecture}.attention.layer_norm_rms_epsilon', float)),
        tie_embeddings='output.weight' not in tensors,
        **FAMILIES[architecture],
        **_layers(file, architecture, num_layers, embed_dim))
  except (ValueError, ZeroDivisionError, TypeError) as e:
    if isinstance(e, UserError):
      raise
    raise UserError(f'{file.path}: {e}') from e


def _layers(file, architecture, num_layers, embed_dim) -> dict:
  """Further fields of `ModelConfig`: of its layers and of the embedding."""
  every = lambda n, kind, others: tuple(
      others if (i + 1) % n else kind for i in range(num_layers))
  if num_layers > len(file.tensors):
    return {}  # Refused, before any list of that length is made.
  if architecture == 'smollm3' and num_layers >= _UNROTATED_EVERY:
    return {'layer_kinds': every(_UNROTATED_EVERY, 'unrotated', 'full')}
  if architecture == 'gemma3':
    if num_layers == _GEMMA_27B_LAYERS:
      raise UserError(
          f'{file.path}: Gemma 3 27B, by its {num_layers} layers, scales '
          'scores by another number than its heads are wide, which this '
          'decoder does not compute. Take a smaller Gemma 3.')
    return {'layer_kinds': every(_FULL_EVERY, 'full', 'window'),
            'window': file.positive('gemma3.attention.sliding_window'),
            'window_theta': _WINDOW_THETA, 'embed_scale': embed_dim ** 0.5}
  return {}


def _refuse_unsupported(file, architecture, head_dim):
  """Metadata that changes what the model computes, by its key."""
  neutral = {**_NEUTRAL, 'rope.dimension_count': (head_dim,),
             'attention.value_length': (head_dim,),
             'attention.scale': (0, _decimal(head_dim ** -0.5))}
  if architecture == 'gemma3':
    neutral |= {'attention.sliding_window': None,
                'attention.sliding_window_pattern': (_FULL_EVERY,),
                'rope.freq_base_swa': (_WINDOW_THETA,)}
  if not file.metadata.get(f'{architecture}.expert_count'):
    neutral.update({key: None for key in _EXPERTS})
  asked = {}
  for name, value in file.metadata.items():
    key = name.removeprefix(f'{architecture}.')
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
        f'compute, or does not know: {what}. Supported are models with full '
        'attention (windows in gemma3 alone), one dense MLP per layer (no '
        'mixture of experts), and rotary embedding of all features, without '
        "scaling, with a linear one or Llama 3's.")


def _rope_scaling(file, architecture, head_dim, theta) -> RopeScaling | None:
  """Linear scaling or Llama 3's.

  As in llama.cpp, a factor without a type is linear. Of Llama 3's scaling files
  hold what it divides frequencies by, not the settings: those of all Llama 3
  are tried.
  """
  setting = lambda key, default: file.metadata.get(
      f'{architecture}.rope.{key}', default)
  factor = setting('scaling.factor', setting('scale_linear', 0.0))
  if setting('scaling.type', 'linear') == 'none' or factor in (0.0, 1.0):
    factor = None
  divisors = file.tensors.get(DIVISORS)
  if divisors is None:
    return factor and RopeScaling(_decimal(factor))
  have = np.asarray(divisors.data, np.float32).ravel()
  if not factor and 2 * len(have) == head_dim and have.max() > 1:
    scaling = RopeScaling(_decimal(float(have.max())), **_LLAMA3)
    want = (ops.rope_frequencies(head_dim, theta)
            / ops.rope_frequencies(head_dim, theta, scaling))
    if np.allclose(have, want, 1e-4):
      return scaling
  raise UserError(
      f'{file.path}: its rotary frequencies ({DIVISORS}) are not scaled as '
      "Llama 3's are, and a file does not say how else. Load the Hugging Face "
      'folder of this model.')


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


def neighbours_first(array: np.ndarray, head_dim: int) -> np.ndarray:
  """The inverse of `half_rotation_rows`."""
  halves = array.reshape(-1, 2, head_dim // 2, *array.shape[1:])
  return halves.swapaxes(1, 2).reshape(array.shape)


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
