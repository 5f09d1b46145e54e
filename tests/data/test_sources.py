import gzip
import json

import pytest

from sleepjax.data import sources
from sleepjax.errors import UserError

PASSAGES = [
    {'title': 'Tea', 'context': 'Tea is brewed from leaves.', 'questions': [
        {'question': 'From what?', 'answer': 'leaves'},
        {'question': 'What is?', 'answer': 'Tea'}]},
    {'title': 'Ink', 'context': 'Ink is dark.', 'questions': []},
]
EXPECTED = [
    sources.Passage('Tea', 'Tea is brewed from leaves.',
                    (('From what?', 'leaves'), ('What is?', 'Tea'))),
    sources.Passage('Ink', 'Ink is dark.', ()),
]


@pytest.fixture
def folder(tmp_path, monkeypatch):
  (tmp_path / 'squad').mkdir()
  (tmp_path / 'wikitext2').mkdir()
  monkeypatch.setenv('SLEEPJAX_DATA_DIR', str(tmp_path))
  return tmp_path


@pytest.fixture
def offline(monkeypatch):
  monkeypatch.setattr(sources, '_SQUAD_HOST', 'http://127.0.0.1:9')


def test_squad_from_the_data_folder(folder):
  (folder / 'squad/squad_val.json').write_text(json.dumps(PASSAGES))
  lines = '\n'.join(map(json.dumps, PASSAGES)) + '\n'
  (folder / 'squad/seal_train_passages.jsonl.gz').write_bytes(
      gzip.compress(lines.encode()))
  assert sources.squad_seal('val') == EXPECTED
  assert sources.squad_seal('train') == EXPECTED


def test_wikitext2_from_the_data_folder(folder):
  (folder / 'wikitext2/test.txt.gz').write_bytes(
      gzip.compress(b' = Tea = \n', mtime=0))
  assert sources.wikitext2('test') == ' = Tea = \n'
  with pytest.raises(UserError, match='set SLEEPJAX_DATA_DIR .*valid.txt'):
    sources.wikitext2('valid')


def test_a_line_end_inside_a_passage_ends_no_line(folder):
  passage = {**PASSAGES[0], 'context': 'Tea is\u2028brewed\n from leaves.'}
  (folder / 'squad/seal_train_passages.jsonl').write_bytes(
      b'\xef\xbb\xbf' + json.dumps(passage, ensure_ascii=False).encode()
      + b'\r\n')
  (read,) = sources.squad_seal('train')
  assert read.context == passage['context']


@pytest.mark.parametrize('content, message', [
    (b'not gzip', 'cannot be read'),
    (gzip.compress(b'{', mtime=0), 'not JSON'),
    (gzip.compress(b'[{"title": "Tea"}]', mtime=0),
     'passage 0: "context" is missing'),
    (gzip.compress(json.dumps([PASSAGES[1], {
        **PASSAGES[0], 'questions': [{'question': 'Who?', 'answer': ' '}]
    }]).encode(), mtime=0), 'passage 1, question 0: "answer" is empty'),
    (gzip.compress(b'{"title": "Tea"}', mtime=0), 'expected a list'),
])
def test_broken_files_are_named(folder, content, message):
  file = folder / 'squad/squad_val.json.gz'
  file.write_bytes(content)
  with pytest.raises(UserError, match=message) as error:
    sources.squad_seal('val')
  assert str(file) in str(error.value)


def test_wrong_splits_and_folder(folder, monkeypatch):
  with pytest.raises(UserError, match="expected 'val' or 'train'"):
    sources.squad_seal('test')
  with pytest.raises(UserError, match="expected 'valid' or 'test'"):
    sources.wikitext2('train')
  monkeypatch.setenv('SLEEPJAX_DATA_DIR', str(folder / 'typo'))
  with pytest.raises(UserError, match='no such folder'):
    sources.squad_seal('val')


def test_squad_with_neither_source_says_what_to_do(tmp_path, offline):
  with pytest.raises(UserError) as error:
    sources._squad_from_tfds('val', data_dir=tmp_path)
  for part in ('connect to the network', 'SLEEPJAX_DATA_DIR',
               'squad/squad_val.json'):
    assert part in str(error.value)


def test_squad_written_and_read_by_tensorflow_datasets(tmp_path, monkeypatch):
  """The official builder on a small file: array_record, text as bytes."""
  import tensorflow_datasets as tfds
  raw = {'data': [{'title': 'Tea', 'paragraphs': [
      {'context': f'Tea number {p} is brewed.', 'qas': [
          {'id': f'{p}{q}', 'question': f'Which, {q}?', 'answers': [
              {'text': f'number {p}', 'answer_start': 4},
              {'text': 'Tea', 'answer_start': 0}]}
          for q in range(3)]}
      for p in range(2)]}]}
  file = tmp_path / 'raw.json'
  file.write_text(json.dumps(raw))
  builder = tfds.builder(
      'squad/v1.1', data_dir=tmp_path, file_format='array_record')
  monkeypatch.setattr(type(builder), '_split_generators', lambda self, _: [
      tfds.core.SplitGenerator(name=name, gen_kwargs={'filepath': file})
      for name in ('train', 'validation')])
  builder.download_and_prepare()
  passages = sources._squad_from_tfds('val', data_dir=tmp_path)
  assert sorted(p.context for p in passages) == [
      'Tea number 0 is brewed.', 'Tea number 1 is brewed.']
  for passage in passages:
    answer = passage.context[4:12]
    assert passage.title == 'Tea'
    assert sorted(passage.questions) == [
        (f'Which, {q}?', answer) for q in range(3)]


def test_squad_downloads_when_it_is_not_prepared(tmp_path, monkeypatch):
  """The path with a network, on the data that tensorflow-datasets invents."""
  import tensorflow_datasets as tfds
  asked = []
  monkeypatch.delenv('SLEEPJAX_DATA_DIR', raising=False)
  monkeypatch.setattr(
      sources, '_check_squad_is_reachable', lambda: asked.append(True))
  with tfds.testing.mock_data(num_examples=5):
    passages = sources._squad_from_tfds('train', data_dir=tmp_path)
  assert asked == [True]
  assert len(passages) == 5
  for passage in passages:
    assert isinstance(passage.context, str)
    ((question, answer),) = passage.questions
    assert isinstance(question, str) and isinstance(answer, str)
