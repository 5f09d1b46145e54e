"""What the builders share: where files come from, and what is said of them."""

import abc
import csv
import dataclasses
import io
import json
import pathlib
from collections.abc import Iterator, Mapping
from typing import Any

import tensorflow_datasets as tfds

from sleepjax.data import local_files
from sleepjax.data.text_files import read_text
from sleepjax.errors import UserError


@dataclasses.dataclass(frozen=True)
class Origin:
  """A file of a data set.

  local: its path in a folder of data sets; with .gz behind it, compressed.
  url: its address, of one version where its owner names versions.
  """

  local: str
  url: str


@dataclasses.dataclass(frozen=True)
class About:
  """What stands in the information of a data set: plain texts."""

  description: str
  homepage: str
  license: str
  citation: str


class FromFiles(tfds.core.GeneratorBasedBuilder, skip_registration=True):
  """A data set whose splits are generated from files of one origin each."""

  VERSION = tfds.core.Version('1.0.0')
  RELEASE_NOTES = {'1.0.0': 'First version.'}
  MANUAL_DOWNLOAD_INSTRUCTIONS = (
      'Optional: original files found here are not downloaded, under their own '
      'name or in a folder of their own as in SLEEPJAX_DATA_DIR.')
  ABOUT: About

  @abc.abstractmethod
  def features(self) -> Mapping[str, Any]:
    """The fields of a row and their types."""

  @abc.abstractmethod
  def origins(self) -> Mapping[str, tuple[Origin, ...]]:
    """Of each split, the files that it is read from."""

  @abc.abstractmethod
  def rows(self, split: str, *paths: pathlib.Path
           ) -> Iterator[Mapping[str, Any]]:
    """The rows of a split, in the files' order.

    Args:
      split: its name.
      *paths: its files, those of `origins`.

    Raises:
      UserError: a file has another form; the message names the place.
    """

  def _info(self) -> tfds.core.DatasetInfo:
    return tfds.core.DatasetInfo(
        builder=self, features=tfds.features.FeaturesDict(
            dict(self.features())),
        # A class increment or a passage is found by its place in the file.
        disable_shuffling=True, **dataclasses.asdict(self.ABOUT))

  def _split_generators(self, dl_manager):
    found = {}
    for origins in self.origins().values():
      for origin in origins:
        if origin not in found:
          found[origin] = self._found(dl_manager, origin)
    return {split: self._generate_examples(
        split, *(found[origin] for origin in origins))
            for split, origins in self.origins().items()}

  def _generate_examples(self, split, *paths):
    number = -1
    for number, row in enumerate(self.rows(split, *paths)):
      yield number, row
    if number < 0:
      raise UserError(f'{paths[0]}: has no row of {split!r}.')

  def _found(self, dl_manager, origin):
    """Where a file lies, downloaded if need be."""
    try:
      manual = dl_manager.manual_dir
    except AssertionError:  # There is none, or nothing in it.
      manual = None
    if manual is not None:
      for name in (origin.local, pathlib.PurePosixPath(origin.local).name):
        if (path := local_files.under(manual, name)) is not None:
          return path
    path = local_files.find(origin.local)
    if path is not None:
      return path
    local_files.check_reachable(
        origin.url, origin.local, f'set {local_files.DATA_DIR_VARIABLE} to a '
        f'folder that has {origin.local} (or .gz); it is {origin.url}')
    return pathlib.Path(dl_manager.download(origin.url))


def read_json(path: pathlib.Path, expected: str) -> Any:
  """What a file of JSON holds.

  Args:
    path: the file.
    expected: what it should be, for messages.

  Raises:
    UserError: it is none.
  """
  try:
    return json.loads(read_text(path, expected))
  except (ValueError, RecursionError) as error:
    if isinstance(error, UserError):
      raise
    raise UserError(
        f'{path}: not JSON ({error}); expected {expected}.') from None


def read_csv(path: pathlib.Path, columns: tuple[str, ...],
             header: bool = True) -> Iterator[tuple[str, ...]]:
  """The named columns of every row of a CSV file, as strings.

  Args:
    path: the file.
    columns: their names in its first line, or without that all there are.
    header: whether there is such a line.

  Raises:
    UserError: the file lacks one, or a row is too short; the message has its
      number.
  """
  expected = f'CSV with the columns {", ".join(columns)}'
  # Line ends inside of quotes belong to the text.
  reader = csv.reader(io.StringIO(read_text(path, expected), newline=''))
  named = next(reader) if header else list(columns)
  missing = [name for name in columns if name not in named]
  if missing:
    raise UserError(f'{path}: has no column {missing[0]!r}; expected '
                    f'{expected}.')
  places = [named.index(name) for name in columns]
  for number, row in enumerate(reader):
    if len(row) < len(named):
      raise UserError(f'{path}, row {number}: {len(row)} fields; expected '
                      f'{expected}.')
    yield tuple(row[place] for place in places)
