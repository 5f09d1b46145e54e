"""Rows of data sets: which of their fields are texts, and which questions."""

from collections.abc import Mapping, Sequence
from typing import Any

from sleepjax.data import documents
from sleepjax.data.corpus import Gatherer
from sleepjax.data.documents import Document
from sleepjax.errors import UserError

_TEXTS = 'text', 'context', 'privileged_context'
_FIELDS = (*_TEXTS, 'title', 'prompt', 'question', 'questions', 'answer',
           'answers')
EXPECTED = ('expected "text", "prompt" with "privileged_context", or '
             '"question" with "answer"')


def known_fields(names: Sequence[str]) -> list[str]:
  """Those names of fields that something is read from.

  Returns:
    as they are given; none where no row with these fields could be read.
  """
  known = [name for name in names if name in _FIELDS]
  asks = 'question' in known and {'answer', 'answers'} & {*known}
  return known if asks or {*_TEXTS} & {*known} else []


def take_record(gatherer: Gatherer, row: Any, where: str) -> None:
  """Takes the text, the prompt and the question of one row.

    {"text", "title"?}                      a document
    {"prompt", "privileged_context"}        a document, and what a night asks
    {"question", "answer"}                  a question, for scoring only
    {"context", "question", "answers"}      both; SQuAD's, as data sets have it
    {"title", "context", "questions": [{"question", "answer"}]}    a passage

  Where one text stands in several rows it is read once, with the prompts of
  all. What is of no such form is noted as skipped.

  Args:
    gatherer: gets them.
    row: a value of JSON.
    where: it was found, for messages.
  """
  try:
    if not isinstance(row, Mapping):
      raise UserError(f'{where}: {EXPECTED}, got {row!r:.40}.')
    if isinstance(row.get('questions'), list) and 'context' in row:
      _take_passage(gatherer, row, _title(row), row['questions'], where)
      return
    name = next((name for name in _TEXTS if row.get(name) is not None), None)
    asks, prompted = row.get('question') is not None, (
        row.get('prompt') is not None)
    if prompted and name is None:
      raise UserError(f'{where}: a prompt without a "privileged_context", from '
                      'which it could be answered.')
    if name is None and not asks:
      raise UserError(f'{where}: no text; {EXPECTED}, got '
                      f'{", ".join(map(str, row)) or "nothing"}.')
    if name is not None:
      prompts = (documents.text_field(row, 'prompt', where),) if (
          prompted) else ()
      gatherer.document(
          Document(_title(row), documents.text_field(row, name, where),
                   prompts), where, only=not (asks or prompted))
    if asks:
      gatherer.question(_question(row, where), where)
  except UserError as error:
    gatherer.skip(where, reason(error, where))


def take_squad(gatherer: Gatherer, content: Any, where: str) -> None:
  """Takes passages and questions of a file in the form of SQuAD v1.

  A title's underscores are spaces. Of several answers the first is right.

  Raises:
    UserError: the file has another form; the message says where.
  """
  for n, article in enumerate(_list(content, 'data', where)):
    at = f'{where}, article {n}'
    title = _title(article).replace('_', ' ')
    try:
      paragraphs = _list(article, 'paragraphs', at)
    except UserError as error:
      gatherer.skip(at, reason(error, at))
      continue
    for m, paragraph in enumerate(paragraphs):
      place = f'{at}, paragraph {m}'
      try:
        _take_passage(gatherer, paragraph, title,
                      _list(paragraph, 'qas', place), place)
      except UserError as error:
        gatherer.skip(place, reason(error, place))


def reason(error: UserError, where: str) -> str:
  """What an error says, without the place that it begins with."""
  return str(error).removeprefix(where).lstrip(':, ').rstrip('.')


def _take_passage(gatherer, passage, title, asked, where):
  gatherer.document(
      Document(title, documents.text_field(passage, 'context', where)), where,
      only=not asked)
  for n, entry in enumerate(asked):
    item = f'{where}, question {n}'
    try:
      gatherer.question(_question(entry, item), item)
    except UserError as error:
      gatherer.skip(item, reason(error, item))


def _title(row):
  title = row.get('title') if isinstance(row, Mapping) else None
  return ' '.join(title.split()) if isinstance(title, str) else ''


def _question(row, where):
  """With "answer", or with the first of "answers", in either of two forms."""
  if isinstance(row, Mapping) and row.get('answer') is None and (
      'answers' in row):
    answers = row['answers']
    if isinstance(answers, Mapping):
      answers = answers.get('text')
    first = answers[0] if isinstance(answers, list) and answers else None
    if isinstance(first, Mapping):
      first = first.get('text')
    if first is None:
      raise UserError(f'{where}: a question without an answer.')
    row = {**row, 'answer': first}
  return documents.read_question(row, where)


def _list(item, key, where):
  found = item.get(key) if isinstance(item, Mapping) else None
  if not isinstance(found, list):
    raise UserError(
        f'{where}: no SQuAD v1: expected an object with a list "{key}".')
  return found
