"""What others switch on for their own arrays changes no number of ours."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest

from tests import dtype_worker


@pytest.fixture(scope='module')
def numbers():
  return dtype_worker.small_sleep()


@pytest.mark.parametrize('name, value', [
    ('JAX_ENABLE_X64', '1'), ('JAX_NUMPY_DTYPE_PROMOTION', 'strict')])
@pytest.mark.slow
def test_a_small_sleep_is_the_same(name, value, numbers):
  done = subprocess.run(
      [sys.executable, '-m', 'tests.dtype_worker'], text=True,
      capture_output=True, env={**os.environ, name: value}, timeout=300)
  assert not done.returncode, done.stderr[-3000:]
  have = json.loads(done.stdout)
  assert have.keys() == numbers.keys()
  for what, value in have.items():
    np.testing.assert_allclose(
        value, numbers[what], rtol=1e-4, atol=1e-5, err_msg=what)
