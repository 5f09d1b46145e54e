"""Documents to learn and questions about them, from files or bundled.

The bundled texts were written for this project. `lighthouse` and the
`control_*` texts tell of invented places and people, so no pretrained model
can know the answers; the `rehearsal_*` texts and `drift` are ordinary prose.
"""

import dataclasses
import json
import os
import pathlib
from typing import Any

from sleepjax.data import markup, sentences
from sleepjax.data.sentences import split_sentences as split_sentences
from sleepjax.data.text_files import read_text, readable
from sleepjax.errors import UserError

_BUNDLED = pathlib.Path(__file__).resolve().parent / 'text'
_LONGEST_TITLE = 80
_ROWS = (' Rows of CSV or JSON lines are read as documents are, with '
         '--document: their questions are an exam.')
MARKDOWN = '.md', '.markdown'
HTML = '.html', '.htm', '.xhtml'
_NO_TITLE = tuple('.!?:;,。！？：；，、।؟۔։')


@dataclasses.dataclass(frozen=True)
class Document:
  """A text, its title and what is asked about it at night.

  title: empty when the text has none.
  text: what is read.
  prompts: which the night answers with the text in view and learns from,
    besides those that it finds itself.
  """

  title: str
  text: str
  prompts: tuple[str, ...] = ()

  @classmethod
  def read(cls, path: str | os.PathLike) -> 'Document':
    """The one document in a file; see `own_data.read` for its forms.

    Raises:
      UserError: there is no such file, or it has no text or several.
    """
    from sleepjax.data import own_data  # Which reads with this module.

    return own_data.read_one(path)


@dataclasses.dataclass(frozen=True)
class Question:
  """A question and the short answer that its document gives."""

  question: str
  answer: str


def read_document(path: str | os.PathLike) -> Document:
  """The document in a file of text, Markdown or HTML, told by its ending.

  Of plain text, a first line of at most 80 characters that does not end like a
  sentence, has a blank line after it and is not the first of several items is
  the title, and no part of the text. For the others see `markup`.

  Raises:
    UserError: there is no such file, or it holds no readable text.
  """
  expected = 'a text file with a document'
  if (kind := ending(path)) in MARKDOWN:
    return _shown(markup.markdown_text(read_text(path, expected)), path)
  if kind in HTML:
    return _shown(markup.html_text(read_text(
        path, expected, encoding=markup.declared_encoding)), path)
  text = read_text(path, expected)
  title, blank, rest = text.partition('\n\n')
  if (blank and rest.strip() and '\n' not in title
      and len(title) <= _LONGEST_TITLE
      and not title.endswith(_NO_TITLE)
      and not (sentences.is_item(title) and sentences.is_item(rest.lstrip()))):
    return Document(title, rest.strip())
  return Document('', text)


def ending(path: str | os.PathLike) -> str:
  """How the name of a file ends, such as '.txt', also before '.gz'."""
  *_, before, last = '', '', *pathlib.PurePath(path).suffixes
  return (before if last.lower() == '.gz' else last).lower()


def _shown(shown, path):
  return Document(shown.title, readable(
      shown.text, f'{path}: what is shown of the page'))


def read_questions(path: str | os.PathLike) -> tuple[Question, ...]:
  """The questions in a JSON file: `[{"question": ..., "answer": ...}, ...]`.

  Raises:
    UserError: there is no such file, or its content has another form; the
      message names the item and the key.
  """
  form = '[{"question": "...", "answer": "..."}, ...]'
  text = read_text(path, f'a JSON file of the form {form}')
  try:
    items = json.loads(text)
  except json.JSONDecodeError as error:
    raise UserError(
        f'{path}, line {error.lineno}: not JSON ({error.msg}); expected {form}.'
        f'{_ROWS}') from None
  except (ValueError, RecursionError) as error:  # Numbers, nesting.
    raise UserError(f'{path}: not JSON ({error}); expected {form}.') from None
  if not isinstance(items, list):
    raise UserError(f'{path}: expected a list, {form}.{_ROWS}')
  if not items:
    raise UserError(
        f'{path}: the list is empty; expected at least one question, {form}.')
  return tuple(
      read_question(item, f'{path}, item {index}')
      for index, item in enumerate(items))


def read_question(item: Any, where: str) -> Question:
  """The question in an object of JSON, found at `where`.

  Raises:
    UserError: it has another form, or a part of it says nothing.
  """
  return Question(*(text_field(item, key, where)
                    for key in ('question', 'answer')))


def text_field(item: Any, key: str, where: str) -> str:
  """A string in an object of JSON, without the white space around it.

  Raises:
    UserError: the object has another form, or the string says nothing.
  """
  if not isinstance(item, dict):
    raise UserError(
        f'{where}: expected an object with "{key}", got {item!r:.40}.')
  if key not in item:
    found = ', '.join(f'"{name}"' for name in item) or 'no key'
    raise UserError(f'{where}: "{key}" is missing, found {found:.60}.')
  if not isinstance(item[key], str):
    raise UserError(
        f'{where}: "{key}" should be a string, got {item[key]!r:.40}.')
  return readable(item[key], f'{where}: "{key}"').strip()


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
