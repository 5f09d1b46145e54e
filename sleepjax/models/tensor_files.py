"""Named arrays as safetensors files, in one of three types, in one file or
several."""

import json
import pathlib
from collections.abc import Mapping

import ml_dtypes
import numpy as np
import safetensors.numpy

from sleepjax.errors import UserError

DTYPES = {'float32': np.float32, 'bfloat16': ml_dtypes.bfloat16,
          'float16': np.float16}


def check_dtype(dtype: str) -> None:
  """Checks the name of a type.

  Raises:
    UserError: it is none of `DTYPES`.
  """
  if dtype not in DTYPES:
    raise UserError(
        f'dtype={dtype!r} must be one of {", ".join(DTYPES)}.')


def rounded(tensors: Mapping[str, np.ndarray], dtype: str
            ) -> dict[str, np.ndarray]:
  """The arrays in a type, each entry rounded to the nearest.

  Raises:
    UserError: an entry is too large for float16; the message names its array.
  """
  check_dtype(dtype)
  made = {}
  for name, tensor in tensors.items():
    with np.errstate(over='ignore'):
      made[name] = np.ascontiguousarray(tensor).astype(DTYPES[dtype])
    if dtype == 'float16' and not np.isfinite(made[name]).all():
      raise UserError(
          f'{name}: its largest entry, {np.abs(tensor).max():.3g}, does not '
          'fit into float16, which ends at 65504. Use bfloat16.')
  return made


def shards(tensors: Mapping[str, np.ndarray], most_bytes: int
           ) -> list[dict[str, np.ndarray]]:
  """Consecutive arrays in groups of at most so many bytes.

  An array that is larger by itself is a group of its own.
  """
  groups, size = [{}], 0
  for name, tensor in tensors.items():
    if groups[-1] and size + tensor.nbytes > most_bytes:
      groups.append({})
      size = 0
    groups[-1][name] = tensor
    size += tensor.nbytes
  return groups


def write(folder: pathlib.Path, tensors: Mapping[str, np.ndarray],
          most_bytes: int | None = None, stem: str = 'model') -> list[str]:
  """Writes arrays as `transformers` reads them; names of the files.

  One file, STEM.safetensors; or where they take more bytes than is allowed
  for one, STEM-00001-of-….safetensors and an index of which has what.

  Raises:
    OSError, SafetensorError: a file cannot be written.
  """
  groups = shards(tensors, most_bytes) if most_bytes else [tensors]
  names = [f'{stem}.safetensors'] if len(groups) == 1 else [
      f'{stem}-{n:05d}-of-{len(groups):05d}.safetensors'
      for n in range(1, len(groups) + 1)]
  for name, group in zip(names, groups, strict=True):
    safetensors.numpy.save_file(
        dict(group), folder / name, metadata={'format': 'pt'})
  if len(groups) > 1:
    where = {tensor: name for name, group in zip(names, groups, strict=True)
             for tensor in group}
    (folder / f'{stem}.safetensors.index.json').write_text(json.dumps({
        'metadata': {'total_size': sum(t.nbytes for t in tensors.values())},
        'weight_map': where}, indent=2) + '\n')
  return names
