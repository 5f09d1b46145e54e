r"""Classes that come one after another: a night after each increment.

  python -m experiments.class_incremental \
      --config=configs/class_incremental/small.py --workdir=DIR

A sleep, its ablations, fine-tuning, elastic weight consolidation and replay
(configs/class_incremental/arms.py), each on a fresh copy of one model; the last
increment, or its own, in view; and a Gaussian for each class on frozen
features. First the stop rule is checked, once: the model must label far more
with the increment in view. A row is the life of an arm and a seed, kept in
DIR/rows; a later run of the same command skips it, with more seeds or arms too,
and goes on with a life that was cut short. After every row DIR/report.json and
DIR/table.md are written: means with intervals, every arm beside `sleep` in
pairs, accuracy matrices and the verdict. With --choose every arm is run at each
of its values in config.tried, on a seed of its own, and DIR/choice has the
rows.
"""

if __name__ == '__main__':
  from experiments import _start
  _start.command('class_incremental')

import json
import shutil

from absl import flags

from configs.class_incremental.arms import with_arm
from experiments import _config, _host_pages, _main, _mesh
from sleepjax.data import files
from sleepjax.evals import report as report_lib
from sleepjax.evals.label_choice import LabelChoice
from sleepjax.lifecycle.config import SleepConfig
from sleepjax.mesh import distributed, sharding
from sleepjax.model import load_pretrained
from sleepjax.runs import folder as folder_lib
from sleepjax.runs import nights, rows, table
from sleepjax.runs.rows import Cell
from sleepjax.tasks import class_incremental, class_incremental_table
from sleepjax.tasks.class_incremental import UNTAUGHT, ClassConfig, ClassTask
from sleepjax.training.compilation_cache import enable_compilation_cache

# Its own flags, so that one process can import several commands.
_FLAGS = flags.FlagValues()
_WORKDIR = flags.DEFINE_string(
    'workdir', None, 'Folder for all results.', flag_values=_FLAGS)
_CHOOSE = flags.DEFINE_boolean(
    'choose', False, 'Run every arm at each of its values in config.tried.',
    flag_values=_FLAGS)

# Of the configuration, what says which rows there are and not what is in one.
_WHICH = 'arms', 'seeds', 'chosen', 'tried', 'choice_seed', 'sleep', 'mesh'


def identities(config, sleeps) -> dict:
  """What the rows of each arm are of, JSON types.

  More arms and seeds repeat nothing, and neither do other choices but of their
  own arm.

  Args:
    config: of the command.
    sleeps: arm that learns -> its config.sleep.
  """
  same = {name: value for name, value in config.to_dict().items()
          if name not in _WHICH}
  asked = {'answer_prompt': config.sleep.answer_prompt}
  return {arm: json.loads(json.dumps({**same, 'sleep': (
      sleeps[arm].to_dict() if arm in sleeps else asked)}))
          for arm in (*UNTAUGHT, *sleeps)}


def settings_of(sleeps) -> dict[str, SleepConfig]:
  """The settings of every arm that learns, checked."""
  return {arm: _config.to_dataclass(
      SleepConfig, sleep, f'config.sleep of {arm}')
          for arm, sleep in sleeps.items()}


