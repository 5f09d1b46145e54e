"""A real run that is killed, or told to end, and goes on."""

import json
import pathlib
import signal
import subprocess
import sys

import pytest

from experiments import kill_test
from sleepjax.training import checkpoints

pytestmark = pytest.mark.slow

ROOT = pathlib.Path(__file__).parents[2]
STEPS = 40
COMMAND = [
    sys.executable, '-m', 'experiments.pretrain', f'--config.pretraining.steps='
    f'{STEPS}', '--config.save_every=7', '--config.exam_days=1',
    '--config.model.num_layers=1', '--config.model.embed_dim=16',
    '--config.model.mlp_dim=16', '--config.model.num_heads=2',
    '--config.model.num_kv_heads=2', '--config.model.head_dim=8',
    '--config.lookup_start=False', '--config.stages.some.until=0.0',
    '--config.stages.two.until=0.999', '--config.stages.two.rows.rows=4']


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
  folder = tmp_path_factory.mktemp('kill')
  kill_test.kill_test(COMMAND, kills=2, seed=0, workdir=folder)
  return folder


def test_killed_runs_end_as_if_they_had_not_been(folder):
  """Two kills, one of them in a save; `experiments.kill_test` does more."""
  entries = json.loads((folder / 'kills.json').read_text())
  assert [e['how'] for e in entries if e['how'] != 'ended'] == [
      'kill 1', 'kill 2']
  assert entries[-1]['how'] == 'ended' and entries[-1]['differences'] == []


def test_a_run_that_is_told_to_end_saves_first(folder):
  """Its step is saved though none was due, and the same command goes on."""
  workdir, log = folder / 'told', folder / 'told.txt'
  process = kill_test.start(COMMAND, workdir, log)
  steps = workdir / 'steps.jsonl'
  while not (steps.exists() and steps.read_text().count('\n') > 2):
    assert process.poll() is None, log.read_text()
  process.send_signal(signal.SIGTERM)
  assert process.wait() == 143
  assert 'The same command goes on' in log.read_text()
  assert checkpoints.load_progress(workdir / 'progress').step == (
      steps.read_text().count('\n'))
  assert kill_test.start(COMMAND, workdir, log).wait() == 0
  assert kill_test.differences(workdir, folder / 'whole') == []


def test_differences_are_found(folder, tmp_path):
  """The comparison itself: one number of a model, one of a report."""
  for name in ('a', 'b'):
    subprocess.run(['cp', '-r', folder / 'whole', tmp_path / name], check=True)
  assert kill_test.differences(tmp_path / 'a', tmp_path / 'b') == []
  path = tmp_path / 'a/report.json'
  path.write_text(path.read_text().replace('"tokens": ', '"tokens": 1'))
  weights = tmp_path / 'a/hf/model.safetensors'
  data = bytearray(weights.read_bytes())
  data[-1] ^= 1
  weights.write_bytes(data)
  progress = checkpoints.load_progress(tmp_path / 'a/progress')
  progress.tree['0']['final_norm']['scale'][0] += 1
  checkpoints.save_progress(
      tmp_path / 'a/progress', progress.step, progress.tree, progress.metadata)
  assert kill_test.differences(tmp_path / 'a', tmp_path / 'b') == [
      'report.json: tokens', 'progress: 0/final_norm/scale',
      'hf/model.safetensors']
