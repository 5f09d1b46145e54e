r"""Test beds: worlds in which one part of sleep can matter, and its arms.

  python -m experiments.beds --config=configs/beds/growth.py:160 --workdir=DIR
  python -m experiments.beds --config=configs/beds/imitation.py --workdir=DIR

The first lines of a configuration say what would be a success and when its bed
is of no use; each of its arms is a set of changes to it. A run is an arm's
nights on the days of a seed, with an exam after every night about all that was
told. It has a folder, DIR/ARM/seed_SEED, and is a row in DIR/rows. After each
row DIR/report.json and DIR/table.md are written, with every arm beside the
first one in pairs (`sleepjax.runs.table`), and DIR/report.png, what is known
after every night. What is finished is not repeated.
"""

if __name__ == '__main__':
  from experiments import _start
  _start.command('beds')

import json

import numpy as np
from absl import flags
from ml_collections import ConfigDict

from experiments import _config, _mesh
from sleepjax.data import files
from sleepjax.errors import UserError
from sleepjax.evals import pictures
from sleepjax.evals import report as report_lib
from sleepjax.lifecycle import cycle
from sleepjax.mesh import distributed
from sleepjax.model import load_pretrained
from sleepjax.runs import nights, rows, table
from sleepjax.runs.table import Column
from sleepjax.tasks import bed
from sleepjax.training.compilation_cache import enable_compilation_cache

# Its own flags, so that one process can import several commands.
_FLAGS = flags.FlagValues()
_WORKDIR = flags.DEFINE_string(
    'workdir', None, 'Folder for all results.', flag_values=_FLAGS)

_EARLY = 80  # Questions: of a longer life, what it was at this size is shown.
# Of the exam after the last night; `answers` are paired question by question,
# shares run by run.
_EXAMS = {'capacity': ('direct', 'paraphrase'),
          'relational': ('composite', 'one hop', 'stepwise')}


def columns_of(kind: str) -> dict[str, Column]:
  """The columns of a kind of bed."""
  columns = {}
  for exam in _EXAMS[kind]:
    columns[exam] = Column(f'{exam}_share', '.0%', margin=0.02)
    columns[f'{exam}, answers'] = Column(f'{exam}_right', '.0%')
  if kind == 'capacity':
    columns[f'direct, at {_EARLY}'] = Column(
        f'direct_at_{_EARLY}', '.0%', margin=0.02)
  first = _EXAMS[kind][0]
  return {
      **columns,
      'learnt': Column(f'{first}_learnt', '.0%'),
      'first told': Column(f'{first}_first_told', '.0%'),
      'long-known': Column('known_after', '.0%', margin=0.05),
      'in view': Column('in_view_accuracy', '.0%'),
      'undone': Column('sleeps_rolled_back', '.1f'),
      'units': Column('units', '.0f'),
      'tokens': Column('sleep_tokens', ',.0f')}


def with_arm(config: ConfigDict, arm: str) -> dict:
  """The configuration of an arm's runs, but for their seed.

  Raises:
    UserError: there is no such arm.
  """
  if arm not in config.changes:
    raise UserError(f'{arm!r} is no arm: expected one of '
                    f'{", ".join(config.changes)}.')
  base = {name: value for name, value in config.to_dict().items()
          if name not in ('arms', 'seeds', 'changes')}
  changed = ConfigDict(base)
  changed.update(config.changes[arm])
  return json.loads(json.dumps(changed.to_dict()))


def row_of(report: dict) -> dict:
  """The row of a run's report."""
  row = {name: report[name] for name in (
      'in_view_accuracy', 'sleeps_rolled_back', 'dreamt_in_exam_wording')}
  row |= {'known_after': report['known_accuracy'][-1],
          'units': report['units'][-1],
          'sleep_tokens': sum(report['tokens'].get(phase, 0) for phase in (
              'write', 'seed', 'dream'))}
  if joined := report.get('joined'):
    row |= {f'dreams_{name}': counts for name, counts in joined.items()}
  for name, exam in report['exams'].items():
    row |= {f'{name}_right': exam['right'],
            f'{name}_share': float(np.mean(exam['right'])),
            f'{name}_learnt': float(np.mean(exam['learnt'])),
            f'{name}_first_told': exam['first_told'][-1],
            f'{name}_by_night': exam['known_by_night'],
            f'{name}_first_told_by_night': exam['first_told']}
    for asked, known in zip(exam['asked_by_night'], exam['known_by_night'],
                            strict=True):
      if asked == _EARLY:
        row[f'{name}_at_{_EARLY}'] = known / asked
  return row


