import os
import platform
import subprocess
import sys

import pytest

# Page faults of a program that needs 16 MB beside its arguments, in a process
# that has already run it.
_FAULTS = """
import resource
from sleepjax.training import host_pages
print(host_pages.keep_pages())
import jax, jax.numpy as jnp
program = jax.jit(lambda x: (x @ (x + 1)).sum())
x = jnp.ones((2048, 2048))
for _ in range(3):
  program(x).block_until_ready()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
program(x).block_until_ready()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def run(keep):
  told, faults = subprocess.run(
      [sys.executable, '-c', _FAULTS], check=True, capture_output=True,
      text=True, env={**os.environ, 'JAX_PLATFORMS': 'cpu',
                      'SLEEPJAX_KEEP_PAGES': keep}).stdout.split()
  return told == 'True', int(faults)


@pytest.mark.skipif(
    platform.libc_ver()[0] != 'glibc', reason='settings of glibc')
def test_buffers_of_a_program_are_faulted_in_once():
  told, faults = run('1')
  assert told and faults < 1000
  told, faults = run('0')
  assert not told and faults > 3000
