"""Opening the files that pretrained models come in.

A damaged or cut-short file is told apart here, before memory is spent on it:
all three readers compare what a file declares with what it holds.
"""

import dataclasses
import functools
import json
import os
import pathlib
from typing import Any

import gguf
import safetensors

from sleepjax.errors import UserError


@dataclasses.dataclass(frozen=True)
class GgufFile:
  """An open (memory-mapped) GGUF file."""

  path: pathlib.Path
  reader: gguf.GGUFReader

  @functools.cached_property
  def metadata(self) -> dict[str, Any]:
    """Every key of the header, as plain Python values."""
    try:
      return {k: f.contents() for k, f in self.reader.fields.items()}
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


def open_gguf(path: str | os.PathLike) -> GgufFile:
  """Opens a GGUF file and checks that all it declares is inside it.

  Raises:
    UserError: no such file, not GGUF, or cut short.
  """
  path = pathlib.Path(path)
  if not path.is_file():
    raise UserError(f'{path}: no such file; expected a GGUF file.')
  try:
    return GgufFile(path, gguf.GGUFReader(path))
  except Exception as e:  # The parser fails in many ways on a damaged file.
    raise _unreadable(path, e, 'GGUF') from e


def open_safetensors(path: pathlib.Path) -> safetensors.safe_open:
  """A lazy reader of the tensors in a safetensors file, as numpy arrays.

  Raises:
    UserError: not safetensors, or cut short.
  """
  try:
    return safetensors.safe_open(path, framework='np')
  except (safetensors.SafetensorError, OSError, ValueError) as e:
    raise _unreadable(path, e, 'safetensors') from e


def read_json(path: pathlib.Path) -> dict[str, Any]:
  """The JSON object in a file.

  Raises:
    UserError: no such file, or it holds something else.
  """
  try:
    contents = json.loads(path.read_text(encoding='utf-8'))
  except FileNotFoundError:
    raise UserError(
        f'{path}: no such file; a Hugging Face model folder has one.'
    ) from None
  except (OSError, ValueError) as e:
    raise UserError(f'{path}: cannot be read as JSON: {e}') from e
  if not isinstance(contents, dict):
    raise UserError(
        f'{path}: holds a {type(contents).__name__}; expected a JSON object.')
  return contents


def _unreadable(path, error, kind) -> UserError:
  return UserError(
      f'{path} ({path.stat().st_size:,} bytes) cannot be read as {kind}: it '
      'is damaged, cut short or of another kind. Download it again. '
      f'({type(error).__name__}: {error})')
