"""Pages that the C library keeps instead of handing them back.

On a CPU, XLA allocates the temporary buffers of a program in one piece at every
call and frees them after it. glibc returns so large a piece to the system at
once, so each update faults all of its pages in again, 4 KiB at a time: a fifth
of the processor time of a training step of SmolLM2-135M.
"""

import contextlib
import ctypes
import importlib.metadata
import importlib.util
import os

_VARIABLE = 'SLEEPJAX_KEEP_PAGES'
# Numbers of mallopt(3).
_TRIM_THRESHOLD, _TOP_PAD, _MMAP_MAX, _ARENA_MAX = -1, -2, -4, -8


def keep_pages() -> bool:
  """Lets freed memory be used again where JAX computes on CPUs; call it first.

  The process then holds what it needed at most until it ends. All threads share
  one heap, which is as well for few large pieces. Nothing changes with an
  accelerator, without glibc, or with `SLEEPJAX_KEEP_PAGES=0`.

  Returns:
    Whether the C library took the settings.
  """
  if os.environ.get(_VARIABLE) == '0' or not _computes_on_cpus():
    return False
  with contextlib.suppress(OSError, AttributeError):
    mallopt = ctypes.CDLL('libc.so.6').mallopt
    # Threads' own heaps hold 64 MiB at most: larger pieces come from the
    # system. So there is one heap, which grows and never shrinks.
    return all([mallopt(_ARENA_MAX, 1), mallopt(_MMAP_MAX, 0),
                mallopt(_TRIM_THRESHOLD, -1), mallopt(_TOP_PAD, 2 ** 26)])
  return False


def _computes_on_cpus() -> bool:
  """Told without starting a backend, whose threads would have heaps already."""
  platforms = os.environ.get('JAX_PLATFORMS')
  if platforms:
    return platforms == 'cpu'
  return not (importlib.util.find_spec('libtpu')
              or importlib.util.find_spec('jax_plugins')
              or importlib.metadata.entry_points(group='jax_plugins'))
