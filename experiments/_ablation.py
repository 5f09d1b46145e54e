"""Arms of one lifecycle, several seeds of each, one table.

What the commands `ablate_seeding` and `ablate_dreaming` share. A row is a run:
in the tiny world the days of a seed, on SQuAD the sleep on a passage, of which
every seed has its own. Each has a folder, DIR/ARM/seed_SEED, and is kept in
DIR/rows; after each of them DIR/report.json and DIR/table.md are written, with
means, 95 % intervals, and every arm beside the first one in pairs
(`sleepjax.runs.table`). What is finished is not repeated.
"""

import dataclasses
import json
import pathlib

import numpy as np

from experiments import _config, _mesh
from experiments.squad_passages import changes, read_passages, to_exam
from sleepjax.data import files
from sleepjax.errors import UserError
from sleepjax.evals import report as report_lib
from sleepjax.evals import sleep_scores
from sleepjax.lifecycle import cycle
from sleepjax.mesh import distributed
from sleepjax.model import load_pretrained
from sleepjax.runs import nights, rows, table
from sleepjax.runs.table import Column
from sleepjax.tasks import document, world
from sleepjax.training.compilation_cache import enable_compilation_cache

_ALL = ('all',)  # The only item of a seed of the tiny world.
_IN_THE_END = {
    'in the end': Column('average_accuracy', '.0%'),
    'paraphrased': Column('paraphrase_accuracy', '.0%'),
    'reversed': Column('reversed_accuracy', '.0%'),
    'trained templates': Column('trained_templates_accuracy', '.0%'),
    'first day, in the end': Column('first_day_in_the_end', '.0%'),
    'forgotten': Column('forgetting', '.0%'),
    'long-known': Column('known_after', '.0%', margin=0.05),
    'undone': Column('sleeps_rolled_back', '.1f')}
_ON_PASSAGES = {
    'knows': Column('right', '.0%'),
    'recovered, net': Column(
        ('gained_net', 'gap'), '.0%', least=sleep_scores.LEAST_GAP),
    'loss after': Column('closed_book_nll_after')}
# By scale: of seeding.
SEEDING_COLUMNS = {
    'world': {
        'topic recovered': Column('topic_recovered', '.0%'),
        'learnt': Column('learnt', '.0%'),
        **_IN_THE_END,
        'in view': Column('in_view_after', '.0%'),
        'tokens': Column('seed_tokens', ',.0f')},
    'squad': {
        **_ON_PASSAGES,
        'contains': Column('contains_after', '.0%'),
        'controls': Column('control_change', '+.2f'),
        'with a context': Column('context_lost', '+.2f'),
        'drift': Column('drift', '+.1%', margin=0.01),
        'undone': Column('sleeps_rolled_back', '.1f'),
        'tokens': Column('seed_tokens', ',.0f')}}
# The same of the second stage.
DREAMING_COLUMNS = {
    'world': {
        **_IN_THE_END,
        'dreams that help': Column('dream_success_rate', '.0%'),
        'distinct-2': Column('dream_distinct_2'),
        'similarity': Column('dream_similarity'),
        'rank correlation: influence': Column(
            'dream_influence_rank_correlation'),
        'norm': Column('dream_norm_rank_correlation'),
        'tokens': Column('sleep_tokens', ',.0f')},
    'squad': {
        **_ON_PASSAGES,
        'with a context': Column('context_lost', '+.2f'),
        'drift': Column('drift', '+.1%', margin=0.01),
        'dreams that help, first round': Column('dream_success_first', '.0%'),
        'last round': Column('dream_success_last', '.0%'),
        'tokens': Column('sleep_tokens', ',.0f')}}


@dataclasses.dataclass(frozen=True)
class AblationConfig(rows.Comparison):
  """What is compared, and where.

  scale: 'world' or 'squad'.
  """

  scale: str

  def __post_init__(self):
    if self.scale not in _RUNS:
      raise ValueError(f'scale={self.scale!r} must be one of '
                       f'{", ".join(_RUNS)}.')
    super().__post_init__()


def run_world(model, settings, cell, place):
  """The row of days and nights."""
  days = _config.to_dataclass(
      world.DaysConfig, place.config['days'], 'config.days')
  report = nights.run(world.WorldTask(settings, days, cell.seed), model,
                      settings, place)
  return {**_numbers(report), 'known_after': report['known_accuracy'][-1],
          'in_view_after': report['in_context_accuracy_after'][-1]}


