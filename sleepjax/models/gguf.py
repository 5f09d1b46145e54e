"""Llama-architecture models from GGUF files."""

import os

import gguf
import numpy as np
from jax.sharding import Mesh

from sleepjax.data import model_files
from sleepjax.errors import UserError
from sleepjax.models import weight_map
from sleepjax.models.config import ModelConfig


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
    return array

  params = weight_map.stacked_params(
      config, {name: _shape(t) for name, t in tensors.items()}, read,
      names='gguf', where=str(file.path), mesh=mesh)
  return config, params


def config_from_gguf(file: model_files.GgufFile) -> ModelConfig:
  """Reads the architecture from the metadata of an open file.

  Raises:
    UserError: not a Llama, or a Llama with parts that we do not compute
      (rotary scaling, experts).
  """
  architecture = file.need('general.architecture', str)
  if architecture != 'llama':
    raise UserError(
        f'{file.path}: architecture {architecture!r} is not supported from '
        "GGUF; expected 'llama'. Load Qwen models from their Hugging Face "
        'folder.')
  tensors = {t.name: t for t in file.reader.tensors}
  scaling = file.metadata.get('llama.rope.scaling.type', 'none')
  if scaling != 'none' or 'rope_freqs.weight' in tensors:
    raise UserError(
        f'{file.path}: scaled rotary frequencies cannot be read from GGUF, '
        'which stores their values without the setting that made them. Load '
        'the Hugging Face folder of this model.')
  if file.metadata.get('llama.expert_count'):
    raise UserError(
        f'{file.path}: mixture-of-experts models are not supported.')
  if 'token_embd.weight' not in tensors:
    raise UserError(f'{file.path}: has no tensor token_embd.weight.')

  embed_dim = file.positive('llama.embedding_length')
  num_heads = file.positive('llama.attention.head_count')
  head_dim = file.positive(
      'llama.attention.key_length', embed_dim // num_heads)
  rotated = file.metadata.get('llama.rope.dimension_count', head_dim)
  if rotated != head_dim:
    raise UserError(
        f'{file.path}: rotates {rotated} of {head_dim} features per head; '
        'only full rotation is supported.')
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
        rms_eps=_decimal(
            file.need('llama.attention.layer_norm_rms_epsilon', float)),
        tie_embeddings='output.weight' not in tensors)
  except (ValueError, ZeroDivisionError, TypeError) as e:
    if isinstance(e, UserError):
      raise
    raise UserError(f'{file.path}: {e}') from e


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
