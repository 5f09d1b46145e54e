"""Files that are written whole or not at all."""

import contextlib
import os
import pathlib

from sleepjax.errors import UserError


def write(path: str | os.PathLike, contents: str | bytes) -> None:
  """Writes a file in place of what is there, whole or not at all.

  Text is written as UTF-8, whatever the locale. The folder is made. What is no
  ordinary file, such as /dev/stdout, is written to and not replaced.

  Raises:
    UserError: the file system refuses; the message has its reason, and what was
      there before still is.
  """
  path = pathlib.Path(path).expanduser()
  data = contents.encode() if isinstance(contents, str) else contents
  part = path.with_name(f'{path.name}.part')
  try:
    if path.exists() and not path.is_file():
      path.write_bytes(data)
      return
    path.parent.mkdir(parents=True, exist_ok=True)
    part.write_bytes(data)
    os.replace(part, path)
  except OSError as error:
    with contextlib.suppress(OSError):  # It may be what fills the disk.
      part.unlink()
    raise unwritable(path, error) from error


def unwritable(path: str | os.PathLike, error: Exception) -> UserError:
  """The error that says so, with the file system's reason."""
  reason = getattr(error, 'strerror', None) or error
  return UserError(
      f'{path}: cannot be written ({reason}). Make room or '
      'grant access, then run the same command again.')
