r"""Tasks of a few grids, learnt in several ways before they are answered.

  python -m experiments.few_shot --config=configs/few_shot/small.py \
      --workdir=DIR

A sleep, SEAL, test-time training and answers in context
(configs/few_shot/arms.py), each task by a fresh copy of one model, which is
pretrained into DIR/pretrained where the configuration names none. First the
stop rule is checked, once: in context the model must answer little, and after
test-time training by the best self-edit much. A row is an arm and a seed, kept
in DIR/rows; a later run of the same command skips it, with more seeds or arms
too. After every row DIR/report.json and DIR/table.md are written: shares with
intervals, every arm beside `sleep` in pairs, and the verdict. With --any_room
the run goes on where the stop rule would end it.
"""

if __name__ == '__main__':
  from experiments import _start
  _start.command('few_shot')

import functools
import json
import time

import numpy as np
from absl import flags

from configs.few_shot.arms import ARMS
from experiments import _config, _main, _mesh, _small_model
from sleepjax.data import arc_tasks, files, grid_tokenizer, grids, self_edits
from sleepjax.errors import UserError
from sleepjax.evals import report as report_lib
from sleepjax.lifecycle.config import SleepConfig
from sleepjax.mesh import distributed, sharding
from sleepjax.model import load_pretrained
from sleepjax.pretraining import grid_batches
from sleepjax.pretraining.grid_batches import GridRows
from sleepjax.runs import folder as folder_lib
from sleepjax.runs import rows, table
from sleepjax.runs.rows import Cell
from sleepjax.tasks import edit_writer, few_shot, few_shot_table
from sleepjax.tasks.edit_writer import Writer, WriterConfig
from sleepjax.tasks.few_shot import FewShotConfig, Learnt
from sleepjax.training.compilation_cache import enable_compilation_cache

# Its own flags, so that one process can import several commands.
_FLAGS = flags.FlagValues()
_WORKDIR = flags.DEFINE_string(
    'workdir', None, 'Folder for all results.', flag_values=_FLAGS)
_ANY_ROOM = flags.DEFINE_boolean(
    'any_room', False, 'Go on where the stop rule would end the run.',
    flag_values=_FLAGS)

_GAP = 'gap'  # The row of the stop rule.

# Of the configuration, what says which rows there are and not what is in one.
_WHICH = 'arms', 'seeds', 'mesh'


def identity(config, arm: str) -> dict:
  """What the rows of an arm are of, JSON types; more arms repeat nothing."""
  if arm == _GAP:
    other = 'sleep', 'writer', 'edit'
  else:
    learns, writer = ARMS[arm]
    other = 'oracle', 'writer' if writer == 'fixed' else 'edit', (
        'edit' if learns == 'nothing' else '')
  same = {name: value for name, value in config.to_dict().items()
          if name not in (*_WHICH, *other)}
  if config.model:
    del same['pretrained']
  return json.loads(json.dumps(same))


def _edit(text: str, name: str):
  """The self-edit that an entry of the configuration names."""
  edit = self_edits.read(text)
  if edit is None:
    raise UserError(
        f'config.{name}: {text!r} is no self-edit. Expected one of '
        f'{", ".join(self_edits.AUGMENTED)}, of {", ".join(self_edits.RATES)} '
        f'and of {", ".join(self_edits.LENGTHS)}, such as both,middle,long.')
  return edit


