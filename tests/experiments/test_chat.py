"""Chat through a pipe: a day, a night, what is forgotten, what goes on."""

import json
import os
import pathlib
import subprocess
import sys

import pytest

from sleepjax.data import world
from sleepjax.model import load_pretrained
from sleepjax.training import checkpoints

pytestmark = pytest.mark.slow

ROOT = pathlib.Path(__file__).parents[2]
DAY = world.day(0, 0)
CONFIG = '''
from configs import quickstart


def get_config():
  c = quickstart.get_config()
  c.sleep.dreaming = None
  c.sleep.unroll = False
  c.sleep.rehearsal_per_text = 0
  c.sleep.memories = 0
  c.sleep.seeding.steps = 60
  c.sleep.seeding.retention = 0.0
  return c
'''


def chat(folder, *lines):
  """(lines on stdout, lines on stderr) of the real command."""
  done = subprocess.run(
      [sys.executable, '-m', 'experiments.chat', f'--config={folder}/chat.py',
       f'--workdir={folder}/chat'], cwd=ROOT, input='\n'.join(lines) + '\n',
      capture_output=True, text=True, env={
          **os.environ, 'JAX_PLATFORMS': 'cpu'})
  assert done.returncode == 0, done.stderr
  return done.stdout.splitlines(), done.stderr.splitlines()


@pytest.fixture(scope='module')
def first(tmp_path_factory):
  """The folder of a day and a night, and what was said."""
  folder = tmp_path_factory.mktemp('chat')
  (folder / 'chat.py').write_text(CONFIG)
  (folder / 'day.txt').write_text(DAY.text)
  asked = [q.question for q in DAY.questions('direct')]
  return folder, *chat(
      folder, asked[0], f'/read {folder}/day.txt', asked[1], '/sleep',
      *(f'/ask {question}' for question in asked), '/nights')


def right(answers):
  return sum(answer.strip().lower() == q.answer.lower() for answer, q in zip(
      answers, DAY.questions('direct'), strict=True))


def test_a_day_and_a_night(first):
  folder, said, _ = first
  golds = [q.answer for q in DAY.questions('direct')]
  assert said[1].startswith('Read ') and 'words. Ask about it' in said[1]
  assert said[2].lower() == golds[1].lower()  # In view.
  assert said[3].startswith('Slept: night 1, ')
  # In the exam's templates, which it has never seen.
  base = load_pretrained('tiny-world')
  before = right([base.ask(q.question) for q in DAY.questions('direct')])
  assert right(said[4:-1]) > before + 2
  assert said[-1].startswith('1  20') and said[-1].endswith(' parameters')


def test_it_goes_on_forgets_and_leaves(first):
  folder, _, _ = first
  (folder / 'next.txt').write_text(world.day(0, 1).text)
  said, errors = chat(
      folder, f'/read {folder}/next.txt', '/sleep', '/forget 1 reseed',
      '/nights', '/forget 2', '/nights', f'/export {folder}/hf',
      f'/ask {DAY.questions("direct")[0].question}', '/exit', '/unread')
  assert said[1].startswith('Slept: night 2, ')
  assert said[2].startswith(
      'Forgotten; night 2 has learnt its answers once more')
  assert said[2].endswith('; later nights have leant on it, and may still hold '
                          'something of it.')
  assert said[3].startswith('2  20')
  assert said[4:7] == ['Forgotten: this is the model that never had it.',
                       'No night yet.', f'Wrote {folder}/hf.']
  assert len(said) == 8
  model = checkpoints.load_model(folder / 'chat/model')
  assert model.nights() == ()
  kept = (folder / 'chat/chat.json').read_text() + json.dumps(
      dict(model.lineage))
  for question in DAY.questions('direct'):
    assert question.answer not in kept
  assert (folder / 'hf/config.json').exists()
  assert not [line for line in errors if line.startswith('error')]


def test_what_goes_wrong_is_one_line(tmp_path):
  (tmp_path / 'chat.py').write_text(CONFIG)
  said, errors = chat(
      tmp_path, '/read nowhere.txt', '/read', '/sleep', '/forget',
      '/forget reseed', '/forget 3 reseed', '/dance', '/help')
  wrong = [line for line in errors if line.startswith('error: ')]
  for line, part in zip(wrong, (
      'nowhere.txt: no such file', '/read FILE', 'nothing was read or told',
      *2 * ['expected numbers of nights'],
      'night 3: this model has slept no night', '/dance: no such command'),
                        strict=True):
    assert part in line
  assert any('/forget N' in line for line in said)
  assert any('with N reseed' in line for line in said)
