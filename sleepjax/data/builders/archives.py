"""Files inside of an archive, read without unpacking it to disk."""

import pathlib
import tarfile
import zipfile
from collections.abc import Iterator

from sleepjax.errors import UserError


def members(path: pathlib.Path) -> Iterator[tuple[pathlib.PurePosixPath,
                                                  bytes]]:
  """(name, content) of every file of a tar (however compressed) or zip archive.

  Raises:
    UserError: it is neither, or damaged.
  """
  try:
    if zipfile.is_zipfile(path):
      with zipfile.ZipFile(path) as archive:
        for name in archive.namelist():
          if not name.endswith('/'):
            yield pathlib.PurePosixPath(name), archive.read(name)
      return
    with tarfile.open(path) as archive:
      for entry in archive:
        if entry.isfile():
          content = archive.extractfile(entry).read()
          yield pathlib.PurePosixPath(entry.name), content
  except (tarfile.TarError, zipfile.BadZipFile, EOFError, OSError) as error:
    raise UserError(f'{path}: cannot be read as a tar or zip archive '
                    f'({error}).') from None
