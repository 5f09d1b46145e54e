"""The commands of the project, one a file: `python -m experiments.NAME`.

On Linux a command starts itself once more with huge memory pages switched on in
the C library, which can only be done before a program starts: a training step
on a CPU allocates and frees gigabytes, and takes some 6 to 14 % longer with
small pages (`benchmark.md`). Programs that import a command are left alone.
"""

import os
import sys

_TUNABLES, _HUGE_PAGES = 'GLIBC_TUNABLES', 'glibc.malloc.hugetlb=1'


def _run_with_huge_pages():
  is_command = sys.orig_argv[1:2] == ['-m'] and len(sys.orig_argv) > 2 and (
      sys.orig_argv[2].startswith('experiments.'))
  if sys.platform == 'linux' and is_command and _TUNABLES not in os.environ:
    os.environ[_TUNABLES] = _HUGE_PAGES
    os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])


_run_with_huge_pages()
