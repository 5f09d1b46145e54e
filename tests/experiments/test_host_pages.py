import os
import platform
import subprocess
import sys

import pytest

from experiments import _host_pages
from sleepjax.errors import UserError

# Page faults of a program that needs 64 MiB beside its arguments: the median of
# 20 calls after 20. Pieces over 32 MiB never come from a heap of glibc's unless
# told; smaller ones may, by what was freed before. Pages are small ones,
# whatever the machine prefers (PR_SET_THP_DISABLE is 41).
_FAULTS = """
import ctypes, resource, statistics
ctypes.CDLL(None).prctl(41, 1, 0, 0, 0)
from experiments import _host_pages
print(_host_pages.keep_pages())
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
@pytest.mark.slow
def test_buffers_of_a_program_are_faulted_in_once():
  told, faults = run('1')
  assert told and faults < 1000
  told, faults = run('0')
  assert not told and faults > 12000


# MiB in memory with 256 more, after they are freed, and after `give_back`; what
# was allocated after them keeps the heap from shrinking by itself.
_FREED = """
import ctypes
from experiments import _host_pages
_host_pages.keep_pages()
def resident():
  with open('/proc/self/statm') as f:
    print(int(f.read().split()[1]) * 4096 / 2 ** 20)
libc = ctypes.CDLL('libc.so.6')
libc.malloc.restype, libc.free.argtypes = ctypes.c_void_p, [ctypes.c_void_p]
libc.malloc.argtypes = [ctypes.c_size_t]
block = libc.malloc(2 ** 28)
ctypes.memset(block, 1, 2 ** 28)
last = libc.malloc(2 ** 20)
resident()
libc.free(block)
resident()
_host_pages.give_back()
resident()
"""


@pytest.mark.skipif(
    platform.libc_ver()[0] != 'glibc', reason='settings of glibc')
def test_pages_that_hold_nothing_are_given_back():
  full, freed, given = map(float, subprocess.run(
      [sys.executable, '-c', _FREED], check=True, capture_output=True,
      text=True, env={**os.environ, 'JAX_PLATFORMS': 'cpu',
                      'SLEEPJAX_KEEP_PAGES': '1'}).stdout.split())
  assert freed > full - 8
  assert given < full - 240


@pytest.mark.parametrize('setting, gibibytes, on_cpus, kept', [
    ('', 16, True, True), ('', 15.9, True, False), ('', 0, True, False),
    ('', 64, False, False), ('1', 4, False, True), ('0', 64, True, False)])
def test_the_machine_decides_where_nothing_is_said(
    setting, gibibytes, on_cpus, kept):
  assert _host_pages.wanted(setting, gibibytes * 2 ** 30, on_cpus) == kept


@pytest.mark.parametrize('platforms, accelerator, on_cpus', [
    ('', False, True), ('', True, False), ('cpu', True, True),
    ('tpu,cpu', False, False)])
def test_where_jax_will_compute(
    monkeypatch, tmp_path, platforms, accelerator, on_cpus):
  device = tmp_path / 'nvidia0'
  monkeypatch.setattr(
      _host_pages, '_ACCELERATORS', (str(tmp_path / 'nvidia[0-9]*'),))
  monkeypatch.setenv('JAX_PLATFORMS', platforms)
  if accelerator:
    device.touch()
  assert _host_pages.computes_on_cpus() == on_cpus


def test_another_setting_is_refused():
  with pytest.raises(UserError, match="SLEEPJAX_KEEP_PAGES='yes' must be 1 or"):
    _host_pages.wanted('yes', 0, True)


def test_a_container_may_have_less_memory(monkeypatch, tmp_path):
  limit = tmp_path / 'memory.max'
  monkeypatch.setattr(_host_pages, '_CGROUP_LIMIT', limit)
  whole = _host_pages.machine_bytes()
  assert whole > 2 ** 30
  limit.write_text('max\n')
  assert _host_pages.machine_bytes() == whole
  limit.write_text(f'{2 ** 30}\n')
  assert _host_pages.machine_bytes() == 2 ** 30
