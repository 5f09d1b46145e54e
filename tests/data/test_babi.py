"""bAbI stories as published, with what their answers follow from."""

import io
import tarfile

import pytest

from sleepjax.data import babi
from sleepjax.data.babi import Story
from sleepjax.errors import UserError

# The form of task 2: two stories, of which the first is asked about twice.
LINES = ('1 Ann got the milk there.\n2 Bo moved to the attic.\n'
         '3 Ann travelled to the hall.\n4 Where is the milk? \thall\t1 3\n'
         '5 Ann left the milk.\n6 Where is the milk? \thall\t5 3\n'
         '1 Bo went to the barn.\n2 Where is Bo? \tbarn\t1\n')
STORIES = [
    Story(('Ann got the milk there.', 'Bo moved to the attic.',
           'Ann travelled to the hall.'), 'Where is the milk?', 'hall', (0, 2)),
    Story(('Ann got the milk there.', 'Bo moved to the attic.',
           'Ann travelled to the hall.', 'Ann left the milk.'),
          'Where is the milk?', 'hall', (3, 2)),
    Story(('Bo went to the barn.',), 'Where is Bo?', 'barn', (0,))]


def test_questions_do_not_count_among_sentences():
  assert babi.parse(LINES, 'here') == STORIES


@pytest.mark.parametrize('lines, message', [
    ('1 Ann sat.\nWhere is Ann?\n', "here, line 2: 'Where is Ann.'; expected"),
    ('1 Ann sat.\n2 Where is Ann?\thall\n', 'here, line 2'),
    ('1 Ann sat.\n2 Where is Ann?\thall\t1 7\n',
     'line 2: a question that follows from lines 1 7, which its story does')])
def test_other_lines_are_refused(lines, message):
  with pytest.raises(UserError, match=message):
    babi.parse(lines, 'here')


def test_a_folder_and_its_archive_are_the_same(tmp_path, monkeypatch):
  monkeypatch.setenv('SLEEPJAX_DATA_DIR', str(tmp_path))
  with pytest.raises(UserError, match='bAbI is not here'):
    babi.read(2, 'test')
  name = 'en/qa2_two-supporting-facts_test.txt'
  (tmp_path / 'babi').mkdir()
  with tarfile.open(tmp_path / 'babi/babi_v1-2_en.tar.xz', 'w:xz') as archive:
    entry = tarfile.TarInfo(name)
    entry.size = len(LINES)
    archive.addfile(entry, io.BytesIO(LINES.encode()))
  assert babi.read(2, 'test') == STORIES
  with pytest.raises(UserError, match='qa1_single-supporting-fact_train.txt '
                                      'cannot be read'):
    babi.read(1, 'train')
  (tmp_path / 'babi/en').mkdir()
  (tmp_path / 'babi' / name).write_text(LINES.split('1 Bo went')[0])
  assert babi.read(2, 'test') == STORIES[:2]


@pytest.mark.parametrize('wrong', [(4, 'test'), (1, 'valid'),
                                   (1, 'test', 'hn')])
def test_other_tasks_are_refused(wrong):
  with pytest.raises(UserError, match='expected task 1, 2 or 3'):
    babi.read(*wrong)
