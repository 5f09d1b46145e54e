import io
import pathlib
import subprocess
import sys

import jax.numpy as jnp
import numpy as np
import pytest

from experiments import ask
from sleepjax.data.prompts import ChatPrompts
from sleepjax.errors import UserError
from sleepjax.models import layout, transformer
from sleepjax.training import checkpoints

ROOT = pathlib.Path(__file__).parents[2]
PROMPT = 'Q: {question} A:'
TOKENS = 8


@pytest.fixture(scope='module')
def workdir(talker, byte_tokenizer, tmp_path_factory):
  folder = tmp_path_factory.mktemp('run')
  checkpoints.save_model(
      folder / 'model', *talker, byte_tokenizer, {'answer_prompt': PROMPT})
  return folder


@pytest.fixture(autouse=True)
def no_cache(monkeypatch):
  # The cache is a setting of the whole process, so of the other tests too.
  monkeypatch.setattr(ask, 'enable_compilation_cache', lambda: None)


@pytest.fixture(scope='module')
def expected(talker, byte_tokenizer):
  """Greedy answer to token ids, from whole forward passes."""
  config, params = layout.for_compute(*talker)

  def answer(ids):
    new = []
    while len(new) < TOKENS:
      tokens = np.zeros((1, 256), np.int32)
      tokens[0, :len(ids) + len(new)] = ids + new
      scores = transformer.logits(config, params, jnp.asarray(tokens))
      new.append(int(scores[0, len(ids) + len(new) - 1].argmax()))
      if new[-1] in byte_tokenizer.stop_ids:
        break
    return byte_tokenizer.decode(new).strip()

  return answer


def asked(*flags, stdin='', monkeypatch=None):
  if monkeypatch:
    monkeypatch.setattr(sys, 'stdin', io.StringIO(stdin))
  ask.main(['ask', f'--max_new_tokens={TOKENS}', *flags])


@pytest.mark.slow
def test_one_answer(workdir, byte_tokenizer, expected, capsys):
  asked(f'--checkpoint={workdir}', '--question=Who wrote it?')
  printed = capsys.readouterr()
  want = expected(
      ChatPrompts(byte_tokenizer).closed_book('Q: Who wrote it? A:'))
  assert want
  assert printed.out == want + '\n'
  assert printed.err == f'loading {workdir / "model"}\n'


@pytest.mark.slow
def test_document(workdir, byte_tokenizer, expected, capsys, tmp_path):
  (tmp_path / 'text').write_text('It was Ada.\n')
  asked(f'--checkpoint={workdir / "model"}', '--question', 'Who wrote it?',
        f'--document={tmp_path / "text"}')
  chat = ChatPrompts(byte_tokenizer)
  want = expected(chat.document('It was Ada.')
                  + chat.after_document('Q: Who wrote it? A:'))
  assert capsys.readouterr().out == want + '\n'


@pytest.mark.slow
def test_document_is_read_as_a_sleep_reads_it(
    workdir, byte_tokenizer, expected, capsys, tmp_path):
  (tmp_path / 'text').write_bytes(
      'The tower\r\n\r\nBy Ada.\r\n'.encode('utf-16'))
  asked(f'--checkpoint={workdir}', '--question', 'Who?',
        f'--document={tmp_path / "text"}')
  chat = ChatPrompts(byte_tokenizer)
  assert capsys.readouterr().out == expected(
      chat.document('By Ada.') + chat.after_document('Q: Who? A:')) + '\n'


@pytest.mark.parametrize('end', ['', 'exit\nunread\n', '\nunread\n'])
def test_loop(workdir, byte_tokenizer, expected, capsys, monkeypatch, end):
  asked(f'--checkpoint={workdir}', stdin='One?\nTwo?\n' + end,
        monkeypatch=monkeypatch)
  chat = ChatPrompts(byte_tokenizer)
  want = [expected(chat.closed_book(f'Q: {question} A:')) + '\n'
          for question in ('One?', 'Two?')]
  assert capsys.readouterr().out == ''.join(want)


def test_temperature_and_seed(workdir, capsys, monkeypatch):
  def answers(seed):
    asked(f'--checkpoint={workdir}', '--temperature=3', f'--seed={seed}',
          stdin='Who?\nWho?\n', monkeypatch=monkeypatch)
    return capsys.readouterr().out
  first = answers(1)
  assert first == answers(1) != answers(2)
  assert len(set(first.splitlines())) > 1


@pytest.mark.parametrize('flags, message', [
    (['--question=Why?'], 'required: --checkpoint'),
    (['--checkpoint=nowhere'], 'nowhere: no such folder'),
    (['--checkpoint={}', '--document=no.txt'], 'no.txt: no such file'),
    (['--checkpoint={}', '--document={}/empty'], 'the file is empty'),
    (['--checkpoint={}', '--document={}/latin'], 'line 2: not UTF-8 text'),
    (['--checkpoint={}', '--document={}'], 'is a folder'),
    (['--checkpoint={}', '--document={}/long'], 'context of 256. Shorten'),
    (['--checkpoint={}', '--question=' + 250 * 'a'], 'the question: 2'),
    (['--checkpoint={}', '--max_new_tokens=0'], 'expected at least 1'),
    (['--checkpoint={}', '--temperature=-1'], 'expected 0 or more'),
    (['--checkpoint={}', '--temperature=warm'], "invalid float value: 'warm'"),
    (['--checkpoint={}', '--quest=Why?'], 'unrecognized.*--quest=Why'),
])
def test_wrong_input(workdir, flags, message):
  (workdir / 'empty').write_text('\n')
  (workdir / 'latin').write_bytes('Zwei\nTürme'.encode('latin-1'))
  (workdir / 'long').write_text(300 * 'a')
  with pytest.raises(UserError, match=message):
    asked(*(flag.format(workdir) for flag in flags))


@pytest.mark.slow
def test_command(workdir, tmp_path):
  """The real command: answer on stdout, one line for a mistake, a cache."""
  def run(*flags, cache):
    return subprocess.run(
        [sys.executable, '-m', 'experiments.ask', *flags], cwd=ROOT,
        capture_output=True, text=True, env={
            'JAX_PLATFORMS': 'cpu', 'SLEEPJAX_CACHE_DIR': str(cache)})
  answered = run(f'--checkpoint={workdir}', '--question=Who?',
                 '--max_new_tokens=4', cache=tmp_path / 'cache')
  assert answered.returncode == 0, answered.stderr
  assert len(answered.stdout.splitlines()) == 1
  assert (tmp_path / 'cache').is_dir()
  failed = run('--checkpoint=nowhere', cache='/dev/null/cache')
  assert (failed.returncode, failed.stdout) == (2, '')
  assert failed.stderr.splitlines()[-1].startswith(
      'error: nowhere: no such folder')
