r"""Ways to forget a night, beside the model that has never had it.

  python -m experiments.forgetting --config=configs/beds/forgetting.py \
      --workdir=DIR
  python -m experiments.forgetting --config=configs/beds/forgetting_smollm2.py \
      --workdir=DIR

A model lives a few days, and one of its nights is forgotten: its slot is
closed, or weights are moved until what it told is no longer known. The first
lines of the configuration say what each arm is and what would be a success. A
row in DIR/rows is an arm, a seed, and which night is forgotten: of the tiny
model one in the middle, or the last; of another the one about a document. After
each, DIR/report.json and DIR/table.md are written, with every arm beside
closing in pairs (`sleepjax.runs.table`) and, where it tells, beside the model
that never had the night. What is finished is not repeated; nights about
documents are kept in DIR/lives.
"""

if __name__ == '__main__':
  from experiments import _start
  _start.command('forgetting')

import functools
import pathlib

from absl import flags
from ml_collections import ConfigDict

from experiments import _config
from experiments.beds import with_arm
from sleepjax.data import files
from sleepjax.errors import UserError
from sleepjax.evals import report as report_lib
from sleepjax.lifecycle.config import SleepConfig
from sleepjax.model import Model, load_pretrained
from sleepjax.runs import rows, table
from sleepjax.runs.table import Column
from sleepjax.tasks.forgetting import NIGHTS, Forgetting, Lives
from sleepjax.tasks.forgetting_documents import (
    DocumentForgetting,
    DocumentLives,
    DocumentsConfig,
)
from sleepjax.tasks.ways_to_forget import ForgettingConfig
from sleepjax.tasks.world import DaysConfig
from sleepjax.training.compilation_cache import enable_compilation_cache
from sleepjax.training.observer import shown

# Its own flags, so that one process can import several commands.
_FLAGS = flags.FlagValues()
_WORKDIR = flags.DEFINE_string(
    'workdir', None, 'Folder for all results.', flag_values=_FLAGS)

# Answers are paired question by question, shares seed by seed.
DAYS_COLUMNS = {
    'forgotten': Column('forgotten_direct', '.0%'),
    'in other words': Column('forgotten_paraphrase', '.0%'),
    'both, share': Column('forgotten_share', '.0%', margin=0.1),
    'others': Column('others_direct', '.0%'),
    'others, in other words': Column('others_paraphrase', '.0%'),
    'others, share': Column('others_share', '.0%', margin=0.05),
    'long-known': Column('known', '.0%', margin=0.05),
    'relearning': Column('relearning', '.1f'),
    'comes back': Column('comes_back', '.0%'),
    'comes back, share': Column('comes_back_share', '.0%', margin=0.1),
    'KL, forgotten': Column('divergence_forgotten', '.2f'),
    'KL, others': Column('divergence_others', '.3f'),
    'updates': Column('updates', '.0f'),
    'did': Column('was_forgotten', '.0%'),
    'seconds': Column('seconds', '.1f')}
DOCUMENTS_COLUMNS = {
    'forgotten': Column('forgotten_direct', '.0%'),
    'forgotten, nats': Column('forgotten_nats', '.2f'),
    'its own questions': Column('checked_share', '.0%'),
    'other': Column('others_direct', '.0%'),
    'other, nats': Column('others_nats', '.2f'),
    'controls, nats': Column('controls_nats', '.2f'),
    'perplexity': Column('perplexity', '.1f'),
    'updates': Column('updates', '.0f'),
    'did': Column('was_forgotten', '.0%'),
    'seconds': Column('seconds', '.0f')}
_NEVER = 'without'


def compared(results: dict, columns: dict[str, Column]) -> dict:
  """Every arm's summary, and against the first one and the never-model.

  Args:
    results: row of every cell of one night.
    columns: of its table.
  """
  arms = list(dict.fromkeys(cell.arm for cell in results))
  found = {'arms': table.summary(results, columns),
           f'against_{arms[0]}': table.against_first(results, columns)}
  if _NEVER in arms[1:]:
    found[f'against_{_NEVER}'] = table.against_first({
        cell: results[cell] for cell in sorted(
            results, key=lambda cell: cell.arm != _NEVER)}, columns)
  return found