def main(argv):
  config = _config.from_flags(
      argv, default='configs/few_shot/small.py', description=__doc__,
      flag_values=_FLAGS, needs=(
          'model', 'pretrained', 'data', 'bed', 'writer', 'sleep', 'edit',
          'oracle', 'arms', 'seeds'))
  workdir = _config.path(_WORKDIR)
  comparison = _config.to_dataclass(rows.Comparison, {
      'arms': config.arms, 'seeds': config.seeds})
  if unknown := [arm for arm in comparison.arms if arm not in ARMS]:
    raise UserError(f'config.arms: {unknown[0]!r} is none of '
                    f'{", ".join(ARMS)}.')
  settings = _config.to_dataclass(SleepConfig, config.sleep, 'config.sleep')
  shots = _config.to_dataclass(FewShotConfig, config.bed, 'config.bed')
  writing = _config.to_dataclass(WriterConfig, config.writer, 'config.writer')
  edit = _edit(config.edit, 'edit')
  oracle = [_edit(text, 'oracle') for text in config.oracle]
  tasks = (lambda part, count, seed: grids.tasks(
      part, count, shots.grids, seed)) if config.data == 'generated' else (
          arc_tasks.from_data(config.data))
  same = {arm: {'config': identity(config, arm)}
          for arm in (_GAP, *comparison.arms)}
  enable_compilation_cache()
  with _mesh.devices_of(config):
    distributed.make_shared(workdir)
    _claim = folder_lib.claim(workdir)
    model = load_pretrained(config.model) if config.model else (
        _small_model.trained(
            config.pretrained, workdir / 'pretrained',
            grid_tokenizer.build_tokenizer(), GridRows,
            grid_batches.sample_rows))
    bed = few_shot.Bed(
        model.with_params(model.config, sharding.on_mesh(model.params)),
        settings, tasks, shots)
    (_, gap), = rows.Rows(workdir / 'checked', same).fill(
        [Cell(_GAP, comparison.seeds[0])],
        lambda cell: bed.gap(oracle, cell.seed))
    _main.tell(f'right: {gap["in_context"]:.0%} in context, '
               f'{gap["oracle"]:.0%} after the best self-edit of each task')
    reason = few_shot_table.no_room(gap)
    if reason and not _ANY_ROOM.value:
      report_lib.write_report(workdir, {'gap': gap, 'stopped': reason})
      _main.tell(f'Stopped: {reason}.')
      return
    _fill(bed, workdir, comparison, (edit, writing), same, gap)


def _fill(bed, workdir, comparison, edits, same, gap):
  """Makes the rows that are missing, and the table after every one."""
  results = {}

  def make(cell):
    _main.tell(f'{cell.arm}, seed {cell.seed}')
    return row_of(bed, cell.arm, cell.seed, *edits)

  made = rows.Rows(workdir, same)
  for cell, row in made.fill(
      rows.cells(comparison.arms, comparison.seeds), make):
    results[cell] = row
    summary = few_shot_table.summary(results)
    report_lib.write_report(workdir, {'gap': gap, **summary})
    if distributed.is_first():
      files.write(workdir / 'table.md', table.markdown(
          summary['arms'], few_shot_table.COLUMNS))
  _main.tell(table.markdown(summary['arms'], few_shot_table.COLUMNS))


def row_of(bed, arm: str, seed: int, edit, writing: WriterConfig) -> dict:
  """The row of an arm and a seed.

  Args:
    bed: model and tasks.
    arm: a name in `ARMS`.
    seed: of the tasks and of everything random.
    edit: the self-edit of arms whose writer is fixed.
    writing: how the others' writers are trained.
  """
  learns, who = ARMS[arm]
  began, more = time.perf_counter(), {}
  ways = {'all weights': bed.fine_tuned, 'slot': bed.slept,
          'nothing': lambda task, edit, seed: Learnt(bed.ready, 0)}
  learn, choose = ways[learns], lambda task, number: edit
  if who != 'fixed':
    writer = Writer(bed.ready, bed, writing)
    if who != 'untrained':
      tried = edit_writer.trials(
          writer, bed.tasks('train', bed.config.train, seed), learn,
          who == 'dreaming', seed)
      writer = edit_writer.trained(writer, tried, seed)
      more = {'rewarded': float(np.mean([t.rewarded for t in tried] or [0])),
              'trials': [[trial.task.name, trial.edit.text, trial.rewarded]
                         for trial in tried],
              'training_seconds': time.perf_counter() - began}
    choose = functools.partial(_noted, writer, more, seed)
  row = bed.exam(lambda task, number: learn(
      task, choose(task, number), seed * bed.config.tasks + number), seed)
  return {**row, **more, 'seconds': time.perf_counter() - began}


def _noted(writer, row, seed, task, number):
  """A self-edit of a writer, which is kept in a row."""
  edit = writer.first(task, seed * writer.bed.config.tasks + number)
  row.setdefault('edits', []).append(edit.text)
  return edit