def plot(path, results, kind: str) -> None:
  """Draws what is known after every night, and of it the first night's share.

  Args:
    path: of the picture.
    results: row of every cell.
    kind: of the bed.
  """
  first = _EXAMS[kind][0]
  pictures.draw(path, lambda figure: _draw(figure, results, first), dpi=130,
                figsize=(10, 3.8), layout='constrained')


def _draw(figure, results, exam):
  left, right = figure.subplots(1, 2)
  for arm in dict.fromkeys(cell.arm for cell in results):
    of_arm = [row for cell, row in results.items() if cell.arm == arm]
    for axis, key in ((left, f'{exam}_by_night'),
                      (right, f'{exam}_first_told_by_night')):
      values = np.array([row[key] for row in of_arm], float)
      numbers = np.arange(1, values.shape[1] + 1)
      line, = axis.plot(numbers, values.mean(0), label=arm.replace('_', ' '))
      if len(values) > 1:
        axis.fill_between(numbers, values.min(0), values.max(0), alpha=0.15,
                          color=line.get_color(), linewidth=0)
  left.set(xlabel='night', ylabel='right answers', ylim=(0, None),
           title=f'Known after each night: {exam} questions')
  right.set(xlabel='night', ylim=(-0.03, 1.03),
            title='Share of what the first night told')
  for axis in (left, right):
    axis.spines[['top', 'right']].set_visible(False)
  left.legend(frameon=False)


def main(argv):
  config = _config.from_flags(
      argv, default='configs/beds/growth.py', description=__doc__,
      flag_values=_FLAGS,
      needs=('model', 'sleep', 'bed', 'arms', 'changes', 'seeds'))
  workdir = _config.path(_WORKDIR)
  comparison = _config.to_dataclass(rows.Comparison, {
      'arms': config.arms, 'seeds': config.seeds})
  saving = _config.saving_of(config)
  # All arms are checked before the first one runs.
  same = {arm: with_arm(config, arm) for arm in comparison.arms}
  settings = {arm: _config.to_dataclass(
      cycle.SleepConfig, entries['sleep'], f'config.sleep of {arm}')
              for arm, entries in same.items()}
  beds = {arm: _config.to_dataclass(
      bed.BedConfig, entries['bed'], f'config.bed of {arm}')
          for arm, entries in same.items()}
  kind = beds[comparison.arms[0]].kind
  columns = columns_of(kind)
  enable_compilation_cache()
  with _mesh.devices_of(config):
    model, results = load_pretrained(config.model), {}

    def make(cell):
      print(f'{cell.arm}, seed {cell.seed}', flush=True)
      chosen = settings[cell.arm]
      return row_of(nights.run(
          bed.BedTask(chosen, beds[cell.arm], cell.seed), model, chosen,
          nights.Run(workdir / cell.arm / f'seed_{cell.seed}',
                     {**same[cell.arm], 'seed': cell.seed}, cell.seed,
                     saving)))

    distributed.make_shared(workdir)
    made = rows.Rows(workdir, {
        arm: {'config': entries} for arm, entries in same.items()})
    for cell, row in made.fill(
        rows.cells(comparison.arms, comparison.seeds), make):
      results[cell] = row
      summary = table.summary(results, columns)
      report_lib.write_report(workdir, {
          'arms': summary,
          f'against_{comparison.arms[0]}': table.against_first(
              results, columns)})
      if distributed.is_first():
        text = table.markdown(summary, columns)
        files.write(workdir / 'table.md', text)
        plot(workdir / 'report.png', results, kind)
        if not len(results) % len(comparison.arms):
          print(text)
