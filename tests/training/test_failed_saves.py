"""What the file system refuses: the earlier save stays, the message says why.

A process of its own gets the limits; a full disk is also measured by hand, on a
tmpfs of 1 MiB (docs/checkpoints.md).
"""

import subprocess
import sys

import numpy as np
import pytest

from sleepjax.training import checkpoints

_SAVE = '''
import os, resource, sys
import numpy as np
from sleepjax.errors import UserError
from sleepjax.training import checkpoints

folder, kind = sys.argv[1:]
if kind == 'no room':
  resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, resource.RLIM_INFINITY))
elif os.getuid() == 0:  # Who may write anywhere.
  os.setegid(65534)
  os.seteuid(65534)
noise = np.random.default_rng(0).normal(size=20_000)
try:
  checkpoints.save_progress(folder, 2, {'a': noise}, {})
except UserError as error:
  print(error)
'''


@pytest.mark.parametrize('kind, reason', [
    ('no room', 'File too large'), ('read-only', 'Permission denied')])
def test_a_save_that_fails(tmp_path, kind, reason):
  tmp_path.chmod(0o755)
  workdir = tmp_path / 'run'
  checkpoints.save_progress(workdir / 'p', 1, {'a': np.arange(3)}, {})
  if kind == 'read-only':
    for parent in tmp_path.parents[:3]:
      parent.chmod(0o755)  # pytest's own are closed to others.
    workdir.chmod(0o555)
  said = subprocess.run(
      [sys.executable, '-c', _SAVE, workdir / 'p', kind], check=True,
      capture_output=True, text=True).stdout
  workdir.chmod(0o755)
  assert 'p: could not be saved (' in said and reason in said
  assert 'What was saved there before is still there' in said
  assert [path.name for path in workdir.iterdir()] == ['p']
  saved = checkpoints.load_progress(workdir / 'p')
  assert saved.step == 1
  np.testing.assert_array_equal(saved.tree['a'], np.arange(3))
