r"""Recall of a stream by distance: memory levels against a context and BM25.

  python -m experiments.long_context --config=configs/long_context/small.py \
      --workdir=DIR

A model reads long streams in which few facts are new, and is asked for them
with an empty context, by how many windows ago they were told. The first lines
of the configuration say what would be a success and when the bed is of no use;
each of its arms is a set of changes to it. A life is an arm and a seed, and a
row in DIR/rows. After each DIR/report.json, DIR/table.md and DIR/report.png,
the map of recall by distance, are written; `recall_far` of the report is, by
the number of MLP levels, the share of right answers of facts that were told
more than four windows before the end. What is finished is not repeated.

With config.bed = 'haystack' what is read is books in which stories of bAbI, or
needles with many keys, are hidden (`configs/long_context/babi.py`).
"""

if __name__ == '__main__':
  from experiments import _start
  _start.command('long_context')

import dataclasses
import json
import logging
import pathlib
import time

import jax
import jax.numpy as jnp
import numpy as np
from absl import flags
from ml_collections import ConfigDict

from experiments import _config
from experiments.beds import with_arm
from sleepjax import seeds
from sleepjax.data import files
from sleepjax.errors import UserError
from sleepjax.evals import pictures
from sleepjax.evals import report as report_lib
from sleepjax.memory import questions, wake
from sleepjax.memory.continuum import ContinuumConfig
from sleepjax.memory.questions import QuestionConfig
from sleepjax.model import load_pretrained
from sleepjax.models.hashes import params_sha256
from sleepjax.runs import rows, table
from sleepjax.runs.table import Column
from sleepjax.tasks import long_stream
from sleepjax.tasks.haystack import HaystackConfig
from sleepjax.tasks.long_stream import RIVALS, Reader
from sleepjax.tasks.world import rehearsal_texts
from sleepjax.tasks.world_stream import StreamConfig
from sleepjax.training import checkpoints
from sleepjax.training.compilation_cache import enable_compilation_cache

# Its own flags, so that one process can import several commands.
_FLAGS = flags.FlagValues()
_WORKDIR = flags.DEFINE_string(
    'workdir', None, 'Folder for all results.', flag_values=_FLAGS)

READS = 'sleep', 'wake', *RIVALS
BEDS = {'world': StreamConfig, 'haystack': HaystackConfig}
_CURVE = 'sleep_'  # Arms of `recall_far`, with their number of MLP levels.


def columns_of(distances: tuple[int, ...]) -> dict[str, Column]:
  """The columns of a table: answers paired one by one, and shares."""
  return {
      'far': Column('far_share', '.0%', margin=0.02),
      'far, answers': Column('far', '.0%'),
      'at the end': Column('at_end', '.0%'),
      **{f'{n} back': Column(f'at_{n}', '.0%') for n in distances},
      'closed': Column('closed', '.0%'),
      'retention D': Column('retention_divergence', '.2f'),
      'long-known': Column('known_after', '.0%', margin=0.05),
      'hand-overs': Column('handed_over', '.0f'),
      'undone': Column('undone', '.1f'),
      'seconds': Column('seconds', '.0f')}


def identity(config: ConfigDict, arm: str) -> dict:
  """What a row of an arm must have been made with, but for a trained level."""
  entries = with_arm(config, arm)
  del entries['fast_level']  # Where it is does not matter.
  return entries


def recall_far(summary: dict) -> dict[str, float]:
  """MLP levels -> recall of what is far back, of the arms sleep_LEVELS."""
  return {arm.removeprefix(_CURVE): entries['far, answers']['mean']
          for arm, entries in summary.items()
          if arm.removeprefix(_CURVE).isdigit() and entries['far, answers']}


def plot(path, summary: dict, distances: tuple[int, ...]) -> None:
  """Draws recall by distance, an arm a line, with intervals in the cells."""
  pictures.draw(path, lambda figure: _draw(figure, summary, distances),
                dpi=130, figsize=(1.25 * max(len(distances), 1) + 3.2,
                                  0.45 * len(summary) + 1.3),
                layout='constrained')


def _draw(figure, summary, distances):
  shown = {f'{n} back': str(n) for n in distances} or {
      'at the end': 'end,\nall'}
  names = [*shown, 'far, answers']
  entries = [[row.get(name) for name in names] for row in summary.values()]
  means = np.array([[np.nan if e is None else e['mean'] for e in row]
                    for row in entries])
  axis = figure.subplots()
  axis.imshow(means, vmin=0, vmax=1, cmap='Blues', aspect='auto')
  for y, row in enumerate(entries):
    for x, entry in enumerate(row):
      if entry is not None:
        axis.text(x, y, f'{entry["mean"]:.0%}\n{entry["low"]:.0%}'
                  f'-{entry["high"]:.0%}', ha='center', va='center', fontsize=7,
                  color='white' if entry['mean'] > 0.6 else 'black')
  axis.set_xticks(range(len(names)), [
      *shown.values(), f'end,\n> {long_stream.FAR}'])
  axis.set_yticks(range(len(summary)), [
      arm.replace('_', ' ') for arm in summary])
  axis.set_xlabel('windows since a fact was told')
  axis.set_title('Right answers, with 95 % intervals', fontsize=10)


