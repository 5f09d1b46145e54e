"""Two texts and a prompt: read in turn, killed after a night, resumed."""

import json

import pytest

from experiments import _config
from sleepjax.data import own_data
from sleepjax.data.documents import Document, Question
from sleepjax.errors import UserError
from sleepjax.lifecycle.config import SleepConfig
from sleepjax.model import Model
from sleepjax.runs import nights
from sleepjax.tasks.document import DocumentTask, ExamConfig, Reading
from sleepjax.training import checkpoints
from tests import small_sleep

pytestmark = pytest.mark.slow

PROMPT = 'Who ran the mill?'


class _Killed(Exception):
  """The run ends here."""


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
  folder = tmp_path_factory.mktemp('notes')
  (folder / 'a2.md').write_text('# A tower\n\nThe *keeper* lit the lamp.')
  (folder / 'a10.jsonl').write_text('\n'.join(map(json.dumps, (
      {'prompt': PROMPT, 'privileged_context': 'The mill was run by Bob.'},
      {'question': 'Who lit it?', 'answer': 'keeper'}, {'id': 1}))))
  return folder


@pytest.fixture(scope='module')
def live(talker, byte_tokenizer, folder):
  config = small_sleep.of_a_model_of_bytes()
  config.dreams.open_samples = 2
  settings = _config.to_dataclass(SleepConfig, config, 'sleep')
  model = Model(*talker, byte_tokenizer, 'talker')
  controls = [(Document('A control', 'It was dark.'), (
      Question('How was it?', 'dark'),))]

  def live(workdir, tell=None):
    found = own_data.read(folder)
    task = DocumentTask(
        model, Reading(found.documents, found.questions, controls,
                       skipped=found.skipped), settings,
        ExamConfig(max_new_tokens=2, drift_tokens=32, batch_rows=2))
    return nights.run(task, model, settings, nights.Run(workdir, tell=tell))

  return live


@pytest.fixture(scope='module')
def whole(live, tmp_path_factory):
  workdir = tmp_path_factory.mktemp('whole')
  return workdir, live(workdir)


def test_each_text_has_its_nights(whole, folder):
  workdir, report = whole
  assert report['document'] == 'A tower; a text'
  assert [(text['title'], text['sleeps']) for text in report['documents']] == [
      ('A tower', 1), ('', 1)]
  assert report['sleeps'] == 2 and report['questions_source'] == 'file'
  assert [entry['what'] for entry in report['skipped']] == [
      f'{folder}/a10.jsonl, line 3']
  assert json.loads((workdir / 'report.json').read_text())['skipped'] == (
      report['skipped'])
  recorded = checkpoints.load_model(workdir / 'model').nights()
  assert [night.title for night in recorded] == ['A tower', '']
  assert len({night.document_sha256 for night in recorded}) == 2


def test_the_prompt_is_answered_in_its_night(whole):
  sleeps = json.loads((whole[0] / 'dreams.json').read_text())['sleeps']
  of_prompt = [[row['kind'] for row in sleep['texts']
                if row['prompt'] == PROMPT] for sleep in sleeps]
  assert of_prompt == [[], ['open', 'open']]


def test_a_killed_run_goes_on(whole, live, tmp_path):
  def kill(line):
    assert 'night 1 of 2' in line
    raise _Killed

  with pytest.raises(_Killed):
    live(tmp_path, kill)
  assert len(checkpoints.load_model(tmp_path / 'model').nights()) == 1
  assert live(tmp_path)['params_sha256'] == whole[1]['params_sha256']


def test_another_text_is_another_run(whole, live, folder):
  new = folder / 'a3.txt'
  new.write_text('It was dark.')
  try:
    with pytest.raises(UserError, match='the result of another document'):
      live(whole[0])
  finally:
    new.unlink()
