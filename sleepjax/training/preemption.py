"""Ending early without losing work: SIGTERM, as schedulers send it.

  with preemption.listen() as notice:
    for step in steps:
      with notice.deferred():             # A notice waits until the end.
        ...
        told = notice.came()
        if told or step % every == 0:
          save()
      if told:
        notice.check()                # Here the run ends.

Outside of `deferred` a notice ends the run at once: nothing that is not saved
is lost but what has to be computed again anyway. A command that does not listen
is ended by the signal as usual.
"""

import contextlib
import itertools
import signal
import threading
from collections.abc import Iterator

# The runtime tells all hosts to end at the same number, which never repeats.
_ASKED = itertools.count(1)
EXIT_STATUS = 128 + signal.SIGTERM  # As a shell reports an ended process.


class Preempted(BaseException):
  """The run ends because it was told to; the same command goes on.

  Not an Exception, so that nothing takes it for a failure to recover from.
  """


class Notice:
  """Whether this run was told to end.

  On several hosts all of them have to save the same step: there the runtime
  spreads the news, all processes have to ask `came` equally often, and nothing
  ends at once.
  """

  def __init__(self):
    self._came, self._deferred = False, 0

  def hear(self, *_) -> None:
    """The signal handler."""
    again, self._came = self._came, True
    if again or not self._deferred:
      raise Preempted

  @contextlib.contextmanager
  def deferred(self) -> Iterator[None]:
    """Inside, the first notice waits for `check`; a second one does not."""
    self._deferred += 1
    try:
      yield
    finally:
      self._deferred -= 1

  def came(self) -> bool:
    """True from the notice on; with several hosts, at the same call on all."""
    import jax
    if jax.process_count() > 1 and not self._came:
      import orbax.checkpoint as ocp
      self._came = ocp.utils.reached_preemption(next(_ASKED))
    return self._came

  def check(self) -> None:
    """Ends the run if the notice has come; this asks, as `came` does.

    Raises:
      Preempted: it has.
    """
    if self.came():
      raise Preempted


@contextlib.contextmanager
def listen() -> Iterator[Notice]:
  """Listens to SIGTERM for as long as the block lasts."""
  import jax
  notice = Notice()
  if (jax.process_count() > 1
      or threading.current_thread() is not threading.main_thread()):
    yield notice
    return
  before = signal.signal(signal.SIGTERM, notice.hear)
  try:
    yield notice
  finally:
    signal.signal(signal.SIGTERM, before)
