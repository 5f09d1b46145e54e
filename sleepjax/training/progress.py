"""What a run shows while it works: phase, step, speed, time left, metrics.

On a terminal it is a live bar per phase. Anywhere else (a log file, a batch
job) it is one plain line every ten seconds, if only to say what has begun, and
one at the end of each phase.
Either way it measures the seconds and tokens of every phase, for the report. Of
several processes the first one shows it; all of them say on stderr which phase
and step they have come to, so that one that is stuck can be told.
"""

import contextlib
import threading
import time
from collections.abc import Callable, Iterator, Mapping

import rich.console
import rich.progress

from sleepjax.mesh import distributed
from sleepjax.training.metrics import plain_scalar

# Often enough to look alive, rare enough never to wait on the accelerator.
_REDRAW_SECONDS = 0.2
_SILENT_SECONDS = 10.0  # After which a log names what has not said a word.


class Phase:
  """Progress of one phase; made by `Display.phase`."""

  def __init__(self, name: str, total: int | None):
    self.name = name
    self.total = total
    self.step = 0
    self.tokens = 0
    self.metrics: dict[str, float] = {}
    self.start = time.perf_counter()
    self._first_step_end: float | None = None
    self._steps_at_first_end = 0
    self._changed = lambda: None

  def advance(self, steps: int = 1, tokens: int = 0, **metrics) -> None:
    """Counts finished work and remembers the latest metrics.

    Metrics may be device scalars; they are fetched only when drawn, which
    waits for them, so pass those of the step before.
    """
    self.step += steps
    self.tokens += tokens
    self.metrics.update(metrics)
    if self._first_step_end is None:
      self._first_step_end = time.perf_counter()
      self._steps_at_first_end = self.step
    distributed.log(self.name, self.step)
    self._changed()

  @property
  def seconds(self) -> float:
    """Seconds since the phase began."""
    return time.perf_counter() - self.start

  @property
  def tokens_per_second(self) -> float:
    return self.tokens / max(self.seconds, 1e-9)

  def seconds_left(self) -> float | None:
    """Expected seconds to the end; None when it cannot be told yet.

    The first step is left out of the rate because it carries compilation.
    """
    if self.total is None or self._first_step_end is None:
      return None
    steps = self.step - self._steps_at_first_end
    if self.step >= self.total:
      return 0.0
    if not steps:
      return None
    rate = (time.perf_counter() - self._first_step_end) / steps
    return rate * (self.total - self.step)


