"""What the rows of languages learnt one after another say together."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from sleepjax.evals.interval import interval
from sleepjax.runs import table
from sleepjax.runs.table import Column

FIRST = 'sleep'  # Arms are compared with it.
COLLAPSES, NOTHING = 'in_context', 'base'
MOST_LOST = 5.0  # chrF that counts as nearly none.
LEAST_LEARNT = 0.5  # Of what the book in view gives.

COLUMNS = {
    'single': Column('single_mean', '.1f', margin=MOST_LOST),
    'sequential': Column('sequential_mean', '.1f', margin=MOST_LOST),
    'sequential less single': Column('kept', '+.1f', margin=MOST_LOST),
    'of the first language': Column('first_kept', '+.1f', margin=MOST_LOST),
    'right': Column('right', '.1%'),
    'long-known language': Column('elsewhere', '.1f', margin=MOST_LOST),
    'teacher': Column('taught', '.1f'),
    'undone': Column('undone', '.1f'),
    'grown': Column('grown', ',.0f'),
    'tokens': Column('night_tokens', ',.0f'),
    'tokens a question': Column('tokens_a_question', ',.0f'),
    'questions to break even': Column('break_even', ',.0f'),
    'seconds': Column('night_seconds', ',.0f')}


def summary(results: table.Results) -> dict[str, Any]:
  """The report of all rows that there are.

  Returns:
    arms and against_sleep, see `runs.table`; matrices, the mean over seeds of
    every arm's chrF of a language after a night; the verdict.
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
  """Whether `sleep` learns languages one after another as well as each alone.

  Returns:
    verdict: 'shown' if three things hold over seeds, 95 % intervals apart:
    a language alone gains at least half of what its book in view gives, one
    after another no more than 5 chrF are lost, and the last book in view alone
    loses more; 'refuted' if more is lost for sure; 'not shown' otherwise, a
    single seed included; 'not run' without the three arms. learnt, kept and
    collapses: the three intervals, [low, high].
  """
  by_arm = {arm: {cell.seed: row for cell, row in results.items()
                  if cell.arm == arm} for arm in (FIRST, COLLAPSES, NOTHING)}
  seeds = [seed for seed in by_arm[FIRST]
           if all(seed in rows for rows in by_arm.values())]
  if not seeds:
    return {'verdict': 'not run'}
  rows = {arm: [found[seed] for seed in seeds]
          for arm, found in by_arm.items()}
  gained = [(one['single_mean'] - base['single_mean'])
            - LEAST_LEARNT * (view['single_mean'] - base['single_mean'])
            for one, view, base in zip(*rows.values(), strict=True)]
  learnt, kept, collapses = map(_bounds, (
      gained, [row['kept'] for row in rows[FIRST]],
      [row['kept'] for row in rows[COLLAPSES]]))
  said = 'not shown'
  if kept[1] < -MOST_LOST:
    said = 'refuted'
  elif learnt[0] > 0 and kept[0] > -MOST_LOST and collapses[1] < -MOST_LOST:
    said = 'shown'
  told = lambda pair: None if np.isinf(pair).any() else pair
  return {'verdict': said, 'learnt': told(learnt), 'kept': told(kept),
          'collapses': told(collapses)}


def _bounds(values) -> list[float]:
  found = interval(values)
  half = found['half_width']
  return [-np.inf, np.inf] if half is None else [
      found['mean'] - half, found['mean'] + half]


def no_room(gap: Mapping[str, Any]) -> str:
  """Why a run ends before it has begun, or ''; see `Bed.gap`."""
  return '' if gap['enough'] else (
      'with its book in view a language is translated with '
      f'{gap["in_view"]:.1f} chrF, without with {gap["closed_book"]:.1f}: the '
      'model cannot translate by a dictionary in view, and arms cannot be told '
      'apart')
