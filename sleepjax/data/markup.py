"""The text that a reader sees of an HTML page or a Markdown file.

A heading, a paragraph, an item of a list and a row of a table stand on lines of
their own; a link is its text, code is kept as it stands. What a browser does
not show, such as scripts and what is marked as hidden, is left out.
"""

import codecs
import html.parser
import re
from typing import NamedTuple

from sleepjax.data.tables import row_line

_words = lambda text: frozenset(text.split())
_HEADINGS = _words('h1 h2 h3 h4 h5 h6')
_PARAGRAPHS = _HEADINGS | _words(
    'address article aside blockquote details dl fieldset figure footer form '
    'header hr main nav ol p pre section table ul')
_LINES = _words('body caption dd div dt figcaption li legend option summary '
                'tbody tfoot thead tr')
_HIDDEN = _words('audio canvas datalist iframe noscript object script style '
                 'svg template video')
_VOID = _words('area base br col embed hr img input link meta param source '
               'track wbr')
_CELLS = _words('td th')
_ROWS = _words('tbody tfoot thead')
# Elements whose end may be left out, and what then begins after it.
_ENDS_AT = {
    'head': _words('body') | _PARAGRAPHS, 'p': _PARAGRAPHS | _words('div'),
    'li': _words('li'), 'dt': _words('dd dt'), 'dd': _words('dd dt'),
    'option': _words('option'), 'tr': _words('tr') | _ROWS,
    'td': _CELLS | _words('tr') | _ROWS, 'th': _CELLS | _words('tr') | _ROWS,
    'thead': _ROWS, 'tbody': _ROWS, 'tfoot': _ROWS}
_CLOSED_SCOPES = _words('table')  # No end tag inside reaches beyond.
_SCOPES = _CLOSED_SCOPES | _words('article blockquote div dl ol section select '
                                  'template ul')
_DEEPEST = 64  # Elements that are looked through for one that ends.
_NOT_SHOWN = re.compile(r'display\s*:\s*none|visibility\s*:\s*hidden', re.I)
_WHITE = re.compile(r'[ \t\n\r\f]+')
_INVISIBLE = re.compile('[\xad\u200b\u2060\ufeff]')  # Places to break a word.
_CHARSET = re.compile(rb'''<meta[^>]{,200}?charset\s*=\s*["']?\s*([\w:-]+)''',
                      re.I)
_DECLARED_WITHIN = 1024  # Bytes.
# What browsers take these names for.
_MEANT = {'iso8859-1': 'cp1252', 'ascii': 'cp1252', 'iso8859-9': 'cp1254'}
# Lines between rules, of which the first one names a field.
_FRONT_MATTER = re.compile(
    r'---[ \t]*\n(?=[\w-]+[ \t]*:)(.*?\n)(?:---|\.\.\.)[ \t]*(?:\n|\Z)', re.S)
_TITLE_FIELD = re.compile(r'''^title[ \t]*:[ \t]*(["']?)(.*?)\1[ \t]*$''',
                          re.M)


class Shown(NamedTuple):
  """The title of a page, '' of one that has none, and its text."""

  title: str
  text: str


def html_text(source: str) -> Shown:
  """What a browser shows of an HTML page.

  The title is that of the page, or else a heading with which its text begins;
  such a heading is no part of the text then.
  """
  page = _Page()
  page.feed(source)
  page.close()
  text, title, heading = page.text(), page.title, page.heading
  if not title.strip() and heading and text.startswith(f'{heading}\n'):
    title, text = heading, text[len(heading):].strip()
  return Shown(' '.join(title.split()), text)


def markdown_text(source: str) -> Shown:
  """What is shown of a Markdown file: CommonMark with tables.

  The title is that of the front matter, which is no part of the text, or else
  a heading with which the text begins.
  """
  import markdown_it  # Only these files need it.

  matter = _FRONT_MATTER.match(source)
  named = matter and _TITLE_FIELD.search(matter[1])
  parser = markdown_it.MarkdownIt('commonmark', {'html': True}).enable(
      ['table', 'strikethrough'])
  shown = html_text(parser.render(source[matter.end():] if matter else source))
  return shown._replace(title=named[2]) if named and named[2] else shown


def declared_encoding(content: bytes) -> str | None:
  """The encoding that an HTML page says it has, if Python knows it."""
  found = _CHARSET.search(content[:_DECLARED_WITHIN])
  try:
    name = found and codecs.lookup(found[1].decode()).name
  except (LookupError, UnicodeDecodeError):
    return None
  return name and _MEANT.get(name, name)


class _Lines:
  """Text that grows by words and by breaks, none of which is doubled."""

  def __init__(self):
    self.parts, self.marker = [], ''
    self._break, self._space = 0, False

  def text(self):
    return ''.join(self.parts).strip()

  def end(self, newlines):
    """What comes next stands on another line, or after a blank one."""
    self._break = max(self._break, newlines)

  def break_line(self):
    """Two in a row leave a line blank."""
    self._break = min(self._break + 1, 2)

  def keep(self, text):
    """Text with all of its white space, but for the newline it begins with."""
    if not self.parts or self._break:
      text = text.removeprefix('\n')
    if text:
      self.write(text)

  def say(self, text):
    spaced = _WHITE.sub(' ', text)
    self._space |= spaced[:1] == ' '
    if spaced.strip(' '):
      self.write(spaced.strip(' '))
      self._space = spaced[-1] == ' '

  def write(self, text):
    """A piece that is not empty, as it stands."""
    if self.parts:
      self.parts.append('\n' * self._break or ' ' * self._space)
    self.parts += [self.marker, text]
    self._break, self._space, self.marker = 0, False, ''


