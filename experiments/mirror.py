r"""Keeps the work directory of a run on storage that outlives the machine.

  python -m experiments.mirror --remote=gs://BUCKET/RUN --local=run -- \
      python -m experiments.quickstart --workdir=run

An object store has no atomic rename, which checkpoints stand on; so a run works
in a local folder, and this command copies. If the local folder is empty, the
latest snapshot is fetched first. Then the command runs, and after each of its
saves, and at its end, a snapshot of the whole folder is written to
REMOTE/snapshots/NUMBER, with REMOTE/LATEST naming the last complete one. A
machine that vanishes at any moment leaves the snapshot before. SIGTERM goes to
the command, whose status this one ends with.

Remote folders are opened by etils.epath: any path of this machine, and gs://
after `pip install gcsfs`. With several hosts, whose local folder has to be one
that all of them share, process 0 alone fetches and gives snapshots; the others
have --no_upload.
"""

if __name__ == '__main__':
  from experiments import _start
  _start.command('mirror')

import argparse
import contextlib
import os
import pathlib
import shutil
import signal
import subprocess
import sys
from collections.abc import Sequence

from etils import epath

from experiments import _main
from sleepjax.errors import UserError

_LATEST, _SNAPSHOTS = 'LATEST', 'snapshots'
_KEPT = 2  # The latest and the one before.
# What tells that a run has saved something: each of them is renamed into place.
_SAVES = ('model.json', 'progress.json', 'report.json')
_TRIES = 20


def fetch(remote: epath.Path, local: pathlib.Path) -> str | None:
  """Fills an empty folder with the latest snapshot.

  Returns:
    Its number, or None: there is none, or the folder has something already,
    which is as new or newer.

  Raises:
    UserError: the storage names files that lie outside of the folder.
  """
  if not (remote / _LATEST).exists() or (
      local.exists() and any(local.iterdir())):
    return None
  number = (remote / _LATEST).read_text().strip()
  _checked(number)
  part = local.with_name(f'{local.name}.fetching')
  shutil.rmtree(part, ignore_errors=True)
  _fetch_folder(remote / _SNAPSHOTS / number, part)
  if local.exists():
    local.rmdir()
  part.rename(local)
  return number


def _fetch_folder(source, target):
  target.mkdir(parents=True)
  for entry in source.iterdir():
    path = target / _checked(entry.name)
    if entry.is_dir():
      _fetch_folder(entry, path)
    else:
      path.write_bytes(entry.read_bytes())


def _checked(name):
  if name in ('', '.', '..') or '/' in name or '\\' in name or '\0' in name:
    raise UserError(f'{name!r} is no name of a file in a snapshot: the remote '
                    'folder was not written by this command.')
  return name


def saves(local: pathlib.Path) -> tuple:
  """Changes whenever the run has saved something, and only then."""
  found = []
  for folder, _, names in os.walk(local):  # Ignores what vanishes meanwhile.
    if folder.endswith('.writing'):
      continue
    for name in set(names).intersection(_SAVES):
      path = os.path.join(folder, name)
      with contextlib.suppress(FileNotFoundError):
        stat = os.stat(path)
        found.append((path, stat.st_ino, stat.st_mtime_ns))
  return tuple(sorted(found))


def freeze(local: pathlib.Path) -> pathlib.Path:
  """A copy of the folder as it is between two saves, made of hard links."""
  frozen = local.with_name(f'{local.name}.snapshot')
  for _ in range(_TRIES):
    shutil.rmtree(frozen, ignore_errors=True)
    try:
      before = saves(local)
      shutil.copytree(
          local, frozen, copy_function=os.link,
          ignore=shutil.ignore_patterns('*.writing', '*.part'))
      if saves(local) == before:
        return frozen
    except (FileNotFoundError, shutil.Error):
      pass  # A save came in between.
  raise UserError(f'{local} changes faster than it can be copied.')


def upload(local: pathlib.Path, remote: epath.Path) -> str:
  """Writes a snapshot; its number."""
  frozen = freeze(local)
  latest = remote / _LATEST
  number = f'{int(latest.read_text()) + 1 if latest.exists() else 1:06}'
  target = remote / _SNAPSHOTS / number
  if target.exists():
    target.rmtree()  # Of an upload that did not come to its end.
  for path in sorted(frozen.rglob('*')):
    if path.is_file():
      there = target / path.relative_to(frozen)
      there.parent.mkdir(parents=True, exist_ok=True)
      there.write_bytes(path.read_bytes())
  shutil.rmtree(frozen)
  latest.write_text(number)
  for old in (remote / _SNAPSHOTS).iterdir():
    if int(old.name) <= int(number) - _KEPT:
      old.rmtree()
  return number


def mirror(command: Sequence[str], remote: epath.Path, local: pathlib.Path,
           every: float, uploads: bool) -> int:
  """Runs the command; its status for the shell."""
  number = fetch(remote, local) if uploads else None
  if number is not None:
    print(f'mirror: went on from snapshot {number}', file=sys.stderr)
  process = subprocess.Popen(command)
  signal.signal(signal.SIGTERM, lambda *_: process.send_signal(signal.SIGTERM))
  done = saves(local)
  while True:
    try:
      status = process.wait(every)
    except subprocess.TimeoutExpired:
      status = None
    now = saves(local)
    if uploads and local.exists() and (status is not None or now != done):
      try:
        number = upload(local, remote)
      except Exception as error:  # Of whatever storage it is.
        if status is not None:
          raise
        print(f'mirror: no snapshot, will try again: {error}', file=sys.stderr)
      else:
        done = now
        print(f'mirror: wrote snapshot {number}', file=sys.stderr)
    if status is not None:
      return status if status >= 0 else 128 - status


def main(argv: Sequence[str]) -> int:
  args = _parse(argv)
  remote = epath.Path(args.remote)
  try:
    remote.exists()
  except ImportError as error:
    raise UserError(f'--remote={args.remote}: {error}, for example with '
                    '`pip install gcsfs`.') from error
  return mirror(args.command, remote, pathlib.Path(args.local).resolve(),
                args.every, not args.no_upload)


def _parse(argv: Sequence[str]) -> argparse.Namespace:
  parser = _main.Parser('mirror', __doc__)
  parser.add_argument('--remote', required=True, metavar='PATH',
                      help='folder that outlives the machine, such as gs://…')
  parser.add_argument('--local', required=True, metavar='DIR',
                      help='work directory of the command')
  parser.add_argument('--every', type=float, default=10.0, metavar='SECONDS',
                      help='how often to look for saves (default 10)')
  parser.add_argument('--no_upload', action='store_true',
                      help='no snapshots: what all hosts but the first do')
  parser.add_argument('command', nargs='+', help='what is run, after --')
  return parser.parse_args(argv[1:])
