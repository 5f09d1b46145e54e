"""Saving while the run goes on: one save at a time, in a thread of its own.

What is saved is on the host before the run goes on; only the writing is left to
the thread. Whoever touches a saved folder next waits for it first (`finish`),
and hears of what went wrong. With several processes, whose saves are
collective, nothing is left to a thread.
"""

import threading
from collections.abc import Callable

_running: threading.Thread | None = None
_failed: list[BaseException] = []


def start(work: Callable[[], None]) -> None:
  """Does `work` in the background, after what was started before.

  Raises:
    Whatever that raised.
  """
  global _running
  import jax
  finish()
  if jax.process_count() > 1:
    work()
    return

  def run():
    try:
      work()
    except BaseException as error:  # Handed to whoever waits.
      _failed.append(error)

  # No daemon: a run that ends, in whatever way, ends its save first.
  _running = threading.Thread(target=run, name='save')
  _running.start()


def finish() -> None:
  """Waits for what was started; nothing, inside of it.

  Raises:
    Whatever it raised.
  """
  global _running
  if _running is None or _running is threading.current_thread():
    return
  _running.join()
  _running = None
  if _failed:
    raise _failed.pop()
