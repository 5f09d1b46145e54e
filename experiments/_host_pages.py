"""Memory pages of a machine that computes on its CPU.

XLA allocates the temporary buffers of a program in one piece at every call and
frees them after it. glibc returns so large a piece to the system at once, and
each call faults all of its pages in again: a fifth to a third of the time of a
training step of SmolLM2-135M. So commands use huge pages, of which there are
fewer, and keep the pages that they have (docs/results/speed.md has both). Where
there is an accelerator, those buffers are in its memory, and nothing is done.

Imported before a command starts itself once more, so without JAX.
"""

import contextlib
import ctypes
import glob
import os
import pathlib
import sys

_KEEP = 'SLEEPJAX_KEEP_PAGES'
_SPARE_BYTES = 16 * 2 ** 30
_CGROUP_LIMIT = pathlib.Path('/sys/fs/cgroup/memory.max')
_TUNABLES, _HUGE_PAGES = 'GLIBC_TUNABLES', 'glibc.malloc.hugetlb=1'
# Device files of NVIDIA's and AMD's GPUs and of TPUs.
_ACCELERATORS = ('/dev/nvidia[0-9]*', '/dev/kfd', '/dev/accel[0-9]*',
                 '/dev/vfio/[0-9]*')
# Numbers of mallopt(3).
_TRIM_THRESHOLD, _TOP_PAD, _MMAP_MAX = -1, -2, -4


def computes_on_cpus() -> bool:
  """Whether JAX will, as far as can be known before it starts."""
  if platforms := os.environ.get('JAX_PLATFORMS'):
    return platforms == 'cpu'
  return not any(map(glob.glob, _ACCELERATORS))


def restart_with_huge_pages() -> None:
  """Starts this process once more with huge pages switched on in glibc.

  That can only be done before a program starts. Called by commands, before they
  import anything large (`experiments._start`), and by nothing else.
  """
  if (sys.platform == 'linux' and sys.executable
      and _TUNABLES not in os.environ and computes_on_cpus()):
    environ = {**os.environ, _TUNABLES: _HUGE_PAGES}
    with contextlib.suppress(OSError):
      os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], environ)


def machine_bytes() -> int:
  """Memory of the machine, or of the container if that has less; 0: unknown."""
  limits = []
  with contextlib.suppress(OSError, ValueError, AttributeError):
    limits.append(os.sysconf('SC_PHYS_PAGES') * os.sysconf('SC_PAGE_SIZE'))
  with contextlib.suppress(OSError, ValueError):  # 'max' is no number.
    limits.append(int(_CGROUP_LIMIT.read_text()))
  return max(min(limits, default=0), 0)


def wanted(setting: str, memory: int, on_cpus: bool) -> bool:
  """Whether pages are to be kept.

  Args:
    setting: value of `SLEEPJAX_KEEP_PAGES`: '1', '0', or '' to let the rest
      decide.
    memory: of the machine, bytes; 16 GiB are enough.
    on_cpus: whether that is where JAX computes.

  Raises:
    UserError: another setting.
  """
  if setting not in ('', '0', '1'):
    from sleepjax.errors import UserError
    raise UserError(f'{_KEEP}={setting!r} must be 1 or 0, or unset: then the '
                    'machine decides.')
  return setting == '1' or (
      not setting and on_cpus and memory >= _SPARE_BYTES)


def keep_pages() -> bool:
  """Lets freed memory be used again, where there is enough; call first.

  The heap of the main thread then never shrinks. What is as large as those
  buffers fits into that one alone, so programs run in the thread that calls
  them, without JAX's asynchronous dispatch on CPUs. Where programs of many
  sizes take turns, a process may hold a third more than it needs at most: the
  default is to do it on machines of 16 GiB or more without an accelerator.
  `SLEEPJAX_KEEP_PAGES` set to 1 or 0 decides otherwise.

  Returns:
    Whether the C library was told so.

  Raises:
    UserError: as `wanted`.
  """
  if not wanted(os.environ.get(_KEEP, ''), machine_bytes(),
                computes_on_cpus()):
    return False
  with contextlib.suppress(OSError, AttributeError):  # glibc only.
    mallopt = ctypes.CDLL('libc.so.6').mallopt
    import jax
    jax.config.update('jax_cpu_enable_async_dispatch', False)
    return all([mallopt(_MMAP_MAX, 0), mallopt(_TRIM_THRESHOLD, -1),
                mallopt(_TOP_PAD, 2 ** 26)])
  return False


def give_back():
  """Gives the system the pages that are kept and hold nothing.

  Between two phases, whose programs need buffers of other sizes.
  """
  with contextlib.suppress(OSError, AttributeError):  # glibc only.
    ctypes.CDLL('libc.so.6').malloc_trim(0)
