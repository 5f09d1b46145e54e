"""A night on a mesh, in two processes, is that of one device."""

import json
import os
import pathlib
import subprocess
import sys

import numpy as np
import pytest

from configs import quickstart
from experiments import _mesh
from sleepjax.errors import UserError

pytestmark = pytest.mark.slow

_ROOT = pathlib.Path(__file__).parents[2]
_SMALL = ['--config.days.days=1', '--config.days.facts=4',
          '--config.days.people=2', '--config.days.rehearsal_texts=1',
          '--config.sleep.seeding.steps=6',
          '--config.sleep.dreaming.write_back_steps=2']


def start(workdir, devices, *flags, launcher=()):
  flags_of_xla = ('--xla_backend_optimization_level=0 '
                  f'--xla_force_host_platform_device_count={devices}')
  return subprocess.Popen(
      [*launcher, sys.executable, '-m', 'experiments.quickstart', *_SMALL,
       *flags, f'--workdir={workdir}'], cwd=_ROOT, text=True,
      stderr=subprocess.STDOUT, stdout=subprocess.PIPE,
      env={**os.environ, 'XLA_FLAGS': flags_of_xla})


def results(process, workdir):
  out, _ = process.communicate(timeout=1200)
  assert process.returncode == 0, out[-3000:]
  steps = [json.loads(line) for line in
           (workdir / 'metrics.jsonl').read_text().splitlines()]
  return steps, json.loads((workdir / 'report.json').read_text())


@pytest.fixture(scope='module')
def alone(tmp_path_factory):
  folder = tmp_path_factory.mktemp('alone')
  return folder, *results(start(folder, 1), folder)


def test_a_night_in_two_processes_of_two_devices(alone, tmp_path):
  """Seeding, rollouts, dreaming and write-back; the same words are written."""
  alone, wanted, report = alone
  split = tmp_path
  steps, split_report = results(start(
      split, 4, '--config.mesh.fsdp=2', '--config.mesh.tensor=-1', launcher=(
          sys.executable, '-m', 'experiments.launch', '--processes=2',
          '--devices-per-process=2', '--')), split)
  assert {step['phase'] for step in steps} == {'seed', 'dream'}
  assert any(step.get('on_policy') for step in steps)
  for have, want in zip(steps, wanted, strict=True):
    assert have.keys() == want.keys()
    for name, value in want.items():
      if isinstance(value, float):
        np.testing.assert_allclose(
            have[name], value, atol=1e-5, rtol=1e-5, err_msg=name)
  for name in ('accuracy_matrix', 'paraphrase_matrix', 'in_context_accuracy',
               'known_accuracy', 'config'):
    assert split_report[name] == report[name]
  read = lambda folder, name: json.loads((folder / name).read_text())
  assert read(split, 'dreams.json') == read(alone, 'dreams.json')
  dreamt = lambda folder: [
      r['dreams'] for night in read(folder, 'dreaming.json')
      for r in night['rounds']]
  assert dreamt(split) == dreamt(alone)


def test_one_device_needs_no_mesh():
  config = quickstart.get_config()
  with _mesh.devices_of(config) as mesh:
    assert mesh.size == 1
  assert 'mesh' not in config


def test_a_wrong_mesh_is_refused():
  config = quickstart.get_config()
  config.mesh.fsdp = 64
  with (pytest.raises(UserError, match='need 64 devices, and there'),
        _mesh.devices_of(config)):
    pass
