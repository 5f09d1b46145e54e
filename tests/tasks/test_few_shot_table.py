"""Verdicts of few-shot tasks from rows written by hand."""

import pytest

from sleepjax.runs.rows import Cell
from sleepjax.tasks import few_shot_table


def row(*right):
  """Answers to three grids of each task."""
  return {'right': [answer for task in right for answer in task],
          'alone': [False] * sum(map(len, right)),
          'task': [number for number, task in enumerate(right) for _ in task],
          'readable': 1.0, 'tokens': 9.0, 'seconds': 1.0}


ALL, TWO, NONE = [True] * 3, [True, True, False], [False] * 3


@pytest.mark.parametrize('sleep, seal, mean, said', [
    ([ALL] * 8, [TWO] * 8, 1 / 3, 'shown'),
    ([TWO] * 8, [ALL] * 8, -1 / 3, 'refuted'),
    ([ALL, NONE] * 4, [NONE, ALL] * 4, 0.0, 'not shown'),
    ([ALL] * 16, [ALL] * 15 + [TWO], 1 / 48, 'not shown'),
    ([ALL], [NONE], 1.0, 'not shown')])
def test_a_verdict(sleep, seal, mean, said):
  found = few_shot_table.verdict({
      Cell('sleep', 0): row(*sleep), Cell('seal', 0): row(*seal),
      Cell('sleep', 1): row(*sleep)})
  assert found['verdict'] == said and found['tasks'] == len(sleep)
  assert found['mean'] == pytest.approx(mean)


def test_tasks_of_two_seeds_are_different_tasks():
  results = {Cell(arm, seed): row(ALL, answers) for seed in (0, 1)
             for arm, answers in (('sleep', ALL), ('seal', NONE))}
  found = few_shot_table.summary(results)
  assert found['verdict']['tasks'] == 4
  assert found['verdict']['mean'] == 0.5
  assert found['arms']['seal']['right']['mean'] == 0.5
  assert found['against_sleep']['seal']['right']['lost'] == 6
  assert found['arms']['sleep']['self-edits that do well'] is None


def test_without_a_rival_nothing_is_said():
  results = {Cell('ttt', 0): row(ALL)}
  assert few_shot_table.verdict(results) == {'verdict': 'not run'}
  assert few_shot_table.summary(results)['against_sleep'] == {}


def test_no_room():
  gap = {'in_context': 0.05, 'oracle': 0.5, 'enough': False}
  assert few_shot_table.no_room(gap).startswith(
      'with the examples in view 5% of the grids are right, and after ')
  assert few_shot_table.no_room({**gap, 'enough': True}) == ''