class Display:
  """Context manager that shows the phases of a run as they go by.

  Example:

    with Display() as display:
      with display.phase('seed', total=100) as phase:
        phase.advance(tokens=512, loss=1.2)
    display.seconds['seed'], display.tokens_per_second['seed']

  Attributes:
    seconds: phase name -> seconds spent in it, summed over its visits.
    tokens: phase name -> tokens processed in it, summed over its visits.
  """

  def __init__(
      self, console: rich.console.Console | None = None,
      interval: float = 10.0, after_phase: Callable[[], None] = lambda: None):
    """Chooses how to show progress.

    Args:
      console: where to write; stdout if None, in the first of several
        processes.
      interval: seconds between plain lines where there is no terminal.
      after_phase: called at the end of each phase.
    """
    self.seconds: dict[str, float] = {}
    self.tokens: dict[str, int] = {}
    self._open: list[Phase] = []
    self._console = console or rich.console.Console(
        quiet=not distributed.is_first())
    self._interval, self._after_phase = interval, after_phase
    self._bars: rich.progress.Progress | None = None
    # Not console.is_terminal: that is also true of a log with forced colour.
    if self._console.file.isatty() and not self._console.is_dumb_terminal:
      self._bars = rich.progress.Progress(
          rich.progress.TextColumn('[bold]{task.description}'),
          rich.progress.BarColumn(bar_width=20),
          rich.progress.TextColumn('{task.fields[line]}'),
          console=self._console)

  @property
  def tokens_per_second(self) -> dict[str, float]:
    """Phase name -> tokens per second, for phases that counted tokens."""
    return {
        name: tokens / max(self.seconds[name], 1e-9)
        for name, tokens in self.tokens.items() if tokens
    }

  def totals(self) -> dict[str, dict[str, float]]:
    """Seconds and tokens as they would be if the open phases ended now."""
    seconds, tokens = dict(self.seconds), dict(self.tokens)
    for phase in self._open:
      seconds[phase.name] = seconds.get(phase.name, 0.0) + phase.seconds
      tokens[phase.name] = tokens.get(phase.name, 0) + phase.tokens
    return {'seconds': seconds, 'tokens': tokens}

  def restore(self, totals: Mapping[str, Mapping[str, float]]) -> None:
    """Counts on from what `totals` gave."""
    self.seconds.update(totals['seconds'])
    self.tokens.update(totals['tokens'])

  def __enter__(self) -> 'Display':
    if self._bars:
      self._bars.start()
    return self

  def __exit__(self, *exception) -> None:
    if self._bars:
      self._bars.stop()

  @contextlib.contextmanager
  def phase(self, name: str, total: int | None = None) -> Iterator[Phase]:
    """Shows and measures one phase, also when it ends in an exception.

    Args:
      name: phase name; entering a name again adds to its totals.
      total: number of steps, or None when it is not known.
    """
    distributed.log(name)
    phase = Phase(name, total)
    draw = self._live(phase) if self._bars else self._plain(phase)
    phase._changed = draw
    self._open.append(phase)
    try:
      yield phase
    finally:
      self._open.remove(phase)
      self.seconds[name] = self.seconds.get(name, 0.0) + phase.seconds
      self.tokens[name] = self.tokens.get(name, 0) + phase.tokens
      draw(last=True)
      self._after_phase()

  def say(self, line: str) -> None:
    """Shows a line beside the phases."""
    self._console.print(line, markup=False, highlight=False, soft_wrap=True)

  def _live(self, phase: Phase):
    task = self._bars.add_task(
        phase.name, total=phase.total, line=status_line(phase))
    drawn = 0.0

    def draw(last: bool = False):
      nonlocal drawn
      if last or time.perf_counter() - drawn >= _REDRAW_SECONDS:
        drawn = time.perf_counter()
        self._bars.update(
            task, completed=phase.step, line=status_line(phase, last))
      if last:
        self._bars.stop_task(task)

    return draw

  def _plain(self, phase: Phase):
    drawn = time.perf_counter()

    def name_it():
      # Whatever is wrong with the output, the run itself will meet.
      with contextlib.suppress(OSError, ValueError):
        print(f'{phase.name}: begun', file=self._console.file, flush=True)

    begun = threading.Timer(_SILENT_SECONDS, name_it)
    begun.daemon = True
    if not self._console.quiet:
      begun.start()

    def draw(last: bool = False):
      nonlocal drawn
      if last or time.perf_counter() - drawn >= self._interval:
        begun.cancel()
        drawn = time.perf_counter()
        self._console.print(
            f'{phase.name}: {status_line(phase, last)}', markup=False,
            highlight=False, soft_wrap=True)

    return draw


def status_line(phase: Phase, last: bool = False) -> str:
  """Step, speed, time and latest metrics of a phase, in one line of text."""
  parts = [f'{phase.step}/{phase.total}'] if phase.total else []
  if phase.tokens and not phase.total:  # Steps out of nobody knows how many.
    parts.append(f'{phase.tokens:,} tokens')
  if phase.tokens:
    parts.append(f'{phase.tokens_per_second:,.0f} tokens/s')
  left = phase.seconds_left()
  if last:
    parts.append(f'{clock(phase.seconds)} in all')
  elif left is not None:
    parts.append(f'{clock(left)} left')
  parts.extend(
      f'{name} {plain_scalar(value):.4g}'
      for name, value in phase.metrics.items())
  return '  '.join(parts)


def clock(seconds: float) -> str:
  """Seconds as `12.3s` below a minute, else `m:ss` or `h:mm:ss`."""
  if seconds < 59.95:
    return f'{seconds:.1f}s'
  minutes, seconds = divmod(round(seconds), 60)
  hours, minutes = divmod(minutes, 60)
  if hours:
    return f'{hours}:{minutes:02}:{seconds:02}'
  return f'{minutes}:{seconds:02}'
