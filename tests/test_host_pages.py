import os
import platform
import subprocess
import sys

import pytest

# Page faults of a program that needs 64 MiB beside its arguments: the median of
# 20 calls after 20. Pieces over 32 MiB never come from a heap of glibc's unless
# told; smaller ones may, by what was freed before. Pages are small ones,
# whatever the machine prefers (PR_SET_THP_DISABLE is 41).
_FAULTS = """
import ctypes, resource, statistics
ctypes.CDLL(None).prctl(41, 1, 0, 0, 0)
from sleepjax.training import host_pages
print(host_pages.keep_pages())
import jax, jax.numpy as jnp
x = jnp.ones((2048, 2048))
program = jax.jit(lambda x: jnp.fft.fft(x).real.sum()).lower(x).compile()
print(program.memory_analysis().temp_size_in_bytes)
def faults():
  before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
  program(x).block_until_ready()
  return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
print(statistics.median([faults() for _ in range(40)][20:]))
"""


def run(keep):
  told, temporary, faults = subprocess.run(
      [sys.executable, '-c', _FAULTS], check=True, capture_output=True,
      text=True, env={**os.environ, 'JAX_PLATFORMS': 'cpu',
                      'SLEEPJAX_KEEP_PAGES': keep}).stdout.split()
  assert int(temporary) >= 2 ** 26
  return told == 'True', float(faults)


@pytest.mark.skipif(
    platform.libc_ver()[0] != 'glibc', reason='settings of glibc')
def test_buffers_of_a_program_are_faulted_in_once():
  told, faults = run('1')
  assert told and faults < 1000
  told, faults = run('0')
  assert not told and faults > 12000
