r"""Languages that come one after another: nights of one, then of the next.

  python -m experiments.translation --config=configs/translation/small.py \
      --workdir=DIR

A sleep, its ablations, fine-tuning and replay (configs/translation/arms.py),
each on fresh copies of one model, which is pretrained into DIR/pretrained where
the configuration names none; the last book in view; and no book. First the stop
rule is checked, once: the model must translate far better with a book in view.
A row is an arm and a seed, kept in DIR/rows: a life in which all languages are
learnt one after another, and one of each later language alone, scored by chrF.
A later run of the same command skips it, with more seeds or arms too, and goes
on with a life that was cut short. After every row DIR/report.json and
DIR/table.md are written: means with intervals, every arm beside `sleep` in
pairs, and the verdict. With --choose every arm is run at each of its values in
config.tried, on a seed of its own, and DIR/choice has the rows.
"""

if __name__ == '__main__':
  from experiments import _start
  _start.command('translation')

import contextlib
from collections.abc import Sequence
from typing import Any

import numpy as np
from absl import flags

from configs.translation.arms import with_arm
from experiments import _config, _lives, _main, _mesh, _small_model
from sleepjax.data import cipher_tokenizer, files
from sleepjax.evals import report as report_lib
from sleepjax.lifecycle.config import SleepConfig
from sleepjax.mesh import distributed, sharding
from sleepjax.model import load_pretrained
from sleepjax.pretraining import cipher_batches
from sleepjax.pretraining.cipher_batches import CipherRows
from sleepjax.runs import folder as folder_lib
from sleepjax.runs import nights, rows, table
from sleepjax.runs.rows import Cell
from sleepjax.tasks import translation, translation_table
from sleepjax.tasks.translation import (
    UNTAUGHT,
    TranslationConfig,
    TranslationTask,
)
from sleepjax.training.compilation_cache import enable_compilation_cache

# Its own flags, so that one process can import several commands.
_FLAGS = flags.FlagValues()
_WORKDIR = flags.DEFINE_string(
    'workdir', None, 'Folder for all results.', flag_values=_FLAGS)
_CHOOSE = flags.DEFINE_boolean(
    'choose', False, 'Run every arm at each of its values in config.tried.',
    flag_values=_FLAGS)


def identities(config, sleeps) -> dict:
  """What the rows of each arm are of, see `_lives.identities`."""
  return _lives.identities(config, sleeps, UNTAUGHT)


def main(argv):
  config = _config.from_flags(
      argv, default='configs/translation/small.py', description=__doc__,
      flag_values=_FLAGS, needs=(
          'model', 'pretrained', 'bed', 'sleep', 'arms', 'seeds', 'chosen',
          'tried', 'choice_seed'))
  workdir = _config.path(_WORKDIR)
  comparison = _config.to_dataclass(rows.Comparison, {
      'arms': config.arms, 'seeds': config.seeds})
  sleeps = {arm: with_arm(config.sleep, arm, config.chosen)
            for arm in comparison.arms if arm not in UNTAUGHT}
  settings = _lives.settings_of(sleeps)
  plain = _config.to_dataclass(SleepConfig, config.sleep, 'config.sleep')
  asking = _config.to_dataclass(TranslationConfig, config.bed, 'config.bed')
  saving = _config.saving_of(config)
  same = identities(config, sleeps)
  tried = translation.bed_of(asking, config.choice_seed, plain.answer_prompt)
  enable_compilation_cache()
  with _mesh.devices_of(config):
    distributed.make_shared(workdir)
    _claim = folder_lib.claim(workdir)
    model = load_pretrained(config.model) if config.model else (
        _small_model.trained(
            config.pretrained, workdir / 'pretrained',
            cipher_tokenizer.build_tokenizer(), CipherRows,
            cipher_batches.sample_rows, cipher_tokenizer.is_content))
    model = model.with_params(model.config, sharding.on_mesh(model.params))
    TranslationTask(model, plain, tried, range(asking.languages))  # It fits.
    (_, gap), = rows.Rows(
        workdir / 'checked', {'gap': {'config': same['base']}}).fill(
            [Cell('gap', config.choice_seed)],
            lambda cell: tried.gap(plain.for_compute(model)))
    _main.tell(f'chrF {gap["closed_book"]:.1f} closed book, '
               f'{gap["in_view"]:.1f} with the book in view')
    if reason := translation_table.no_room(gap):
      report_lib.write_report(workdir, {'gap': gap, 'stopped': reason})
      _main.tell(f'Stopped: {reason}.')
      return

    def make(cell, chosen, entries):
      _main.tell(f'{cell.arm}, seed {cell.seed}')
      bed = translation.bed_of(asking, cell.seed, plain.answer_prompt)
      if cell.arm in UNTAUGHT:
        return bed.untaught(cell.arm, plain.for_compute(model))
      order = [range(asking.languages)] + [
          [number] for number in range(1, asking.languages)]
      with contextlib.ExitStack() as places:
        lives = [nights.run(
            TranslationTask(model, chosen, bed, learnt), model, chosen,
            places.enter_context(_lives.unfinished(
                workdir, cell._replace(item=f'{cell.item}_{i}'), entries,
                saving))) for i, learnt in enumerate(order)]
      return row_of(lives, asking.days, bed.book_tokens(model))

    if _CHOOSE.value:
      _lives.choose(config, make, workdir / 'choice', identities,
                    lambda row: row['sequential_mean'])
      return
    _fill(workdir, rows.cells(comparison.arms, comparison.seeds), make,
          settings, same, gap)


def row_of(lives: Sequence[dict], days: int, book_tokens: float
           ) -> dict[str, Any]:
  """The row of an arm that learns.

  Args:
    lives: reports of the life that learns all languages, and of those that
      learn each later one alone.
    days: of each language.
    book_tokens: of a book in view, which a question costs without nights.
  """
  life, *alone = lives
  single = [life['matrix'][days - 1][0][0], *(
      one['matrix'][-1][number][0] for number, one in enumerate(alone, 1))]
  spent = _lives.cost(life)
  return {
      **translation.row_of(life['matrix'], single, life['elsewhere']),
      **{name: life[name] for name in (
          'teacher', 'hand_overs', 'undone', 'seconds', 'tokens')}, **spent,
      'taught': float(np.mean(life['teacher'])), 'tokens_a_question': 0,
      'break_even': spent['night_tokens'] / book_tokens}


def _fill(workdir, cells, make, settings, same, gap):
  """Makes the rows that are missing, and the table after every one."""
  results = {}
  made = rows.Rows(workdir, {
      arm: {'config': entries} for arm, entries in same.items()})
  for cell, row in made.fill(cells, lambda cell: make(
      cell, settings.get(cell.arm), same[cell.arm])):
    results[cell] = row
    summary = translation_table.summary(results)
    report_lib.write_report(workdir, {'gap': gap, **summary})
    if distributed.is_first():
      files.write(workdir / 'table.md', table.markdown(
          summary['arms'], translation_table.COLUMNS))
  _main.tell(table.markdown(summary['arms'], translation_table.COLUMNS))
