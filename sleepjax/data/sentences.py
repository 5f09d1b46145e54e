"""The sentences of a text, by its language and its layout.

What counts as one is what can be asked about alone: a sentence of prose, an
item of a list, a row of a table, a line of verse, code or dialogue, a cue of a
subtitle. Whether a newline ends an item or only wraps a line follows from the
lines around it. All of it takes time linear in the length of the text.
"""

import re
from collections.abc import Iterator
from typing import NamedTuple

from sleepjax.data import tables, words

_SHORTEST = 20  # Characters; less stands with what is beside it.
_LONG_ENOUGH = 200  # To take no more short lines in.
_LONGEST_CLAUSE = 120  # Of scripts without an end mark.
_CLOSERS = r'''(?:["')\]\u2019\u201c\u201d»›]|</\w{1,10}>)*+'''
# An end mark, closing quotes or brackets, and the space before what follows.
# Some scripts write no space, and a full-width stop may stand in a number.
_SENTENCE_END = re.compile(
    rf'(?<![.!?…])[.!?…]++{_CLOSERS}(?:[ \xa0\u202f]?[»›])?[^\S\n]++|'
    r'(?P<sure>(?:[。｡！？।॥۔؟։።፧፨។៕။།༎෴]|．(?!\d))++'
    r'''["')\]\u2019\u201d」』）】〉》»]*+\s*+|'''
    r'</(?:p|li|tr|h[1-6]|div|dd|dt|blockquote|title|option)\s*>\s*+|'
    r'<[bh]r\s*/?>\s*+)', re.I)
_ENDS = re.compile(rf'[.!?…。｡！？।॥۔؟։።።។။།»”"\'）」』)]{_CLOSERS}\s*\Z')
_ABBREVIATIONS = frozenset(
    'mr mrs ms dr prof st mt rev gen col lt sgt capt no nos vol fig eq ch pp '
    'vs cf ca e.g i.e approx jan feb mar apr jun jul aug sep sept oct nov dec '
    'nr bzw z.b d.h u.a sra dra srta mme mlle г гг им ул т.е т.д см рис стр тыс'
    .split())
# A day's number has a full stop before them in German.
_MONTHS = frozenset('Januar Februar März April Mai Juni Juli August September '
                    'Oktober November Dezember Jahrhundert'.split())
# A list, a heading, a quotation or a speaker, at the start of a line.
_MARKER = re.compile(
    r'[^\S\n]*(?:[-+*•‣◦▪●○–—·>#]{1,6}|\(?\d{1,3}[.)]|\(?[A-Za-z]\)|'
    r'\[[ xX]\])[^\S\n]+')
_SPEAKER = re.compile(r"[^\W\d_a-z][\w .'’-]{0,30}[:：]\s")
# Cells between bars or tabs, wide columns, times of a subtitle.
_CELLS = re.compile(r'\t|\|[^|]*\||\S {3,}\S|-->')
_LINE_ENDS = re.compile(r'[\r\v\f\x1c-\x1e\x85\u2028\u2029]')
_GLUE = '\v'  # Stands for white space that says nothing.


class Sentence(NamedTuple):
  """Where it stands in the text, and how it reads.

  text: line wraps and runs of spaces are one space, except in rows of a table;
    what else stood on lines of its own still does.
  """

  start: int
  end: int
  text: str


def split_sentences(text: str, shortest: int = _SHORTEST) -> list[str]:
  """The sentences of `text`, as they read. No word is lost or moved.

  A sentence ends at `.`, `!` or `?` before a space and a character that is not
  lower-case, except after common abbreviations and initials; at a mark such as
  `。` or `।`; at a blank line; and at a newline that does not only wrap a line.
  Of Thai and its kin, which have no mark, stretches of up to 120 characters
  between spaces. Pieces of fewer than `shortest` characters stand with others.
  """
  return [sentence.text for sentence in sentences(text, shortest)]


