"""Arms of one lifecycle, several seeds of each, one table.

What the commands `ablate_seeding` and `ablate_dreaming` share. Writes a folder
for each arm and seed, and after each of them DIR/report.json and DIR/table.md
with means and 95 % intervals over seeds, of the arms and of their differences
from the first one, seed by seed. What is finished is not repeated.
"""

import dataclasses
import json
import pathlib

import rich.console
import rich.table

from experiments import _main, _mesh
from experiments.squad_passages import read_passages, summarise, to_exam
from sleepjax.data import files
from sleepjax.errors import UserError
from sleepjax.evals import report as report_lib
from sleepjax.evals import sleep_scores
from sleepjax.evals.interval import interval, ratio_interval
from sleepjax.lifecycle import cycle
from sleepjax.mesh import distributed
from sleepjax.model import load_pretrained
from sleepjax.runs import nights
from sleepjax.tasks import document, world
from sleepjax.training.compilation_cache import enable_compilation_cache

# Column -> (key of a run's report, or two of which the ratio is taken; format).
_IN_THE_END = {
    'in the end': ('average_accuracy', '.0%'),
    'paraphrased': ('paraphrase_accuracy', '.0%'),
    'reversed': ('reversed_accuracy', '.0%'),
    'first day, in the end': ('first_day_in_the_end', '.0%'),
    'forgotten': ('forgetting', '.0%'),
    'long-known': ('known_after', '.0%'),
    'undone': ('sleeps_rolled_back', '.1f')}
_ON_PASSAGES = {
    'recovered, net': (('gained_net', 'gap'), '.0%'),
    'loss after': ('closed_book_nll_after', '.2f')}
# By scale: of seeding.
SEEDING_COLUMNS = {
    'world': {
        'topic recovered': ('topic_recovered', '.0%'),
        'learnt': ('learnt', '.0%'),
        **_IN_THE_END,
        'in view': ('in_view_after', '.0%'),
        'tokens': ('seed_tokens', ',.0f')},
    'squad': {
        **_ON_PASSAGES,
        'contains': ('contains_after', '.0%'),
        'controls': ('control_change', '+.2f'),
        'with a context': ('context_lost', '+.2f'),
        'drift': ('drift', '+.1%'),
        'undone': ('sleeps_rolled_back', '.1f'),
        'tokens': ('seed_tokens', ',.0f')}}
# The same of the second stage.
DREAMING_COLUMNS = {
    'world': {
        **_IN_THE_END,
        'dreams that help': ('dream_success_rate', '.0%'),
        'distinct-2': ('dream_distinct_2', '.2f'),
        'similarity': ('dream_similarity', '.2f'),
        'rank correlation: influence': (
            'dream_influence_rank_correlation', '.2f'),
        'norm': ('dream_norm_rank_correlation', '.2f'),
        'tokens': ('sleep_tokens', ',.0f')},
    'squad': {
        **_ON_PASSAGES,
        'with a context': ('context_lost', '+.2f'),
        'drift': ('drift', '+.1%'),
        'dreams that help, first round': ('dream_success_first', '.0%'),
        'last round': ('dream_success_last', '.0%'),
        'tokens': ('sleep_tokens', ',.0f')}}


@dataclasses.dataclass(frozen=True)
class AblationConfig:
  """What is compared.

  scale: 'world' or 'squad'.
  arms: names of the configuration's arms.
  seeds: one run of every arm for each.
  """

  scale: str
  arms: tuple[str, ...]
  seeds: tuple[int, ...]

  def __post_init__(self):
    if self.scale not in _RUNS:
      raise ValueError(f'scale={self.scale!r} must be one of '
                       f'{", ".join(_RUNS)}.')
    for name in ('arms', 'seeds'):
      values = getattr(self, name)
      if not values or len(set(values)) < len(values):
        raise ValueError(f'{name}={values} must be different, at least one.')
    if min(self.seeds) < 0:
      raise ValueError(f'seeds={self.seeds} must not be negative.')


def run_world(model, config, settings, seed, folder, number):
  """The report of days and nights, with what the table needs."""
  del number
  days = _main.to_dataclass(world.DaysConfig, config['days'], 'config.days')
  report = nights.run(world.WorldTask(settings, days, seed), model, settings,
                      nights.Run(folder, config, seed))
  return {**report, 'known_after': report['known_accuracy'][-1],
          'seed_tokens': _tokens([report], 'seed'),
          'sleep_tokens': _sleep_tokens([report]),
          'in_view_after': report['in_context_accuracy_after'][-1]}


def _tokens(reports, phase):
  """Read or written in a phase by all of these runs."""
  return sum(r['tokens'].get(phase, 0) for r in reports)


def _sleep_tokens(reports):
  return sum(_tokens(reports, phase) for phase in ('write', 'seed', 'dream'))


