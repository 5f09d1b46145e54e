"""Who may write in the folder of a run."""

import pathlib
import subprocess
import sys

import pytest

from sleepjax.errors import UserError
from sleepjax.runs import folder as folder_lib

ROOT = pathlib.Path(__file__).parents[2]
HOLDER = """
import sys, time
from sleepjax.runs import folder as folder_lib
claim = folder_lib.claim(sys.argv[1])
print('claimed', flush=True)
time.sleep(float(sys.argv[2]))
"""


def test_a_folder_is_one_process_at_a_time(tmp_path):
  folder = tmp_path / 'runs' / 'a'
  other = subprocess.Popen(
      [sys.executable, '-c', HOLDER, folder, '600'], cwd=ROOT, text=True,
      stdout=subprocess.PIPE)
  try:
    assert other.stdout.readline() == 'claimed\n'
    with pytest.raises(UserError, match='another process is at work there'):
      folder_lib.claim(folder)
    folder_lib.claim(tmp_path / 'runs' / 'b')
  finally:
    other.kill()
    other.wait()
  claim = folder_lib.claim(folder)
  assert folder_lib.claim(folder) is claim  # This process has it already.
  assert refused(folder)
  del claim
  assert not refused(folder)


@pytest.mark.parametrize('folder, reason', [
    ('file', 'File exists'), ('file/run', 'Not a directory'),
    ('locked', 'Is a directory')])
def test_a_folder_that_cannot_be_is_refused(folder, reason, tmp_path):
  (tmp_path / 'file').touch()
  (tmp_path / 'locked/.lock').mkdir(parents=True)
  with pytest.raises(UserError, match=(
      f'{folder}: cannot be used as a work directory .{reason}.*--workdir')):
    folder_lib.claim(tmp_path / folder)


def test_what_differs_of_two_runs_is_named_alone():
  config = {'sleep': {'seeding': {'steps': 4, 'rows': [1, 2]}, 'rank': 3},
            'seed': 0}
  other = {'sleep': {'seeding': {'steps': 5, 'rows': [1, 2]}, 'rank': 3,
                     'scale': 1.0}, 'seed': 0}
  with pytest.raises(UserError) as refusal:
    folder_lib.check_same('runs/a', {'config': config}, {'config': other})
  assert str(refusal.value) == (
      "runs/a holds the result of another configuration: it has config={"
      "'sleep.scale': None, 'sleep.seeding.steps': 4}, this run has {"
      "'sleep.scale': 1.0, 'sleep.seeding.steps': 5}. Choose another "
      '--workdir, or delete that one.')
  folder_lib.check_same('runs/a', {'config': config}, {'config': config})


def refused(folder):
  """Whether another process may not have it."""
  return 'at work there' in subprocess.run(
      [sys.executable, '-c', HOLDER, folder, '0'], cwd=ROOT,
      text=True, check=False, capture_output=True).stderr
