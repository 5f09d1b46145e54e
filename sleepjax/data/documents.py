"""Documents to learn and questions about them, from files or bundled.

The bundled texts were written for this project. `lighthouse` and the
`control_*` texts tell of invented places and people, so no pretrained model
can know the answers; the `rehearsal_*` texts and `drift` are ordinary prose.
"""

import dataclasses
import json
import os
import pathlib
import re
from typing import Any

from sleepjax.errors import UserError

_BUNDLED = pathlib.Path(__file__).resolve().parent / 'text'
_LONGEST_TITLE = 80
_SHORTEST_SENTENCE = 20
# An end mark, closing quotes or brackets, and the space before what follows;
# Chinese and Japanese write none. A full-width stop may stand in a number.
_SENTENCE_END = re.compile(
    r'[.!?]+["\')\]\u2019\u201d]* |(?P<wide>(?:[。｡！？]|．(?!\d))+'
    r'["\')\]\u2019\u201d」』）】〉》]* ?)')
_ABBREVIATIONS = frozenset(
    'mr mrs ms dr prof st mt rev gen col lt sgt capt no nos vol fig eq ch pp '
    'vs cf ca e.g i.e approx jan feb mar apr jun jul aug sep sept oct nov dec'
    .split())
_INITIALS = re.compile(r'(?:[A-Z]\.)*[A-Z]')


@dataclasses.dataclass(frozen=True)
class Document:
  """A text and its title, which is empty when the text has none."""

  title: str
  text: str


@dataclasses.dataclass(frozen=True)
class Question:
  """A question and the short answer that its document gives."""

  question: str
  answer: str


def read_document(path: str | os.PathLike) -> Document:
  """The document in a UTF-8 text file.

  A first line of at most 80 characters that does not end like a sentence and
  has a blank line after it is the title, and no part of the text.

  Raises:
    UserError: there is no such file, or it holds no readable text.
  """
  path = pathlib.Path(path)
  text = _read_text(path, 'a text file with the document to learn')
  title, blank, rest = text.partition('\n\n')
  if (blank and rest.strip() and '\n' not in title
      and len(title) <= _LONGEST_TITLE
      and not title.endswith(('.', '!', '?', ':', ';', ','))):
    return Document(title, rest.strip())
  return Document('', text)


def read_questions(path: str | os.PathLike) -> tuple[Question, ...]:
  """The questions in a JSON file: `[{"question": ..., "answer": ...}, ...]`.

  Raises:
    UserError: there is no such file, or its content has another form; the
      message names the item and the key.
  """
  path = pathlib.Path(path)
  form = '[{"question": "...", "answer": "..."}, ...]'
  text = _read_text(path, f'a JSON file of the form {form}')
  try:
    items = json.loads(text)
  except json.JSONDecodeError as error:
    raise UserError(
        f'{path}, line {error.lineno}: not JSON ({error.msg}); expected {form}.'
    ) from None
  except (ValueError, RecursionError) as error:  # Numbers, nesting.
    raise UserError(f'{path}: not JSON ({error}); expected {form}.') from None
  if not isinstance(items, list):
    raise UserError(f'{path}: expected a list, {form}.')
  if not items:
    raise UserError(
        f'{path}: the list is empty; expected at least one question, {form}.')
  return tuple(
      Question(*(_field(item, key, f'{path}, item {index}')
                 for key in ('question', 'answer')))
      for index, item in enumerate(items))


def bundled_names(prefix: str = '') -> tuple[str, ...]:
  """Names of the bundled documents that start with `prefix`, sorted."""
  return tuple(sorted(
      path.stem for path in _BUNDLED.glob(f'{prefix}*.txt')))


def bundled_document(name: str) -> Document:
  """A document that comes with the package, by its name in `bundled_names`.

  Raises:
    UserError: there is no bundled document of that name.
  """
  if name not in bundled_names():
    raise UserError(
        f'no bundled document {name!r}; expected one of '
        f'{", ".join(bundled_names())}.')
  return read_document(_BUNDLED / f'{name}.txt')


def bundled_questions(name: str) -> tuple[Question, ...]:
  """The questions about a bundled document; `rehearsal_*` texts have none.

  Raises:
    UserError: there is no such document, or it has no questions.
  """
  bundled_document(name)
  return read_questions(_BUNDLED / f'{name}_questions.json')


def split_sentences(text: str, shortest: int = _SHORTEST_SENTENCE
                    ) -> list[str]:
  """The sentences of `text`, white space normalised.

  A sentence ends at a blank line, or at `.`, `!` or `?` before a space and a
  character that is not lower-case, except after common abbreviations and
  initials, or at a full-width mark such as `。`. Pieces of fewer than
  `shortest` characters join the sentence before them, or the one after if they
  come first. No word is lost or moved.
  """
  pieces = []  # With the space before each.
  for paragraph in re.split(r'\n\s*\n', text):
    paragraph = ' '.join(paragraph.split())
    start, space = 0, ' '
    for match in _SENTENCE_END.finditer(paragraph):
      before = paragraph[start:match.start()].rsplit(' ', 1)[-1].lstrip('"\'([')
      if not match['wide'] and (
          paragraph[match.end()].islower()
          or before.lower() in _ABBREVIATIONS
          or _INITIALS.fullmatch(before)):
        continue
      pieces.append((space, paragraph[start:match.end()].rstrip()))
      start = match.end()
      space = ' ' if paragraph[start - 1] == ' ' else ''
    if paragraph[start:]:
      pieces.append((space, paragraph[start:]))
  sentences: list[str] = []
  for space, piece in pieces:
    if sentences and min(len(piece), len(sentences[-1])) < shortest:
      sentences[-1] += space + piece
    else:
      sentences.append(piece)
  return sentences


def _read_text(path: pathlib.Path, expected: str) -> str:
  """Text of a file, stripped, newlines normalised; UserError if none."""
  if path.is_dir():
    raise UserError(f'{path}: is a folder; expected {expected}.')
  try:
    content = path.read_bytes()
  except FileNotFoundError:
    raise UserError(f'{path}: no such file; expected {expected}.') from None
  except OSError as error:
    raise UserError(
        f'{path}: {error.strerror}; expected {expected}.') from None
  try:
    text = content.decode('utf-8-sig')
  except UnicodeDecodeError as error:
    raise UserError(
        f'{path}: not UTF-8 text (byte {error.start}); expected {expected}. '
        'Convert the file to plain UTF-8 text first.') from None
  if '\0' in text:
    raise UserError(f'{path}: a binary file; expected {expected}.')
  text = text.replace('\r\n', '\n').replace('\r', '\n').strip()
  if not text:
    raise UserError(f'{path}: the file is empty; expected {expected}.')
  return text


def _field(item: Any, key: str, where: str) -> str:
  if not isinstance(item, dict):
    raise UserError(
        f'{where}: expected an object with "question" and "answer", got '
        f'{item!r:.40}.')
  if key not in item:
    raise UserError(f'{where}: "{key}" is missing.')
  if not isinstance(item[key], str):
    raise UserError(
        f'{where}: "{key}" should be a string, got {item[key]!r:.40}.')
  if not item[key].strip():
    raise UserError(f'{where}: "{key}" is empty.')
  return item[key].strip()
