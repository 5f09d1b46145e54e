"""bAbI: stories of who goes where with what, and questions about them.

Weston et al. 2015, arXiv 1502.05698. Tasks 1 to 3 ask where somebody, or
something that somebody carries, is (3: was before), which takes one to three
sentences of a story. Read from SLEEPJAX_DATA_DIR, as its owners publish version
1.2, in a folder or the archive of it:

  babi/en/qa1_single-supporting-fact_test.txt
  babi/babi_v1-2_en.tar.xz                     with en/qa1_..., and so on

`en` has 1,000 questions a task and split, `en-10k` 10,000 to train on.
"""

import io
import re
import tarfile
from typing import NamedTuple

from sleepjax.data import local_files
from sleepjax.data.local_files import DATA_DIR_VARIABLE
from sleepjax.data.text_files import read_text
from sleepjax.errors import UserError

_FILES = {1: 'qa1_single-supporting-fact', 2: 'qa2_two-supporting-facts',
          3: 'qa3_three-supporting-facts'}
TASKS = tuple(_FILES)
_FORM = ('lines such as "1 Mary went home." and "2 Where is Mary?\\thome\\t1", '
         'as bAbI 1.2 has them')
_LINE = re.compile(r'(\d+) ([^\t]+)(?:\t([^\t]+)\t([\d ]+))?\s*')


class Story(NamedTuple):
  """A question, and what was told before it.

  sentences: in order.
  question, answer: the answer is a word.
  supporting: indices of the sentences that the answer follows from, in the
    order of the data.
  """

  sentences: tuple[str, ...]
  question: str
  answer: str
  supporting: tuple[int, ...]


def read(task: int, split: str, edition: str = 'en') -> list[Story]:
  """All stories of a task, one for each question.

  Args:
    task: 1, 2 or 3.
    split: 'train' or 'test'.
    edition: 'en' or 'en-10k'.

  Raises:
    UserError: there is no such task or split, or its data are not here.
  """
  if task not in _FILES or split not in ('train', 'test') or (
      edition not in ('en', 'en-10k')):
    raise UserError(
        f'bAbI task={task}, split={split!r}, edition={edition!r}: expected '
        "task 1, 2 or 3, 'train' or 'test', and 'en' or 'en-10k'.")
  name = f'{edition}/{_FILES[task]}_{split}.txt'
  path = local_files.find(f'babi/{name}')
  if path is not None:
    return parse(read_text(path, _FORM), str(path))
  archive = local_files.find(f'babi/babi_v1-2_{edition}.tar.xz')
  if archive is None:
    raise UserError(
        f'bAbI is not here: set {DATA_DIR_VARIABLE} to a folder that has '
        f'babi/{name}, or babi/babi_v1-2_{edition}.tar.xz with it.')
  try:
    with tarfile.open(archive) as files:
      found = files.extractfile(name)
      assert found is not None  # A file: extractfile raises on a missing name.
      text = io.TextIOWrapper(found, 'utf-8').read()
  except (OSError, EOFError, KeyError, ValueError, tarfile.TarError) as error:
    raise UserError(
        f'{archive}: {name} cannot be read ({error}).') from None
  return parse(text, f'{archive}, {name}')


def parse(text: str, where: str) -> list[Story]:
  """The stories of a file.

  Args:
    text: of the file.
    where: it is, for messages.

  Raises:
    UserError: a line has another form, or names a line that its story lacks.
  """
  stories, sentences, index = [], [], {}
  for number, line in enumerate(text.splitlines(), 1):
    match = _LINE.fullmatch(line)
    if match is None:
      raise UserError(
          f'{where}, line {number}: {line!r:.60}; expected {_FORM}.')
    place, said, answer, supporting = match.groups()
    if place == '1':
      sentences, index = [], {}
    if answer is None:
      index[place] = len(sentences)
      sentences.append(said.strip())
      continue
    if not index.keys() >= {*supporting.split()}:
      raise UserError(f'{where}, line {number}: a question that follows from '
                      f'lines {supporting}, which its story does not have.')
    stories.append(Story(tuple(sentences), said.strip(), answer,
                         tuple(index[n] for n in supporting.split())))
  return stories