class _Table:
  """Columns that are known, and the cells of the row that is being read."""

  def __init__(self):
    self.columns, self.cells, self.kinds, self.used = [], [], [], False

  def row(self):
    """The line of the row that ends; '' of the names of columns."""
    cells, kinds = self.cells, self.kinds
    self.cells, self.kinds = [], []
    if cells and not self.columns and {*kinds} == {'th'} and len(cells) > 1:
      self.columns = cells
      return ''
    self.used = True
    if any('\n' in cell for cell in cells):  # A layout, and no table.
      return '\n'.join(filter(None, cells))
    return row_line(self.columns, cells)


class _Page(html.parser.HTMLParser):
  """Reads HTML as it is found: ends may be missing, or of nothing.

  title: of the head.
  heading: with which the text begins, if it does.
  """

  def __init__(self):
    super().__init__(convert_charrefs=True)
    self.title, self.heading = '', ''
    self._open = []  # (tag, whether it is hidden), outermost first.
    self._heads = False  # Whether the heading that is open begins the text.
    self._lines, self._outer = _Lines(), []
    self._lists, self._tables = [], []

  def text(self):
    while self._open:
      self._pop()
    return _clean(self._lines.text())

  def handle_starttag(self, tag, attrs):
    self._end_before(tag)
    given = dict(attrs)
    hidden = self._hidden() or tag in _HIDDEN or 'hidden' in given or bool(
        _NOT_SHOWN.search(given.get('style') or ''))
    if tag not in _VOID:
      self._open.append((tag, hidden))
    if not hidden:
      self._begin(tag, given)

  def handle_endtag(self, tag):
    if tag in ('p', 'br') and not any(t == tag for t, _ in self._open):
      self._between(tag)
    for depth, (open_, _) in enumerate(reversed(self._open), 1):
      if open_ == tag:
        for _ in range(depth):
          self._pop()
        return
      if open_ in _CLOSED_SCOPES or depth == _DEEPEST:
        return

  def handle_data(self, data):
    if self._hidden():
      return
    tags = [tag for tag, _ in self._open[-_DEEPEST:]]
    if tags[-1:] == ['title']:
      self.title += data
    elif 'pre' in tags:
      self._lines.keep(data)
    else:
      self._lines.say(data)

  def _hidden(self):
    return bool(self._open) and self._open[-1][1]

  def _end_before(self, tag):
    """Ends the elements that the beginning of another one ends."""
    ended = True
    while ended:
      ended = False
      for depth, (open_, _) in enumerate(reversed(self._open), 1):
        if tag in _ENDS_AT.get(open_, ()):
          for _ in range(depth):
            self._pop()
          ended = True
          break
        if open_ in _SCOPES or depth == _DEEPEST:
          break

  def _begin(self, tag, given):
    self._between(tag)
    if tag in _HEADINGS:
      self._heads = not (self._lines.parts or self._outer)
    if tag in ('ul', 'ol'):
      start = given.get('start') or ''
      self._lists.append(
          None if tag == 'ul' else int(start) if re.fullmatch(
              r'-?[0-9]{1,9}', start) else 1)
    elif tag == 'li':
      indent = '  ' * (min(len(self._lists), 9) - 1)
      number = self._lists[-1] if self._lists else None
      self._lines.marker = f'{indent}- ' if number is None else (
          f'{indent}{number}. ')
      if number is not None:
        self._lists[-1] += 1
    elif tag == 'table':
      self._tables.append(_Table())
    elif tag in _CELLS and self._tables:
      self._outer.append(self._lines)
      self._lines = _Lines()

  def _pop(self):
    tag, hidden = self._open.pop()
    if hidden:
      return
    if tag in ('ul', 'ol'):
      self._lists.pop()
    elif tag in _CELLS and self._tables:
      table, cell = self._tables[-1], self._lines.text()
      self._lines = self._outer.pop()
      table.cells.append(cell)
      table.kinds.append(tag)
    elif tag == 'tr' and self._tables:
      self._add_row(self._tables[-1])
    elif tag == 'table':
      table = self._tables.pop()
      self._add_row(table)
      if table.columns and not table.used:
        self._between('tr')
        self._lines.write('; '.join(table.columns))
    elif tag in _HEADINGS and self._heads:
      self.heading = _clean(self._lines.text())
    elif tag == 'pre' and self._lines.parts:
      self._lines.parts[-1] = self._lines.parts[-1].rstrip('\n')
    self._between(tag)

  def _add_row(self, table):
    if table.cells and (line := table.row()):
      self._between('tr')
      self._lines.write(line)
      self._between('tr')

  def _between(self, tag):
    if tag == 'br':
      self._lines.break_line()
    elif tag in _PARAGRAPHS:
      self._lines.end(2)
    elif tag in _LINES:
      self._lines.end(1)


def _clean(text):
  text = _INVISIBLE.sub('', text).replace('\xa0', ' ')
  return '\n'.join(line.rstrip() for line in text.split('\n')).strip()
