"""Pages that the C library keeps instead of handing them back.

On a CPU, XLA allocates the temporary buffers of a program in one piece at every
call and frees them after it. glibc returns so large a piece to the system at
once, and each call faults all of its pages in again, 4 KiB at a time: a fifth
of the processor time of a training step of SmolLM2-135M.
"""

import contextlib
import ctypes
import os

_VARIABLE = 'SLEEPJAX_KEEP_PAGES'
# Numbers of mallopt(3).
_TRIM_THRESHOLD, _TOP_PAD, _MMAP_MAX, _ARENA_MAX = -1, -2, -4, -8


def keep_pages() -> bool:
  """With `SLEEPJAX_KEEP_PAGES=1`, lets freed memory be used again; call first.

  All threads then share one heap, which never shrinks: where programs of many
  sizes take turns, a process may hold a third more than it needs at most.

  Returns:
    Whether the C library was told so.
  """
  if os.environ.get(_VARIABLE) != '1':
    return False
  with contextlib.suppress(OSError, AttributeError):  # glibc only.
    mallopt = ctypes.CDLL('libc.so.6').mallopt
    # Threads' own heaps hold 64 MiB at most: larger pieces come from the
    # system. So there is one heap, which grows.
    return all([mallopt(_ARENA_MAX, 1), mallopt(_MMAP_MAX, 0),
                mallopt(_TRIM_THRESHOLD, -1), mallopt(_TOP_PAD, 2 ** 26)])
  return False
