"""The loop of every benchmark: a day, a night, an exam, a save."""

import dataclasses
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from sleepjax import seeds
from sleepjax.dreaming.tasks import Memory
from sleepjax.evals import report as report_lib
from sleepjax.lifecycle import cycle
from sleepjax.lifecycle.config import SleepConfig
from sleepjax.lifecycle.cycle import Life
from sleepjax.mesh import sharding
from sleepjax.model import Model
from sleepjax.models import transformer
from sleepjax.runs.session import Saving, Session
from sleepjax.runs.task import Task


def run(task: Task, model: Model, settings: SleepConfig, *,
        config: Mapping[str, Any], seed: int, workdir: pathlib.Path,
        saving: Saving | None = None, after_phase=lambda: None) -> dict:
  """Lives all days of a task, one night after each.

  Args:
    task: days, exams, summary.
    model: canonical.
    settings: of every sleep.
    config: the resolved configuration, kept in the report.
    seed: root of all randomness.
    workdir: where results go; finished nights found there are not repeated.
    saving: how often the run is saved, and what stays.
    after_phase: called at the end of each phase.

  Returns:
    The report, also written to `workdir`.

  Raises:
    UserError: the folder holds another run, or the task refuses the model.
  """
  fresh = task.prepare(model)
  identity = {
      'base': model.name, 'base_architecture': model.config.architecture(),
      'answer_prompt': settings.answer_prompt, 'config': dict(config),
      **task.identity()}
  with Session(workdir, identity, saving, after_phase) as session:
    fresh = fresh.with_params(fresh.config, sharding.on_mesh(fresh.params))
    untouched, observer = settings.for_compute(fresh), session.observer
    start = Life(fresh)
    if session.resumed is None:
      progress = task.before(fresh, untouched, observer)
    else:
      lineage = session.resumed.lineage
      start, progress = Life(session.resumed, lineage['sleeps'], tuple(
          Memory.from_json(m) for m in lineage['memories'])), (
              lineage['progress'])
      session.keep_resumed(start.cycle - 1, lineage['measure'])
    if task.retains_base:
      start = dataclasses.replace(start, base=untouched)
    current, days = start.model, (
        task.day(night, progress)
        for night in range(start.cycle, task.nights))
    for life, report in cycle.live(
        start, days, settings, key=seeds.key_of(seed), observer=observer):
      measure = task.morning(
          life.cycle - 1, life.model, settings.for_compute(life.model), report,
          progress, observer)
      current = session.save(life.model, {
          'base_files': str(model.files), 'sleeps': life.cycle,
          'progress': progress, 'measure': measure,
          'memories': [dataclasses.asdict(m) for m in life.memories]},
                             life.cycle - 1, measure)
    summary = task.summary(progress, current)
    for name, contents in task.files(progress).items():
      report_lib.write_json(workdir / name, contents)
  return session.report({
      **summary, 'params_before': transformer.parameter_count(model.params),
      'params_after': transformer.parameter_count(current.params),
      'seed': seed}, current)


def remembered(dreams: Sequence[Sequence[Mapping[str, str]]], number: int,
               seed: int, night: int) -> tuple[str, ...]:
  """At most so many different prompts of earlier nights, drawn at random.

  Args:
    dreams: of each earlier night, as its report shows them.
    number: of prompts.
    seed, night: of the run, and which night they are for.
  """
  every = sorted({dream['prompt'] for written in dreams for dream in written
                  if dream['kind'] != 'recall'})
  rng = np.random.default_rng((seed, night))
  return tuple(every[i] for i in rng.permutation(len(every))[:number])
