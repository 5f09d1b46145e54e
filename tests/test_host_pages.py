import os
import platform
import subprocess
import sys

import pytest

# Page faults of a program that needs 64 MB beside its arguments, in a process
# that has already run it.
_FAULTS = """
import resource
from sleepjax.training import host_pages
print(host_pages.keep_pages())
import jax, jax.numpy as jnp
program = jax.jit(lambda x: (x @ (x + 1)).sum())
x = jnp.ones((4096, 4096))
for _ in range(3):
  program(x).block_until_ready()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
program(x).block_until_ready()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""

pytestmark = pytest.mark.skipif(
    platform.libc_ver()[0] != 'glibc', reason='settings of glibc')


def run(**variables):
  taken, faults = subprocess.run(
      [sys.executable, '-c', _FAULTS], check=True, capture_output=True,
      text=True, env={**os.environ, 'JAX_PLATFORMS': 'cpu', **variables},
  ).stdout.split()
  return taken == 'True', int(faults)


def test_buffers_of_a_program_are_faulted_in_once():
  taken, faults = run()
  assert taken and faults < 1000
  taken, faults = run(SLEEPJAX_KEEP_PAGES='0')
  assert not taken and faults > 10_000


def test_where_accelerators_compute_nothing_changes():
  taken = subprocess.run(
      [sys.executable, '-c', 'from sleepjax.training import host_pages\n'
       'print(host_pages.keep_pages())'], check=True, capture_output=True,
      text=True, env={**os.environ, 'JAX_PLATFORMS': 'tpu,cpu'}).stdout
  assert taken.strip() == 'False'
