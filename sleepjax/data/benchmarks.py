"""Public tests of language models, as questions without a model.

  hellaswag   how a scene or an instruction goes on, of four ways
  piqa        which of two ways to do something works
  lambada     the last word of a passage
  gsm8k       word problems, answered by a number

They have nothing to do with what a model reads here, so what it loses on them
is forgotten. Prompts are put as EleutherAI's lm-evaluation-harness puts them
for models that continue a text, without a chat template. Each is read from
SLEEPJAX_DATA_DIR,

  hellaswag/hellaswag_val_full.txt.bz2   six lines an item: context, number of
                                         the right ending, four endings
  piqa/valid.jsonl, valid-labels.lst     or with .gz, as their owners publish
  lambada/lambada_test.jsonl             them
  gsm8k/{train,test}.jsonl

and else from tensorflow-datasets.
"""

import bz2
import dataclasses
import importlib
import json
import re
from collections.abc import Sequence

import numpy as np

from sleepjax.data import local_files, prepared
from sleepjax.data.text_files import decode, read_bytes, read_text
from sleepjax.errors import UserError

SHOTS = 5  # Solved problems before each of GSM8K.
_BRACKETS = re.compile(r'\[[^\]]*\]')
_PUBLISHED = {  # In tensorflow-datasets: the module, and whence it downloads.
    'hellaswag': ('tensorflow_datasets.text.hellaswag',
                  'https://raw.githubusercontent.com'),
    'piqa': ('tensorflow_datasets', 'https://storage.googleapis.com'),
    'gsm8k': ('tensorflow_datasets.text.gsm8k.gsm8k',
              'https://raw.githubusercontent.com')}


@dataclasses.dataclass(frozen=True)
class Item:
  """One question of a test.

  context: what a model continues.
  endings: the possible ways, of which `gold` is right; of a test without a
    choice the right one alone. They begin with the white space that parts them
    from the context.
  gold: index of the right one.
  """

  context: str
  endings: tuple[str, ...]
  gold: int = 0


def read(name: str, number: int, seed: int = 0) -> list[Item]:
  """So many items of a test, drawn by a seed: the same for every model.

  Args:
    name: one of `NAMES`.
    number: of items; all if there are fewer.
    seed: of the draw.

  Raises:
    UserError: there is no such test, or its data are not here.
  """
  if name not in NAMES:
    raise UserError(f'no test {name!r}: expected one of {", ".join(NAMES)}.')
  items = _READERS[name]()
  order = np.random.default_rng(seed).permutation(len(items))[:number]
  return [items[i] for i in order]


def _hellaswag() -> list[Item]:
  name = 'hellaswag/hellaswag_val_full.txt.bz2'
  path = local_files.find(name)
  if path is None:
    return [_scene(f'{row["activity_label"]}: {row["context"]}',
                   row['endings'], row['label'])
            for row in _published('hellaswag', 'validation', name)]
  form = 'items of six lines: context, number of the ending, four endings'
  try:
    content = bz2.decompress(read_bytes(path, form))
  except (OSError, ValueError) as error:
    raise UserError(f'{path}: no bz2 file ({error}); expected {form}.') from (
        None)
  lines = decode(content, path, form).rstrip('\n').split('\n')
  if len(lines) % 6:
    raise UserError(f'{path}: {len(lines)} lines; expected {form}.')
  items = []
  for start in range(0, len(lines), 6):
    context, gold, *endings = lines[start:start + 6]
    if gold not in ('0', '1', '2', '3'):
      raise UserError(f'{path}, line {start + 2}: {gold!r:.40}; expected the '
                      'number of an ending, 0 to 3.')
    items.append(_scene(context, endings, int(gold)))
  return items


def _scene(context: str, endings: Sequence[str], gold: int) -> Item:
  # A scene's last sentence is begun by the context: "he", "the lady".
  head, stop, tail = _spoken(context).rpartition('. ')
  return Item(head + stop + tail[:1].upper() + tail[1:],
              tuple(f' {_spoken(ending)}' for ending in endings), int(gold))


def _spoken(text: str) -> str:
  """Text without the marks of the site it comes from, such as [title]."""
  text = _BRACKETS.sub('', text.strip().replace(' [title]', '. '))
  return text.replace('  ', ' ').strip()


def _piqa() -> list[Item]:
  names = 'piqa/valid.jsonl', 'piqa/valid-labels.lst'
  path, labels_path = map(local_files.find, names)
  if path is None or labels_path is None:
    rows = _published('piqa', 'validation', ' and '.join(names))
    labels = [row['label'] for row in rows]
  else:
    rows = _lines(path, ('goal', 'sol1', 'sol2'))
    labels = read_text(labels_path, 'a number a line').split()
    if len(labels) != len(rows) or {*labels} - {'0', '1'}:
      raise UserError(f'{labels_path}: {len(labels)} labels of {len(rows)} '
                      f'items of {path}; expected 0 or 1 for each.')
  return [Item(f'Question: {row["goal"]}\nAnswer:',
               (f' {row["sol1"]}', f' {row["sol2"]}'), int(label))
          for row, label in zip(rows, labels)]


def _lambada() -> list[Item]:
  path = local_files.find('lambada/lambada_test.jsonl')
  if path is None:
    importlib.import_module('sleepjax.data.builders')  # It has this one.
    rows = prepared.rows('lambada_openai', 'test')
  else:
    rows = _lines(path, ('text',))
  texts = [prepared.text(row['text']).strip().rsplit(' ', 1) for row in rows]
  return [Item(context, (f' {word}',)) for context, word in texts]


def _gsm8k() -> list[Item]:
  names = {split: f'gsm8k/{split}.jsonl' for split in ('train', 'test')}
  paths = {split: local_files.find(name) for split, name in names.items()}
  solved, asked = (
      _lines(paths[split], ('question', 'answer')) if all(paths.values())
      else _published('gsm8k', split, ' and '.join(names.values()))
      for split in names)
  put = 'Question: {question}\nAnswer:'.format_map
  shots = ''.join(f'{put(row)} {row["answer"]}\n\n' for row in solved[:SHOTS])
  return [Item(shots + put(row), (f' {row["answer"]}',)) for row in asked]


def _lines(path, names):
  """Objects of JSON, one a line, that have texts of these names."""
  form = f'objects with {", ".join(names)}, one a line'
  rows = []
  for number, line in enumerate(read_text(path, form).split('\n')):
    try:
      row = json.loads(line)
    except ValueError:
      row = None
    if not isinstance(row, dict) or not all(
        isinstance(row.get(name), str) for name in names):
      raise UserError(f'{path}, row {number}: {line!r:.60}; expected {form}.')
    rows.append(row)
  return rows


def _published(name, split, files):
  """Rows of tensorflow-datasets, texts as str."""
  module, host = _PUBLISHED[name]
  importlib.import_module(module)  # Some are not found before that.
  rows = prepared.rows(name, split, before_download=lambda: (
      local_files.check_reachable(
          host, name, f'set {local_files.DATA_DIR_VARIABLE} to a '
          f'folder that has {files}')))
  return [{key: _plain(value) for key, value in row.items()} for row in rows]


def _plain(value):
  if isinstance(value, bytes):
    return value.decode()
  if isinstance(value, np.ndarray) and value.ndim:
    return [_plain(part) for part in value.tolist()]
  return value


_READERS = {'hellaswag': _hellaswag, 'piqa': _piqa, 'lambada': _lambada,
            'gsm8k': _gsm8k}
NAMES = tuple(_READERS)
