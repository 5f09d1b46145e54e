"""Passages with questions (SQuAD, in SEAL's form) and text for perplexity.

Data are read where the user keeps them; none come with the package. The
environment variable SLEEPJAX_DATA_DIR names a folder laid out as

  squad/squad_val.json[.gz]               list of passages, as SEAL publishes it
  squad/seal_train_passages.jsonl[.gz]    one passage per line
  wikitext2/{valid,test}.txt[.gz]

where a passage is `{"title": ..., "context": ..., "questions":
[{"question": ..., "answer": ...}, ...]}`. SQuAD 1.1 (Rajpurkar et al. 2016) is
otherwise taken from tensorflow-datasets; SEAL is Zweiger et al. 2025,
arXiv 2506.10943.
"""

import dataclasses
import json
import os
import pathlib
from typing import Any

from sleepjax.data import documents, local_files, prepared
from sleepjax.data.local_files import DATA_DIR_VARIABLE
from sleepjax.data.text_files import read_text
from sleepjax.errors import UserError

_SQUAD_FILES = {'val': 'squad/squad_val.json',
                'train': 'squad/seal_train_passages.jsonl'}
_SQUAD_HOST = 'https://rajpurkar.github.io'


@dataclasses.dataclass(frozen=True)
class Passage:
  """A passage and what is asked about it: (question, answer) pairs."""

  title: str
  context: str
  questions: tuple[tuple[str, str], ...]


def squad_seal(split: str) -> list[Passage]:
  """SQuAD 1.1 passages with all of their questions and one answer for each.

  Read from SLEEPJAX_DATA_DIR when it has the file, else from
  tensorflow-datasets, which downloads it once. The two differ: SEAL's `train`
  is the passages that it was trained on, that of tensorflow-datasets is all of
  SQuAD, in another (fixed) order.

  Args:
    split: `val` (SQuAD's development set) or `train`.

  Raises:
    UserError: an unknown split, or neither source has the data; the message
      says what to do.
  """
  if split not in _SQUAD_FILES:
    raise UserError(f"split {split!r}: expected 'val' or 'train'.")
  file = local_files.find(_SQUAD_FILES[split])
  if file:
    return [passage(item, f'{file}, passage {n}')
            for n, item in enumerate(read_items(file))]
  return _squad_from_tfds(split)


def wikitext2(split: str) -> str:
  """The raw text of WikiText-2 (Merity et al. 2016), `valid` or `test`.

  Raises:
    UserError: an unknown split, or SLEEPJAX_DATA_DIR does not have the file.
  """
  if split not in ('valid', 'test'):
    raise UserError(f"split {split!r}: expected 'valid' or 'test'.")
  name = f'wikitext2/{split}.txt'
  file = local_files.find(name)
  if not file:
    raise UserError(
        f'WikiText-2 {split} is not here: set {DATA_DIR_VARIABLE} to a folder '
        f'that has {name} or {name}.gz (the word-level WikiText-2 text).')
  return read_text(file, 'the word-level WikiText-2 text', strip=False)


def read_items(path: pathlib.Path) -> list[Any]:
  """The passages of a file in SEAL's form, unchecked, with all they have.

  Args:
    path: JSON, or with `.jsonl` one object a line.

  Raises:
    UserError: the file is no list of JSON.
  """
  form = ('passages {"title", "context", "questions": [{"question", '
          '"answer"}]}')
  text = read_text(path, form)
  try:
    if '.jsonl' in path.suffixes:
      items = [json.loads(line) for line in text.split('\n') if line.strip()]
    else:
      items = json.loads(text)
  except (ValueError, RecursionError) as error:
    raise UserError(f'{path}: not JSON ({error}); expected {form}.') from None
  if not isinstance(items, list):
    raise UserError(f'{path}: expected a list of {form}.')
  return items


def passage(item: Any, where: str) -> Passage:
  """A passage in an object of JSON; its text as it stands there.

  Raises:
    UserError: it has another form; the message begins with `where`.
  """
  title, _ = (documents.text_field(item, name, where)
              for name in ('title', 'context'))
  asked = item.get('questions')
  if not isinstance(asked, list):
    raise UserError(f'{where}: "questions" should be a list.')
  pairs = [documents.read_question(q, f'{where}, question {n}')
           for n, q in enumerate(asked)]
  return Passage(title, item['context'], tuple(
      (q.question, q.answer) for q in pairs))


def _squad_from_tfds(
    split: str, data_dir: str | os.PathLike | None = None) -> list[Passage]:
  """SQuAD 1.1 grouped by passage; the first of the answers to each question.

  Args:
    split: `val` or `train`.
    data_dir: where tensorflow-datasets keeps its data; its default if None.
  """
  rows = prepared.rows(
      'squad/v1.1', {'val': 'validation', 'train': 'train'}[split], data_dir,
      _check_squad_is_reachable)
  questions: dict[tuple[str, str], list[tuple[str, str]]] = {}
  for row in rows:
    title, context, question, answer = map(prepared.text, (
        row['title'], row['context'], row['question'],
        row['answers']['text'][0]))
    questions.setdefault((title, context), []).append((question, answer))
  return [
      Passage(title, context, tuple(pairs))
      for (title, context), pairs in questions.items()]


def _check_squad_is_reachable() -> None:
  local_files.check_reachable(
      _SQUAD_HOST, 'SQuAD', f'set {DATA_DIR_VARIABLE} to a folder that has '
      f'{" and ".join(_SQUAD_FILES.values())} (or .gz), the passages published '
      'with SEAL')
