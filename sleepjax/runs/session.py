"""One run in one folder: claimed, resumed, watched, saved, reported.

  with NightSession(workdir, run, saving) as session:
    model = session.resumed or model
    ...                               # session.observer watches
    session.save(model, lineage, number, measure)
  session.report_on(model, entries)

  with StepSession(workdir, run) as session:
    if session.saved:
      state = in_place_of(state, session.saved, 'the saved state')
    for step in range(session.step, steps):
      with session.deferred():
        ...
        session.done(step + 1, state, (step + 1) % 100 == 0)
  session.report(entries)

The same command on the same folder goes on after the last save, inside a night
too; a notice to end (SIGTERM) lets a save finish first.
"""

import contextlib
import dataclasses
import functools
import pathlib
from collections.abc import Callable, Mapping
from typing import Any

from sleepjax.evals import cost
from sleepjax.evals import report as report_lib
from sleepjax.mesh import sharding
from sleepjax.model import Model
from sleepjax.models.hashes import params_sha256
from sleepjax.runs import folder
from sleepjax.training import background, checkpoints, events, preemption
from sleepjax.training.checkpoint_retention import KeepConfig, retain
from sleepjax.training.metrics import MetricsWriter
from sleepjax.training.observer import Observer
from sleepjax.training.phase_saves import NO_SAVES, PhaseSaves
from sleepjax.training.progress import Display


@dataclasses.dataclass(frozen=True)
class Saving:
  """How often a run is saved, and what stays.

  seconds: of work that a run may lose that dies inside a night; 0 saves after
    every update.
  keep: which earlier nights stay beside the last one.
  tensorboard: whether metrics are written as events for TensorBoard, too.
  """

  seconds: float = 30.0
  keep: KeepConfig = KeepConfig()
  tensorboard: bool = False

  def __post_init__(self):
    if not self.seconds >= 0:
      raise ValueError(f'seconds={self.seconds} must not be negative.')
    if self.tensorboard:
      events.check_installed()


class Session:
  """Context manager of one run in its work directory; of the two below.

  Attributes:
    workdir: the folder of all results.
    run: JSON types that tell this run from others; saved with every save.
    observer: shows phases and writes metrics.
  """

  def __init__(self, workdir: pathlib.Path, run: Mapping[str, Any],
               metrics: str, after_phase: Callable[[], None] = lambda: None):
    """Says what runs where.

    Args:
      workdir: made, and claimed for this process.
      run: see the class.
      metrics: name of the file with a line for every step.
      after_phase: called at the end of each phase.
    """
    self.workdir, self.run = pathlib.Path(workdir), dict(run)
    self._metrics, self._after_phase = metrics, after_phase
    self._stack = contextlib.ExitStack()

  def __enter__(self):
    # The lock is held for as long as somebody refers to the file.
    self._claim = folder.claim(self.workdir)
    self._resume()
    with contextlib.ExitStack() as stack:
      self._display = stack.enter_context(
          Display(after_phase=self._after_phase))
      metrics = stack.enter_context(
          MetricsWriter(self.workdir / self._metrics, self._events()))
      self._notice = stack.enter_context(preemption.listen())
      self.observer = Observer(self._display, metrics, self._phase_saves())
      self._stack = stack.pop_all()
    return self

  def __exit__(self, *exception) -> None:
    if exception == (None, None, None):
      background.finish()
    self._stack.__exit__(*exception)

  def _resume(self) -> None:
    """Finds what an earlier run of the same command has left."""
    raise NotImplementedError

  def _phase_saves(self) -> PhaseSaves:
    return NO_SAVES

  def _events(self) -> events.EventsWriter | None:
    return None

  def deferred(self) -> contextlib.AbstractContextManager[None]:
    """Inside, a notice to end waits for the next save."""
    return self._notice.deferred()

  def report(self, entries: Mapping[str, Any]) -> dict[str, Any]:
    """Writes `report.json`, with what every run says of itself."""
    report = {
        **entries, 'peak_memory_bytes': report_lib.peak_memory_bytes(),
        'config': self.run.get('config')}
    report_lib.write_report(self.workdir, report)
    return report


