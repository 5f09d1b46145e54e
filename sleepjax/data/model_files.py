"""Opening the files that pretrained models come in.

A damaged, cut-short or malicious file is told apart here, before memory is
spent on it: all three readers compare what a file declares with what it holds.
"""

import dataclasses
import functools
import json
import os
import pathlib
import re
from typing import Any

import gguf
import numpy as np
import safetensors

from sleepjax.errors import UserError

_MOST_ELEMENTS = 2**24  # Of a list in a GGUF header: larger than vocabularies.
_POINTER = b'version https://git-lfs.github.com/spec/'
_PART = re.compile(r'-\d{5}-of-(\d{5})(?=\.gguf$)')
# Names of files that were cut into pieces of bytes.
_PIECE = re.compile(r'(part-?\d+of\d+|-split-[a-z])$')


@dataclasses.dataclass(frozen=True)
class GgufFile:
  """An open (memory-mapped) GGUF file, or the parts that it was split into.

  Attributes:
    paths: of the parts; the metadata stand in the first.
    readers: of the same.
  """

  paths: tuple[pathlib.Path, ...]
  readers: tuple['BoundedGgufReader', ...]

  @property
  def path(self) -> pathlib.Path:
    return self.paths[0]

  @functools.cached_property
  def tensors(self) -> dict[str, gguf.ReaderTensor]:
    """The tensors of all parts, by name."""
    return {t.name: t for reader in self.readers for t in reader.tensors}

  @functools.cached_property
  def metadata(self) -> dict[str, Any]:
    """Every key of the header, as plain Python values."""
    try:
      return {k: f.contents() for k, f in self.readers[0].fields.items()}
    except Exception as e:
      raise _unreadable(self.path, e, 'GGUF') from e

  def need(self, key: str, kind: type | tuple[type, ...]) -> Any:
    """The metadata value of a key that must be there and of that type."""
    value = self.metadata.get(key)
    if not isinstance(value, kind):
      raise UserError(
          f'{self.path}: metadata key {key!r} is '
          f'{"missing" if value is None else repr(value)[:80]}; a GGUF file '
          'of a Llama-like language model has it. Convert the model again, '
          'or load its Hugging Face folder.')
    return value

  def positive(self, key: str, default: float | None = None) -> int:
    """A metadata value that must be a positive whole number."""
    value = self.metadata.get(key, default)
    if type(value) is not int or value < 1:
      raise UserError(
          f'{self.path}: metadata key {key!r} is '
          f'{"missing" if value is None else repr(value)[:80]}; expected a '
          'positive whole number. Convert the model again.')
    return value


class BoundedGgufReader(gguf.GGUFReader):
  """A reader that believes no length that the file itself is too short for.

  The base class takes what is left of the file for a value that goes beyond its
  end, so that a large number of elements keeps it busy for ever.
  """

  def _get(self, offset, dtype, count=1, override_order=None):
    end = int(offset) + np.dtype(dtype).itemsize * int(count)
    if end > len(self.data):
      raise ValueError(f'a value ends at byte {end} of {len(self.data)}')
    return super()._get(int(offset), dtype, count, override_order)

  def _get_field_parts(self, orig_offs, raw_type):
    if raw_type == gguf.GGUFValueType.ARRAY:
      length = int(self._get(orig_offs + 4, np.uint64)[0])
      if length > _MOST_ELEMENTS:
        raise ValueError(f'a list of {length} elements')
    return super()._get_field_parts(orig_offs, raw_type)

  def _build_tensors(self, start_offs, fields):
    super()._build_tensors(start_offs, fields)
    total = sum(tensor.n_bytes for tensor in self.tensors)
    if total > len(self.data):
      raise ValueError(f'tensors of {total} bytes overlap')