def run_squad(model, settings, cell, place):
  """The row of one of a seed's own passages."""
  number = place.config['passages']
  exam = _config.to_dataclass(
      document.ExamConfig, place.config['exam'], 'config.exam')
  (passage,), controls = read_passages(
      place.config['split'], cell.seed * number + int(cell.item), 1)
  task = document.DocumentTask(
      model, document.Reading(*to_exam(passage), controls), settings, exam,
      cell.seed)
  report, _ = document.slept_on(task, model, dataclasses.replace(
      place, workdir=place.workdir / cell.item))
  # A night without a verified question has no round.
  rates = [night for night in report.get('dream_success_rates', ()) if night]
  success = {f'dream_success_{name}': float(np.mean([r[i] for r in rates]))
             for name, i in (('first', 0), ('last', -1))} if rates else {}
  return {**_numbers(report), **changes(report), **success,
          'right': [answer['knows_after'] for answer in report['answers']],
          'contains_after': report['closed_book_accuracy_after']['contains']}


_RUNS = {'world': run_world, 'squad': run_squad}


def _numbers(report):
  """Those of a report that are single ones, and the tokens of its nights."""
  tokens = lambda *phases: sum(report['tokens'].get(p, 0) for p in phases)
  return {**{name: value for name, value in report.items()
             if isinstance(value, int | float)},
          'seed_tokens': tokens('seed'),
          'sleep_tokens': tokens('write', 'seed', 'dream')}


def run(config, workdir: pathlib.Path, with_arm, columns):
  """All arms of all seeds.

  Args:
    config: with sleep, scale, arms, seeds, and what the scale needs.
    workdir: where results go.
    with_arm: (config.sleep, name of an arm, config) -> config.sleep of it.
    columns: of the table, by scale.
  """
  ablation = _config.to_dataclass(AblationConfig, {
      name: config[name] for name in ('scale', 'arms', 'seeds')})
  needed = {'world': 'days', 'squad': 'passages'}[ablation.scale]
  if needed not in config:
    raise UserError(f'config.scale={ablation.scale!r} needs config.{needed}: '
                    'start from the configuration of that scale.')
  settings, sleeps, items = {}, {}, _ALL
  for arm in ablation.arms:  # All are checked before the first one runs.
    sleeps[arm] = with_arm(config.sleep, arm, config)
    settings[arm] = _config.to_dataclass(
        cycle.SleepConfig, sleeps[arm], f'config.sleep of {arm}')
  if ablation.scale == 'squad':  # That there are as many is known at once.
    _config.check_numbers(config, passages=1)
    read_passages(
        config.split, 0, (max(ablation.seeds) + 1) * config.passages)
    items = [f'{n:03d}' for n in range(config.passages)]
  _config.saving_of(config)
  enable_compilation_cache()
  with _mesh.devices_of(config):
    # More arms and seeds repeat nothing.
    base = {name: value for name, value in config.to_dict().items()
            if name not in ('arms', 'seeds', 'rates')}
    same = {arm: json.loads(json.dumps({**base, 'sleep': sleep.to_dict()}))
            for arm, sleep in sleeps.items()}
    model, results = load_pretrained(config.model), {}

    def make(cell):
      print(f'{cell.arm}, seed {cell.seed}', flush=True)
      place = nights.Run(
          workdir / cell.arm / f'seed_{cell.seed}',
          {**same[cell.arm], 'seed': cell.seed}, cell.seed)
      return _RUNS[ablation.scale](model, settings[cell.arm], cell, place)

    distributed.make_shared(workdir)
    made = rows.Rows(workdir, {
        arm: {'config': entries} for arm, entries in same.items()})
    for cell, row in made.fill(
        rows.cells(ablation.arms, ablation.seeds, items), make):
      results[cell] = row
      _write(workdir, results, columns[ablation.scale], ablation)


def _write(workdir, results, columns, ablation):
  """The table so far, which is printed where all arms have the same rows."""
  summary, first = table.summary(results, columns), ablation.arms[0]
  report_lib.write_report(workdir, {
      'arms': summary, f'against_{first}': table.against_first(
          results, columns), 'scale': ablation.scale})
  text = table.markdown(summary, columns)
  if distributed.is_first():
    files.write(workdir / 'table.md', text)
  if not len(results) % len(ablation.arms):
    print(text)
