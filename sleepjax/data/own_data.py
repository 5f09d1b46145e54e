"""Documents and questions from the files that people have.

  .txt, .text        a document; see `documents.read_document`
  .md, .html, ...    the same, as they are shown; see `markup`
  .jsonl, .json      rows; see `records.take_record`; or SQuAD v1
  .csv, .tsv         rows, if columns have these names; else a document with a
                     line `column: value; ...` for each row
  a folder           all of these in it, by name; or a data set that the
                     library `datasets` has saved
"""

import json
import os
import pathlib
import re

from sleepjax.data import arrow_files, documents, records, tables
from sleepjax.data.corpus import Corpus, Gatherer
from sleepjax.data.documents import Document
from sleepjax.data.text_files import read_text
from sleepjax.errors import UserError

_TEXT = '.txt', '.text', *documents.MARKDOWN, *documents.HTML
_JSON_LINES = '.jsonl', '.ndjson'
_TABLES = {'.csv': None, '.tsv': '\t'}
ENDINGS = (*_TEXT, *_JSON_LINES, '.json', *_TABLES)
_NAMED = 3  # Of the reasons why nothing is left.


def read(*paths: str | os.PathLike) -> Corpus:
  """All documents and questions in files and folders.

  What a folder has that cannot be read, is hidden or has another ending, rows
  without text and texts that were read before are skipped, each with a reason.
  A file that is named itself has to be readable; one of an unknown ending is
  plain text.

  Args:
    paths: of files and folders, read in this order; those in a folder by name,
      numbers in names by their size.

  Returns:
    documents, questions about them, and what was skipped.

  Raises:
    UserError: a named file cannot be read, or nothing is left.
  """
  gatherer = Gatherer()
  for path in map(pathlib.Path, paths):
    path = path.expanduser()
    take = (_take_dataset if arrow_files.is_dataset(path) else
            _take_folder if path.is_dir() else _take_file)
    take(gatherer, path)
  found = gatherer.corpus()
  if not (found.documents or found.questions):
    reasons = [f'{what}: {why}' for what, why in found.skipped]
    more = ['...'] if len(reasons) > _NAMED else []
    raise UserError(
        f'{", ".join(map(str, paths))}: nothing to read '
        f'({"; ".join(reasons[:_NAMED] + more) or "no files"}); expected '
        f'files that end in {", ".join(ENDINGS)}.')
  return found


def read_one(path: str | os.PathLike) -> Document:
  """The one document in a file.

  Raises:
    UserError: it has none, or several.
  """
  if pathlib.Path(path).expanduser().is_dir():
    return documents.read_document(path)  # Refuses it.
  found = read(path).documents
  if len(found) != 1:
    raise UserError(f'{path}: holds {len(found)} texts; expected one. '
                    '`sleepjax.read` reads several.')
  return found[0]


def _take_folder(gatherer, folder):
  """Takes all in it, and notes what cannot be read."""
  try:
    entries = sorted(folder.iterdir(), key=lambda path: _in_order(path.name))
  except OSError as error:
    gatherer.skip(str(folder), f'cannot be read ({error.strerror})')
    return
  for path in entries:
    if path.name.startswith('.'):
      gatherer.skip(str(path), 'hidden')
    elif path.is_dir() and path.is_symlink():
      gatherer.skip(str(path), 'a link to a folder')
    elif arrow_files.is_dataset(path):
      _take_or_skip(_take_dataset, gatherer, path)
    elif path.is_dir():
      _take_folder(gatherer, path)
    elif not path.is_file():
      gatherer.skip(str(path), 'no file')
    elif (end := documents.ending(path)) not in ENDINGS:
      gatherer.skip(str(path), f'unknown ending {end!r}' if end else
                    'a name without an ending')
    else:
      _take_or_skip(_take_file, gatherer, path)


def _take_or_skip(take, gatherer, path):
  try:
    take(gatherer, path)
  except UserError as error:
    gatherer.skip(str(path), records.reason(error, str(path)))


def _take_dataset(gatherer, folder):
  for where, row in arrow_files.read_rows(folder):
    records.take_record(gatherer, row, where)


def _in_order(name):
  """Sorts 2 before 10."""
  return [int(part) if n % 2 else part
          for n, part in enumerate(re.split('([0-9]+)', name.casefold()))]


def _take_file(gatherer, path):
  end, where = documents.ending(path), str(path)
  if end in _JSON_LINES:
    _take_json_lines(gatherer, path, where)
  elif end == '.json':
    _take_json(gatherer, path, where)
  elif end in _TABLES:
    _take_table(gatherer, path, where, _TABLES[end])
  else:
    gatherer.document(documents.read_document(path), where)


def _take_json_lines(gatherer, path, where):
  text = read_text(path, 'a row of JSON on every line')
  for number, line in enumerate(text.split('\n'), 1):
    if line.strip():
      place = f'{where}, line {number}'
      try:
        row = json.loads(line)
      except (ValueError, RecursionError) as error:
        gatherer.skip(place, f'not JSON ({error})')
      else:
        records.take_record(gatherer, row, place)


def _take_json(gatherer, path, where):
  expected = 'a list of rows, or an object with "data" as SQuAD v1 has it'
  try:
    content = json.loads(read_text(path, expected))
  except (ValueError, RecursionError) as error:
    if isinstance(error, UserError):
      raise
    raise UserError(f'{where}: not JSON ({error}); expected {expected}.'
                    ) from None
  if isinstance(content, dict) and 'data' in content:
    records.take_squad(gatherer, content, where)
  elif content == []:
    raise UserError(f'{where}: an empty list; expected {expected}.')
  elif isinstance(content, list):
    for number, row in enumerate(content):
      records.take_record(gatherer, row, f'{where}, item {number}')
  else:
    records.take_record(gatherer, content, where)


def _take_table(gatherer, path, where, delimiter):
  columns, rows = tables.read_csv(
      read_text(path, 'a table with the names of its columns', strip=False),
      where, delimiter)
  names = [column.lower() for column in columns]
  if records.known_fields(names):
    for row in rows:
      # An empty cell is none.
      fields = {name: cell for name, cell in zip(names, row.cells) if cell}
      records.take_record(gatherer, fields, f'{where}, line {row.line}')
    return
  lines = []
  for row in rows:
    if line := tables.row_line(columns, row.cells):
      lines.append(line)
    else:
      gatherer.skip(f'{where}, line {row.line}', 'no cell has anything in it')
  if not lines:
    raise UserError(f'{where}: a table without rows; expected some below the '
                    'names of its columns.')
  title = re.sub(r'[_\W]+', ' ', path.name.split('.')[0]).strip()
  gatherer.document(Document(title, '\n'.join(lines)), where)
