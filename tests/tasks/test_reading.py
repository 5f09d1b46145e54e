"""What is read: several texts, the prompts that come with them, one hash."""

import dataclasses
import hashlib
import json

import pytest

from experiments import _config
from sleepjax.data.corpus import Skipped
from sleepjax.data.documents import Document, Question
from sleepjax.errors import UserError
from sleepjax.lifecycle.config import SleepConfig
from sleepjax.model import Model
from sleepjax.tasks import reading
from sleepjax.tasks.document import DocumentTask, ExamConfig, Reading
from tests import small_sleep

TOWER = Document('A tower', 'It was lit by Ann. ' * 12)
MILL = Document(
    'A mill', 'Bob ran it for years.', ('Who ran it?', 'Who lit it?'))
EXAM = Question('Who  RAN it?', 'Bob')


@pytest.fixture(scope='module')
def settings():
  config = small_sleep.get_config().sleep
  config.context_tokens = 120
  config.dreams.prompt_tokens = 60
  config.dreams.completion_tokens = 8
  return _config.to_dataclass(SleepConfig, config, 'sleep')


@pytest.fixture(scope='module')
def model(talker, byte_tokenizer):
  return Model(*talker, byte_tokenizer, 'talker')


def sha256(text):
  return hashlib.sha256(text.encode()).hexdigest()


def test_a_text_has_its_own_hash_and_several_have_one():
  assert Reading(TOWER).sha256 == Reading([TOWER]).sha256 == sha256(TOWER.text)
  several = [Reading(texts).sha256 for texts in (
      [TOWER, MILL], [MILL, TOWER], [MILL],
      [dataclasses.replace(MILL, prompts=())],
      [TOWER, dataclasses.replace(MILL, title='')])]
  assert len({*several}) == 5
  assert several[0] == sha256(json.dumps([
      ['A tower', TOWER.text, []],
      ['A mill', MILL.text, ['Who ran it?', 'Who lit it?']]]))


def test_titles():
  assert Reading(TOWER).title == 'A tower'
  assert Reading(Document('', 'x')).title == ''
  assert Reading([TOWER, Document('', 'x')]).title == 'A tower; a text'
  assert Reading([TOWER] * 5).title == 'A tower; A tower; A tower and 2 more'


def test_prompts_that_no_night_can_answer_are_left_out(model, settings):
  long = dataclasses.replace(MILL, prompts=(*MILL.prompts, 'w' * 200))
  documents, skipped = reading.usable_prompts(
      model, [TOWER, long], settings, [EXAM])
  assert documents == [TOWER, dataclasses.replace(
      MILL, prompts=('Who lit it?',))]
  tokens = len(model.chat.closed_book('w' * 200))
  assert skipped == [
      Skipped("the prompt 'Who ran it?'", 'a question of the exam'),
      Skipped(f"the prompt '{'w' * 40}'", f'{tokens} tokens are more than '
              'sleep.dreams.prompt_tokens=60')]
  with pytest.raises(UserError, match=f'{tokens} tokens .* shorten it'):
    reading.chunks_of(model, long, settings)


def test_a_prompt_goes_to_the_chunk_it_is_about(model, settings):
  text = 'The tower was lit by Ann. ' * 4 + 'The mill was run by Bob. ' * 4
  chunks = reading.chunks_of(model, Document(
      'Both', text, ('Who had the mill?', 'Who had the tower?')), settings)
  assert len(chunks) == 2
  assert [chunk.prompts for chunk in chunks] == [
      ('Who had the tower?',), ('Who had the mill?',)]
  assert ''.join(chunk.text for chunk in chunks) == text


def task_of(model, settings, documents, questions):
  return DocumentTask(
      model, Reading(documents, questions, [(
          Document('A control', 'It was dark.'), [Question('How?', 'dark')])],
                     skipped=[Skipped('a.pdf', 'unknown')]), settings,
      ExamConfig(max_new_tokens=4, drift_tokens=64))


def test_several_texts_are_read_one_after_the_other(model, settings):
  task = task_of(model, settings, [TOWER, MILL], [EXAM])
  assert task.nights == len(task.chunks) == sum(task.sleeps_of)
  assert task.sleeps_of == [task.nights - 1, 1] and task.nights > 2
  titles = [chunk.title for chunk in task.chunks]
  assert titles == ['A tower'] * task.sleeps_of[0] + ['A mill']
  assert [entry.what for entry in task.skipped] == [
      'a.pdf', "the prompt 'Who ran it?'"]
  # The exam's question is about the mill, so it is written down that night.
  progress = {'questions': [dataclasses.asdict(EXAM)], 'source': 'file',
              'sleeps': []}
  days = [task.day(n, progress) for n in range(task.nights)]
  assert [len(day.exam) for day in days] == [0] * (task.nights - 1) + [1]
  assert days[-1].document.prompts == ('Who lit it?',)


def test_questions_alone_are_refused(model, settings):
  with pytest.raises(UserError, match='1 questions and no text to read'):
    task_of(model, settings, [], [EXAM])
