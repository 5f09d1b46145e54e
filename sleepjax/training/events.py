"""Metrics as events that TensorBoard shows while a run goes on.

What is measured stands in metrics.jsonl; this is a second copy, for people. A
step's number begins anew in each phase of each night, so that these are what
TensorBoard calls runs: seed/1, seed/2, dream/2, …
"""

import importlib
import os
import pathlib
import time
from collections.abc import Mapping

from sleepjax.errors import UserError

_FLUSH_SECONDS = 2.0  # Every flush waits for the disk.


def check_installed() -> None:
  """Checks that the package is there which writes events.

  Raises:
    UserError: it is not; the message says how to get it.
  """
  try:
    importlib.import_module('tensorboardX.event_file_writer')
  except ImportError as error:
    raise UserError(
        f'saving.tensorboard: {error}. Install what writes events, pip install '
        "'sleepjax[tensorboard]' (in a checkout: -e '.[tensorboard]'), or "
        'leave it out.') from error


class EventsWriter:
  """Appends to event files, one folder for each phase of each cycle.

  A run that resumes measures some steps again: of those TensorBoard drops what
  earlier files have.

  Raises:
    UserError: see `check_installed`.
  """

  def __init__(self, folder: str | os.PathLike):
    check_installed()
    self._folder = pathlib.Path(folder)
    self._place, self._file, self._flushed = None, None, 0.0

  def write(self, phase: str, cycle: int, step: int,
            scalars: Mapping[str, float]) -> None:
    """Writes the scalars of one step.

    Raises:
      OSError: the file system refuses.
    """
    from tensorboardX import summary
    from tensorboardX.proto import event_pb2
    said = [{'summary': summary.scalar(f'{phase}/{name}', value)}
            for name, value in scalars.items()]
    if self._place != (phase, cycle):
      self._begin(phase, cycle)
      start = event_pb2.SessionLog(status=event_pb2.SessionLog.START)
      said.insert(0, {'session_log': start})
    for what in said:
      self._file.write_event(event_pb2.Event(
          wall_time=time.time(), step=step, **what))
    if time.monotonic() > self._flushed + _FLUSH_SECONDS:
      self._file.flush()
      self._flushed = time.monotonic()

  def close(self) -> None:
    if self._file is not None:
      self._file.close()
    self._file, self._place = None, None

  def _begin(self, phase, cycle):
    from tensorboardX import event_file_writer
    self.close()
    folder = self._folder / phase / str(cycle)
    folder.mkdir(parents=True, exist_ok=True)
    # A file's name has its second; two of one second would be one.
    number = sum(1 for _ in folder.iterdir())
    self._file = event_file_writer.EventsWriter(
        str(folder / 'events'), f'.{number}')
    self._place = phase, cycle