def main(argv):
  config = _config.from_flags(
      argv, default='configs/class_incremental/small.py', description=__doc__,
      flag_values=_FLAGS, needs=(
          'model', 'data', 'bed', 'sleep', 'arms', 'seeds', 'chosen', 'tried',
          'choice_seed'))
  workdir = _config.path(_WORKDIR)
  comparison = _config.to_dataclass(rows.Comparison, {
      'arms': config.arms, 'seeds': config.seeds})
  sleeps = {arm: with_arm(config.sleep, arm, config.chosen)
            for arm in comparison.arms if arm not in UNTAUGHT}
  settings = settings_of(sleeps)
  plain = _config.to_dataclass(SleepConfig, config.sleep, 'config.sleep')
  classes = _config.to_dataclass(ClassConfig, config.bed, 'config.bed')
  saving = _config.saving_of(config)
  same = identities(config, sleeps)
  enable_compilation_cache()
  with _mesh.devices_of(config):
    distributed.make_shared(workdir)
    _claim = folder_lib.claim(workdir)
    model = load_pretrained(config.model)
    model = model.with_params(model.config, sharding.on_mesh(model.params))

    def bed_of(seed, calibrated=False):
      return class_incremental.bed_of(config.data, classes, seed, LabelChoice(
          plain.answer_prompt, calibrated, classes.batch_rows))

    tried = bed_of(config.choice_seed)
    ClassTask(model, plain, tried)  # It fits, or is refused here.
    (_, gap), = rows.Rows(
        workdir / 'checked', {'gap': {'config': same['in_view']}}).fill(
            [Cell('gap', config.choice_seed)], lambda cell: tried.gap(
                plain.for_compute(model), classes.least_gap))
    _main.tell(f'labelled right: {gap["closed_book"]:.0%} closed book, '
               f'{gap["in_view"]:.0%} with the increment in view')
    if reason := class_incremental_table.no_room(gap):
      report_lib.write_report(workdir, {'gap': gap, 'stopped': reason})
      _main.tell(f'Stopped: {reason}.')
      return

    def make(cell, chosen, entries):
      _main.tell(f'{cell.arm}, seed {cell.seed}')
      bed = bed_of(cell.seed, gap['calibrated'])
      if cell.arm in UNTAUGHT:
        return bed.untaught(
            cell.arm, plain.for_compute(model), classes.shrinkage)
      place = nights.Run(
          workdir / 'unfinished' / f'{cell.arm}_{cell.seed}_{cell.item}',
          entries, cell.seed, saving, _host_pages.give_back)
      row = row_of(nights.run(
          ClassTask(model, chosen, bed), model, chosen, place))
      if distributed.is_first():
        shutil.rmtree(place.workdir)
      return row

    if _CHOOSE.value:
      _choose(config, make, workdir / 'choice')
      return
    _fill(workdir, rows.cells(comparison.arms, comparison.seeds), make,
          settings, same, gap)


def row_of(report) -> dict:
  """The row of a life, from its report."""
  return {
      **{name: report[name] for name in (
          'matrix', 'right', 'on_the_way', 'first', 'average_accuracy',
          'learnt', 'forgetting', 'backward_transfer', 'elsewhere_before',
          'elsewhere', 'teacher', 'taught', 'hand_overs', 'undone', 'seconds',
          'tokens')},
      'grown': report['params_after'] - report['params_before'],
      **{f'night_{unit}': sum(report[unit].get(phase, 0) for phase in (
          'grow', 'wake', 'write', 'seed')) for unit in ('seconds', 'tokens')}}


def _fill(workdir, cells, make, settings, same, gap):
  """Makes the rows that are missing, and the table after every one."""
  results = {}
  made = rows.Rows(workdir, {
      arm: {'config': entries} for arm, entries in same.items()})
  for cell, row in made.fill(cells, lambda cell: make(
      cell, settings.get(cell.arm), same[cell.arm])):
    results[cell] = row
    summary = class_incremental_table.summary(results)
    report_lib.write_report(workdir, {'gap': gap, **summary})
    if distributed.is_first():
      files.write(workdir / 'table.md', table.markdown(
          summary['arms'], class_incremental_table.COLUMNS))
  _main.tell(table.markdown(summary['arms'], class_incremental_table.COLUMNS))


def _choose(config, make, workdir):
  """Runs every arm at each value; tells what it had in the end."""
  for arm in config.arms:
    ends = {}
    for value in config.tried.get(arm, ()):
      sleep = with_arm(config.sleep, arm, {
          **config.chosen.to_dict(), arm: value})
      chosen = settings_of({arm: sleep})[arm]
      same = identities(config, {arm: sleep})[arm]
      made = rows.Rows(workdir, {arm: {'config': same}})
      for _, row in made.fill(
          [Cell(arm, config.choice_seed, f'{value:g}')],
          lambda cell, chosen=chosen, same=same: make(cell, chosen, same)):
        ends[value] = row['average_accuracy']
    if ends:
      said = ', '.join(f'{value:g} {end:.1%}' for value, end in ends.items())
      _main.tell(f'{arm}: {said}; best {max(ends, key=ends.get):g}')
