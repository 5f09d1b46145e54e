"""Snapshots of a run, against a folder of this machine as the storage."""

import importlib.util
import os
import pathlib
import shutil
import signal
import subprocess
import sys

import numpy as np
import pytest
from etils import epath

from experiments import mirror
from sleepjax.errors import UserError
from sleepjax.training import checkpoints

# Counts to ten, saves at each, and goes on where it stopped.
_COUNT = '''
import os, pathlib, sys, time
import numpy as np
from sleepjax.training import checkpoints, preemption

folder, last = pathlib.Path(sys.argv[1]), int(sys.argv[2])
start = checkpoints.load_progress(folder / 'p').step if checkpoints.is_saved(
    folder / 'p') else 0
try:
  with preemption.listen() as notice:
    for n in range(start + 1, last + 1):
      with notice.deferred():
        checkpoints.save_progress(folder / 'p', n, {'n': np.full(9, n)}, {})
        with (folder / 'metrics.jsonl').open('a') as file:
          file.write(f'{start} {n}\\n')
      notice.check()
    if last > 100:
      time.sleep(60)
except preemption.Preempted:
  sys.exit(143)
'''


@pytest.fixture
def folders(tmp_path):
  return epath.Path(tmp_path / 'remote'), tmp_path / 'run'


def count(folders, last):
  remote, local = folders
  return mirror.mirror(
      [sys.executable, '-c', _COUNT, str(local), str(last)], remote, local,
      0.05, True)


def test_the_next_machine_goes_on(folders):
  remote, local = folders
  assert count(folders, 2) == 0
  shutil.rmtree(local)  # The machine is gone.
  assert count(folders, 4) == 0
  assert (local / 'metrics.jsonl').read_text().splitlines() == [
      '0 1', '0 2', '2 3', '2 4']
  assert checkpoints.load_progress(local / 'p').tree['n'].tolist() == [4] * 9
  assert not list(local.parent.glob('run.*'))
  kept = sorted(path.name for path in (remote / 'snapshots').iterdir())
  assert kept[-1] == (remote / 'LATEST').read_text() and len(kept) <= 2


def test_what_is_there_is_newer(folders):
  remote, local = folders
  assert count(folders, 1) == 0
  checkpoints.save_progress(local / 'p', 7, {}, {})
  assert mirror.fetch(remote, local) is None
  assert checkpoints.load_progress(local / 'p').step == 7


def test_an_upload_that_was_cut_short(folders):
  """A half-written snapshot is not the latest, and is written anew."""
  remote, local = folders
  assert count(folders, 1) == 0
  following = f"{int((remote / 'LATEST').read_text()) + 1:06}"
  torn = remote / 'snapshots' / following / 'p'
  torn.mkdir(parents=True)
  (torn / 'progress.json').write_text('{')
  shutil.rmtree(local)
  mirror.fetch(remote, local)
  assert checkpoints.load_progress(local / 'p').step == 1
  assert mirror.upload(local, remote) == following
  shutil.rmtree(local)
  mirror.fetch(remote, local)
  assert checkpoints.load_progress(local / 'p').step == 1


def test_a_snapshot_cannot_leave_its_folder(folders):
  remote, local = folders
  (remote / 'snapshots').mkdir(parents=True)
  (remote / 'secret').write_text('x')
  for number in ('..', '../..', '', 'a/b'):
    (remote / 'LATEST').write_text(number)
    with pytest.raises(UserError, match='no name of a file'):
      mirror.fetch(remote, local)


def test_a_snapshot_is_not_taken_in_the_middle_of_a_save(folders):
  """Sixty snapshots beside a run that does nothing but save: all are whole."""
  _, local = folders
  process = subprocess.Popen(
      [sys.executable, '-c', _COUNT, str(local), '100000'])
  try:
    while not checkpoints.is_saved(local / 'p'):
      assert process.poll() is None
    steps = []
    for _ in range(60):
      frozen = mirror.freeze(local)
      manifest = checkpoints.describe(frozen / 'p')
      steps.append(manifest.step)
      if len(steps) % 20 == 0:
        saved = checkpoints.load_progress(frozen / 'p')
        np.testing.assert_array_equal(saved.tree['n'], saved.step)
    assert steps == sorted(steps) and steps[-1] > steps[0]
  finally:
    process.kill()
    process.wait()


@pytest.mark.slow
def test_sigterm_reaches_the_run(folders, tmp_path):
  """The run saves and ends; the snapshot after that is the last."""
  remote, local = folders
  wrapper = subprocess.Popen(
      [sys.executable, '-m', 'experiments.mirror', f'--remote={remote}',
       f'--local={local}', '--every=0.1', '--',
       sys.executable, '-c', _COUNT, str(local), '100000'],
      cwd=pathlib.Path(__file__).parents[2],
      env={**os.environ, 'PYTHONPATH': '.'})
  while not (remote / 'LATEST').exists():
    assert wrapper.poll() is None
  wrapper.send_signal(signal.SIGTERM)
  assert wrapper.wait() == 143
  step = checkpoints.load_progress(local / 'p').step
  shutil.rmtree(local)
  mirror.fetch(remote, local)
  assert checkpoints.load_progress(local / 'p').step == step > 0


@pytest.mark.skipif(importlib.util.find_spec('gcsfs') is not None,
                    reason='gs:// can be opened here')
def test_storage_that_needs_a_package():
  with pytest.raises(UserError, match='pip install gcsfs'):
    mirror.main(['', '--remote=gs://b/r', '--local=x', '--', 'true'])
