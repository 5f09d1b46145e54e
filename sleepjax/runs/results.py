"""Pages of results: JSON with its provenance, rendered into Markdown.

DIR/NAME.json becomes DIR/NAME.md, and a picture for every table that asks for
one. A page is an object of

  title, text    its heading and the paragraphs of Markdown below it
  claims         [{claim, verdict, why}]
  tables         [{title, text, command, row, columns, runs, rows, notes,
                   picture, image}]

and a table of

  row, columns   heading of the names of rows; column -> format of its numbers
  runs           name -> {config, commit, machine, date, seeds}; null where that
                 was not recorded
  rows           [{name, run, changes, values}]: `changes` are the flags by
                 which a row differs from its run, `values` column -> a number,
                 a text, null, or what `evals.interval` makes; or median, least
                 and greatest
  command, text, notes   lines that take the table; paragraphs above and below
  picture        columns that are drawn
  image          {file, shows}: a picture that a run drew
"""

import hashlib
import json
import pathlib
import re
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from sleepjax.data import files
from sleepjax.errors import UserError
from sleepjax.evals import pictures
from sleepjax.runs import table as table_lib
from sleepjax.runs.table import Column

VERDICTS = ('shown', 'not shown', 'refuted', 'not run')
PROVENANCE = ('config', 'commit', 'machine', 'date', 'seeds')
_UNKNOWN = 'not recorded'

# What an object must have, and what it may have.
_PAGE = {'title', 'text', 'tables'}, {'claims'}
_TABLE = {'title', 'row', 'columns', 'runs', 'rows'}, {
    'text', 'command', 'notes', 'picture', 'image'}
_ROW = {'name', 'run', 'values'}, {'changes'}
_CLAIM = {'claim', 'verdict', 'why'}, set()


def read(path: pathlib.Path) -> dict[str, Any]:
  """Reads a page and checks it.

  Raises:
    UserError: it is no JSON, lacks an entry or has an unknown one, names a
      column or run that its table has not, or a verdict that is none.
  """
  try:
    page = json.loads(path.read_text(encoding='utf-8'))
  except (OSError, ValueError) as error:
    raise UserError(f'{path}: expected a page of results in JSON '
                    f'({error}).') from error
  _check(page, _PAGE, str(path))
  for claim in page.get('claims', ()):
    _check(claim, _CLAIM, f'{path}, claims')
    _member(claim['verdict'], VERDICTS, f'{path}, claim {claim["claim"]!r}')
  for table in page['tables']:
    where = f'{path}, table {table.get("title")!r}'
    _check(table, _TABLE, where)
    for name, run in table['runs'].items():
      _check(run, ({*PROVENANCE}, set()), f'{where}, run {name!r}')
      if not isinstance(run['seeds'], list | None):
        raise UserError(
            f'{where}, run {name!r}: seeds={run["seeds"]!r} must be a list of '
            'numbers, or null where they are not known.')
    for row in table['rows']:
      inside = f'{where}, row {row.get("name")!r}'
      _check(row, _ROW, inside)
      _member(row['run'], table['runs'], inside)
      for column in row['values']:
        _member(column, table['columns'], inside)
    for column in table.get('picture', ()):
      _member(column, table['columns'], f'{where}, picture')
  return page


def render(folder: pathlib.Path) -> list[pathlib.Path]:
  """Writes the pages and pictures of all JSON files of a folder.

  Returns:
    what was written.

  Raises:
    UserError: there is no page, or one is wrong.
  """
  written = []
  for path, page in _pages(folder):
    target = path.with_suffix('.md')
    files.write(target, markdown(page, path.stem))
    written.append(target)
    for name, table in _pictures(page, path.stem):
      _draw(folder / name, table)
      written.append(folder / name)
  return written


def stale(folder: pathlib.Path) -> list[str]:
  """Names files of a folder that are not what its JSON renders to."""
  found = []
  for path, page in _pages(folder):
    target = path.with_suffix('.md')
    if not target.exists() or target.read_text(
        encoding='utf-8') != markdown(page, path.stem):
      found.append(target.name)
    found.extend(name for name, table in _pictures(page, path.stem)
                 if pictures.note_of(folder / name) != _digest(table))
  return found


def markdown(page: Mapping[str, Any], name: str) -> str:
  """The page in Markdown.

  Args:
    page: as `read` gives it.
    name: of its file, by which its pictures are called.
  """
  drawn = {id(table): picture for picture, table in _pictures(page, name)}
  origin = (f'Rendered from `{name}.json` by `python -m experiments.results`; '
            'change that and not this page.')
  parts = [f'# {page["title"]}', *_paragraphs([origin, *page['text']])]
  if page.get('claims'):
    parts.append(_lines(['claim', 'verdict', 'why'], [
        [claim['claim'], f'**{claim["verdict"]}**', claim['why']]
        for claim in page['claims']]))
  for table in page['tables']:
    parts += [f'## {table["title"]}', *_paragraphs(table.get('text', ()))]
    if table.get('command'):
      parts.append('```bash\n' + '\n'.join(table['command']) + '\n```')
    if image := table.get('image'):
      parts.append(f'![{image["shows"]}]({image["file"]})')
    if picture := drawn.get(id(table)):
      parts.append(f'![{", ".join(table["picture"])}]({picture})')
    parts.append(_table(table))
    parts += _paragraphs(table.get('notes', ()))
  return '\n\n'.join(parts) + '\n'


