"""Files from anywhere: read or refused, never believed."""

import gzip
import json
import pathlib
import re
import struct

import pytest

from sleepjax.data import documents, model_files, sources
from sleepjax.data.prompts import ChatPrompts
from sleepjax.data.tokenizer import Tokenizer
from sleepjax.errors import UserError
from tests import fuzz_files

pytestmark = pytest.mark.slow

ROOT = pathlib.Path(__file__).parents[2]


def test_some_hundred_damaged_files():
  """`python -m tests.fuzz_files` reads ten thousand."""
  found = fuzz_files.fuzz(cases=300, seed=1)
  assert not [outcome for outcome in found if outcome.startswith('FOUND')]
  assert found['refused'] > 150 and found['read'] > 10


def gguf_header(*entries):
  """A file that declares these raw entries and no tensor."""
  return (b'GGUF' + struct.pack('<IQQ', 3, 0, len(entries)) + b''.join(entries))


def entry(name, kind, value):
  return (struct.pack('<Q', len(name)) + name + struct.pack('<I', kind) + value)


@pytest.mark.parametrize('contents', [
    gguf_header(entry(b'a', 9, struct.pack('<IQ', 0, 2**60))),
    gguf_header(entry(b'a', 9, struct.pack('<IQ', 8, 2**63) + bytes(80))),
    gguf_header(entry(b'a', 8, struct.pack('<Q', 2**50))),
    gguf_header(entry(b'a', 9, struct.pack('<IQ', 9, 1) * 5000)),
    b'GGUF' + struct.pack('<IQQ', 3, 2**60, 0),
    b'GGUF' + struct.pack('<IQQ', 3, 0, 2**60)],
    ids=['bytes', 'strings', 'string', 'nested', 'tensors', 'entries'])
def test_lengths_that_gguf_files_only_declare(tmp_path, contents):
  path = tmp_path / 'm.gguf'
  path.write_bytes(contents)
  with pytest.raises(UserError, match='cannot be read as GGUF'):
    model_files.open_gguf(path)


def test_weights_of_other_folders_are_not_read(tmp_path):
  fuzz_files.write_originals(tmp_path)
  secret = tmp_path / 'secret.safetensors'
  (tmp_path / 'hf' / fuzz_files.SHARD).rename(secret)
  for name in ('../secret.safetensors', str(secret), 'a/b', '..', ''):
    (tmp_path / 'hf/model.safetensors.index.json').write_text(
        json.dumps({'weight_map': {'model.norm.weight': name}}))
    with pytest.raises(UserError, match='names the file|has no'):
      fuzz_files.READERS['hf'][1](tmp_path / 'hf')


@pytest.mark.parametrize('template', [
    "{{ ''.__class__.__mro__[1].__subclasses__() }}",
    "{{ messages.append('x') }}", '{{ cycler.__init__.__globals__.os }}',
    "{{ lipsum.__globals__['os'].system('touch x') }}",
    '{% for i in range(10000000) %}{% endfor %}', '{{ 1 // 0 }}',
    '{{ messages[0] }}{{ messages[0].content }}', 'nothing of the message'])
def test_templates_reach_nothing(template, byte_tokenizer, tmp_path,
                                 monkeypatch):
  monkeypatch.chdir(tmp_path)
  byte_tokenizer.save(tmp_path / 't')
  (tmp_path / 't/chat_template.jinja').write_text(template)
  with pytest.raises(UserError, match='template'):
    ChatPrompts(Tokenizer.from_folder(tmp_path / 't')).closed_book('Who?')
  assert [path.name for path in tmp_path.iterdir()] == ['t']


@pytest.mark.parametrize('text', ['[' * 100_000, '[' + '1' * 5000 + ']'])
def test_questions_that_no_parser_likes(tmp_path, text):
  path = tmp_path / 'questions.json'
  path.write_text(text)
  with pytest.raises(UserError, match='not JSON'):
    documents.read_questions(path)


def test_damaged_archives(tmp_path, monkeypatch):
  monkeypatch.setenv(sources.DATA_DIR_VARIABLE, str(tmp_path))
  (tmp_path / 'wikitext2').mkdir()
  path = tmp_path / 'wikitext2/valid.txt.gz'
  contents = bytearray(gzip.compress(b'some text ' * 100))
  contents[12] ^= 255
  for damaged in (contents, contents[:20], b'text'):
    path.write_bytes(damaged)
    with pytest.raises(UserError, match='cannot be read'):
      sources.wikitext2('valid')


def test_nothing_is_unpickled():
  """By name: pickle and what is built on it, and NumPy's way into it."""
  banned = re.compile(
      r'\b(pickle|cloudpickle|dill|joblib|shelve|marshal)\b|'
      r'allow_pickle=True|torch\.load|(?<![.\w])(eval|exec)\(|yaml\.load\b|'
      r'trust_remote_code=True|extractall')
  for path in (*ROOT.glob('sleepjax/**/*.py'),
               *ROOT.glob('experiments/**/*.py')):
    assert not banned.search(path.read_text()), path
