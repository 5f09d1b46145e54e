r"""Kills a run at random moments and looks whether anything is lost.

  python -m experiments.kill_test --kills=30 --workdir=DIR -- \
      python -m experiments.quickstart --config.days.days=3

The command after -- is run once without interruption, with
--workdir=DIR/whole. Then it is run with --workdir=DIR/killed, ended by SIGKILL
at a random moment, and started again by the same command, over and over; every
other time the moment is inside a save. Whenever it comes to its end, that end
has to be the uninterrupted one's, bit for bit: every report.json without times,
every array of every checkpoint, every safetensors file, in the workdir and the
folders in it. Writes DIR/kills.json.
"""

if __name__ == '__main__':
  from experiments import _start
  _start.command('kill_test')

import argparse
import contextlib
import itertools
import json
import os
import pathlib
import random
import shutil
import signal
import subprocess
import time
from collections.abc import Sequence

import numpy as np

from experiments import _main
from sleepjax.data import files
from sleepjax.errors import UserError
from sleepjax.models.named_leaves import named_leaves
from sleepjax.training import checkpoints

# Of reports: what depends on the machine, not on the run.
_TIMES = frozenset(('seconds', 'cpu_seconds', 'tokens_per_second',
                    'peak_memory_bytes'))
_POLL = 0.001


def differences(have: pathlib.Path, want: pathlib.Path) -> list[str]:
  """What is not the same at the end of two runs.

  Raises:
    UserError: the second one left no report.
  """
  found = []
  paths = sorted(want.rglob('report.json'))
  if not paths:
    raise UserError(f'{want}: no report.json; expected a command that writes '
                    'one into its workdir or a folder of it.')
  for path in (path.relative_to(want) for path in paths):
    reports = [json.loads((workdir / path).read_text())
               if (workdir / path).exists() else {}
               for workdir in (have, want)]
    found += [f'{path}: {name}'
              for name in sorted({*reports[0], *reports[1]} - _TIMES)
              if reports[0].get(name) != reports[1].get(name)]
  folders = {workdir: _checkpoints(workdir) for workdir in (have, want)}
  found += [str(folder) for folder in sorted(folders[have] ^ folders[want])]
  for folder in sorted(folders[have] & folders[want]):
    trees = [_arrays(workdir / folder) for workdir in (have, want)]
    found += [f'{folder}: {name}' for name in sorted({*trees[0], *trees[1]})
              if not np.array_equal(trees[0].get(name), trees[1].get(name))]
  for path in want.rglob('*.safetensors'):
    name = path.relative_to(want)
    if (have / name).read_bytes() != path.read_bytes():
      found.append(str(name))
  return found


def _checkpoints(workdir):
  return {path.relative_to(workdir) for path in workdir.rglob('*')
          if path.is_dir() and path.suffix not in ('.writing', '.old')
          and checkpoints.is_saved(path)}


def _arrays(folder):
  saved = checkpoints.describe(folder)
  return named_leaves(checkpoints.load_progress(folder).tree
                      if saved.config is None
                      else checkpoints.load_model(folder).params)


def start(command: Sequence[str], workdir: pathlib.Path,
          log: pathlib.Path) -> subprocess.Popen:
  """The command on that folder; what it prints goes to the end of the log."""
  with log.open('a') as output:
    return subprocess.Popen(
        [*command, f'--workdir={workdir}'], stdin=subprocess.DEVNULL,
        stdout=output, stderr=subprocess.STDOUT)


def wait_for_moment(process, workdir: pathlib.Path, seconds: float,
                    in_save: bool) -> None:
  """Returns after so many seconds, or in the next save after them, or at its
  end."""
  leftovers = unfinished_saves(workdir)
  deadline = time.monotonic() + seconds
  while process.poll() is None and time.monotonic() < deadline:
    time.sleep(_POLL)
  while in_save and process.poll() is None and not (
      unfinished_saves(workdir) - leftovers):
    time.sleep(_POLL)