def value_text(value: Any, form: str) -> str:
  """A number as tables show it.

  >>> value_text({'median': 2.5, 'least': 2.0, 'greatest': 4.0}, '.1f')
  '2.5 (2.0-4.0)'

  Args:
    value: a number, a text, None, or an object with mean and half_width, or
      with median, least and greatest.
    form: format of its numbers.
  """
  if isinstance(value, str):
    return value
  if isinstance(value, Mapping) and 'median' in value:
    middle, least, most = (
        format(value[key], form) for key in ('median', 'least', 'greatest'))
    return f'{middle} ({least}-{most})'
  return table_lib.cell_text(_entry(value), form)


def _entry(value: Any) -> dict[str, Any] | None:
  """As `table.summary` has it, which is what cells and plots take."""
  if isinstance(value, (int, float)):
    return {'mean': value, 'half_width': None}
  return value if isinstance(value, dict) and 'mean' in value else None


def _table(table):
  rows = []
  for row in table['rows']:
    run = table['runs'][row['run']]
    config = [run['config'] or _UNKNOWN, *row.get('changes', ())]
    rows.append([
        row['name'],
        *(value_text(row['values'].get(column), form)
          for column, form in table['columns'].items()),
        ' '.join(f'`{part}`' if part != _UNKNOWN else part for part in config),
        *(run[key] or _UNKNOWN for key in ('commit', 'machine', 'date')),
        _seeds(run['seeds'])])
  return _lines([table['row'], *table['columns'], *PROVENANCE], rows)


def _seeds(seeds):
  if seeds is None:
    return _UNKNOWN
  if len(seeds) > 2 and seeds == list(range(seeds[0], seeds[0] + len(seeds))):
    return f'{seeds[0]}-{seeds[-1]}'
  return ', '.join(map(str, seeds)) or '–'


def _lines(heading: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
  return '\n'.join(f'| {" | ".join(cells)} |' for cells in (
      heading, ['---'] * len(heading), *rows))


def _paragraphs(texts: Sequence[str]) -> list[str]:
  """Wrapped; what stands in backticks is not broken."""
  whole = [re.sub(r'`[^`]+`', lambda code: code[0].replace(' ', '\0'), text)
           for text in texts]
  return [textwrap.fill(
      text, 80, break_long_words=False, break_on_hyphens=False,
      subsequent_indent='  ' if text.startswith('* ') else '',
  ).replace('\0', ' ') for text in whole]


def _pages(folder: pathlib.Path) -> Iterator[tuple[pathlib.Path, dict]]:
  paths = sorted(pathlib.Path(folder).glob('*.json'))
  if not paths:
    raise UserError(f'{folder}: no pages of results there; expected JSON files '
                    'such as docs/results has. Name another --folder.')
  for path in paths:
    yield path, read(path)


def _pictures(page, name) -> Iterator[tuple[str, dict]]:
  """(file, table) of those that ask for one."""
  for number, table in enumerate(page['tables'], 1):
    if table.get('picture'):
      yield f'{name}_{number}.png', table


def _drawn(table) -> tuple[dict[str, dict[str, dict | None]],
                           dict[str, Column]]:
  """What a picture shows: row -> column -> entry, and the columns."""
  columns = {name: Column(name, table['columns'][name])
             for name in table['picture']}
  return {row['name'].replace('`', ''): {
      name: _entry(row['values'].get(name)) for name in columns}
          for row in table['rows']}, columns


def _draw(path, table):
  entries, columns = _drawn(table)
  table_lib.plot(path, entries, columns, tuple(columns), note=_digest(table))


def _digest(table) -> str:
  entries, columns = _drawn(table)
  forms = {name: column.form for name, column in columns.items()}
  return hashlib.sha256(json.dumps([entries, forms]).encode()).hexdigest()


def _check(value, names, where):
  needed, optional = names
  if not isinstance(value, dict):
    raise UserError(f'{where}: expected an object, found {value!r}.')
  if missing := needed - {*value}:
    raise UserError(f'{where}: lacks {", ".join(sorted(missing))}.')
  if unknown := {*value} - needed - optional:
    raise UserError(
        f'{where}: {", ".join(sorted(unknown))} not known; expected '
        f'{", ".join(sorted(needed | optional))}.')


def _member(name, names, where):
  if name not in names:
    raise UserError(f'{where}: {name!r} must be one of {", ".join(names)}.')