def settings_of(entries: dict, arm: str):
  """(how it reads, what, ContinuumConfig, QuestionConfig) of an arm.

  Raises:
    UserError: a setting is wrong.
  """
  where = f'of {arm}'
  if entries['read'] not in READS:
    raise UserError(f'config.read={entries["read"]!r} {where} must be one of '
                    f'{", ".join(READS)}.')
  levels = _config.to_dataclass(
      ContinuumConfig, entries['continuum'], f'config.continuum {where}')
  bed = entries.get('bed', 'world')
  if bed not in BEDS:
    raise UserError(f'config.bed={bed!r} {where} must be one of '
                    f'{", ".join(BEDS)}.')
  stream = _config.to_dataclass(
      BEDS[bed], entries['stream'], f'config.stream {where}')
  if entries['read'] == 'wake':
    levels = dataclasses.replace(levels, sleep=None)
  return entries['read'], stream, levels, _config.to_dataclass(
      QuestionConfig, entries['asking'], f'config.asking {where}')


def read_fast_level(folder: str, dim: int) -> dict:
  """Trained initial weights of a level, and the logarithm of its rate.

  Args:
    folder: of `experiments.pretrain_level`.
    dim: hidden width that the level must have.

  Raises:
    UserError: nothing is there, or another level.
  """
  path = pathlib.Path(folder).expanduser() / 'progress'
  if not folder or not checkpoints.is_saved(path):
    raise UserError(
        f'config.fast_level={folder!r}: no initial weights there, which arms '
        'with fast=True need. Train them with python -m '
        'experiments.pretrain_level --workdir=FOLDER.')
  value = jax.tree.map(jnp.asarray, checkpoints.load_progress(path).tree['0'])
  have = value['level']['mlp']['down'].shape[1]
  if have != dim:
    raise UserError(
        f'config.fast_level={folder!r} has a level of {have} hidden units, and '
        f'the first of config.continuum.level_dims is {dim}: make them equal.')
  return value


def with_fast_level(levels: ContinuumConfig, value):
  """The settings with the rate of a trained level, and what puts its weights
  in place of those of a newborn one."""
  rates = (float(jnp.exp(value['log_rate'])), *levels.wake.learning_rates[1:])
  wake_config = dataclasses.replace(levels.wake, learning_rates=rates)

  def newborn(model):
    return model.with_params(model.config, wake.merge_levels(
        model.config, model.params,
        [value['level'], *[{}] * (model.config.num_levels - 1)]))

  return dataclasses.replace(levels, wake=wake_config), newborn


def with_shares(row: dict) -> dict:
  """A row with the numbers that columns show."""
  handed = row['hand_overs']
  moved = [h['retention_divergence'] for h in handed
           if h['retention_divergence'] is not None]
  far = float(np.mean(row['far'])) if row['far'] else None
  return {**row, 'far': row['far'] or None, 'far_share': far,
          'handed_over': len(handed),
          'retention_divergence': float(np.median(moved)) if moved else None}


def main(argv):
  config = _config.from_flags(
      argv, default='configs/long_context/small.py', description=__doc__,
      flag_values=_FLAGS, needs=(
          'model', 'stream', 'continuum', 'asking', 'read', 'fast',
          'fast_level', 'rehearsal_texts', 'arms', 'changes', 'seeds'))
  workdir = _config.path(_WORKDIR)
  comparison = _config.to_dataclass(rows.Comparison, {
      'arms': config.arms, 'seeds': config.seeds})
  # All arms are checked before the first one runs.
  same = {arm: identity(config, arm) for arm in comparison.arms}
  settings = {arm: settings_of(ConfigDict(entries), arm)
              for arm, entries in same.items()}
  newborn = dict.fromkeys(same, lambda model: model)
  for arm, entries in same.items():
    read, stream, levels, asking = settings[arm]
    if entries['fast']:
      value = read_fast_level(config.fast_level, (*levels.level_dims, 0)[0])
      levels, newborn[arm] = with_fast_level(levels, value)
      settings[arm] = read, stream, levels, asking
      entries['fast'] = params_sha256(value)
  distances = settings[comparison.arms[0]][1].distances
  columns = columns_of(distances)
  enable_compilation_cache()
  logging.getLogger('bm25s').setLevel(logging.WARNING)
  model, results = load_pretrained(config.model), {}

  def make(cell):
    began = time.perf_counter()
    read, stream, levels, asking = settings[cell.arm]
    readers = [Reader(model, bed) for bed in stream.beds(model, cell.seed)]
    if read in RIVALS:
      lives = [reader.rival(read) for reader in readers]
    else:
      key = seeds.key_of(cell.seed)
      asked = lambda grown: questions.prepared(grown, asking, key, (
          rehearsal_texts(cell.seed, config.rehearsal_texts)))
      lives = [reader.live(levels, asked, key, newborn[cell.arm])
               for reader in readers]
    row = with_shares({**long_stream.row_of(lives),
                       'seconds': time.perf_counter() - began})
    print(f'{cell.arm}, seed {cell.seed}: {np.mean(row["at_end"]):.0%} at the '
          f'end, {row["seconds"]:.0f} s', flush=True)
    return row

  made = rows.Rows(workdir, {
      arm: {'config': entries} for arm, entries in same.items()})
  for cell, row in made.fill(
      rows.cells(comparison.arms, comparison.seeds), make):
    results[cell] = row
    summary = table.summary(results, columns)
    report_lib.write_report(workdir, {
        'recall_far': recall_far(summary), 'arms': summary,
        'hand_overs': [{**h, 'arm': c.arm, 'seed': c.seed}
                       for c, r in results.items() for h in r['hand_overs']],
        f'against_{comparison.arms[0]}': table.against_first(
            results, columns)})
    files.write(workdir / 'table.md', table.markdown(summary, columns))
    plot(workdir / 'report.png', summary, distances)
  print(table.markdown(summary, columns))
  print(json.dumps({'recall_far': recall_far(summary)}))
