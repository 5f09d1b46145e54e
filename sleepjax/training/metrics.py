"""Metrics as one JSON object per line, safe to append to after a crash.

A line holds `phase`, `step` and the scalars measured there:

  {"phase": "seed", "step": 3, "divergence": 0.71, "reward": 0.4}

JSON has no NaN or infinity. A scalar that is not finite is written as null and
named, with what it was, under `_nonfinite`:

  {"phase": "seed", "step": 4, "loss": null, "_nonfinite": {"loss": "nan"}}
"""

import contextlib
import json
import math
import os
import pathlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from sleepjax.data import files
from sleepjax.errors import UserError
from sleepjax.mesh import distributed
from sleepjax.training.events import EventsWriter

NONFINITE = '_nonfinite'


def plain_scalar(value: Any) -> bool | int | float:
  """A Python, numpy or jax scalar as the Python number it holds.

  Raises:
    ValueError: `value` is not a single number.
  """
  array = np.asarray(value)
  if array.size != 1 or array.dtype.kind in 'OSUMmc':
    raise ValueError(
        f'expected a real scalar, got {type(value).__name__} of shape '
        f'{array.shape} and dtype {array.dtype}.')
  if array.dtype.kind in 'biu':
    return array.item()
  return float(array.item())  # item() of bfloat16 is no Python float.


def place(line: Mapping[str, Any]) -> tuple[str, int, int]:
  """Where in a run a line was measured: phase, cycle, step."""
  return line['phase'], int(line.get('cycle', 0)), int(line['step'])


class MetricsWriter:
  """Appends metrics to a file, one line per call of `write`, flushed at once.

  Opening a file that already has lines continues it. A run that resumes from a
  save measures the steps after it again: its first line replaces the one of the
  same place, if there is one, and all that followed. A last line without its
  newline is what a killed run leaves behind; it is dropped. Of several
  processes the first one writes.

  Args:
    path: of the file.
    events: gets the same numbers; None for the file alone.

  Raises:
    UserError: the file cannot be written.
  """

  def __init__(self, path: str | os.PathLike,
               events: EventsWriter | None = None):
    self.path, self._places = pathlib.Path(path), {}
    self._events = events if distributed.is_first() else None
    if not distributed.is_first():
      self._file = open(os.devnull, 'w')
      return
    try:
      self.path.parent.mkdir(parents=True, exist_ok=True)
      self._places = _places(self.path)
      self._file = self.path.open('a', encoding='utf-8')
    except OSError as error:
      raise files.unwritable(self.path, error) from error

  def write(self, phase: str, step: int, scalars: Mapping[str, Any]) -> None:
    """Writes one line; reading a scalar off a device waits for it.

    Args:
      phase: what the run was doing, e.g. `seed`.
      step: step within the phase.
      scalars: name -> Python, numpy or jax scalar.

    Raises:
      ValueError: a value is not a scalar, or a name is one the line itself
        uses (`phase`, `step`, `_nonfinite`).
      UserError: the file system refuses the line, and the file is closed.
    """
    line: dict[str, Any] = {'phase': phase, 'step': int(step)}
    nonfinite, numbers = {}, {}
    for name, value in scalars.items():
      if name in ('phase', 'step', NONFINITE):
        raise ValueError(f'metric {name!r} has a name that every line uses.')
      try:
        numbers[name] = number = plain_scalar(value)
      except ValueError as error:
        raise ValueError(f'metric {name!r}: {error}') from None
      if not math.isfinite(number):
        nonfinite[name], number = str(number), None
      line[name] = number
    if nonfinite:
      line[NONFINITE] = nonfinite
    text = json.dumps(line, allow_nan=False) + '\n'
    try:
      again = self._places.get(place(line))
      if again is not None:
        self._file.truncate(again)
      self._places = {}  # Only the first line may be one that was there.
      self._file.write(text)
      self._file.flush()
      if self._events is not None:
        phase, cycle, step = place(line)
        numbers.pop('cycle', None)
        self._events.write(phase, cycle, step, numbers)
    except OSError as error:
      with contextlib.suppress(OSError):
        self._file.close()  # Tries once more to write what is left.
      raise files.unwritable(self.path, error) from error

  def close(self) -> None:
    self._file.close()
    if self._events is not None:
      self._events.close()

  def __enter__(self) -> 'MetricsWriter':
    return self

  def __exit__(self, *exception) -> None:
    self.close()


def read_metrics(path: str | os.PathLike) -> list[dict[str, Any]]:
  """The lines of a metrics file, in order, non-finite numbers restored.

  An unfinished last line is left out, so a running experiment can be read. Of
  lines of the same place, which resumed runs of earlier versions wrote, the
  last one is returned.

  Raises:
    UserError: there is no such file, or a finished line is not a JSON object.
  """
  path = pathlib.Path(path)
  if not path.is_file():
    raise UserError(
        f'{path}: no metrics here; expected the metrics file that a run '
        'writes into its output folder.')
  text = path.read_text(encoding='utf-8', errors='replace')
  finished, _, _ = text.rpartition('\n')
  lines = {}
  for number, text in enumerate(finished.split('\n') if finished else (), 1):
    try:
      line = json.loads(text)
    except json.JSONDecodeError:
      line = None
    if not isinstance(line, dict) or not {'phase', 'step'} <= line.keys():
      raise UserError(
          f'{path}, line {number}: expected a JSON object with phase and step, '
          f'got {text[:40]!r}; delete the line to read the rest.')
    for name, value in line.pop(NONFINITE, {}).items():
      line[name] = float(value)
    lines[place(line)] = line
  return list(lines.values())


def _places(path: pathlib.Path) -> dict[tuple[str, int, int], int]:
  """Where each place's first line begins; drops an unfinished last line."""
  if not path.exists():
    return {}
  places, offset = {}, 0
  with path.open('rb+') as file:
    for text in file:
      if not text.endswith(b'\n'):
        file.truncate(offset)
        break
      with contextlib.suppress(ValueError, KeyError, TypeError):
        places.setdefault(place(json.loads(text)), offset)
      offset += len(text)
  return places
