"""Where data sets lie: in the user's folder, or behind an address."""

import os
import pathlib
import urllib.parse

from sleepjax.errors import UserError

DATA_DIR_VARIABLE = 'SLEEPJAX_DATA_DIR'


def find(name: str) -> pathlib.Path | None:
  """The file of that name, or its .gz, under SLEEPJAX_DATA_DIR, if any.

  Raises:
    UserError: the variable names no folder.
  """
  folder = os.environ.get(DATA_DIR_VARIABLE)
  if not folder:
    return None
  if not pathlib.Path(folder).is_dir():
    raise UserError(
        f'{DATA_DIR_VARIABLE}={folder}: no such folder; expected the folder '
        'with the data sets, or unset it.')
  return under(folder, name)


def under(folder: str | os.PathLike, name: str) -> pathlib.Path | None:
  """The file of that name, or its .gz, in a folder, if any."""
  for path in (pathlib.Path(folder, name), pathlib.Path(folder, f'{name}.gz')):
    if path.is_file():
      return path
  return None


def check_reachable(url: str, missing: str, otherwise: str) -> None:
  """Asks a site once, quickly: tensorflow-datasets retries for minutes.

  Args:
    url: an address there.
    missing: what is not here, for the message.
    otherwise: what else the user can do, for the message.

  Raises:
    UserError: the site does not answer.
  """
  import requests

  parts = urllib.parse.urlsplit(url)
  host = f'{parts.scheme}://{parts.netloc}'
  try:
    requests.head(host, timeout=10)
  except requests.exceptions.RequestException:
    raise UserError(
        f'{missing} is not here and {host} does not answer. Either connect to '
        f'the network, so that tensorflow-datasets can download it once, or '
        f'{otherwise}.') from None