class _Days:
  """Nights of the tiny world: one in the middle and the last."""

  columns, nights = DAYS_COLUMNS, NIGHTS

  def __init__(self, config: ConfigDict, settings: SleepConfig):
    self._settings = settings
    self._days = _config.to_dataclass(DaysConfig, config.days, 'config.days')

  def lives(self, model: Model, seed: int) -> Lives:
    return Lives(model, self._settings, self._days, seed)

  def forgetting(self, lives: Lives, night: str) -> Forgetting:
    return Forgetting(lives, night)


class _Documents:
  """Nights about documents, of which one is forgotten."""

  columns = DOCUMENTS_COLUMNS

  def __init__(self, config: ConfigDict, settings: SleepConfig,
               workdir: pathlib.Path):
    self._settings, self._folder = settings, workdir / 'lives'
    self._documents = _config.to_dataclass(
        DocumentsConfig, config.documents, 'config.documents')
    self.nights = (self._documents.forgotten,)

  def lives(self, model: Model, seed: int) -> DocumentLives:
    return DocumentLives(model, self._settings, self._documents, seed,
                         self._folder, shown())

  def forgetting(self, lives: DocumentLives, night: str) -> DocumentForgetting:
    del night  # There is one.
    return DocumentForgetting(lives)


def _what_is_lived(config, settings, workdir) -> _Days | _Documents:
  if ('days' in config) == ('documents' in config):
    raise UserError(
        'config: expected either days, of the tiny world, or documents, as '
        'configs/beds/forgetting_smollm2.py has them.')
  return (_Days(config, settings) if 'days' in config else
          _Documents(config, settings, workdir))


def main(argv):
  config = _config.from_flags(
      argv, default='configs/beds/forgetting.py', description=__doc__,
      flag_values=_FLAGS, needs=(
          'model', 'sleep', 'forgetting', 'arms', 'changes', 'seeds'))
  workdir = _config.path(_WORKDIR)
  _config.saving_of(config)  # Rows are all that is saved.
  comparison = _config.to_dataclass(rows.Comparison, {
      'arms': config.arms, 'seeds': config.seeds})
  # All arms are checked before the first one runs.
  same = {arm: with_arm(config, arm) for arm in comparison.arms}
  ways = {arm: _config.to_dataclass(
      ForgettingConfig, entries['forgetting'], f'config.forgetting of {arm}')
          for arm, entries in same.items()}
  settings = _config.to_dataclass(SleepConfig, config.sleep, 'config.sleep')
  lived = _what_is_lived(config, settings, workdir)
  enable_compilation_cache()
  model, results = load_pretrained(config.model), {}

  @functools.lru_cache(maxsize=1)
  def lives(seed):
    return lived.lives(model, seed)

  def make(cell):
    row = lived.forgetting(lives(cell.seed), cell.item).row(ways[cell.arm])
    print(f'{cell.arm}, seed {cell.seed}, {cell.item} night: '
          f'{row["forgotten_share"]:.0%} of it known, '
          f'{row["others_share"]:.0%} of the others', flush=True)
    return row

  made = rows.Rows(workdir, {
      arm: {'config': entries} for arm, entries in same.items()})
  for cell, row in made.fill(
      rows.cells(comparison.arms, comparison.seeds, lived.nights), make):
    results[cell] = row
    by_night = {night: compared({
        c: r for c, r in results.items() if c.item == night}, lived.columns)
        for night in lived.nights if any(c.item == night for c in results)}
    report_lib.write_report(workdir, by_night)
    files.write(workdir / 'table.md', '\n'.join(
        f'The {night} night is forgotten\n\n'
        + table.markdown(found['arms'], lived.columns)
        for night, found in by_night.items()))
  print((workdir / 'table.md').read_text())
