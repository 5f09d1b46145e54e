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

from sleepjax.data import documents
from sleepjax.data.text_files import read_text
from sleepjax.errors import UserError
from sleepjax.mesh import distributed

DATA_DIR_VARIABLE = 'SLEEPJAX_DATA_DIR'
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
  file = _local_file(_SQUAD_FILES[split])
  if file:
    return _read_passages(file)
  return _squad_from_tfds(split)


def wikitext2(split: str) -> str:
  """The raw text of WikiText-2 (Merity et al. 2016), `valid` or `test`.

  Raises:
    UserError: an unknown split, or SLEEPJAX_DATA_DIR does not have the file.
  """
  if split not in ('valid', 'test'):
    raise UserError(f"split {split!r}: expected 'valid' or 'test'.")
  name = f'wikitext2/{split}.txt'
  file = _local_file(name)
  if not file:
    raise UserError(
        f'WikiText-2 {split} is not here: set {DATA_DIR_VARIABLE} to a folder '
        f'that has {name} or {name}.gz (the word-level WikiText-2 text).')
  return read_text(file, 'the word-level WikiText-2 text', strip=False)


def _local_file(name: str) -> pathlib.Path | None:
  """The file of that name, or its .gz, under SLEEPJAX_DATA_DIR, if any."""
  folder = os.environ.get(DATA_DIR_VARIABLE)
  if not folder:
    return None
  if not pathlib.Path(folder).is_dir():
    raise UserError(
        f'{DATA_DIR_VARIABLE}={folder}: no such folder; expected the folder '
        'with the data sets, or unset it.')
  for path in (pathlib.Path(folder, name), pathlib.Path(folder, f'{name}.gz')):
    if path.is_file():
      return path
  return None


def _read_passages(path: pathlib.Path) -> list[Passage]:
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
  return [_passage(item, f'{path}, passage {n}')
          for n, item in enumerate(items)]


def _passage(item: Any, where: str) -> Passage:
  """A passage in an object of JSON; its text as it stands there."""
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
  # Half a second to import, and only this source needs it.
  import tensorflow_datasets as tfds

  # The default format, tfrecord, can only be written with TensorFlow.
  builder = tfds.builder(
      'squad/v1.1', data_dir=data_dir, file_format='array_record')
  # Of several processes the first one prepares it for all.
  if not builder.is_prepared() and distributed.is_first():
    _check_squad_is_reachable()
    builder.download_and_prepare()
  distributed.barrier('squad is prepared', timeout=3600)
  rows = builder.as_data_source(
      split={'val': 'validation', 'train': 'train'}[split])
  questions: dict[tuple[str, str], list[tuple[str, str]]] = {}
  for row in rows:
    key = (_text(row['title']), _text(row['context']))
    answer = _text(row['answers']['text'][0])
    questions.setdefault(key, []).append((_text(row['question']), answer))
  return [
      Passage(title, context, tuple(pairs))
      for (title, context), pairs in questions.items()]


def _check_squad_is_reachable() -> None:
  """A UserError if SQuAD's site does not answer.

  One quick request: tensorflow-datasets itself retries for minutes.
  """
  import requests

  try:
    requests.head(_SQUAD_HOST, timeout=10)
  except requests.exceptions.RequestException:
    raise UserError(
        f'SQuAD is not here and {_SQUAD_HOST} does not answer. Either connect '
        'to the network, so that tensorflow-datasets can download squad/v1.1 '
        f'once, or set {DATA_DIR_VARIABLE} to a folder that has '
        f'{" and ".join(_SQUAD_FILES.values())} (or .gz), the passages '
        'published with SEAL.') from None


def _text(value: Any) -> str:
  """Text features come back as bytes from array_record files."""
  return value.decode('utf-8') if isinstance(value, bytes) else str(value)
