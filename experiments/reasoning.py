r"""Problems with solutions, from which a model learns in several ways.

  python -m experiments.reasoning --config=configs/reasoning/small.py \
      --workdir=DIR

A sleep, its ablations, on-policy self-distillation, fine-tuning and GRPO
(configs/reasoning/arms.py), each on a fresh copy of one model, which is
pretrained into DIR/pretrained where the configuration names none. First the
stop rule is checked: the model must solve far more with a solution in view, and
not only copy it. A row is an arm and a seed, kept in DIR/rows; a later run of
the same command skips it, with more seeds or arms too. After every row
DIR/report.json and DIR/table.md are written: means with intervals, every arm
beside `sleep` in pairs, seconds until an arm has the score of `sleep`, and the
verdict. With --choose every arm is run at each of its rates in config.tried, on
a seed and problems of their own, and DIR/choice has the rows.
"""

if __name__ == '__main__':
  from experiments import _start
  _start.command('reasoning')

import json

from absl import flags

from configs.reasoning.arms import UNTAUGHT, with_arm
from experiments import _config, _main, _mesh, _small_model
from sleepjax.data import arithmetic, arithmetic_tokenizer, exercises, files
from sleepjax.evals import report as report_lib
from sleepjax.evals.answer_checks import make_check
from sleepjax.lifecycle.config import SleepConfig
from sleepjax.mesh import distributed, sharding
from sleepjax.model import load_pretrained
from sleepjax.pretraining import arithmetic_batches
from sleepjax.pretraining.arithmetic_batches import ArithmeticRows
from sleepjax.runs import folder as folder_lib
from sleepjax.runs import rows, table
from sleepjax.runs.rows import Cell
from sleepjax.tasks import reasoning, reasoning_table, slips
from sleepjax.tasks.reasoning import ReasoningConfig
from sleepjax.training import observer as observers
from sleepjax.training.compilation_cache import enable_compilation_cache

# Its own flags, so that one process can import several commands.
_FLAGS = flags.FlagValues()
_WORKDIR = flags.DEFINE_string(
    'workdir', None, 'Folder for all results.', flag_values=_FLAGS)
_CHOOSE = flags.DEFINE_boolean(
    'choose', False, 'Run every arm at each of its rates in config.tried.',
    flag_values=_FLAGS)

# Of the configuration, what says which rows there are and not what is in one.
_WHICH = ('arms', 'seeds', 'rates', 'tried', 'choice_seed', 'sleep', 'whole',
          'mesh')


def identities(config, sleeps) -> dict:
  """What the rows of each arm are of, JSON types.

  More arms and seeds repeat nothing, and neither do other rates but of their
  own arm.

  Args:
    config: of the command.
    sleeps: arm -> its config.sleep.
  """
  same = {name: value for name, value in config.to_dict().items()
          if name not in _WHICH}
  if config.model:
    del same['pretrained']
  plain = {name: value for name, value in config.sleep.to_dict().items()
           if name != 'seeding'}
  return {arm: json.loads(json.dumps({**same, 'sleep': (
      sleeps[arm].to_dict() if arm in sleeps else plain)}))
          for arm in (UNTAUGHT, *sleeps)}


def settings_of(sleeps) -> dict[str, SleepConfig]:
  """The settings of every arm that learns, checked."""
  return {arm: _config.to_dataclass(
      SleepConfig, sleep, f'config.sleep of {arm}')
          for arm, sleep in sleeps.items()}


