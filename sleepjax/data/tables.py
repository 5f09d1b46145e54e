"""Rows of a table: as lines of text, and as CSV files have them."""

import csv
import io
import itertools
import re
from collections.abc import Sequence
from typing import NamedTuple

from sleepjax.errors import UserError

_DELIMITERS = ',', ';', '\t', '|'
_LOOKED_AT = 10  # Rows, for what stands between their cells.
_MOST_CHARACTERS = 2**28  # Of a cell; csv stops at 2**17 on its own.
_ROW_LINE = re.compile(r'\A\s*[^:;.\n]{1,40}: [^;\n]+; [^:;.\n]{1,40}: ')
_CELL = re.compile(r'(?:^|; )(?P<column>[^:;\n]{1,40}): (?P<value>[^;\n]+)')


class Row(NamedTuple):
  """Cells as they stand in a file, and the line on which they end."""

  line: int
  cells: list[str]


def row_line(columns: Sequence[str], cells: Sequence[str]) -> str:
  """A row as a line that says what each of its values is.

  Empty cells are left out; one whose column has no name stands alone.

  >>> row_line(['town', 'people', 'mayor'], ['Ory', '812', ''])
  'town: Ory; people: 812'
  """
  names = [*columns, *[''] * (len(cells) - len(columns))]
  return '; '.join(f'{name}: {cell}' if name else cell
                   for name, cell in zip(names, cells, strict=False) if cell)


class Cell(NamedTuple):
  """A value in the line of a row.

  column: its name.
  value: without white space around it.
  start: of the value in the line.
  """

  column: str
  value: str
  start: int


def is_row_line(line: str) -> bool:
  """Whether a line reads as `row_line` writes a row of two values or more."""
  return bool(_ROW_LINE.match(line))


def cells_of_line(line: str) -> list[Cell]:
  """The cells of what `row_line` has written; none of any other line.

  >>> [cell[:2] for cell in cells_of_line('town: Ory; people: 812')]
  [('town', 'Ory'), ('people', '812')]
  """
  if not is_row_line(line):
    return []
  return [Cell(m['column'].strip(), m['value'].rstrip(' .'), m.start('value'))
          for m in _CELL.finditer(line)]


def read_csv(text: str, where: str, delimiter: str | None = None
             ) -> tuple[list[str], list[Row]]:
  """The columns and rows of a CSV file; blank lines are none.

  Args:
    text: of the file.
    where: it comes from, for messages.
    delimiter: between cells; None takes the one of , ; tab | that cuts the
      first row, and then those below, into most cells.

  Returns:
    (names in the first row, all other rows), without white space around them.

  Raises:
    UserError: it is empty or a row cannot be read; the message has its line.
  """
  if not text.strip():
    raise UserError(f'{where}: is empty; expected the names of columns, and '
                    'rows.')
  def cells_of(mark):
    first = [len(row.cells) for row in _rows(text, mark, where, _LOOKED_AT)]
    return first[0], sum(first)

  delimiter = delimiter or max(_DELIMITERS, key=cells_of)
  header, *rows = _rows(text, delimiter, where)
  return header.cells, rows


def _rows(text, delimiter, where, most=None):
  """The first so many rows that are not blank lines; all of them for None."""
  usual = csv.field_size_limit(_MOST_CHARACTERS)
  try:
    reader = csv.reader(io.StringIO(text, newline=''), delimiter=delimiter)
    rows = (Row(reader.line_num, [cell.strip() for cell in cells])
            for cells in reader if cells)
    return list(itertools.islice(rows, most))
  except csv.Error as error:
    raise UserError(
        f'{where}, line {reader.line_num}: no row of a CSV file ({error}).'
    ) from None
  finally:
    csv.field_size_limit(usual)