def sentences(text: str, shortest: int = _SHORTEST) -> list[Sentence]:
  """The sentences of `text` with their places, see `split_sentences`."""
  flat = _unwrapped(_LINE_ENDS.sub('\n', text))
  found, parts = [], []  # [start, end, length], and what it consists of.
  for start, end, new_line in _pieces(flat):
    piece = _readable(flat[start:end])
    if found:
      last = found[-1]
      between = flat[last[1]:start]
      few = len(piece) < shortest or not words.has_letters(piece)
      if (last[2] < shortest or last[2] < _LONG_ENOUGH and not last[3]
          or few and (not new_line or last[2] < _LONG_ENOUGH
                      and _ENDS.search(piece) and not is_item(piece))):
        space = _space(between)
        parts[-1] += [space, piece]
        last[1], last[2] = end, last[2] + len(space) + len(piece)
        last[3] = last[3] or words.has_letters(piece)
        continue
    found.append([start, end, len(piece), words.has_letters(piece)])
    parts.append([piece])
  if len(found) > 1 and (found[-1][2] < shortest or not found[-1][3]):
    last, rest = found.pop(), parts.pop()
    parts[-1] += [_space(flat[found[-1][1]:last[0]]), *rest]
    found[-1][1] = last[1]
  return [Sentence(start, end, ''.join(part))
          for (start, end, *_), part in zip(found, parts, strict=True)]


def is_item(text: str) -> bool:
  """Whether a text begins as an item of a list, a row or a speaker's words."""
  first = text.split('\n', 1)[0]
  return bool(_MARKER.match(first) or _SPEAKER.match(first)
              or _is_row(first))


def after_marker(text: str) -> int:
  """Where the words of an item begin, after its dash or number; 0 of others."""
  marker = _MARKER.match(text)
  return marker.end() if marker else 0


def _is_row(line):
  return bool(_CELLS.search(line)) or tables.is_row_line(line)


def _space(between):
  """What two pieces of one sentence have between them: an indented line."""
  if '\n' in between:
    return between[between.rindex('\n'):]
  return ' ' * bool(between.strip(_GLUE))


def _readable(piece):
  piece = piece.replace(_GLUE, '')
  if _CELLS.search(piece):
    return piece.strip()
  return ' '.join(piece.split())


def _unwrapped(text: str) -> str:
  """The text, every newline that only wraps a line made a space or glue."""
  lines = text.split('\n')
  joined, start = [], 0
  for i in range(len(lines) + 1):
    if i == len(lines) or not lines[i].strip():
      joined += _with_joints(lines[start:i])
      joined += [lines[i], '\n'] if i < len(lines) else []
      start = i + 1
  # The last newline is one too many.
  return ''.join(joined)[:len(text)]


def _with_joints(block: list[str]) -> list[str]:
  """Lines without a blank one, each with what the newline after it means."""
  if not block:
    return []
  stripped = [line.strip() for line in block]
  width = max(map(len, stripped))
  marked = _marked(block)
  rows = [_is_row(line) for line in stripped]
  ends = [bool(_ENDS.search(line)) for line in stripped]
  lower = [line[:1].islower() for line in stripped]
  full = [_is_full(a, b, width) for a, b in zip(stripped, stripped[1:])]
  open_ = [i for i in range(len(full)) if not (
      ends[i] or rows[i] or rows[i + 1] or marked[i + 1])]
  continued = sum(lower[i + 1] for i in open_)
  prose = ends[-1] or any(map(_SENTENCE_END.search, stripped))
  wrapped = 3 * continued >= len(open_) > 0
  unpunctuated = (not prose and wrapped and width >= 40
                  and all(full[i] for i in open_))
  joined, item = [], False
  for i, joins in enumerate(full):
    item = marked[i] or item and block[i][:1].isspace()
    a_list = marked[i + 1] and (
        item or not joins or ends[i] or stripped[i].endswith((':', '：')))
    if rows[i] or rows[i + 1] or a_list:
      joint = '\n'
    elif item and block[i + 1][:1].isspace():  # Under its own first line.
      joint = ' '
    elif prose:
      most = len(stripped[i]) >= 0.6 * width
      # A number there is often a formula's index.
      joint = ' ' if (
          ends[i] or lower[i + 1] or stripped[i + 1][0].isdigit() or joins and (
              width >= 40 or wrapped or words.is_han_like(stripped[i][-1]))
          or wrapped and width >= 40 and most) else '\n'
    else:
      joint = ' ' if unpunctuated else '\n'
    if joint == ' ' and all(
        words.is_han_like(c) or c in '、，。！？」』）；：“”'
        for c in (stripped[i][-1], stripped[i + 1][0])):
      joint = _GLUE
    if joint != '\n':
      a, b = block[i].rstrip(), block[i + 1].lstrip()
      block[i] = a + _GLUE * (len(block[i]) - len(a))
      block[i + 1] = _GLUE * (len(block[i + 1]) - len(b)) + b
    joined += [block[i], joint]
  return [*joined, block[-1], '\n']