def main(argv):
  config = _config.from_flags(
      argv, default='configs/reasoning/small.py', description=__doc__,
      flag_values=_FLAGS, needs=(
          'model', 'pretrained', 'files', 'check', 'whole', 'bed', 'sleep',
          'arms', 'seeds', 'tried', 'choice_seed', 'rates'))
  workdir = _config.path(_WORKDIR)
  comparison = _config.to_dataclass(rows.Comparison, {
      'arms': config.arms, 'seeds': config.seeds})
  arms = [arm for arm in comparison.arms if arm != UNTAUGHT]
  sleeps = {arm: with_arm(config.sleep, arm, config.rates, config.whole)
            for arm in arms}
  settings = settings_of(sleeps)
  plain = _config.to_dataclass(SleepConfig, config.sleep, 'config.sleep')
  bed = _config.to_dataclass(ReasoningConfig, config.bed, 'config.bed')
  problems = exercises.from_files(config.files.to_dict()) if (
      config.files) else arithmetic.exercises
  check = make_check(config.check)
  same = identities(config, sleeps)
  enable_compilation_cache()
  with _mesh.devices_of(config):
    distributed.make_shared(workdir)
    _claim = folder_lib.claim(workdir)
    model = load_pretrained(config.model) if config.model else (
        _small_model.trained(
            config.pretrained, workdir / 'pretrained',
            arithmetic_tokenizer.build_tokenizer(), ArithmeticRows,
            arithmetic_batches.sample_rows))
    bed = reasoning.Bed(
        model.with_params(model.config, sharding.on_mesh(model.params)),
        problems, check, bed)
    gap = bed.gap(plain, comparison.seeds[0])
    _main.tell(f'solved: {gap["student"]:.0%} alone, {gap["teacher"]:.0%} with '
               'a solution in view')
    if not config.files:
      after = gap['after_slips'] = slips.after_slips(
          plain.for_compute(bed.model), bed.config.teacher_prompt,
          bed.config.choice, comparison.seeds[0])
      gap['enough'] &= after['teacher'] >= (
          bed.config.least_after_slip * after['student'])
      _main.tell(f'after a wrong number: {after["student"]:.0%} right alone, '
                 f'{after["teacher"]:.0%} with a solution in view')
    if reason := reasoning_table.no_room(gap):
      report_lib.write_report(workdir, {'gap': gap, 'stopped': reason})
      _main.tell(f'Stopped: {reason}.')
      return
    if _CHOOSE.value:
      _choose(config, bed, workdir / 'choice')
      return
    _fill(bed, workdir, rows.cells(comparison.arms, comparison.seeds),
          (plain, settings), same, gap)


def _fill(bed, workdir, cells, settings, same, gap):
  """Makes the rows that are missing, and the table after every one."""
  plain, of_arms = settings
  watch, results = observers.shown(), {}

  def make(cell):
    _main.tell(f'{cell.arm}, seed {cell.seed}')
    ready, learnt = plain.for_compute(bed.model), {}
    if cell.arm != UNTAUGHT:
      ready, learnt = bed.learn(of_arms[cell.arm], cell.seed, watch)
    return {**learnt, **bed.exam(ready, plain, cell.seed, watch)}

  made = rows.Rows(workdir, {
      arm: {'config': entries} for arm, entries in same.items()})
  for cell, row in made.fill(cells, make):
    results[cell] = row
    summary = reasoning_table.summary(results)
    report_lib.write_report(workdir, {'gap': gap, **summary})
    if distributed.is_first():
      files.write(workdir / 'table.md', table.markdown(
          summary['arms'], reasoning_table.COLUMNS))
  _main.tell(table.markdown(summary['arms'], reasoning_table.COLUMNS))


def _choose(config, bed, workdir):
  """Runs every arm at each rate; tells what it had in the end."""
  watch, seed = observers.shown(), config.choice_seed
  for arm in config.arms:
    ends = {}
    for rate in config.tried.get(arm, ()):
      sleep = with_arm(config.sleep, arm, {arm: rate}, config.whole)
      settings = settings_of({arm: sleep})[arm]
      same = identities(config, {arm: sleep})[arm]
      made = rows.Rows(workdir, {arm: {'config': same}})
      for _, row in made.fill(
          [Cell(arm, seed, f'{rate:g}')],
          lambda _, settings=settings: bed.learn(settings, seed, watch)[1]):
        ends[rate] = row['curve'][-1]['mean']
    if ends:
      said = ', '.join(f'{rate:g} {end:.1%}' for rate, end in ends.items())
      _main.tell(f'{arm}: {said}; best {max(ends, key=ends.get):g}')
