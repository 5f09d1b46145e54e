"""One run in one folder: claimed, resumed, watched, saved, reported.

  with Session(workdir, run, saving) as session:
    model = session.resumed or model
    ...                               # session.observer watches
    session.save(model, lineage, number, measure)
  session.report(entries)

The same command on the same folder goes on after the last save, inside a night
too; a notice to end (SIGTERM) lets a save finish first.
"""

import contextlib
import dataclasses
import hashlib
import pathlib
from collections.abc import Callable, Mapping
from typing import Any

import jax

from sleepjax.evals import cost
from sleepjax.evals import report as report_lib
from sleepjax.mesh import sharding
from sleepjax.model import Model
from sleepjax.runs import folder
from sleepjax.training import background, checkpoints, kept, preemption
from sleepjax.training.kept import KeepConfig
from sleepjax.training.metrics import MetricsWriter
from sleepjax.training.observer import Observer
from sleepjax.training.phase_saves import PhaseSaves
from sleepjax.training.progress import Display


@dataclasses.dataclass(frozen=True)
class Saving:
  """How often a run is saved, and what stays.

  seconds: of work that a run may lose that dies inside a night; 0 saves after
    every update.
  keep: which earlier nights stay beside the last one.
  """

  seconds: float = 30.0
  keep: KeepConfig = KeepConfig()

  def __post_init__(self):
    if not self.seconds >= 0:
      raise ValueError(f'seconds={self.seconds} must not be negative.')


class Session:
  """Context manager of one run in its work directory.

  Attributes:
    observer: shows phases, writes `metrics.jsonl`, saves unfinished phases.
    resumed: the model that an earlier run of the same command has left, put on
      the mesh; None if there is none.
  """

  def __init__(self, workdir: pathlib.Path, run: Mapping[str, Any],
               saving: Saving | None = None,
               after_phase: Callable[[], None] = lambda: None):
    """Says what runs where.

    Args:
      workdir: the folder of all results; made, and claimed for this process.
      run: JSON types that tell this run from others; saved with every model.
      saving: how often, and what stays.
      after_phase: called at the end of each phase.
    """
    self.workdir, self.run = pathlib.Path(workdir), dict(run)
    self.saving, self._after_phase = saving or Saving(), after_phase
    self._stack = contextlib.ExitStack()

  def __enter__(self) -> 'Session':
    # The lock is held for as long as somebody refers to the file.
    self._claim = folder.claim(self.workdir)
    saved = folder.resumed_model(
        self.workdir / 'model', self.run, tuple(self.run))
    self.resumed = saved and saved.with_params(
        saved.config, sharding.on_mesh(saved.params))
    with contextlib.ExitStack() as stack:
      self._display = stack.enter_context(
          Display(after_phase=self._after_phase))
      metrics = stack.enter_context(
          MetricsWriter(self.workdir / 'metrics.jsonl'))
      self._notice = stack.enter_context(preemption.listen())
      if saved:
        self._display.restore(saved.lineage)
      self.observer = Observer(self._display, metrics, PhaseSaves(
          self.workdir, folder.identity(self.run, tuple(self.run)),
          self._display, self._notice, self.saving.seconds))
      self._stack = stack.pop_all()
    return self

  def __exit__(self, *exception) -> None:
    if exception == (None, None, None):
      background.finish()
    self._stack.__exit__(*exception)

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
      kept.keep(self.workdir / 'model', number, measure, keep)
      saves.clear()

    with self._notice.held(), self.observer.phase('save', total=1) as phase:
      checkpoints.save_model(
          self.workdir / 'model', model.config, model.params, model.tokenizer,
          lineage, then=written)
      phase.advance()
    self._notice.check()
    return dataclasses.replace(model, lineage=lineage)

  def keep_resumed(self, number: int, measure: float | None) -> None:
    """Keeps what a run goes on from, if the earlier one could not."""
    kept.keep(self.workdir / 'model', number, measure, self.saving.keep)

  def report(self, entries: Mapping[str, Any], model: Model) -> dict[str, Any]:
    """Writes `report.json`, with what every run measures of itself."""
    display = self._display
    report = {
        **entries, 'params_sha256': params_sha256(model.params),
        'seconds': display.seconds, 'tokens_per_second':
        display.tokens_per_second, 'tokens': display.tokens,
        'peak_memory_bytes': report_lib.peak_memory_bytes(), 'config':
        self.run.get('config')}
    if 'question_cost' in entries:
      report |= cost.after_questions(entries['question_cost'], display.tokens)
    report_lib.write_report(self.workdir, report)
    return report


def params_sha256(params) -> str:
  """Hash over the names, dtypes, shapes and bytes of a tree, in path order."""
  digest = hashlib.sha256()
  for path, leaf in jax.tree_util.tree_flatten_with_path(params)[0]:
    leaf = sharding.to_host(leaf)
    digest.update(f'{jax.tree_util.keystr(path)} {leaf.dtype} {leaf.shape}'
                  .encode())
    digest.update(leaf.tobytes())
  return digest.hexdigest()
