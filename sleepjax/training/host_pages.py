"""Pages that the C library keeps instead of handing them back.

On a CPU, XLA allocates the temporary buffers of a program in one piece at every
call and frees them after it. glibc returns so large a piece to the system at
once, and each call faults all of its pages in again: a fifth to a third of the
time of a training step of SmolLM2-135M.
"""

import contextlib
import ctypes
import os
import pathlib

from sleepjax.errors import UserError

_VARIABLE = 'SLEEPJAX_KEEP_PAGES'
_SPARE_BYTES = 16 * 2 ** 30
_CGROUP_LIMIT = pathlib.Path('/sys/fs/cgroup/memory.max')
# Numbers of mallopt(3).
_TRIM_THRESHOLD, _TOP_PAD, _MMAP_MAX, _ARENA_MAX = -1, -2, -4, -8


def machine_bytes() -> int:
  """Memory of the machine, or of the container if that has less; 0: unknown."""
  limits = []
  with contextlib.suppress(OSError, ValueError, AttributeError):
    limits.append(os.sysconf('SC_PHYS_PAGES') * os.sysconf('SC_PAGE_SIZE'))
  with contextlib.suppress(OSError, ValueError):  # 'max' is no number.
    limits.append(int(_CGROUP_LIMIT.read_text()))
  return max(min(limits, default=0), 0)


def wanted(setting: str, memory: int) -> bool:
  """Whether pages are to be kept.

  Args:
    setting: value of `SLEEPJAX_KEEP_PAGES`: '1', '0', or '' to let `memory`
      decide.
    memory: of the machine, bytes; 16 GiB are enough.

  Raises:
    UserError: another setting.
  """
  if setting not in ('', '0', '1'):
    raise UserError(f'{_VARIABLE}={setting!r} must be 1 or 0, or unset: then '
                    'memory decides.')
  return setting == '1' or (not setting and memory >= _SPARE_BYTES)


def keep_pages() -> bool:
  """Lets freed memory be used again, where there is enough; call first.

  All threads then share one heap, which never shrinks: where programs of many
  sizes take turns, a process may hold a third more than it needs at most. So
  the default is to do it on machines of 16 GiB or more; `SLEEPJAX_KEEP_PAGES`
  set to 1 or 0 decides otherwise.

  Returns:
    Whether the C library was told so.

  Raises:
    UserError: as `wanted`.
  """
  if not wanted(os.environ.get(_VARIABLE, ''), machine_bytes()):
    return False
  with contextlib.suppress(OSError, AttributeError):  # glibc only.
    mallopt = ctypes.CDLL('libc.so.6').mallopt
    # Threads' own heaps hold 64 MiB at most: larger pieces come from the
    # system. So there is one heap, which grows.
    return all([mallopt(_ARENA_MAX, 1), mallopt(_MMAP_MAX, 0),
                mallopt(_TRIM_THRESHOLD, -1), mallopt(_TOP_PAD, 2 ** 26)])
  return False
