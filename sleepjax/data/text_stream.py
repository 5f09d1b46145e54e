"""Token ids of long texts, read from disk a piece at a time.

Of a text no more than a piece is ever in memory, so that its length costs time
and nothing else.
"""

import gzip
import io
import os
import pathlib
import tarfile
import zlib
from collections.abc import Iterator
from typing import IO

import numpy as np

from sleepjax.data import local_files
from sleepjax.data.local_files import DATA_DIR_VARIABLE
from sleepjax.data.tokenizer import Tokenizer
from sleepjax.errors import UserError

_PIECE = 2**16  # Characters.


def find(name: str | os.PathLike) -> pathlib.Path:
  """The file of that name in the folder of data sets, or that path.

  Raises:
    UserError: it is in neither place.
  """
  for path in (local_files.find(str(name)), pathlib.Path(name).expanduser()):
    if path is not None and path.is_file():
      return path
  raise UserError(
      f'{name}: no such file, and none in the folder that {DATA_DIR_VARIABLE} '
      'names; expected UTF-8 text, as it is, as .gz, or the files of a .tar '
      'archive.')


def _opened(path) -> Iterator[IO[bytes]]:
  """A file, or one after another those of an archive."""
  if '.tar' not in path.suffixes:
    with gzip.open(path) if path.suffix == '.gz' else path.open('rb') as file:
      yield file
    return
  with tarfile.open(path) as archive:
    for entry in archive:
      if (file := archive.extractfile(entry)) is not None:
        yield file


def pieces(path: pathlib.Path) -> Iterator[str]:
  """A text in pieces that end with a line, where they have one.

  Args:
    path: UTF-8 text, of `.gz` what is in it, of `.tar` (however compressed) all
      files of the archive, in order.

  Raises:
    UserError: it cannot be read.
  """
  try:
    for file in _opened(path):
      text, rest = io.TextIOWrapper(file, 'utf-8-sig'), ''
      while read := text.read(_PIECE):
        whole, newline, rest = (rest + read).rpartition('\n')
        if not newline:
          whole, rest = rest, ''
        yield whole + newline
      if rest:
        yield rest
  except (OSError, EOFError, ValueError, zlib.error, tarfile.TarError) as error:
    raise UserError(f'{path}: cannot be read as UTF-8 text ({error}).'
                    ) from None


def windows(tokenizer: Tokenizer, path: pathlib.Path, size: int,
            first: int = 0) -> Iterator[np.ndarray]:
  """Token ids of a text, one window after another.

  Args:
    tokenizer: encodes the pieces of the text.
    path: see `pieces`.
    size: tokens of a window.
    first: tokens that are left out, at the beginning.

  Yields:
    int32 [size]; tokens that fill no window are left out at the end.
  """
  waiting = np.array(tokenizer.text_start, np.int32)
  for piece in pieces(path):
    waiting = np.concatenate(
        [waiting, np.array(tokenizer.encode(piece), np.int32)])
    left_out = min(first, len(waiting))
    waiting, first = waiting[left_out:], first - left_out
    whole = len(waiting) // size * size
    yield from waiting[:whole].reshape(-1, size)
    waiting = waiting[whole:]
