"""Data sets that the library `datasets` has saved to a folder."""

import json
import pathlib
from collections.abc import Iterator
from typing import Any

from sleepjax.data import records
from sleepjax.data.text_files import read_text
from sleepjax.errors import UserError

_STATE = 'state.json'
_SPLITS = 'dataset_dict.json'


def is_dataset(folder: pathlib.Path) -> bool:
  """Whether `save_to_disk` of a Dataset or a DatasetDict wrote the folder."""
  return (folder / _SPLITS).is_file() or (
      (folder / _STATE).is_file() and (folder / 'dataset_info.json').is_file())


def read_rows(folder: pathlib.Path) -> Iterator[tuple[str, dict[str, Any]]]:
  """(where it stands, the fields that are known of it) of every row.

  Args:
    folder: of `is_dataset`; of several splits all are read.

  Raises:
    UserError: pyarrow is not installed, a file is damaged or missing, or no
      column has a name of `records.take_record`.
  """
  if (folder / _SPLITS).is_file():
    for split in _names(folder / _SPLITS, 'splits'):
      yield from read_rows(folder / _one_part(split, folder / _SPLITS))
    return
  try:
    import pyarrow as pa  # Large, and only these folders need it.
  except ImportError:
    raise UserError(
        f'{folder}: to read a data set of Hugging Face `datasets`, run '
        'pip install pyarrow') from None
  number = 0
  for name in _names(folder / _STATE, '_data_files'):
    path = folder / _one_part(name, folder / _STATE)
    try:
      with pa.memory_map(str(path)) as file, (
          pa.ipc.open_stream(file)) as batches:
        known = records.known_fields(batches.schema.names)
        if not known:
          raise UserError(
              f'{folder}: no column with texts or questions; '
              f'{records.EXPECTED}, got {", ".join(batches.schema.names)}.')
        for batch in batches:
          for row in batch.select(known).to_pylist():
            yield f'{folder}, row {number}', row
            number += 1
    except (pa.ArrowInvalid, OSError) as error:
      if isinstance(error, UserError):
        raise
      raise UserError(
          f'{path}: missing or damaged ({error}); expected an Arrow file of '
          '`datasets`.') from None


def _names(path, key):
  """The names that a JSON file lists."""
  try:
    found = json.loads(read_text(path, 'a file of `datasets`'))[key]
    return [name if isinstance(name, str) else name['filename']
            for name in found]
  except (ValueError, KeyError, TypeError, RecursionError) as error:
    if isinstance(error, UserError):
      raise
    raise UserError(f'{path}: damaged ({error!r}); expected a file of '
                    f'`datasets` with "{key}".') from None


def _one_part(name, where):
  if not isinstance(name, str) or pathlib.PurePath(name).name != name:
    raise UserError(f'{where}: {name!r} is outside of the folder.')
  return name