def open_gguf(path: str | os.PathLike) -> GgufFile:
  """Opens a GGUF file and checks that all it declares is inside it.

  Args:
    path: of a file; of a model that was split into several, any of them.

  Raises:
    UserError: no such file, not GGUF, cut short, or parts of a split model are
      missing or belong to different ones.
  """
  path = pathlib.Path(path)
  if not path.is_file():
    raise UserError(f'{path}: no such file; expected a GGUF file.')
  reader, number, parts, total = _opened_gguf(path)
  if parts in (0, 1):
    return GgufFile((path,), (reader,))
  name = _PART.search(path.name)
  if name is None or int(name[1]) != parts:
    raise UserError(
        f'{path}: is one of {parts} files (split.no={number}) that a model was '
        'split into. Give all of them the names that they had, which end in '
        f'-{number + 1:05d}-of-{parts:05d}.gguf and the like.')
  paths = tuple(path.with_name(_PART.sub(f'-{i + 1:05d}-of-{name[1]}',
                                         path.name)) for i in range(parts))
  if missing := [part.name for part in paths if not part.is_file()]:
    raise UserError(
        f'{path}: is one of {parts} files that a model was split into; beside '
        f'it there is no {", ".join(missing[:3])}'
        f'{" and others" * (len(missing) > 3)}. Download all of them into one '
        'folder.')
  opened = [_opened_gguf(part) for part in paths]
  file = GgufFile(paths, tuple(reader for reader, *_ in opened))
  if ([said[1:] for said in opened] != [(i, parts, total) for i in range(parts)]
      or len(file.tensors) != sum(len(r.tensors) for r in file.readers)
      or total not in (0, len(file.tensors))):
    raise UserError(
        f'{file.path}: the {parts} files of this name are not parts of one '
        'model. Download all of them again.')
  return file


def whole_name(path: pathlib.Path) -> str:
  """Name of a GGUF file without what says which part of a model it is."""
  return _PART.sub('', path.name)


def _opened_gguf(path):
  """(reader, number of this part, of all parts, of tensors in all parts)."""
  check_is_no_pointer(path)
  try:
    reader = BoundedGgufReader(path)
    said = [field.contents() if (field := reader.get_field(key)) else 0
            for key in ('split.no', 'split.count', 'split.tensors.count')]
    if any(type(number) is not int for number in said):
      raise ValueError(f'it is said to be part {said}')
    return reader, *said
  except Exception as e:  # The parser fails in many ways on a damaged file.
    raise _unreadable(path, e, 'GGUF') from e


def open_safetensors(path: pathlib.Path) -> safetensors.safe_open:
  """A lazy reader of the tensors in a safetensors file, as numpy arrays.

  Raises:
    UserError: not safetensors, or cut short.
  """
  check_is_no_pointer(path)
  try:
    return safetensors.safe_open(path, framework='np')
  except (safetensors.SafetensorError, OSError, ValueError) as e:
    raise _unreadable(path, e, 'safetensors') from e


def read_json(path: pathlib.Path) -> dict[str, Any]:
  """The JSON object in a file.

  Raises:
    UserError: no such file, or it holds something else.
  """
  check_is_no_pointer(path)
  try:
    contents = json.loads(path.read_text(encoding='utf-8'))
  except FileNotFoundError:
    raise UserError(
        f'{path}: no such file; a Hugging Face model folder has one.'
    ) from None
  except (OSError, ValueError, RecursionError) as e:
    raise UserError(f'{path}: cannot be read as JSON: {e}') from e
  if not isinstance(contents, dict):
    raise UserError(
        f'{path}: holds a {type(contents).__name__}; expected a JSON object.')
  return contents


def check_is_no_pointer(path: pathlib.Path) -> None:
  """Checks that a file is itself, not what Git keeps in place of a large one.

  Raises:
    UserError: it is a Git LFS pointer.
  """
  try:
    with path.open('rb') as file:
      start = file.read(len(_POINTER))
  except OSError:
    return  # Whoever reads it says so.
  if start == _POINTER:
    raise UserError(
        f'{path}: is a Git LFS pointer, a few lines in place of the file. Run '
        f'`git lfs pull` in {path.parent}, or download the model with '
        '`hf download <owner>/<model> --local-dir <folder>`.')


def _unreadable(path, error, kind) -> UserError:
  advice = 'Download it again.'
  if _PIECE.search(path.name):
    advice = ('Its name is that of one piece of a larger file: join all pieces '
              'in their order, `cat PIECES > model.gguf`.')
  return UserError(
      f'{path} ({path.stat().st_size:,} bytes) cannot be read as {kind}: it '
      f'is damaged, cut short or of another kind. {advice} '
      f'({type(error).__name__}: {error})')
