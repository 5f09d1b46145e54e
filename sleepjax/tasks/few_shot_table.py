"""What the rows of few-shot tasks say together."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from sleepjax.evals import paired
from sleepjax.runs import table
from sleepjax.runs.table import Column

FIRST, RIVAL = 'sleep', 'seal'
LEAST = 0.1  # By which the first is to be better.

COLUMNS = {
    'right': Column('right', '.1%'),
    'without votes': Column('alone', '.1%'),
    'grids': Column('readable', '.1%'),
    'self-edits that do well': Column('rewarded', '.1%'),
    'tokens': Column('tokens', ',.0f'),
    'seconds': Column('seconds', ',.0f')}


def summary(results: table.Results) -> dict[str, Any]:
  """The report of all rows that there are.

  Returns:
    arms and against_sleep, see `runs.table`, and the verdict.
  """
  arms = list(dict.fromkeys(cell.arm for cell in results))
  return {
      'arms': table.summary(results, COLUMNS),
      'against_sleep': table.against_first(results, COLUMNS)
      if arms[0] == FIRST else {},
      'verdict': verdict(results)}


def verdict(results: table.Results) -> dict[str, Any]:
  """Whether `sleep` answers more than `seal` does.

  Returns:
    verdict: 'shown' if it has at least 10 points more and the interval of the
    difference is above 0, 'refuted' if that is below 0, 'not shown' otherwise,
    when the two are not separable, 'not run' without one of them; and the
    difference, an interval by bootstrap over tasks.
  """
  differences, tasks = [], []
  for cell, row in results.items():
    other = results.get(cell._replace(arm=RIVAL))
    if cell.arm == FIRST and other is not None:
      differences += np.subtract(row['right'], other['right'], dtype=float
                                 ).tolist()
      tasks += [f'{cell.seed}/{task}' for task in row['task']]
  if not differences:
    return {'verdict': 'not run'}
  found = paired.bootstrap(differences, tasks)
  said, low, high = 'not shown', found['low'], found['high']
  if low is not None and low > 0 and found['mean'] >= LEAST:
    said = 'shown'
  elif high is not None and high < 0:
    said = 'refuted'
  return {**found, 'tasks': len(set(tasks)), 'verdict': said}


def no_room(gap: Mapping[str, Any]) -> str:
  """Why a run ends before it has begun, or ''; see `Bed.gap`."""
  return '' if gap['enough'] else (
      f'with the examples in view {gap["in_context"]:.0%} of the grids are '
      'right, and after test-time training by the best self-edit of each task '
      f'{gap["oracle"]:.0%}: arms cannot be told apart here')
