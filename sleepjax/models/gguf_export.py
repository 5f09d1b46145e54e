"""Models as GGUF files, which llama.cpp and programs around it load."""

import os
import pathlib
import tempfile

import gguf
import numpy as np

from sleepjax.data import files, gguf_vocabulary, model_files
from sleepjax.data.tokenizer import Tokenizer
from sleepjax.errors import UserError
from sleepjax.models import export, ops, tensor_files, weight_map
from sleepjax.models import gguf as gguf_files
from sleepjax.models.config import ModelConfig

_Type, _File = gguf.GGMLQuantizationType, gguf.LlamaFileType
DTYPES = {
    'float32': (_Type.F32, _File.ALL_F32),
    'bfloat16': (_Type.BF16, _File.MOSTLY_BF16),
    'float16': (_Type.F16, _File.MOSTLY_F16),
    'q8_0': (_Type.Q8_0, _File.MOSTLY_Q8_0)}


def check_new_file(path: str | os.PathLike) -> pathlib.Path:
  """Checks the name of a file that is not there yet, and returns its path.

  Raises:
    UserError: there is one, or the name does not end in .gguf.
  """
  path = pathlib.Path(path)
  if path.suffix != '.gguf':
    raise UserError(f'{path}: the name of a GGUF file ends in .gguf.')
  taken = [path, *path.parent.glob(f'{path.stem}-?????-of-?????.gguf')]
  if taken := [name for name in taken if name.exists()]:
    raise UserError(f'{taken[0]} is there already: give another name.')
  return path


def export_gguf(config: ModelConfig, params, tokenizer: Tokenizer,
                path: str | os.PathLike, *, dtype: str = 'float32',
                most_bytes: int | None = None, name: str = ''
                ) -> list[pathlib.Path]:
  """Writes a model, its tokenizer and chat template into one file, or several.

  The file appears only when it has been read again: the architecture and the
  ids of a text are compared with what was to be written.

  Args:
    config: a model without slots; fold them first (`growth.fold`).
    params: canonical parameters.
    tokenizer: see `gguf_vocabulary`.
    path: must not exist, and end in .gguf.
    dtype: of matrices, one of `DTYPES`. 'q8_0' has 8 bits and a scale for 32
      entries of a row; matrices with rows of another length become float16.
      Norms and biases stay float32.
    most_bytes: of the tensors in one file; more make NAME-00001-of-….gguf.
      None for one file.
    name: of the model, written into the file.

  Returns:
    The paths of what was written.

  Raises:
    UserError: the file is there or cannot be written, GGUF has no such
      architecture or tokenizer, or a weight does not fit into the type.
  """
  if dtype not in DTYPES:
    raise UserError(f'dtype={dtype!r} must be one of {", ".join(DTYPES)}.')
  path = check_new_file(path)
  config_of_files = export.config_json(config)
  architecture = config_of_files['model_type'].removesuffix('_text')
  try:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(
        dir=path.parent, prefix=f'.{path.name}.') as folder:
      tensors = _tensors(config, params, architecture, DTYPES[dtype][0])
      total = sum(array.nbytes for _, array, _ in tensors)
      split = most_bytes if most_bytes and total > most_bytes else 0
      writer = gguf.GGUFWriter(
          pathlib.Path(folder) / path.name, architecture, split_max_size=split)
      _write_metadata(writer, config, name, dtype)
      gguf_vocabulary.write(writer, tokenizer, config.vocab_size)
      for tensor, array, kind in tensors:
        writer.add_tensor(tensor, array, raw_dtype=kind)
      writer.write_header_to_file()
      writer.write_kv_data_to_file()
      writer.write_tensors_to_file()
      writer.close()
      written = sorted(pathlib.Path(folder).iterdir())
      _check_again(written[0], config, tokenizer)
      return [part.replace(path.with_name(part.name)) for part in written]
  except OSError as error:
    raise files.unwritable(path, error) from error


def _write_metadata(writer, config, name, dtype):
  if name:
    writer.add_name(name)
  writer.add_file_type(DTYPES[dtype][1])
  if dtype == 'q8_0':
    writer.add_quantization_version(gguf.GGML_QUANT_VERSION)
  writer.add_vocab_size(config.vocab_size)
  writer.add_context_length(config.max_context)
  writer.add_embedding_length(config.embed_dim)
  writer.add_block_count(config.num_layers)
  writer.add_feed_forward_length(config.mlp_dim)
  writer.add_head_count(config.num_heads)
  writer.add_head_count_kv(config.num_kv_heads)
  writer.add_key_length(config.head_dim)
  writer.add_value_length(config.head_dim)
  writer.add_rope_dimension_count(config.head_dim)
  writer.add_rope_freq_base(config.rope_theta)
  writer.add_layer_norm_rms_eps(config.rms_eps)
  if config.rope_scaling and config.rope_scaling.is_linear:
    writer.add_rope_scaling_type(gguf.RopeScalingType.LINEAR)
    writer.add_rope_scaling_factor(config.rope_scaling.factor)
  if config.window:
    writer.add_sliding_window(config.window)


def _tensors(config, params, architecture, kind):
  """[(name, array, its type)] in the order of files."""
  tensors, sizes = [], weight_map.axis_sizes(config)
  scaling = config.rope_scaling
  if scaling and not scaling.is_linear:
    plain, scaled = (np.asarray(ops.rope_frequencies(
        config.head_dim, config.rope_theta, s)) for s in (None, scaling))
    tensors.append((gguf_files.DIVISORS, plain / scaled, _Type.F32))
  for weight in weight_map.weights_of(config):
    leaf = np.asarray(weight_map.leaf_at(params, weight.path), np.float32)
    for i, array in enumerate(leaf if weight.stacked else [leaf]):
      name = weight.gguf.format(i)
      array = weight.to_stored(array, sizes)
      if weight.rotated and architecture in gguf_files.ROTATE_NEIGHBOURS:
        array = gguf_files.neighbours_first(array, config.head_dim)
      tensors.append((name, *_stored(array, name, kind)))
  return tensors


def _stored(array, name, kind):
  """(the array in a type, that type): another one where it has to be."""
  if array.ndim == 1:
    kind = _Type.F32
  elif array.shape[-1] % gguf.GGML_QUANT_SIZES[kind][0]:
    kind = _Type.F16
  if kind == _Type.F16:
    tensor_files.rounded({name: array}, 'float16')  # Refuses what is too large.
  return gguf.quantize(np.ascontiguousarray(array), kind), kind


def _check_again(path, config, tokenizer):
  """Reads what was written."""
  file = model_files.open_gguf(path)
  try:
    have = gguf_files.config_from_gguf(file).architecture()
  except UserError as error:
    raise UserError(
        f'this architecture cannot be written to a GGUF file. {error}'
        ) from error
  want = config.architecture()
  want |= {'value_dim': None, 'qk_norm_eps': None}
  if set(want['layer_kinds']) == {'full'}:
    want['layer_kinds'] = []
  plain = lambda value: (
      np.float32(value) if isinstance(value, float) else value)
  wrong = [f'{key}={value}' for key, value in want.items()
           if plain(value) != plain(have[key])]
  if wrong:
    raise UserError(
        f'{", ".join(wrong)}: GGUF files of this architecture cannot say so. '
        'Export a Hugging Face folder.')
  gguf_vocabulary.check_same(tokenizer, Tokenizer.from_gguf(file))
