"""Backends that are not there, and flags that XLA does not know."""

import os
import pathlib
import subprocess
import sys

import pytest

from experiments import _backends

ROOT = pathlib.Path(__file__).parents[2]


def call(**environ):
  return subprocess.run(
      [sys.executable, '-m', 'experiments.divergence_memory', '--rows=8',
       '--vocab=8', '--embed=8'], cwd=ROOT, text=True, check=False,
      capture_output=True, env={**os.environ, **environ})


@pytest.mark.parametrize('environ, message', [
    ({'JAX_PLATFORMS': 'foo'},
     "JAX_PLATFORMS=foo: no device to compute on (Unable to initialize backend "
     "'foo'"),
    ({'JAX_PLATFORMS': '', 'JAX_PLATFORM_NAME': 'foo'},
     'JAX_PLATFORM_NAME=foo: no device to compute on (Unknown backend foo'),
    ({'JAX_ENABLE_X64': 'perhaps'}, "invalid truth value 'perhaps'"),
    ({'XLA_FLAGS': '--xla_misspelt=2'},
     "XLA_FLAGS='--xla_misspelt=2': XLA does not take it (Unknown flag in "
     'XLA_FLAGS: --xla_misspelt=2). Correct it or unset it.')])
def test_what_is_not_there_is_named(environ, message):
  done = call(**environ)
  assert done.returncode == 2, done.stderr
  assert done.stderr.startswith(f'error: {message}')
  assert done.stderr.count('\n') == 1


def test_a_backend_without_its_package():
  if 'cuda' in _backends.installed():
    pytest.skip('there is one')
  done = call(JAX_PLATFORMS='cuda')
  assert done.returncode == 2
  assert done.stderr == (
      'error: JAX_PLATFORMS=cuda: no device to compute on (there is no such '
      'device or library here). JAX is installed here for: '
      f'{", ".join(_backends.installed())}. Unset JAX_PLATFORMS or name one of '
      "these; pip install 'sleepjax[cuda]' is for NVIDIA GPUs, "
      "'sleepjax[tpu]' for TPUs.\n")


def test_flags_that_xla_knows_are_taken(monkeypatch):
  for flags in '', '--xla_force_host_platform_device_count=2', (
      '--xla_cpu_enable_fast_math=false'):
    monkeypatch.setenv('XLA_FLAGS', flags)
    _backends.check_xla_flags()


def test_other_errors_are_left_alone():
  assert _backends.explained(ValueError('steps=0 must be positive')) is None
  try:
    raise RuntimeError("Unable to initialize backend 'foo'")
  except RuntimeError as error:
    assert _backends.explained(error) is None
