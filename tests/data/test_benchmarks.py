import bz2
import gzip
import json

import pytest

from sleepjax.data import benchmarks, local_files
from sleepjax.data.benchmarks import Item
from sleepjax.errors import UserError

SCENES = ('Roof: A man sits. he\n1\nfalls.\nis using [step] wrap.\nsings.\n'
          'goes  up.\n'
          'Home: How to cook. Boil water.\n0\nAdd salt.\nRun.\nSit.\nSleep.\n')
LINES = {
    'piqa/valid.jsonl': [{'goal': 'Dry hands.', 'sol1': 'A towel.',
                          'sol2': 'A lamp.'}],
    'lambada/lambada_test.jsonl': [{'text': 'Ann said:\n"Where is Bo?"'}],
    'gsm8k/train.jsonl': [{'question': f'{n}?', 'answer': f'So. #### {n}'}
                          for n in range(9)],
    'gsm8k/test.jsonl': [{'question': 'What?', 'answer': 'It. #### 1,000'}]}


@pytest.fixture
def folder(tmp_path, monkeypatch):
  monkeypatch.setenv('SLEEPJAX_DATA_DIR', str(tmp_path))
  for name, rows in LINES.items():
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_text('\n'.join(map(json.dumps, rows)) + '\n')
  (tmp_path / 'piqa/valid-labels.lst').write_text('0\n')
  (tmp_path / 'hellaswag').mkdir()
  (tmp_path / 'hellaswag/hellaswag_val_full.txt.bz2').write_bytes(
      bz2.compress(SCENES.encode()))
  return tmp_path


def test_items_of_every_test(folder):
  assert sorted(benchmarks.read('hellaswag', 9), key=lambda i: i.gold) == [
      Item('Home: How to cook. Boil water.',
           (' Add salt.', ' Run.', ' Sit.', ' Sleep.'), 0),
      Item('Roof: A man sits. He',
           (' falls.', ' is using wrap.', ' sings.', ' goes up.'), 1)]
  assert benchmarks.read('piqa', 1) == [
      Item('Question: Dry hands.\nAnswer:', (' A towel.', ' A lamp.'), 0)]
  assert benchmarks.read('lambada', 1) == [
      Item('Ann said:\n"Where is', (' Bo?"',))]
  (problem,) = benchmarks.read('gsm8k', 1)
  assert problem.context == ''.join(
      f'Question: {n}?\nAnswer: So. #### {n}\n\n' for n in range(5)) + (
          'Question: What?\nAnswer:')
  assert problem.endings == (' It. #### 1,000',)


def test_marks_of_the_sites_are_taken_out():
  item = benchmarks._scene(
      'Home: How to cook [title] Boil water. [step] Take a pot.',
      ['[substeps] Stir.'], 0)
  assert item == Item('Home: How to cook. Boil water. Take a pot.',
                      (' Stir.',), 0)


def test_a_part_is_the_same_for_everybody(folder):
  path = folder / 'lambada/lambada_test.jsonl'
  path.write_text('\n'.join(f'{{"text": "word {n}"}}' for n in range(50)))
  ten = benchmarks.read('lambada', 10)
  assert ten == benchmarks.read('lambada', 50)[:10]
  assert len({item.endings for item in ten}) == 10
  assert ten != benchmarks.read('lambada', 10, seed=1)
  assert len(benchmarks.read('lambada', 99)) == 50


@pytest.mark.parametrize('name, file, content, message', [
    ('hellaswag', 'hellaswag/hellaswag_val_full.txt.bz2', b'no', 'no bz2 file'),
    ('hellaswag', 'hellaswag/hellaswag_val_full.txt.bz2',
     bz2.compress(b'a\n0\nb\nc\nd\n'), '5 lines; expected items of six'),
    ('hellaswag', 'hellaswag/hellaswag_val_full.txt.bz2',
     bz2.compress(b'a\n4\nb\nc\nd\ne\n'), "line 2: '4'"),
    ('piqa', 'piqa/valid-labels.lst', b'0\n1\n', '2 labels of 1 items'),
    ('piqa', 'piqa/valid-labels.lst', b'2\n', 'expected 0 or 1 for each'),
    ('piqa', 'piqa/valid.jsonl', b'{"goal": "Dry."}', 'row 0'),
    ('lambada', 'lambada/lambada_test.jsonl', b'text', 'row 0'),
    ('gsm8k', 'gsm8k/test.jsonl', b'{"question": "a?"}', 'row 0'),
])
def test_broken_files_are_named(folder, name, file, content, message):
  (folder / file).write_bytes(content)
  with pytest.raises(UserError, match=message) as error:
    benchmarks.read(name, 1)
  assert str(folder / file) in str(error.value)


def test_an_unknown_test():
  with pytest.raises(UserError, match='expected one of hellaswag, piqa'):
    benchmarks.read('mmlu', 1)


@pytest.mark.parametrize('name', benchmarks.NAMES)
def test_without_files_or_network_it_says_what_to_do(
    name, tmp_path, monkeypatch):
  monkeypatch.delenv('SLEEPJAX_DATA_DIR', raising=False)
  monkeypatch.setattr('tensorflow_datasets.core.constants.DATA_DIR',
                      str(tmp_path))
  for proxy in ('HTTP_PROXY', 'HTTPS_PROXY', 'http_proxy', 'https_proxy'):
    monkeypatch.setenv(proxy, 'http://127.0.0.1:9')
  with pytest.raises(UserError, match='connect to the network') as error:
    benchmarks.read(name, 1)
  assert f'{name}/' in str(error.value)


@pytest.mark.parametrize('name', ['hellaswag', 'piqa', 'gsm8k'])
def test_items_of_tensorflow_datasets(name, tmp_path, monkeypatch):
  """On the rows that it invents."""
  import tensorflow_datasets as tfds
  monkeypatch.delenv('SLEEPJAX_DATA_DIR', raising=False)
  monkeypatch.setattr('tensorflow_datasets.core.constants.DATA_DIR',
                      str(tmp_path))
  monkeypatch.setattr(local_files, 'check_reachable', lambda *_: None)
  with tfds.testing.mock_data(num_examples=6):
    items = benchmarks.read(name, 4)
  assert len(items) == 4
  for item in items:
    assert isinstance(item.context, str) and isinstance(item.gold, int)
    assert item.endings and all(ending[0] == ' ' for ending in item.endings)


@pytest.mark.parametrize('name, count', [
    ('hellaswag', 10042), ('piqa', 1838), ('lambada', 5153), ('gsm8k', 1319)])
def test_what_is_published(name, count):
  if not any(map(local_files.find, (
      'hellaswag/hellaswag_val_full.txt.bz2', 'piqa/valid.jsonl'))):
    pytest.skip('needs the public tests in SLEEPJAX_DATA_DIR')
  items = benchmarks.read(name, 10**6)
  assert len(items) == count
  assert {len(item.endings) for item in items} == {
      {'hellaswag': 4, 'piqa': 2}.get(name, 1)}
  assert all(item.context and item.context == item.context.strip()
             for item in items)


def test_compressed_lines(folder):
  path = folder / 'lambada/lambada_test.jsonl'
  (folder / 'lambada/lambada_test.jsonl.gz').write_bytes(
      gzip.compress(path.read_bytes()))
  path.unlink()
  assert benchmarks.read('lambada', 1)[0].endings == (' Bo?"',)
