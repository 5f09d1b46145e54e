"""Ctrl-C in a command: once ends it where nothing is half done, twice at once.

A command installs `hear` (`experiments._start`). Where nobody has, as in a
notebook, Python's own handler stays, and `deferred` holds nothing.
"""

import contextlib
import os
import signal
from collections.abc import Iterator
from typing import NoReturn

STATUS = 128 + signal.SIGINT  # As a shell reports an interrupted process.

_deferred, _came = 0, False


def hear(*_) -> None:
  """The handler of SIGINT while a command runs."""
  global _came
  if _came:
    leave()
  _came = True
  if not _deferred:
    raise KeyboardInterrupt


def leave(*_) -> NoReturn:
  """Ends the process at once; nothing that it has begun is finished."""
  os.write(2, b'interrupted\n')
  os._exit(STATUS)


@contextlib.contextmanager
def deferred() -> Iterator[None]:
  """Inside, the first Ctrl-C waits until the end; a second one does not.

  For what others do in threads and event loops of their own, which answer an
  exception from outside with tracebacks.
  """
  global _deferred
  _deferred += 1
  waiting = not _came
  try:
    yield
  finally:
    _deferred -= 1
  if waiting and _came and not _deferred:
    raise KeyboardInterrupt
