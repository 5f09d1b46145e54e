"""What the rows of sequences of passages say together, and their picture."""

import itertools
import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from sleepjax.evals import paired, pictures
from sleepjax.runs import table
from sleepjax.runs.table import Column
from sleepjax.runs.task import Progress
from sleepjax.tasks import incorporation_table

FIRST = 'sleep'  # Arms are compared with it.
RIVALS = 'sft_all_layers', 'static_slot', 'sft_low_rank'  # Of the same store.
_LEAST_SEQUENCES = 3  # Of the verdict.

COLUMNS = {
    'in the end': Column('average_accuracy', '.1%', margin=0.05),
    'answers': Column('right', '.1%'),
    'own night': Column('learnt', '.1%'),
    'max − last': Column('forgetting', '.1%', margin=0.05),
    'first − last': Column('first_less_last', '.1%', margin=0.05),
    'backward transfer': Column('backward_transfer', '+.1%'),
    'forward transfer': Column('forward_transfer', '+.1%'),
    'forgotten': Column('forgotten', '.1%'),
    'untrained': Column('untrained_mean', '.1%'),
    'in view': Column('in_view_mean', '.1%'),
    'controls know': Column('controls_know', '.1%', margin=0.01),
    'controls': Column('control_change', '+.2f', margin=0.05),
    'drift': Column('drift', '+.1%', margin=0.01),
    'undone': Column('undone', '.1f'),
    'grown': Column('grown', ',.0f'),
    'tokens': Column('night_tokens', ',.0f'),
    'seconds': Column('night_seconds', ',.0f')}


def summary(results: table.Results) -> dict[str, Any]:
  """The report of all rows that there are.

  Returns:
    arms and against_sleep, see `runs.table`; matrices, of every arm the means
    over its sequences of untrained, matrix, in_view and so_far; the verdict.
  """
  arms = list(dict.fromkeys(cell.arm for cell in results))
  return {
      'arms': table.summary(results, COLUMNS),
      'against_sleep': table.against_first(results, COLUMNS)
      if arms[0] == FIRST else {},
      'matrices': {arm: {name: np.mean([
          row[name] for cell, row in results.items() if cell.arm == arm],
                                       axis=0).tolist()
                         for name in ('untrained', 'matrix', 'in_view',
                                      'so_far')} for arm in arms},
      'verdict': verdict(results)}


def verdict(results: table.Results) -> dict[str, Any]:
  """Whether `sleep` knows more in the end and forgets less than `RIVALS`.

  Returns:
    verdict: 'shown' if over three sequences or more `sleep` has more right
    answers in the end than each rival, and has forgotten fewer, 95 % intervals
    of both differences over passages without 0; 'refuted' if it has fewer right
    answers than one of them, with such an interval; else 'not shown', or 'not
    run' where no rival stands beside it. rivals: of each the two differences,
    right and forgotten, the answers that `sleep` has gained and lost in the end
    with McNemar's p, adjusted (Holm), and sequences, how many.
  """
  found = {}
  for rival in RIVALS:
    pairs = [(cell.item, row, results[cell._replace(arm=FIRST)])
             for cell, row in results.items() if cell.arm == rival
             and cell._replace(arm=FIRST) in results]
    if pairs:
      found[rival] = _beside(pairs)
  if not found:
    return {'verdict': 'not run'}
  adjusted = paired.holm({rival: one['p'] for rival, one in found.items()})
  for rival, p in adjusted.items():
    found[rival]['p'] = p
  enough = len(found) == len(RIVALS) and all(
      one['sequences'] >= _LEAST_SEQUENCES for one in found.values())
  said = 'not shown'
  if any((one['right']['high'] or 0) < 0 for one in found.values()):
    said = 'refuted'
  elif enough and all(one['right']['low'] > 0 > one['forgotten']['high']
                      for one in found.values()):
    said = 'shown'
  return {'verdict': said, 'rivals': found}


def _beside(pairs) -> dict[str, Any]:
  """Of (sequence, a rival's row, that of `sleep`): see `verdict`."""
  joined = lambda which, name: list(itertools.chain(
      *(pair[which][name] for pair in pairs)))
  groups = [f'{item} {passage}' for item, row, _ in pairs
            for passage in row['passage_of']]
  found = {name: paired.bootstrap(
      np.subtract(joined(2, name), joined(1, name), dtype=float), groups)
           for name in ('right', 'forgotten')}
  return {**found, **paired.mcnemar(joined(1, 'right'), joined(2, 'right')),
          'questions': len(groups), 'sequences': len(pairs)}


def text_does_not_help(firsts: Sequence[Progress]) -> str:
  """Why a run ends before the next sequence, or ''.

  Args:
    firsts: of every sequence so far what `SequenceTask.before` has found.
  """
  flat = lambda every: [known for nested in every for own in nested
                        for known in own]
  return incorporation_table.no_help(
      flat(first['right'][0] for first in firsts),
      flat(first['in_view'] for first in firsts),
      sum(len(first['in_view']) for first in firsts))


def plot(path: str | os.PathLike, matrices: Mapping[str, Mapping[str, Any]]
         ) -> None:
  """Draws what is known of each passage after each night, an arm a square.

  Args:
    path: of the picture.
    matrices: of `summary`. Above each square stands the untrained model, below
      it the model with the passage in view; the last panel has the share of
      right answers about what has been read.
  """
  pictures.draw(path, lambda figure: _draw(figure, matrices), dpi=130,
                layout='constrained', figsize=(3.1 * len(matrices) + 5.4, 3.6))


def _draw(figure, matrices):
  *squares, curve = figure.subplots(
      1, len(matrices) + 1, width_ratios=[1] * len(matrices) + [1.2])
  for axis, (arm, one) in zip(squares, matrices.items(), strict=True):
    rows = np.array([one['untrained'], *one['matrix'], one['in_view']])
    shown = axis.imshow(rows, vmin=0, vmax=1, cmap='Blues', aspect='auto')
    for (y, x), value in np.ndenumerate(rows):
      axis.text(x, y, f'{100 * value:.0f}', ha='center', va='center',
                fontsize=7, color='white' if value > 0.6 else '0.2')
    n = rows.shape[1]
    for night in range(n):  # What has been read by then is framed.
      axis.plot([-0.5, night + 0.5, night + 0.5],
                [night + 1.5, night + 1.5, night + 0.5], color='0.3', lw=0.8)
    axis.set(title=arm.replace('_', ' '), xlabel='passage')
    axis.set_xticks(range(n), range(1, n + 1))
    axis.set_yticks(range(n + 2), [])
  squares[0].set_yticks(range(len(rows)), [
      'untrained', *(f'night {night}' for night in range(1, n + 1)),
      'in view'])
  figure.colorbar(shown, ax=squares, label='right answers',
                  format=lambda value, _: f'{value:.0%}')
  for arm, one in matrices.items():
    curve.plot(range(1, n + 1), one['so_far'], marker='.',
               label=arm.replace('_', ' '))
  first = next(iter(matrices.values()))
  for name, style in (('untrained', ':'), ('in_view', '--')):
    curve.axhline(np.mean(first[name]), color='0.5', linestyle=style,
                  label=name.replace('_', ' '))
  curve.set(title='Of what has been read', xlabel='night', ylim=(0, None))
  curve.yaxis.set_major_formatter(lambda value, _: f'{value:.0%}')
  curve.spines[['top', 'right']].set_visible(False)
  curve.legend(frameon=False, fontsize=8, loc='upper left',
               bbox_to_anchor=(1, 1))
