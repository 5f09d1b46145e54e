"""Tables of reasoning against numbers by hand."""

import numpy as np
import pytest

from sleepjax.runs.rows import Cell
from sleepjax.tasks import reasoning_table


def row(mean, seconds=(), means=(), samples=4, problems=5):
  right = [round(mean * samples)] * problems
  return {'mean': mean, 'right_samples': right, 'samples': samples,
          'right': [True, False], 'by_grade': {'0': mean, '1': 0.0},
          'curve': [{'step': i, 'seconds': s, 'tokens': 0, 'mean': m}
                    for i, (s, m) in enumerate(zip(seconds, means))]}


RESULTS = {
    Cell('sleep', 0): row(0.75, (0, 5, 9), (0.2, 0.6, 0.5)),
    Cell('opsd', 0): row(0.5, (0, 4, 8), (0.2, 0.4, 0.45)),
    Cell('sft', 0): row(0.25, (0, 2, 4), (0.2, 0.5, 0.1)),
    Cell('sleep', 1): row(0.5, (0, 5, 9), (0.2, 0.3, 0.4)),
    Cell('opsd', 1): row(0.5, (0, 4, 7), (0.2, 0.3, 0.4)),
    Cell('base', 0): {k: v for k, v in row(0.25).items() if k != 'curve'}}


def test_time_to_the_score_that_sleep_ends_with():
  """0.5 and 0.4, not what it had on the way."""
  timed = reasoning_table.with_time_to_score(RESULTS)
  found = {cell: (row.get('reached'), row.get('seconds_to_score'))
           for cell, row in timed.items()}
  assert found == {
      Cell('sleep', 0): (1.0, 5), Cell('opsd', 0): (0.0, None),
      Cell('sft', 0): (1.0, 2), Cell('sleep', 1): (1.0, 9),
      Cell('opsd', 1): (1.0, 7), Cell('base', 0): (None, None)}


def test_differences_are_paired_by_problem_and_by_seed():
  found = reasoning_table.advantage(RESULTS, 'opsd')
  # 3 − 2 of 4 samples on each of five problems, and 2 − 2.
  assert found['mean'] == pytest.approx(0.125) and found['problems'] == 10
  assert found['low'] <= 0.125 <= found['high']
  assert found['seeds']['mean'] == pytest.approx(0.125)
  assert reasoning_table.advantage(RESULTS, 'grpo') is None


@pytest.mark.parametrize('differences, verdict', [
    ((0.2, 0.21, 0.19), 'shown'), ((-0.2, -0.21, -0.19), 'refuted'),
    ((0.3, -0.3, 0.1), 'not shown'), ((0.4,), 'not shown'), ((), 'not run')])
def test_verdict(differences, verdict):
  results = {}
  for seed, difference in enumerate(differences):
    results[Cell('sleep', seed)] = row(0.5 + difference)
    results[Cell('opsd', seed)] = row(0.5)
  assert reasoning_table.verdict(results)['verdict'] == verdict


def test_summary():
  summary = reasoning_table.summary(RESULTS)
  assert summary['arms']['sleep']['mean']['mean'] == pytest.approx(0.625)
  assert summary['arms']['base']['seconds'] is None
  assert set(summary['against_sleep']) == {'opsd', 'sft', 'base'}
  assert summary['against_sleep']['sft']['mean']['mean'] == pytest.approx(-0.5)
  assert summary['by_grade']['opsd'] == {'0': 0.5, '1': 0.0}
  assert np.isclose(summary['sleep_minus']['base']['mean'], 0.5)


def test_a_bed_without_room_is_said_so():
  gap = {'student': 0.4, 'teacher': 0.5, 'enough': False}
  assert 'solves 50% with a solution in view, the student 40%' in (
      reasoning_table.no_room(gap))
  assert 'it calculates 10% right, the student 60%: arms' in (
      reasoning_table.no_room({**gap, 'after_slips': {
          'teacher': 0.1, 'student': 0.6}}))
  assert reasoning_table.no_room({**gap, 'enough': True}) == ''
