r"""SEAL's sequence: eight passages one after another, a night after each.

  python -m experiments.sequence --config=configs/knowledge/sequence.py \
      --workdir=DIR

Every arm of a sequence begins with the same model and lives one night after
each passage: a sleep, fine-tuning, one slot for all, a night without what holds
earlier passages (configs/knowledge/arms.py). After every night all passages are
asked closed book. First the stop rule is checked: passages in view must help. A
row is an arm and a sequence, kept in DIR/rows; a later run of the same command
skips it, with more sequences or arms too, and goes on after the last night of
one that was cut short. All arms of a sequence come before the next one. What
arms share is made once and kept in DIR/shared: the words that a night learns
from, written by the untouched model, and what that one answers. After every row
DIR/report.json, DIR/table.md and DIR/report.png are written: the accuracy
matrix of every arm, average, forgetting and transfer with intervals, every arm
beside `sleep` in pairs, and the verdict. The second sequence of the list alone
is --config.sequences='(1,)'; rates are chosen on `train`.
"""

if __name__ == '__main__':
  from experiments import _start
  _start.command('sequence')

from absl import flags
from ml_collections import ConfigDict

from configs.knowledge.arms import with_arm
from experiments import (
    _config,
    _host_pages,
    _main,
    _mesh,
    knowledge_incorporation,
)
from experiments.squad_passages import read_passages, to_exam
from sleepjax.data import files, passage_lists
from sleepjax.errors import UserError
from sleepjax.evals import report as report_lib
from sleepjax.lifecycle.config import SleepConfig
from sleepjax.mesh import distributed
from sleepjax.model import load_pretrained
from sleepjax.runs import folder as folder_lib
from sleepjax.runs import nights, rows, table
from sleepjax.tasks import incorporation, sequence, sequence_table
from sleepjax.tasks.document import ExamConfig, Reading
from sleepjax.tasks.sequence import Sequences
from sleepjax.training.compilation_cache import enable_compilation_cache

# Its own flags, so that one process can import several commands.
_FLAGS = flags.FlagValues()
_WORKDIR = flags.DEFINE_string(
    'workdir', None, 'Folder for all results.', flag_values=_FLAGS)
_LIST = flags.DEFINE_enum(
    'list', 'seq', ['train', 'val', *passage_lists.NAMES],
    'Frozen list of passages (sleepjax.data.passage_lists), or a split.',
    flag_values=_FLAGS)


def identities(config, passages: str = 'seq') -> dict[str, dict]:
  """What the rows of each arm are of, and those that arms share, JSON types.

  Args:
    config: of the command.
    passages: name of their list.
  """
  # Rows do not depend on which sequences there are, nor words on how long.
  of_passages = ConfigDict({name: value for name, value in config.items()
                            if name not in ('sequences', 'passages')})
  same, shared = knowledge_incorporation.identities(of_passages, {
      arm: with_arm(config.sleep, arm, config.rates) for arm in config.arms},
                                                    passages)
  length = {'passages': config.passages}
  return {**{arm: {**one, **length} for arm, one in same.items()},
          'words': shared, 'untrained': {**shared, **length}}


def main(argv):
  config = _config.from_flags(
      argv, default='configs/knowledge/sequence.py', description=__doc__,
      flag_values=_FLAGS, needs=(
          'model', 'seed', 'sleep', 'exam', 'arms', 'rates', 'sequences',
          'passages'))
  workdir = _config.path(_WORKDIR)
  _config.check_numbers(config, seed=0, passages=1)
  comparison = _config.to_dataclass(rows.Comparison, {
      'arms': config.arms, 'seeds': config.sequences})
  if idle := [arm for arm in comparison.arms if arm in incorporation.UNTAUGHT]:
    raise UserError(
        f'config.arms: {idle[0]!r} lives no night; every row says what is '
        'known before all nights and in view.')
  settings = {arm: _config.to_dataclass(
      SleepConfig, with_arm(config.sleep, arm, config.rates),
      f'config.sleep of {arm}') for arm in comparison.arms}
  writer = _config.to_dataclass(SleepConfig, config.sleep, 'config.sleep')
  exam = _config.to_dataclass(ExamConfig, config.exam, 'config.exam')
  saving = _config.saving_of(config)
  length = config.passages
  numbers = [i * length + n for i in comparison.seeds for n in range(length)]
  passages, controls = read_passages(_LIST.value, 0, max(numbers) + 1)
  readings = {f'{n:03d}': Reading(
      *to_exam(passages[n]), controls, f'passage {n} ({passages[n].title})')
              for n in numbers}
  same = identities(config, _LIST.value)
  enable_compilation_cache()
  with _mesh.devices_of(config):
    distributed.make_shared(workdir)
    _claim = folder_lib.claim(workdir)
    bed = Sequences(incorporation.Bed(
        load_pretrained(config.model), readings, [], writer, exam,
        rows.Rows(workdir / 'shared', {
            name: {'config': same[name]} for name in sequence.SHARED}),
        nights.Run(workdir / 'unfinished', {}, config.seed, saving,
                   _host_pages.give_back, _main.tell)), length)
    items = [str(i) for i in comparison.seeds]
    # Sequences and arms are checked before the first passage is read.
    for item in items:
      bed.task(item, writer)
    for one in settings.values():
      bed.task(items[0], one)
    _fill(bed, workdir, rows.cells(comparison.arms, [config.seed], items),
          settings, same)


def _fill(bed, workdir, cells, settings, same):
  """Makes the rows that are missing, and the table after every one."""
  results, firsts = {}, {}

  def make(cell):
    _main.tell(f'{cell.arm}, sequence {cell.item}')
    return bed.row(cell, settings[cell.arm], same[cell.arm])

  made = rows.Rows(workdir, {arm: {'config': same[arm]} for arm in settings})
  for cell in cells:
    firsts[cell.item] = bed.first(cell)
    if reason := sequence_table.text_does_not_help(list(firsts.values())):
      report_lib.write_report(workdir, {
          **(sequence_table.summary(results) if results else {}),
          'stopped': reason})
      _main.tell(f'Stopped: {reason}.')
      return
    (_, results[cell]), = made.fill([cell], make)
    summary = sequence_table.summary(results)
    report_lib.write_report(workdir, {
        **summary, 'list': _LIST.value,
        'lists_sha256': passage_lists.lists_sha256()})
    if distributed.is_first():
      files.write(workdir / 'table.md', table.markdown(
          summary['arms'], sequence_table.COLUMNS))
      sequence_table.plot(workdir / 'report.png', summary['matrices'])
  _main.tell(table.markdown(summary['arms'], sequence_table.COLUMNS))
