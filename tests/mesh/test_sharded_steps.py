"""One device, eight devices and two processes compute the same sleep."""

import os
import pathlib
import subprocess
import sys

import numpy as np
import pytest

pytestmark = pytest.mark.slow

_ROOT = pathlib.Path(__file__).resolve().parents[2]
_RUN = (sys.executable, '-m', 'tests.sharded_numbers')
_LAUNCH = (sys.executable, '-m', 'experiments.launch', '--processes=2',
           '--devices-per-process=4', '--')
_PROGRAMS = {  # Name -> (what starts it, devices, sizes of the mesh).
    'one': ((), 1, '111'),
    'eight': ((), 8, '222'),
    'processes': (_LAUNCH, 4, '142'),
}


@pytest.fixture(scope='module')
def numbers(tmp_path_factory):
  """{name: {number: array}}; the programs run beside each other."""
  folder, running = tmp_path_factory.mktemp('numbers'), {}
  for name, (start, devices, sizes) in _PROGRAMS.items():
    # Programs that are compiled faster and run slower; they run for moments.
    flags = ('--xla_backend_optimization_level=0 '
             f'--xla_force_host_platform_device_count={devices}')
    running[name] = subprocess.Popen(
        [*start, *_RUN, folder / f'{name}.npz', *sizes], cwd=_ROOT, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        env={**os.environ, 'JAX_PLATFORMS': 'cpu', 'XLA_FLAGS': flags})
  for name, process in running.items():
    text, _ = process.communicate(timeout=600)
    assert process.returncode == 0, f'{name}: {text[-3000:]}'
  return {name: dict(np.load(folder / f'{name}.npz')) for name in running}


@pytest.mark.parametrize('how', ['eight', 'processes'])
@pytest.mark.parametrize('what', [
    'growth', 'decode', 'levenshtein', 'seeding 0', 'seeding 1', 'seeded',
    'trials', 'outer', 'woken'])
def test_steps_do_not_depend_on_the_mesh(numbers, what, how):
  """Losses, metrics, tokens and updated parameters, in float32."""
  one, other = numbers['one'], numbers[how]
  names = [name for name in one if name.startswith(what + ' ')]
  assert names == [n for n in other if n.startswith(what + ' ')] != []
  for name in names:
    np.testing.assert_allclose(
        other[name], one[name], rtol=1e-5, atol=1e-5, err_msg=name)


@pytest.mark.parametrize('how', ['one', 'eight'])
def test_explicit_axes(numbers, how):
  decode = {n.split(' ', 1)[1]: array for n, array in numbers['one'].items()
            if n.startswith('decode ')}
  explicit = {n.split(' ', 1)[1]: array for n, array in numbers[how].items()
              if n.startswith('explicit ')}
  assert decode.keys() == explicit.keys()
  for name, array in decode.items():
    np.testing.assert_allclose(
        explicit[name], array, rtol=1e-5, atol=1e-5, err_msg=name)


def test_something_was_learnt_and_said(numbers):
  """The comparisons are of numbers that move."""
  one = numbers['one']
  assert one['seeding 0 [\'loss\']'] != one['seeding 1 [\'loss\']']
  assert np.abs(one["seeded .slot['down']"]).max() > 1e-5
  assert len(np.unique(one['decode .tokens'])) > 5
  assert one['levenshtein '].max() > 0
  # Read again behind the same token, a window costs less.
  assert (one["woken 3 ['loss']"] < one["woken 1 ['loss']"]).all()
  assert not np.isin(one['trials .tau_after'], one['trials .tau_before']).any()
