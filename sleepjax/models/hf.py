"""Models in Hugging Face folders: config.json and safetensors files.

Read are the classes of `hf_config.FAMILIES`: Llama 2 and 3, TinyLlama, SmolLM2,
Mistral without a window, Qwen2, 2.5 and 3, SmolLM3, and Gemma 3's text models.
"""

import os
import pathlib
from collections.abc import Mapping

import numpy as np
from jax.sharding import Mesh

from sleepjax.data import model_files
from sleepjax.errors import UserError
from sleepjax.models import hf_config, hf_files, weight_map
from sleepjax.models.config import ModelConfig

_FLOATS = ('F64', 'F32', 'F16', 'BF16')


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

  def read(name, weight):
    array = weight_map.finite_float32(
        tensors.read(name), name, tensors.file_of(name))
    return array + 1 if _is_less_one(config, weight) else array

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
  return hf_config.config_from_hf(
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
      if _is_less_one(config, weight):
        layer = layer - 1
      tensors[weight.hf.format(i)] = weight.to_stored(layer, sizes)
  return tensors


def _is_less_one(config, weight):
  """Gemma, alone in having post-norms, stores the scales of norms less 1."""
  return weight.kind == 'norm' and config.post_norms


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
