"""What an unfinished cycle has done so far, on disk.

A cycle of wake and sleep can take hours. Its phases are saved as they end, and
seeding also on its way, so that a run that dies goes on inside the night:

  DIR/unfinished_write    what was written, as JSON
  DIR/unfinished_seed     what is trained, its optimizer, the step
  DIR/unfinished_dream    the generator after a round of dreaming

Each is a saved folder (`sleepjax.training.checkpoints`), and is written only if
more than some seconds of work would be lost without it.
"""

import contextlib
import json
import pathlib
import time
from collections.abc import Mapping
from typing import Any

import jax

from sleepjax.errors import UserError
from sleepjax.mesh import distributed, sharding
from sleepjax.training import checkpoints, saved_folder
from sleepjax.training.checkpoints import Progress
from sleepjax.training.preemption import Notice
from sleepjax.training.progress import Display

_PHASES = ('write', 'seed', 'dream')


class PhaseSaves:
  """Saves of the phases of one cycle after another."""

  def __init__(self, folder: pathlib.Path | None = None,
               run: Mapping[str, Any] | None = None,
               display: Display | None = None, notice: Notice | None = None,
               seconds: float = 30.0):
    """Says where and when.

    Args:
      folder: the work directory; None saves nothing.
      run: JSON types that tell this run from others.
      display: its totals are saved and put back.
      notice: when it has come, a phase is saved at once and the run ends.
      seconds: of work that may be lost; more where a save itself takes long,
        so that saving takes no more than a twentieth of the time.
    """
    self._folder, self._run = folder, json.loads(json.dumps(dict(run or {})))
    self._display, self._notice = display, notice
    self._seconds, self._cycle, self._first = seconds, 0, None
    self._cost, self._last = 0.0, time.monotonic()

  def begin(self, cycle: int) -> None:
    """From here on it is this cycle that is saved."""
    self._cycle, self._last = cycle, time.monotonic()
    self._first = cycle if self._first is None else self._first

  def deferred(self):
    """Inside, a notice waits for the next `save_if_due`."""
    return self._notice.deferred() if self._notice else contextlib.nullcontext()

  def restored(self, phase: str) -> Progress | None:
    """What this cycle has saved of a phase; the display counts on from there.

    Raises:
      UserError: it was saved by another run, or is damaged.
    """
    path = self._path(phase)
    # Only the first cycle may have been begun before. Later ones do not look,
    # for which they would have to wait until the last one is saved.
    begun = self._first in (None, self._cycle)
    if path is None or not begun or not checkpoints.is_saved(path):
      return None
    have = checkpoints.describe(path).metadata
    if have['run'] != self._run:
      raise UserError(
          f'{path} is of a run with other settings. Choose another --workdir, '
          'or delete that folder.')
    if have['cycle'] != self._cycle:
      return None  # Left by a run that was killed before it could tidy up.
    saved = checkpoints.load_progress(path)
    if self._display is not None:
      self._display.restore(have['totals'])
    self._last = time.monotonic()
    return saved

  def save_if_due(self, phase: str, step: int, tree,
                  metadata: Mapping[str, Any]) -> None:
    """Saves, if it is time; ends the run, if that was told to end.

    Args:
      phase: its name.
      step: how far it is.
      tree: of arrays.
      metadata: JSON types.

    Raises:
      Preempted: after saving, which a notice does not cut short.
    """
    told = self._notice is not None and self._notice.came()
    start = time.monotonic()
    if self._folder is not None and (told or distributed.agreed(
        start - self._last >= max(
            self._seconds, 20 * self._cost if self._seconds else 0.0))):
      totals = self._display.totals() if self._display is not None else {}
      with self.deferred():
        checkpoints.save_progress(self._path(phase), step, tree, {
            'run': self._run, 'cycle': self._cycle, 'totals': totals,
            **metadata})
        self._last = time.monotonic()
        self._cost = self._last - start
      told = self._notice is not None  # It may have come during the save.
    if told:
      self._notice.check()

  def clear(self) -> None:
    """Deletes what was saved: the cycle has ended and was saved as a whole."""
    if self._folder is None:
      return
    for phase in _PHASES if distributed.is_first() else ():
      saved_folder.discard(self._path(phase))
    distributed.barrier(f'cleared after cycle {self._cycle}')

  def _path(self, phase):
    return self._folder and self._folder / f'unfinished_{phase}'


NO_SAVES = PhaseSaves()  # Nothing is saved, and a notice ends the run at once.


def in_place_of(state, saved: Progress, what: str):
  """The saved arrays in the structure of a state, each where that one lies."""
  tree = checkpoints.with_structure(state, saved.tree, what)
  return sharding.put(tree, jax.tree.map(lambda old: old.sharding, state))