def unfinished_saves(workdir: pathlib.Path) -> set:
  """What is being written there, or was when a run was killed."""
  found = set()
  # Unlike `rglob`, it does not mind folders that vanish meanwhile.
  for folder, *inside in os.walk(workdir):
    for name in itertools.chain(*inside):
      path = pathlib.Path(folder, name)
      if path.suffix in ('.writing', '.part'):
        with contextlib.suppress(FileNotFoundError):
          found.add((path, path.stat().st_ino, path.stat().st_ctime_ns))
  return found


def last_line(log: pathlib.Path) -> str:
  lines = log.read_text(errors='replace').splitlines()
  return lines[-1][:60] if lines else ''


def kill_test(command: Sequence[str], kills: int, seed: int,
              workdir: pathlib.Path) -> list[dict]:
  """Kills and compares; one entry a kill or end.

  Raises:
    UserError: the command fails.
    AssertionError: an end differs.
  """
  chance, log = random.Random(seed), workdir / 'log.txt'
  whole, killed = workdir / 'whole', workdir / 'killed'
  for folder in (whole, killed):
    shutil.rmtree(folder, ignore_errors=True)
  workdir.mkdir(parents=True, exist_ok=True)
  log.unlink(missing_ok=True)
  began = time.monotonic()
  _check_ended(start(command, whole, log).wait(), log)
  duration = time.monotonic() - began
  print(f'uninterrupted: {duration:.1f} s', flush=True)
  entries, done = [], 0
  while done < kills or entries[-1]['how'] != 'ended':
    log.write_text('')
    began, in_save = time.monotonic(), done % 2 == 1
    leftovers = unfinished_saves(killed)
    process = start(command, killed, log)
    if done < kills:
      wait_for_moment(process, killed, chance.uniform(0, duration), in_save)
      # Saves take from some milliseconds to a second.
      time.sleep(10 ** chance.uniform(-3.5, -0.5) if in_save else 0)
      process.send_signal(signal.SIGKILL)
    status = process.wait()
    entry = {'seconds': round(time.monotonic() - began, 2),
             'in_save': bool(unfinished_saves(killed) - leftovers),
             'last_line': last_line(log)}
    if status == -signal.SIGKILL:
      done += 1
      entry = {'how': f'kill {done}', **entry}
    else:
      _check_ended(status, log)
      differ = differences(killed, whole)
      entry = {'how': 'ended', **entry, 'differences': differ}
      shutil.rmtree(killed)
      # The first run of all may have compiled.
      duration = min(duration, entry['seconds'])
    entries.append(entry)
    print(json.dumps(entry, ensure_ascii=False), flush=True)
    files.write(workdir / 'kills.json', json.dumps(entries, indent=1))
    if entry.get('differences'):
      raise AssertionError(
          f'the run that was killed ended differently: {differ}')
  return entries


def _check_ended(status, log):
  if status:
    raise UserError(f'the command ended with status {status}: '
                    f'{last_line(log)!r}; all of it is in {log}.')


def main(argv: Sequence[str]) -> None:
  args = _parse(argv)
  entries = kill_test(
      args.command, args.kills, args.seed, pathlib.Path(args.workdir))
  ends = sum(entry['how'] == 'ended' for entry in entries)
  in_save = sum(entry['in_save'] for entry in entries)
  print(f'{len(entries) - ends} kills, {in_save} of them inside a save; '
        f'{ends} ends, all bit-identical to the uninterrupted run.')


def _parse(argv: Sequence[str]) -> argparse.Namespace:
  parser = _main.Parser('kill_test', __doc__)
  parser.add_argument('--workdir', required=True, metavar='DIR',
                      help='folder for both runs')
  parser.add_argument('--kills', type=int, default=30, metavar='N')
  parser.add_argument('--seed', type=int, default=0, metavar='N',
                      help='of the moments')
  parser.add_argument('command', nargs='+',
                      help='what is run, after --; without --workdir')
  return parser.parse_args(argv[1:])