def run_squad(model, config, settings, seed, folder, number):
  """The mean over the seed's own passages, with what the table needs."""
  exam = _main.to_dataclass(
      document.ExamConfig, config['exam'], 'config.exam')
  passages, controls = read_passages(config['split'], seed * number, number)
  reports = []
  for n, passage in enumerate(passages):
    task = document.DocumentTask(
        model, document.Reading(*to_exam(passage), controls), settings, exam,
        seed)
    reports.append(document.slept_on(task, model, nights.Run(
        folder / f'{n:03d}', config, seed))[0])
  summary = summarise(reports)
  rates = [night for r in reports for night in r.get('dream_success_rates', ())
           if night]  # A night without a verified question has no round.
  success = {f'dream_success_{name}': sum(r[i] for r in rates) / len(rates)
             for name, i in (('first', 0), ('last', -1))} if rates else {}
  return {**summary, **success,
          'seed_tokens': _tokens(reports, 'seed') / len(reports),
          'sleep_tokens': _sleep_tokens(reports) / len(reports),
          'contains_after': summary['closed_book_accuracy_after']['contains']}


_RUNS = {'world': run_world, 'squad': run_squad}


def collect(results, columns) -> dict:
  """arm -> column -> interval, of results arm -> [reports of seeds].

  Of a column that an arm does not have, None.
  """
  def entry(reports, key):
    keys = key if isinstance(key, tuple) else (key,)
    values = [[r.get(k) for r in reports] for k in keys]
    if any(value is None for each in values for value in each):
      return None
    return ratio_interval(
        *values, sleep_scores.LEAST_GAP) if len(keys) > 1 else interval(*values)

  return {arm: {column: entry(reports, key)
                for column, (key, _) in columns.items()}
          for arm, reports in results.items()}


def minus_first(results, columns) -> dict:
  """arm -> column -> interval of its difference from the first arm.

  Differences are taken seed by seed, between runs of the same days or passages.
  Of a ratio, of what stands above the line. None as in `collect`.
  """
  (_, first), *others = results.items()

  def entry(reports, key):
    key = key[0] if isinstance(key, tuple) else key
    pairs = [(a.get(key), b.get(key))
             for a, b in zip(reports, first, strict=False)]
    return None if any(None in pair for pair in pairs) else interval(
        [a - b for a, b in pairs])

  return {arm: {column: entry(reports, key)
                for column, (key, _) in columns.items()}
          for arm, reports in others}


def cells(entry, form) -> str:
  if entry is None:
    return '–'
  half = entry['half_width']
  text = format(entry['mean'], form)
  return text if half is None else f'{text} ± {format(half, form.lstrip("+"))}'


def markdown(summary, columns) -> str:
  """The table as it stands in the documentation."""
  lines = ['| arm | seeds | ' + ' | '.join(columns) + ' |',
           '| --- | --- |' + ' --- |' * len(columns)]
  for arm, entries in summary.items():
    seeds = max(len(e['values']) for e in entries.values() if e)
    lines.append(f'| {arm} | {seeds} | ' + ' | '.join(
        cells(entries[c], form) for c, (_, form) in columns.items()) + ' |')
  return '\n'.join(lines) + '\n'


def print_summary(summary, columns):
  table = rich.table.Table('arm', *columns)
  for arm, entries in summary.items():
    table.add_row(arm, *(cells(entries[c], form)
                         for c, (_, form) in columns.items()))
  rich.console.Console().print(table)


def run(config, workdir: pathlib.Path, with_arm, columns):
  """All arms of all seeds.

  Args:
    config: with sleep, scale, arms, seeds, and what the scale needs.
    workdir: where results go.
    with_arm: (config.sleep, name of an arm, config) -> config.sleep of it.
    columns: of the table, by scale.
  """
  ablation = _main.to_dataclass(AblationConfig, {
      name: config[name] for name in ('scale', 'arms', 'seeds')})
  needed = {'world': 'days', 'squad': 'passages'}[ablation.scale]
  if needed not in config:
    raise UserError(f'config.scale={ablation.scale!r} needs config.{needed}: '
                    'start from the configuration of that scale.')
  columns, settings = columns[ablation.scale], {}
  for arm in ablation.arms:  # All are checked before the first one runs.
    sleep = with_arm(config.sleep, arm, config)
    settings[arm] = sleep.to_dict(), _main.to_dataclass(
        cycle.SleepConfig, sleep, f'config.sleep of {arm}')
  if ablation.scale == 'squad':  # That there are as many is known at once.
    _main.check_numbers(config, passages=1)
    read_passages(
        config.split, 0, (max(ablation.seeds) + 1) * config.passages)
  _main.saving_of(config)
  enable_compilation_cache()
  with _mesh.devices_of(config):
    _run_all(config, settings, ablation, workdir, columns)


def _run_all(config, settings, ablation, workdir, columns):
  distributed.make_shared(workdir)
  model, results = load_pretrained(config.model), {}
  base = json.loads(json.dumps(config.to_dict()))
  for name in ('arms', 'seeds', 'rates'):
    base.pop(name, None)  # More of them repeat nothing.
  # Every arm once before the second seed: an early end is a fair table.
  for seed in ablation.seeds:
    for arm, (sleep, built) in settings.items():
      print(f'{arm}, seed {seed}', flush=True)
      resolved = {**base, 'sleep': json.loads(json.dumps(sleep)),
                  'seed': seed}
      results.setdefault(arm, []).append(_RUNS[ablation.scale](
          model, resolved, built, seed, workdir / arm / f'seed_{seed}',
          config.get('passages')))
      summary = collect(results, columns)
      report_lib.write_report(workdir, {
          'arms': summary, f'minus_{ablation.arms[0]}': minus_first(
              results, columns), 'scale': ablation.scale})
      if distributed.is_first():
        files.write(workdir / 'table.md', markdown(summary, columns))
    print_summary(summary, columns)
