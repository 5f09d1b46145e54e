"""Says what a checkpoint holds.

  python -m experiments.inspect_checkpoint DIR

DIR is a saved model, the saved state of a run, or the workdir of a run, which
may hold both. Prints the version of the format, the architecture, everything
that was saved with it (lineage, nights, step), and the path, dtype and shape of
every array. All arrays are read and compared with their checksums, unless
--no_check is given: without it, as much memory is needed as the checkpoint
takes.
"""

if __name__ == '__main__':
  from experiments import _start
  _start.command('inspect_checkpoint')

import argparse
import json
import math
import pathlib
from collections.abc import Iterator, Sequence
from typing import Any

import jax.numpy as jnp

from experiments import _main
from sleepjax.errors import UserError
from sleepjax.training import checkpoints
from sleepjax.training.saved_folder import shown

_LONGEST = 72  # Characters of one value.


def saved_folders(folder: pathlib.Path) -> list[pathlib.Path]:
  """The checkpoint in a folder, or those in the workdir of a run.

  Raises:
    UserError: there is none.
  """
  if not folder.is_dir() and not checkpoints.is_saved(folder):
    raise UserError(f'{folder}: no such folder; expected a checkpoint or the '
                    'workdir of a run.')
  if checkpoints.is_saved(folder):
    return [folder]
  # A killed replacement leaves `NAME.old` instead of `NAME`.
  inside = sorted({path.with_name(path.name.removesuffix('.old'))
                   for path in folder.iterdir() if path.is_dir()})
  inside = [path for path in inside if checkpoints.is_saved(path)]
  if not inside:
    raise UserError(
        f'{folder}: not a checkpoint, and none is in it: expected model.json '
        'or progress.json there or in a folder inside.')
  return inside


def lines(folder: pathlib.Path, check: bool) -> Iterator[str]:
  """The description of one checkpoint.

  Args:
    folder: where it was saved.
    check: whether to read and compare all arrays.

  Raises:
    UserError: it is damaged or of a newer format.
  """
  what = checkpoints.describe(folder)
  yield f'{what.folder}'
  row = lambda name, value: f'  {name:<16}{value}'
  yield row('format', f'version {what.format_version}')
  if what.config is None:
    yield row('holds', 'state of a run')
    yield row('step', what.step)
  else:
    yield row('holds', 'model')
    for name, value in what.config.architecture().items():
      yield row(name, value)
  for name, value in what.metadata.items():
    yield row(name, summary(value))
  if check:
    (checkpoints.load_progress if what.config is None
     else checkpoints.load_model)(folder)
  yield row('checksums', 'all arrays are as written' if check else 'not read')
  counts = {path: math.prod(shape) for path, (_, shape) in what.arrays.items()}
  size = sum(counts[path] * jnp.dtype(dtype).itemsize
             for path, (dtype, _) in what.arrays.items())
  on_disk = sum(path.stat().st_size for path in what.folder.rglob('*')
                if path.is_file())
  yield row('arrays', f'{len(counts)}, {sum(counts.values()):,} numbers, '
            f'{size:,} bytes; {on_disk:,} bytes on disk')
  width = max(map(len, counts), default=0)
  for path, spec in what.arrays.items():
    yield f'    {path:<{width}}  {shown(*spec)}'


def summary(value: Any) -> str:
  """JSON of a value, or what it is and how many parts it has."""
  text = json.dumps(value, ensure_ascii=False)
  if len(text) <= _LONGEST:
    return text
  if isinstance(value, dict):
    return f'{{{len(value)} entries: {", ".join(value)}}}'[:_LONGEST]
  if isinstance(value, list):
    return f'[{len(value)} items]'
  return f'{text[:_LONGEST]}…'


def main(argv: Sequence[str]) -> None:
  args = _parse(argv)
  for folder in saved_folders(pathlib.Path(args.folder).expanduser()):
    for line in lines(folder, not args.no_check):
      print(line)


def _parse(argv: Sequence[str]) -> argparse.Namespace:
  parser = _main.Parser('inspect_checkpoint', __doc__)
  parser.add_argument(
      'folder', metavar='DIR', help='a checkpoint, or the workdir of a run')
  parser.add_argument(
      '--no_check', action='store_true',
      help='read the JSON file only, not the arrays')
  return parser.parse_args(argv[1:])
