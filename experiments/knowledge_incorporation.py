r"""What a passage says, learnt in several ways by fresh copies of a model.

  python -m experiments.knowledge_incorporation \
      --config=configs/knowledge/small.py --list=know --passages=20 \
      --workdir=DIR

Every arm of every passage begins with the same model: a night, fine-tuning on
the words that the night learns from, and what learns nothing, such as the text
in view (configs/knowledge/arms.py). A row is an arm and a passage, kept in
DIR/rows; a later run of the same command skips it, with more passages or arms
too. All arms of a passage come before the next passage. What arms share, the
scores of the untouched model and the words of the night, is made once and kept
in DIR/shared. After every row DIR/report.json and DIR/table.md are written:
means with intervals, every arm beside the first one in pairs, after how many
questions a night has paid for itself, and the bars and the verdict of the
criterion that the configuration states. A list is spent by one look at it;
rates are chosen on `train`. `--passages=5 --first=5` are the second five.
"""

if __name__ == '__main__':
  from experiments import _start
  _start.command('knowledge_incorporation')

import json

from absl import flags

from configs.knowledge.arms import with_arm
from experiments import _config, _host_pages, _main, _mesh
from experiments.squad_passages import every_passage, read_passages, to_exam
from sleepjax.data import files, passage_lists
from sleepjax.errors import UserError
from sleepjax.evals import report as report_lib
from sleepjax.lifecycle.config import SleepConfig
from sleepjax.mesh import distributed
from sleepjax.model import load_pretrained
from sleepjax.runs import nights, rows, table
from sleepjax.tasks import incorporation, incorporation_table
from sleepjax.tasks.document import ExamConfig, Reading
from sleepjax.training.compilation_cache import enable_compilation_cache

# Its own flags, so that one process can import several commands.
_FLAGS = flags.FlagValues()
_WORKDIR = flags.DEFINE_string(
    'workdir', None, 'Folder for all results.', flag_values=_FLAGS)
_LIST = flags.DEFINE_enum(
    'list', 'train', ['train', 'val', *passage_lists.NAMES],
    'Frozen list of passages (sleepjax.data.passage_lists), or a split.',
    flag_values=_FLAGS)
_SHARED = flags.DEFINE_string(
    'shared', None, 'Folder of what arms share, such as that of a run at other '
    'rates; DIR/shared by default.', flag_values=_FLAGS)
_PASSAGES = flags.DEFINE_integer(
    'passages', 1, 'How many, at least 1.', flag_values=_FLAGS)
_FIRST = flags.DEFINE_integer(
    'first', 0, 'Number of the first passage.', flag_values=_FLAGS)


def main(argv):
  config = _config.from_flags(
      argv, default='configs/knowledge/small.py', description=__doc__,
      flag_values=_FLAGS,
      needs=('model', 'seed', 'sleep', 'exam', 'arms', 'rates'))
  workdir = _config.path(_WORKDIR)
  _config.check_numbers(config, seed=0)
  arms = tuple(config.arms)
  if not arms or len(set(arms)) < len(arms):
    raise UserError(
        f'config.arms={arms} must be different names, at least one.')
  sleeps = {arm: with_arm(config.sleep, arm, config.rates) for arm in arms}
  settings = {arm: _config.to_dataclass(
      SleepConfig, sleep, f'config.sleep of {arm}')
              for arm, sleep in sleeps.items()}
  writer = _config.to_dataclass(SleepConfig, config.sleep, 'config.sleep')
  exam = _config.to_dataclass(ExamConfig, config.exam, 'config.exam')
  saving = _config.saving_of(config)
  _config.check_no_best(saving)
  passages, controls = read_passages(
      _LIST.value, _FIRST.value, _PASSAGES.value)
  every, others = every_passage(_LIST.value)
  readings = {f'{n:03d}': Reading(
      *to_exam(passage), controls, f'passage {n} ({passage.title})')
              for n, passage in enumerate(passages, _FIRST.value)}
  same, shared = identities(config, sleeps, _LIST.value)
  enable_compilation_cache()
  with _mesh.devices_of(config):
    distributed.make_shared(workdir)
    bed = incorporation.Bed(
        load_pretrained(config.model), readings,
        [to_exam(p)[0] for p in (*every, *others)], writer, exam,
        rows.Rows(_config.path(_SHARED) if _SHARED.value else
                  workdir / 'shared', dict.fromkeys(
            incorporation.SHARED, {'config': shared})),
        nights.Run(workdir / 'unfinished', {}, config.seed, saving,
                   _host_pages.give_back))
    # Passages and arms are checked before the first one is read.
    for item in readings:
      bed.task(item, writer)
    for arm in arms:
      bed.task(next(iter(readings)), settings[arm])
    _fill(bed, workdir, rows.cells(arms, [config.seed], readings), settings,
          same)


def identities(config, sleeps, passages: str) -> tuple[dict, dict]:
  """(arm -> what its rows are of, the same of what arms share), JSON types.

  More arms repeat nothing, and neither do other rates but of their own arm.

  Args:
    config: of the command.
    sleeps: arm -> its config.sleep.
    passages: name of their list.
  """
  base = {name: value for name, value in config.to_dict().items()
          if name not in ('arms', 'rates', 'sleep')}
  base['list'] = passages
  plain = lambda entries: json.loads(json.dumps(entries))
  writing = config.sleep.to_dict()
  seeding = writing.pop('seeding')
  shared = {**base, 'sleep': {
      **writing, **{f'has_{name}': bool(seeding[name])
                    for name in ('rehearsal', 'retention')}}}
  return {arm: plain(shared if arm in incorporation.UNTAUGHT else {
      **base, 'sleep': sleep.to_dict()})
          for arm, sleep in sleeps.items()}, plain(shared)


def _fill(bed, workdir, cells, settings, same):
  """Makes the rows that are missing, and the table after every one."""
  results = {}

  def make(cell):
    _main.tell(f'{cell.arm}, {bed.readings[cell.item].where}')
    return bed.row(cell, settings[cell.arm], same[cell.arm])

  made = rows.Rows(workdir, {
      arm: {'config': entries} for arm, entries in same.items()})
  for cell, row in made.fill(cells, make):
    results[cell] = row
    summary = incorporation_table.summary(results)
    report_lib.write_report(workdir, {
        **summary, 'list': _LIST.value,
        'lists_sha256': passage_lists.lists_sha256()})
    text = table.markdown(summary['arms'], incorporation_table.COLUMNS)
    if distributed.is_first():
      files.write(workdir / 'table.md', text)
    if not len(results) % len(settings):
      _main.tell(text)
      if reason := incorporation_table.text_does_not_help(results):
        _main.tell(f'Stopped: {reason}.')
        break
