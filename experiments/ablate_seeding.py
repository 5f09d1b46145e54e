"""Which part of seeding does what: every arm, several seeds, one table.

  python -m experiments.ablate_seeding --config=configs/seeding/world.py \
      --workdir=DIR
  python -m experiments.ablate_seeding --config=configs/seeding/squad.py \
      --workdir=DIR

In the tiny world each run is ten days and nights (`experiments.quickstart`);
on SQuAD, SmolLM2 sleeps on each of a few passages
(`experiments.squad_passages`). The arms are those of configs/seeding/arms.py: a
lifecycle with parts switched, at equal updates and rows; `tokens` says what
seeding read and wrote for them. Writes a folder for each arm and seed, and
after each of them DIR/report.json and DIR/table.md with means and 95 %
intervals over seeds. On SQuAD every seed has passages of its own, the same for
all arms, so that intervals cover the choice of passages too. What is finished
is not repeated.
"""

import dataclasses
import json
import pathlib

import rich.console
import rich.table
from absl import flags

from configs.seeding.arms import with_arm
from experiments import _days, _document, _main
from experiments.squad_passages import read_passages, summarise, to_exam
from sleepjax import lifecycle
from sleepjax.errors import UserError
from sleepjax.evals import report as report_lib
from sleepjax.evals.interval import interval
from sleepjax.models.load import load_pretrained
from sleepjax.training.compilation_cache import enable_compilation_cache

# Its own flags, so that one process can import several commands.
_FLAGS = flags.FlagValues()
_WORKDIR = flags.DEFINE_string(
    'workdir', None, 'Folder for all results.', flag_values=_FLAGS)

# Column -> (key of a run's report, format), by scale.
COLUMNS = {
    'world': {
        'context recovered': ('context_recovered', '.0%'),
        'learnt': ('learnt', '.0%'),
        'in the end': ('average_accuracy', '.0%'),
        'paraphrased': ('paraphrase_accuracy', '.0%'),
        'reversed': ('reversed_accuracy', '.0%'),
        'first day, in the end': ('first_day_in_the_end', '.0%'),
        'forgotten': ('forgetting', '.0%'),
        'long-known': ('known_after', '.0%'),
        'in view': ('in_view_after', '.0%'),
        'tokens': ('seed_tokens', ',.0f')},
    'squad': {
        'recovered, net': ('context_recovered_net', '.0%'),
        'loss after': ('closed_book_nll_after', '.2f'),
        'contains': ('contains_after', '.0%'),
        'with a context': ('context_lost', '+.2f'),
        'drift': ('drift', '+.1%'),
        'tokens': ('seed_tokens', ',.0f')}}


@dataclasses.dataclass(frozen=True)
class AblationConfig:
  """What is compared.

  scale: 'world' or 'squad'.
  arms: names of configs/seeding/arms.py.
  seeds: one run of every arm for each.
  """

  scale: str
  arms: tuple[str, ...]
  seeds: tuple[int, ...]

  def __post_init__(self):
    if self.scale not in COLUMNS:
      raise ValueError(f'scale={self.scale!r} must be one of '
                       f'{", ".join(COLUMNS)}.')
    for name in ('arms', 'seeds'):
      values = getattr(self, name)
      if not values or len(set(values)) < len(values):
        raise ValueError(f'{name}={values} must be different, at least one.')


def run_world(model, config, settings, seed, folder, number):
  """The report of days and nights, with what the table needs."""
  del number
  days = _main.to_dataclass(_days.DaysConfig, config['days'], 'config.days')
  report = _days.run(model, config, settings, days, seed, folder)
  return {**report, 'known_after': report['known_accuracy'][-1],
          'in_view_after': report['in_context_accuracy_after'][-1]}


def run_squad(model, config, settings, seed, folder, number):
  """The mean over the seed's own passages, with what the table needs."""
  exam = _main.to_dataclass(
      _document.ExamConfig, config['exam'], 'config.exam')
  passages, controls = read_passages(config['split'], seed * number, number)
  reports = []
  for n, passage in enumerate(passages):
    own = folder / f'{n:03d}'
    reports.append(_document.finished(own, config) or _document.run(
        model, *to_exam(passage), controls, config, settings, exam, seed, own))
  summary = summarise(reports)
  return {**summary,
          'seed_tokens': sum(
              r['tokens_per_second'].get('seed', 0) * r['seconds']['seed']
              for r in reports) / len(reports),
          'contains_after': summary['closed_book_accuracy_after']['contains'],
          'context_lost': (summary['in_context_other_nll_after']
                           - summary['in_context_other_nll_before'])}


_RUNS = {'world': run_world, 'squad': run_squad}


def collect(results, scale) -> dict:
  """arm -> column -> interval, of results arm -> [reports of seeds]."""
  return {arm: {column: interval([r[key] for r in reports])
                for column, (key, _) in COLUMNS[scale].items()}
          for arm, reports in results.items()}


def cells(entry, form) -> str:
  half = entry['half_width']
  text = format(entry['mean'], form)
  return text if half is None else f'{text} ± {format(half, form.lstrip("+"))}'


def markdown(summary, scale) -> str:
  """The table as it stands in the documentation."""
  columns = COLUMNS[scale]
  lines = ['| arm | seeds | ' + ' | '.join(columns) + ' |',
           '| --- | --- |' + ' --- |' * len(columns)]
  for arm, entries in summary.items():
    seeds = len(next(iter(entries.values()))['values'])
    lines.append(f'| {arm} | {seeds} | ' + ' | '.join(
        cells(entries[c], form) for c, (_, form) in columns.items()) + ' |')
  return '\n'.join(lines) + '\n'


def print_summary(summary, scale):
  columns = COLUMNS[scale]
  table = rich.table.Table('arm', *columns)
  for arm, entries in summary.items():
    table.add_row(arm, *(cells(entries[c], form)
                         for c, (_, form) in columns.items()))
  rich.console.Console().print(table)


def main(argv):
  config = _main.config_from_flags(
      argv, default='configs/seeding/world.py', description=__doc__,
      flag_values=_FLAGS)
  if _WORKDIR.value is None:
    raise UserError('--workdir is missing; see --help.')
  ablation = _main.to_dataclass(AblationConfig, {
      name: config[name] for name in ('scale', 'arms', 'seeds')})
  needed = {'world': 'days', 'squad': 'passages'}[ablation.scale]
  if needed not in config:
    raise UserError(f'config.scale={ablation.scale!r} needs config.{needed}: '
                    f'start from configs/seeding/{ablation.scale}.py.')
  settings = {}
  for arm in ablation.arms:  # All are checked before the first one runs.
    sleep = with_arm(config.sleep, arm, config.rates)
    settings[arm] = sleep.to_dict(), _main.to_dataclass(
        lifecycle.SleepConfig, sleep, f'config.sleep of {arm}')
  enable_compilation_cache()
  workdir = pathlib.Path(_WORKDIR.value)
  model, results = load_pretrained(config.model), {}
  base = json.loads(json.dumps(config.to_dict()))
  for name in ('arms', 'seeds', 'rates', 'passages'):
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
      summary = collect(results, ablation.scale)
      report_lib.write_report(workdir, {
          'arms': summary, 'scale': ablation.scale})
      (workdir / 'table.md').write_text(markdown(summary, ablation.scale))
    print_summary(summary, ablation.scale)


if __name__ == '__main__':
  import sys
  _main.run(main, sys.argv)
