"""What the rows of class-incremental classification say together."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from sleepjax.evals.interval import interval
from sleepjax.runs import table
from sleepjax.runs.table import Column

FIRST = 'sleep'  # Arms are compared with it.
RIVALS = 'sft', 'ewc', 'replay'  # Which have what it has, and no night.

COLUMNS = {
    'in the end': Column('average_accuracy', '.1%', margin=0.02),
    'answers': Column('right', '.1%'),
    'on the way': Column('on_the_way', '.1%', margin=0.02),
    'own night': Column('learnt', '.1%'),
    'first increment': Column('first', '.1%'),
    'forgetting': Column('forgetting', '.1%'),
    'backward transfer': Column('backward_transfer', '+.1%'),
    'teacher': Column('taught', '.1%'),
    'elsewhere': Column('elsewhere', '.3f', margin=0.05),
    'undone': Column('undone', '.1f'),
    'grown': Column('grown', ',.0f'),
    'tokens': Column('night_tokens', ',.0f'),
    'seconds': Column('night_seconds', ',.0f')}


def summary(results: table.Results) -> dict[str, Any]:
  """The report of all rows that there are.

  Returns:
    arms and against_sleep, see `runs.table`; matrices, the mean over seeds of
    every arm's accuracy of an increment after a night; the verdict.
  """
  arms = list(dict.fromkeys(cell.arm for cell in results))
  return {
      'arms': table.summary(results, COLUMNS),
      'against_sleep': table.against_first(results, COLUMNS)
      if arms[0] == FIRST else {},
      'matrices': {arm: np.mean([
          row['matrix'] for cell, row in results.items() if cell.arm == arm],
                                axis=0).tolist() for arm in arms},
      'verdict': verdict(results)}


def verdict(results: table.Results) -> dict[str, Any]:
  """Whether `sleep` knows more classes in the end than each of `RIVALS`.

  Returns:
    verdict: 'shown' if the interval of its average accuracy over seeds lies
    above that of every rival, 'refuted' if it lies below that of one, 'not
    shown' otherwise, a single seed included, 'not run' without it or one of
    them; and the intervals, [low, high], by arm.
  """
  values = {arm: [row['average_accuracy'] for cell, row in results.items()
                  if cell.arm == arm] for arm in (FIRST, *RIVALS)}
  if not all(values.values()):
    return {'verdict': 'not run'}
  bounds = {}
  for arm, of_arm in values.items():
    found = interval(of_arm)
    half = found['half_width']
    bounds[arm] = [-np.inf, np.inf] if half is None else [
        found['mean'] - half, found['mean'] + half]
  low, high = bounds[FIRST]
  said = 'not shown'
  if any(high < bounds[rival][0] for rival in RIVALS):
    said = 'refuted'
  elif all(low > bounds[rival][1] for rival in RIVALS):
    said = 'shown'
  return {'verdict': said, 'intervals': {
      arm: None if np.isinf(pair).any() else pair
      for arm, pair in bounds.items()}}


def no_room(gap: Mapping[str, Any]) -> str:
  """Why a run ends before it has begun, or ''; see `Bed.gap`."""
  return '' if gap['enough'] else (
      f'with the increment in view {gap["in_view"]:.0%} of the utterances get '
      f'their class, without {gap["closed_book"]:.0%}: the model cannot label '
      'from examples in view, and arms cannot be told apart')
