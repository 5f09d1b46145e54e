"""Contestants that take turns, each in a process of its own.

A machine is never equally fast twice. So whoever is compared runs in the same
minutes: every contestant has its process, which waits while another one works,
and they do one step each, round after round. A ratio is taken within a round.
Processes of their own also tell how much memory each one needs.
"""

import contextlib
import ctypes
import dataclasses
import gc
import importlib
import multiprocessing
import pathlib
import statistics
import sys
import time
import traceback
from collections.abc import Mapping
from typing import Any, NamedTuple

from experiments import _host_pages
from sleepjax.errors import UserError
from sleepjax.evals import report as report_lib


class Entry(NamedTuple):
  """Who takes part: `module.function(**options)` returns its step.

  A step is called without arguments and returns when its work is done; if it
  returns a float, those seconds count in place of what it took. Without
  `keep_pages` its process has the C library's own habits
  (`_host_pages`).
  """

  module: str
  function: str
  options: Mapping[str, Any] = {}
  keep_pages: bool = True


@dataclasses.dataclass(frozen=True)
class Result:
  """Times of one contestant.

  seconds: of its steps, one a round.
  first_seconds: of the step before all rounds, which compiles.
  peak_bytes: most memory held during the rounds: of the process, or of the
    accelerator if it used one, where JAX counts from the process's start.
  """

  seconds: tuple[float, ...]
  first_seconds: float
  peak_bytes: int

  @property
  def median(self) -> float:
    return statistics.median(self.seconds)

  @property
  def compile_seconds(self) -> float:
    """What the first step took beyond an ordinary one."""
    return max(self.first_seconds - self.median, 0.0)


class Spread(NamedTuple):
  """Median, least and greatest."""

  median: float
  least: float
  most: float


def ratios(of: Result, to: Result) -> Spread:
  """How many times as long `of` takes as `to`, round by round."""
  each = [a / b for a, b in zip(of.seconds, to.seconds, strict=True)]
  return Spread(statistics.median(each), min(each), max(each))


def compete(entries: Mapping[str, Entry], rounds: int) -> dict[str, Result]:
  """Times of every contestant over the same rounds.

  Each begins one round in turn, so that none always follows the same other.

  Raises:
    UserError: what a contestant raised, with its name.
    RuntimeError: any other failure of a contestant, with its traceback.
  """
  with contextlib.ExitStack() as stack:
    players = {}
    for name, entry in entries.items():
      players[name] = stack.enter_context(_Player(name, entry))
    first = {name: player.receive() for name, player in players.items()}
    seconds = {name: [] for name in players}
    order = list(players)
    for i in range(rounds):
      for name in order[i % len(order):] + order[:i % len(order)]:
        seconds[name].append(players[name].ask('step'))
    return {name: Result(tuple(seconds[name]), first[name], player.ask('peak'))
            for name, player in players.items()}


class _Player:
  """The parent's end of a contestant. The next starts when this is ready."""

  def __init__(self, name, entry):
    self.name = name
    context = multiprocessing.get_context('spawn')
    self._connection, other = context.Pipe()
    self._process = context.Process(
        target=_serve, args=(other, entry), daemon=True)
    self._process.start()
    other.close()
    self._ready = self._reply()

  def __enter__(self):
    return self

  def __exit__(self, *_):
    self._connection.close()
    self._process.join(10)
    self._process.kill()

  def receive(self):
    return self._ready

  def ask(self, word: str):
    self._connection.send(word)
    return self._reply()

  def _reply(self):
    try:
      kind, value = self._connection.recv()
    except EOFError:
      self._process.join()
      raise RuntimeError(
          f'{self.name}: its process ended with {self._process.exitcode}, '
          'perhaps for lack of memory.') from None
    if kind == 'refused':
      raise UserError(f'{self.name}: {value}')
    if kind == 'failed':
      raise RuntimeError(f'{self.name} failed:\n{value}')
    return value


def _serve(connection, entry):
  """A contestant's process: builds, does a first step, then what it is told."""
  try:
    if entry.keep_pages:
      _host_pages.keep_pages()
    step = getattr(importlib.import_module(entry.module), entry.function)(
        **entry.options)
    first = _timed(step)
    _forget_peak()
    connection.send(('done', first))
    while True:
      word = connection.recv()
      connection.send(
          ('done', _timed(step) if word == 'step' else _peak_bytes()))
  except EOFError:
    pass
  except UserError as error:
    connection.send(('refused', str(error)))
  except BaseException:  # Whatever it is, the parent must hear of it.
    connection.send(('failed', traceback.format_exc()))


def _timed(step):
  start = time.perf_counter()
  counts = step()
  seconds = time.perf_counter() - start
  return counts if isinstance(counts, float) else seconds


def _forget_peak():
  """Lets the peak begin anew, at what is held now."""
  gc.collect()
  if (cuda := _torch_on_gpu()):
    cuda.reset_peak_memory_stats()
  with contextlib.suppress(OSError, AttributeError):  # Linux with glibc only.
    ctypes.CDLL('libc.so.6').malloc_trim(0)
    pathlib.Path('/proc/self/clear_refs').write_text('5')


def _torch_on_gpu():
  """torch.cuda if this process computes there, else None."""
  torch = sys.modules.get('torch')
  return torch and torch.cuda.is_initialized() and torch.cuda


def _peak_bytes() -> int:
  if (cuda := _torch_on_gpu()):
    return cuda.max_memory_allocated()
  if 'jax' in sys.modules:
    import jax
    stats = jax.local_devices()[0].memory_stats() or {}
    if 'peak_bytes_in_use' in stats:
      return stats['peak_bytes_in_use']
  return report_lib.peak_memory_bytes()
