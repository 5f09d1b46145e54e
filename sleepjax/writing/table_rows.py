"""Rows of a table, as sentences that can be asked about by rule.

`data.tables.row_line` writes a row as "town: Ory; people: 812". Every value
stands beside the name of its column, and the first value tells rows apart, so
that the questions are right by construction and need no grammar of the text.
"""

import re
from collections.abc import Sequence

from sleepjax.data.tables import cells_of_line
from sleepjax.writing.spans import Span


def is_table(sentences: Sequence[str]) -> bool:
  """Whether most sentences are rows of tables."""
  return 2 * sum(bool(cells_of_line(s)) for s in sentences) > len(sentences)


def row_spans(sentence: str, number: int) -> list[Span]:
  """The values of a row.

  Args:
    sentence: the row.
    number: which sentence it is.
  """
  return [Span(c.value, 'number' if re.search(r'\d', c.value) else 'name',
               number, c.start) for c in cells_of_line(sentence) if c.value]


def row_questions(sentence: str, span: Span) -> list[str]:
  """What a table can be asked for a value: by its row, or which row has it.

  >>> row_questions('town: Ory; people: 812', Span('812', 'number', 0, 19))
  ['What is the people of Ory?', 'Ory: what is its people?']

  Args:
    sentence: the row.
    span: a value of it.

  Returns:
    questions; none where the sentence is no row, or the span no value of it.
  """
  row = cells_of_line(sentence)
  asked = [n for n, cell in enumerate(row) if cell.start == span.start]
  if not asked:
    return []
  first, cell = row[0], row[asked[0]]
  if asked[0]:
    return [f'What is the {cell.column} of {first.value}?',
            f'{first.value}: what is its {cell.column}?']
  return [f'Which {first.column} has the {other.column} {other.value}?'
          for other in row[1:3]]