class NightSession(Session):
  """A run of cycles, whose model is saved after each.

  Attributes:
    resumed: the model that an earlier run of the same command has left, put on
      the mesh; None if there is none.
  """

  def __init__(self, workdir: pathlib.Path, run: Mapping[str, Any],
               saving: Saving | None = None,
               after_phase: Callable[[], None] = lambda: None):
    """Says what runs where.

    Args:
      workdir, run, after_phase: see `Session`.
      saving: how often, and what stays.
    """
    super().__init__(workdir, run, 'metrics.jsonl', after_phase)
    self.saving = saving or Saving()

  def _resume(self):
    saved = folder.resumed_model(
        self.workdir / 'model', self.run, tuple(self.run))
    self.resumed = saved and saved.with_params(
        saved.config, sharding.on_mesh(saved.params))

  def _phase_saves(self):
    if self.resumed:
      self._display.restore(self.resumed.lineage)
    return PhaseSaves(
        self.workdir, folder.identity(self.run, tuple(self.run)),
        self._display, self._notice, self.saving.seconds)

  def _events(self):
    return events.EventsWriter(
        self.workdir / 'tensorboard') if self.saving.tensorboard else None

  def save(self, model: Model, entries: Mapping[str, Any], number: int,
           measure: float | None = None) -> Model:
    """Saves the model of a finished cycle in place of the one before.

    Args:
      model: canonical.
      entries: of its lineage besides those that every run has, JSON types.
      number: of the cycle, for what is kept.
      measure: by which the best is kept; None if there is none.

    Returns:
      The model with its lineage.

    Raises:
      Preempted: a notice came; what was to be saved is saved.
    """
    lineage = {**self.run, **entries, **self._display.totals()}
    saves, keep = self.observer.saves, self.saving.keep

    def written():
      retain(self.workdir / 'model', number, measure, keep)
      saves.clear()

    with self._notice.deferred(), self.observer.phase('save', total=1) as phase:
      checkpoints.save_model(
          self.workdir / 'model', model.config, model.params, model.tokenizer,
          lineage, then=written)
      phase.advance()
    self._notice.check()
    return dataclasses.replace(model, lineage=lineage)

  def keep_resumed(self, number: int, measure: float | None) -> None:
    """Keeps what a run goes on from, if the earlier one could not."""
    retain(self.workdir / 'model', number, measure, self.saving.keep)

  def report_on(self, model: Model, entries: Mapping[str, Any]
                ) -> dict[str, Any]:
    """Writes `report.json`, with what every night measures of itself."""
    display, paid = self._display, {}
    if 'question_cost' in entries:
      paid = cost.after_questions(entries['question_cost'], display.tokens)
    return self.report({
        **entries, 'params_sha256': params_sha256(model.params),
        'seconds': display.seconds, 'tokens_per_second':
        display.tokens_per_second, 'tokens': display.tokens, **paid})


class StepSession(Session):
  """A run of numbered steps, whose state is saved every so many of them.

  Attributes:
    saved: what an earlier run of the same command has left; None if there is
      nothing.
    step: how many steps it had done.
    notes: what is saved beside the state; JSON types.
  """

  def __init__(self, workdir: pathlib.Path, config: Mapping[str, Any],
               metrics: str, keep: KeepConfig | None = None):
    """Says what runs where.

    Args:
      workdir, metrics: see `Session`.
      config: the resolved configuration.
      keep: which earlier saves stay beside the last one.
    """
    super().__init__(workdir, {'config': dict(config)}, metrics)
    self._folder, self._keep = self.workdir / 'progress', (
        keep or KeepConfig())

  def _resume(self):
    self.saved = folder.resumed_progress(self._folder, self.run['config'])
    self.step, self.notes = 0, {}
    if self.saved:
      self.step, found = int(self.saved.step), self.saved.metadata
      self.notes = found['notes']
      retain(self._folder, self.step, found['measure'], self._keep)

  def done(self, step: int, state, due: bool,
           measure: float | None = None) -> None:
    """Saves if it is due, or if the run was told to end, and then ends it.

    Args:
      step: how many are done.
      state: tree of arrays after them; `notes` are saved with it.
      due: whether to save in any case.
      measure: by which the best save is kept; None if there is none.

    Raises:
      Preempted: a notice came; what was to be saved is saved.
    """
    if (told := self._notice.came()) or due:
      checkpoints.save_progress(
          self._folder, step, state,
          {**self.run, 'notes': self.notes, 'measure': measure},
          then=functools.partial(
              retain, self._folder, step, measure, self._keep))
    if told:
      self._notice.check()
