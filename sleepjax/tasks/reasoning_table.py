"""Tables of reasoning: means of arms, time to a score, and the verdict.

Two things are compared apart: `mean`, right answers among samples, which also
rises where a model only becomes surer of what it says anyway, and `greedy`, its
likeliest solution, which does not.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from sleepjax.evals import paired
from sleepjax.runs import table
from sleepjax.runs.rows import Cell
from sleepjax.runs.table import Column

FIRST = 'sleep'  # Arms are compared with it.
_LEVEL = 0.05
_MARGIN = 0.02

COLUMNS = {
    'mean': Column('mean', '.1%', margin=_MARGIN),
    'greedy': Column('right', '.1%'),
    'finished': Column('finished', '.1%'),
    'equations': Column('equations', '.1%'),
    'reply tokens': Column('reply_tokens', '.1f'),
    'tokens': Column('tokens', ',.0f'),
    'seconds': Column('seconds', ',.0f'),
    'seconds to sleep’s score': Column('seconds_to_score', ',.0f'),
    'reached it': Column('reached', '.0%'),
    'trained': Column('trained', ',.0f')}


def with_time_to_score(results: table.Results) -> dict[Cell, dict[str, Any]]:
  """Rows with `seconds_to_score` and `reached`: of the score of `sleep`.

  The score is what `sleep` ends with on the problems that are asked on the way,
  on the same seed. A run that never has it has no seconds; those that reach it
  say how soon, and `reached` how many do.
  """
  found = {}
  for cell, row in results.items():
    target = results.get(cell._replace(arm=FIRST))
    row = dict(row)
    if target is not None and 'curve' in row and 'curve' in target:
      score = target['curve'][-1]['mean']
      seconds = [point['seconds'] for point in row['curve']
                 if point['mean'] >= score]
      row['reached'] = float(bool(seconds))
      if seconds:
        row['seconds_to_score'] = seconds[0]
    found[cell] = row
  return found


def summary(results: table.Results) -> dict[str, Any]:
  """The report's entries, of rows with `sleep` first where it is there.

  Returns:
    arms, and each beside `sleep` in pairs of seeds (`against_sleep`; the rows
    of an arm less those of `sleep`), sleep's advantage over each arm by problem
    (`sleep_minus`), right answers by grade, and the verdict.
  """
  timed = with_time_to_score(results)
  arms = list(dict.fromkeys(cell.arm for cell in timed))
  return {
      'arms': table.summary(timed, COLUMNS),
      'against_sleep': table.against_first(timed, COLUMNS)
      if arms[0] == FIRST else {},
      'sleep_minus': {arm: entry for arm in arms if arm != FIRST
                      if (entry := advantage(timed, arm)) is not None},
      'by_grade': {arm: _by_grade([row for cell, row in timed.items()
                                   if cell.arm == arm]) for arm in arms},
      'verdict': verdict(timed)}


def advantage(results: table.Results, arm: str) -> dict[str, Any] | None:
  """avg@samples of `sleep` less that of an arm, paired by problem and seed.

  Returns:
    mean, low and high by bootstrap over problems, which leaves out how much
    runs of an arm differ; `seeds`, the paired t of their means, which has that;
    None where no seed has both.
  """
  pairs = [(results[cell._replace(arm=FIRST)], row)
           for cell, row in results.items()
           if cell.arm == arm and cell._replace(arm=FIRST) in results]
  if not pairs:
    return None
  samples = [np.subtract(ours['right_samples'], theirs['right_samples'])
             / ours['samples'] for ours, theirs in pairs]
  return {
      **paired.bootstrap(np.concatenate(samples)),
      'problems': int(sum(map(len, samples))),
      'seeds': paired.paired_t(*zip(*(
          (theirs['mean'], ours['mean']) for ours, theirs in pairs)))}


def verdict(results: table.Results) -> dict[str, Any]:
  """Whether `sleep` solves more than on-policy self-distillation does.

  Returns:
    verdict: 'shown' if the interval of the difference of their means over seeds
    is above 0, 'refuted' if it is below, 'not shown' otherwise, one seed
    included, 'not run' without a pair; and the difference.
  """
  found = advantage(results, 'opsd')
  if found is None:
    return {'verdict': 'not run'}
  seeds = found['seeds']
  told = seeds['p'] is not None and seeds['p'] < _LEVEL
  return {**found, 'verdict': 'not shown' if not told else (
      'shown' if seeds['mean'] > 0 else 'refuted')}


def no_room(gap: Mapping[str, Any]) -> str:
  """Why a run ends before it has begun, or ''; see `Bed.gap`."""
  if gap['enough']:
    return ''
  said = (f'the teacher solves {gap["teacher"]:.0%} with a solution in view, '
          f'the student {gap["student"]:.0%} without')
  if after := gap.get('after_slips'):
    said += (f'; after a wrong number it calculates {after["teacher"]:.0%} '
             f'right, the student {after["student"]:.0%}')
  return f'{said}: arms cannot be told apart here'


def _by_grade(rows: Sequence[Mapping[str, Any]]) -> dict[str, float]:
  grades = dict.fromkeys(grade for row in rows for grade in row['by_grade'])
  return {grade: float(np.mean([row['by_grade'][grade] for row in rows
                                if grade in row['by_grade']]))
          for grade in grades}
