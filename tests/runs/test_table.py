"""Rows that are kept and skipped, and arms compared in pairs."""

import json
import math

import pytest

from sleepjax.errors import UserError
from sleepjax.runs import rows as rows_lib
from sleepjax.runs import table
from sleepjax.runs.rows import Cell
from sleepjax.runs.table import Column

COLUMNS = {'loss': Column('loss'), 'right': Column('right', '.0%'),
           'share': Column(('gained', 'gap'), '.0%')}


def row(loss, right, gained=1.0):
  return {'loss': loss, 'right': right, 'gained': gained, 'gap': 2.0}


RESULTS = {
    Cell('base', 0): row(3.0, [True, False, False]),
    Cell('ours', 0): row(2.0, [True, True, True], 1.5),
    Cell('base', 1): row(5.0, [False, False, True]),
    Cell('ours', 1): row(4.0, [True, False, True], 0.5)}


def test_an_early_end_leaves_a_fair_table():
  assert rows_lib.cells(('a', 'b'), (0, 1), ('x', 'y'))[:5] == [
      Cell('a', 0, 'x'), Cell('b', 0, 'x'), Cell('a', 0, 'y'),
      Cell('b', 0, 'y'), Cell('a', 1, 'x')]


def test_a_finished_row_is_not_made_again(tmp_path):
  made = []

  def make(cell):
    made.append(cell)
    return {'loss': 1.5, 'open': float('nan')}

  wanted = rows_lib.cells(('a',), (0, 1))
  store = lambda steps: rows_lib.Rows(tmp_path, {'a': {'steps': steps}})
  first = dict(store(4).fill(wanted, make))
  assert first == dict(store(4).fill(wanted, make)) and made == wanted
  assert first[wanted[0]] == {'loss': 1.5, 'open': None}
  with pytest.raises(UserError, match='steps'):
    store(5).get(wanted[0])
  store(4).path(wanted[1]).write_text(json.dumps({'row': {}}))
  with pytest.raises(UserError, match='no row of a table'):
    store(4).get(wanted[1])


def test_means_and_intervals():
  found = table.summary(RESULTS, COLUMNS)
  assert found['base']['loss']['mean'] == 4
  # t of one degree of freedom: 12.706 times 1.414 over the root of two.
  assert found['base']['loss']['half_width'] == pytest.approx(12.706, rel=1e-4)
  assert found['ours']['right']['mean'] == 5 / 6
  assert found['ours']['right']['low'] < 5 / 6 < found['ours']['right']['high']
  assert found['ours']['share']['mean'] == 0.5
  text = table.markdown(found, COLUMNS)
  assert text.splitlines()[2].startswith('| base | 2 | 4.00 ± 12.71 | 33%')


def test_arms_are_compared_in_pairs():
  against = table.against_first(RESULTS, COLUMNS)['ours']
  assert against['loss']['mean'] == -1 and against['loss']['p'] == 0.0
  assert (against['right']['gained'], against['right']['lost']) == (3, 0)
  assert against['right']['p'] == 0.25  # 2 / 2^3, McNemar's exact test.
  assert against['share']['mean'] == 0.0  # Of what is gained.


def test_what_an_arm_lacks_is_no_number():
  results = {**RESULTS, Cell('third', 0): {'loss': 1.0}}
  found = table.summary(results, COLUMNS)
  assert found['third']['right'] is None
  assert '–' in table.markdown(found, COLUMNS)
  assert table.against_first(results, COLUMNS)['third']['right'] is None


def test_rows_without_a_number_are_left_out():
  columns = {'loss': Column('loss'), 'share': Column(
      ('gained', 'gap'), least=2.5)}
  results = {**RESULTS, Cell('ours', 2): {'loss': None}, Cell('base', 2): {}}
  found = table.summary(results, columns)['ours']
  assert found['loss']['values'] == [2.0, 4.0]
  assert found['share'] is None  # The denominators are 2 each.
  assert table.against_first(results, columns)['ours']['loss']['pairs'] == 2


def test_equivalence_needs_a_margin():
  """Differences 0.1 and 0.3; of 0.2 ± margin two t tests with one degree.

  t = (0.5 - 0.2) / 0.1 = 3 and (0.2 + 0.5) / 0.1 = 7; the larger p is that of
  3: 1/2 - atan(3) / pi.
  """
  results = {Cell('base', 0): {'loss': 1.0}, Cell('base', 1): {'loss': 2.0},
             Cell('ours', 0): {'loss': 1.1}, Cell('ours', 1): {'loss': 2.3},
             Cell('third', 0): {'loss': 1.1}, Cell('third', 1): {'loss': 2.3}}
  found = table.against_first(results, {'loss': Column('loss', margin=0.5)})
  alone = 0.5 - math.atan(3) / math.pi
  assert found['ours']['loss']['p_equivalent_single'] == pytest.approx(alone)
  assert found['ours']['loss']['p_equivalent'] == pytest.approx(2 * alone)
  assert 'p_equivalent' not in table.against_first(
      results, {'loss': Column('loss')})['ours']['loss']


def test_pictures(tmp_path):
  table.plot(tmp_path / 'a.png', table.summary(RESULTS, COLUMNS), COLUMNS,
             ['loss', 'right'])
  assert (tmp_path / 'a.png').stat().st_size > 5_000
