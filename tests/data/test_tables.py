import csv

import pytest

from sleepjax.data import tables
from sleepjax.errors import UserError


@pytest.mark.parametrize('columns, cells, line', [
    (['a', 'b'], ['1', '2'], 'a: 1; b: 2'),
    (['a', 'b'], ['', '2', '3'], 'b: 2; 3'),
    (['', 'b', 'c'], ['x', '1'], 'x; b: 1'),
    (['a'], [''], ''),
    ([], [], '')])
def test_a_row_is_a_line(columns, cells, line):
  assert tables.row_line(columns, cells) == line


@pytest.mark.parametrize('text, columns, rows', [
    ('a,b\n1,2\n', ['a', 'b'], [(2, ['1', '2'])]),
    ('a; b\n"x, y\nz" ;2\n\n3\n', ['a', 'b'], [
        (3, ['x, y\nz', '2']), (5, ['3'])]),
    ('a\tb,c\n1\t2\n', ['a', 'b,c'], [(2, ['1', '2'])]),
    ('a|b|c\n1|2|3', ['a', 'b', 'c'], [(2, ['1', '2', '3'])]),
    ('"a,b;c"\n1', ['a,b;c'], [(2, ['1'])]),
    ('name\nAnn\n', ['name'], [(2, ['Ann'])])])
def test_rows_of_csv(text, columns, rows):
  assert tables.read_csv(text, 'a.csv') == (columns, rows)


def test_long_cells_and_others_limits():
  usual = csv.field_size_limit()
  text = 'text\n' + 'x' * (usual + 1)
  assert len(tables.read_csv(text, 'a.csv')[1][0].cells[0]) == usual + 1
  assert csv.field_size_limit() == usual


def test_no_rows_are_explained():
  with pytest.raises(UserError, match='a.csv: .*columns'):
    tables.read_csv('\n\n', 'a.csv')
