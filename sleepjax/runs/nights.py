"""The loop of every benchmark: a day, a night, an exam, a save."""

import dataclasses
import json
import pathlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from sleepjax import seeds
from sleepjax.dreaming.tasks import Memory
from sleepjax.evals import report as report_lib
from sleepjax.growth.expansion import shape_table
from sleepjax.lifecycle import cycle
from sleepjax.lifecycle.config import SleepConfig
from sleepjax.lifecycle.cycle import Life
from sleepjax.lifecycle.reseeding import prompts_in
from sleepjax.mesh import sharding
from sleepjax.model import Model
from sleepjax.models import transformer
from sleepjax.runs import folder
from sleepjax.runs.announce import Remaining
from sleepjax.runs.recording import NightBook
from sleepjax.runs.session import NightSession, Saving
from sleepjax.runs.task import Task
from sleepjax.training.observer import Observer, silent


@dataclasses.dataclass(frozen=True)
class Run:
  """Where a run lives, and what is told of it.

  workdir: folder of all results; finished nights found there are not repeated.
  config: the resolved configuration, kept in the report; JSON types.
  seed: root of all randomness.
  saving: how often it is saved, and what stays.
  after_phase: called at the end of each phase.
  tell: gets a line after each night with the time that is left; None keeps
    silent.
  """

  workdir: pathlib.Path
  config: Mapping[str, Any] = dataclasses.field(default_factory=dict)
  seed: int = 0
  saving: Saving = Saving()
  after_phase: Callable[[], None] = lambda: None
  tell: Callable[[str], None] | None = None


def run(task: Task, model: Model, settings: SleepConfig, place: Run
        ) -> dict[str, Any]:
  """Lives all days of a task, one night after each.

  Args:
    task: days, exams, summary.
    model: canonical.
    settings: of every sleep.
    place: where, with which seed.

  Returns:
    The report, also written to `report.json` in the work directory.

  Raises:
    UserError: the folder holds another run, or the task refuses the model.
  """
  fresh = task.prepare(model)
  identity = {
      'base_architecture': model.config.architecture(), 'base': model.name,
      'answer_prompt': settings.answer_prompt, 'config': dict(place.config),
      **task.identity()}
  with NightSession(place.workdir, identity, place.saving, place.after_phase
                    ) as session:
    fresh = fresh.with_params(fresh.config, sharding.on_mesh(fresh.params))
    observer, untouched = session.observer, settings.for_compute(fresh)
    start = Life(fresh, base=untouched if task.retains_base else None)
    if session.resumed is None:
      progress = task.before(fresh, untouched, observer)
    else:
      saved = session.resumed.lineage
      start = dataclasses.replace(
          start, model=session.resumed, cycle=saved['sleeps'], memories=tuple(
              Memory.from_json(m) for m in saved['memories']))
      progress = saved['progress']
      session.keep_resumed(start.cycle - 1, saved['measure'])
    remaining = Remaining(task.nights, start.cycle, 'night', place.tell)
    life = start
    for life, measure in _lived(
        task, start, None if start.cycle else model, settings,
        seeds.key_of(place.seed), progress, observer):
      session.save(life.model, {
          'base_files': str(model.files), 'sleeps': life.cycle,
          'nights': life.model.lineage['nights'],
          'progress': progress, 'measure': measure,
          'memories': [dataclasses.asdict(m) for m in life.memories]},
                   life.cycle - 1, measure)
      remaining.done()
    summary = task.summary(
        progress, settings.for_compute(life.model), observer)
  report = session.report_on(life.model, {
      **summary, **task.identity(),
      'params_before': transformer.parameter_count(model.params),
      'params_after': transformer.parameter_count(life.model.params),
      'params_open_slots': sum(n.parameters for n in life.model.nights()),
      'seed': place.seed})
  for name, contents in task.files(progress).items():
    report_lib.write_json(session.workdir / name, contents)
  return report


def lived(task: Task, model: Model, settings: SleepConfig, seed: int = 0,
          observer: Observer | None = None) -> tuple[Model, dict[str, Any]]:
  """The same in memory: no folder, nothing saved.

  Returns:
    (the model after all nights, canonical; the task's summary).
  """
  observer, fresh = observer or silent(), task.prepare(model)
  fresh = fresh.with_params(fresh.config, sharding.on_mesh(fresh.params))
  untouched = settings.for_compute(fresh)
  start = Life(fresh, base=untouched if task.retains_base else None)
  progress = task.before(fresh, untouched, observer)
  *_, (life, _) = _lived(task, start, model, settings, seeds.key_of(seed),
                         progress, observer)
  ready = settings.for_compute(life.model)
  lineage = {**life.model.lineage, 'base': model.name, 'sleeps': life.cycle,
             'answer_prompt': settings.answer_prompt}
  return (dataclasses.replace(life.model, lineage=lineage),
          task.summary(progress, ready, observer))


def _lived(task, life, small, settings, key, progress, observer
           ) -> Iterator[tuple[Life, float | None]]:
  """(life, measure) after every night and its exam.

  small: the model before room was made for its first slots; None if that
    stands in an earlier report.
  """
  book = NightBook(settings)
  while life.cycle < task.nights:
    roomy = task.with_room(life.model, life.cycle)
    if roomy is not life.model:
      small = life.model
      life = dataclasses.replace(life, model=roomy.with_params(
          roomy.config, sharding.on_mesh(roomy.params)))
    day = task.day(life.cycle, progress)
    evening = life.model
    life, report = next(cycle.live(
        life, [day], settings, key=key, observer=observer))
    life = dataclasses.replace(life, model=book.written(
        evening, life.model, day, report))
    if small is not None:  # What has grown stands in the report once.
      report = dataclasses.replace(report, growth_shapes=shape_table(
          small.params, life.model.params))
      small = None
    measure = task.morning(
        life.cycle - 1, life.model, settings.for_compute(life.model), report,
        progress, observer)
    yield life, measure


def finished(workdir: pathlib.Path, config: Mapping[str, Any],
             identity: Mapping[str, Any]) -> dict[str, Any] | None:
  """The report of a run that has ended, if it is of these settings.

  Args:
    workdir: of the run.
    config: the resolved configuration.
    identity: of the task; see `Task.identity`.
  """
  path = workdir / 'report.json'
  report = json.loads(path.read_text()) if path.exists() else {}
  same = {'config': dict(config), **identity}
  theirs, ours = (folder.identity(run, tuple(same)) for run in (report, same))
  return report if theirs == ours else None


def remembered(dreams: Sequence[Sequence[Mapping[str, str]]], number: int,
               seed: int, night: int) -> tuple[str, ...]:
  """At most so many different prompts of earlier nights, drawn at random.

  Args:
    dreams: of each earlier night, as its report shows them.
    number: of prompts.
    seed, night: of the run, and which night they are for.
  """
  every = sorted({prompt for written in dreams
                  for prompt in prompts_in(written)})
  rng = np.random.default_rng((seed, night))
  return tuple(every[i] for i in rng.permutation(len(every))[:number])