def _marked(block: list[str]) -> list[bool]:
  """Which lines begin like an item, a heading or a speaker's words.

  A number does if it is the first line's, 0, 1, or one more than the last.
  """
  marked, last = [], None
  for i, line in enumerate(block):
    marker = _MARKER.match(line)
    number = re.search(r'\d+', marker[0]) if marker else None
    if number:
      value = int(number[0])
      marked.append(not i or value in (0, 1) or value - 1 == last)
      last = value if marked[-1] else last
    else:
      marked.append(bool(marker or _SPEAKER.match(line)))
  return marked


def _is_full(line: str, following: str, width: int) -> bool:
  """Whether what follows would not have fitted into the line."""
  if words.is_han_like(following[0]):
    return len(line) + 3 > width  # Some marks may not begin a line.
  first = following[:width].split(' ', 1)[0]
  return len(line) + 1 + len(first) > width


def _pieces(flat: str) -> Iterator[tuple[int, int, bool]]:
  """(start, end, whether it begins a line) of everything that an end closes."""
  for line in re.finditer(r'[^\n]+', flat):
    begin, end = line.span()
    begin += len(line[0]) - len(line[0].lstrip())
    end = begin + len(line[0].strip())
    if begin == end:
      continue
    marker = _MARKER.match(flat, begin, end)
    start, new_line = begin, True
    for match in _SENTENCE_END.finditer(
        flat, marker.end() if marker else begin, end):
      if match.end() == end or not match['sure'] and _goes_on(
          flat, start, match.start(), match.end()):
        continue
      for part in _clauses(flat, start, match.end()):
        yield *part, new_line
        new_line = False
      start = match.end()
    for part in _clauses(flat, start, end):
      yield *part, new_line
      new_line = False


def _goes_on(flat, start, mark, after) -> bool:
  """Whether a full stop belongs to a word, and what follows to the sentence."""
  if flat[after].islower():
    return True
  before = flat[max(start, mark - 40):mark].rsplit(maxsplit=1)
  before = before[-1].lstrip('"\'([') if before else ''
  if before.lower() in _ABBREVIATIONS or _are_initials(before):
    return True
  return before.isdigit() and len(before) < 3 and re.match(
      r'\w*', flat[after:after + 20])[0] in _MONTHS


def _are_initials(word: str) -> bool:
  return 0 < len(word) <= 40 and all(
      len(part) == 1 and part.isupper() for part in word.split('.'))


def _clauses(flat, start, end):
  """The piece, or if its script has no end mark, stretches between spaces."""
  end = start + len(flat[start:end].rstrip())
  if end - start <= _LONGEST_CLAUSE or not words.is_thai_like(flat[start:end]):
    return [(start, end)] if start < end else []
  parts = []
  for word in re.finditer(r'\S+', flat[start:end]):
    first, last = (start + place for place in word.span())
    if parts and last - parts[-1][0] <= _LONGEST_CLAUSE:
      parts[-1] = parts[-1][0], last
    else:
      parts.append((first, last))
  return parts
