"""Data sets in the form in which `datasets` saves them."""

import json
import sys

import pyarrow as pa
import pytest

from sleepjax.data import own_data
from sleepjax.data.corpus import Skipped
from sleepjax.data.documents import Document, Question
from sleepjax.errors import UserError

COLUMNS = {
    'id': ['1', '2', '3', '4'], 'title': ['A_b', 'A_b', 'C', 'D'],
    'context': ['One.', 'One.', 'Two.', ''],
    'question': ['Q1?', 'Q2?', 'Q3?', 'Q4?'],
    'answers': [{'text': ['a', 'x'], 'answer_start': [0, 1]},
                {'text': ['b'], 'answer_start': [0]},
                {'text': [], 'answer_start': []},
                {'text': ['d'], 'answer_start': [0]}]}
READ = ([Document('A_b', 'One.'), Document('C', 'Two.')], [
    Question('Q1?', 'a'), Question('Q2?', 'b')])


def save(folder, tables):
  """A saved Dataset with a file for each table."""
  folder.mkdir(parents=True)
  names = [f'data-{n:05d}-of-{len(tables):05d}.arrow'
           for n in range(len(tables))]
  for name, table in zip(names, tables):
    with pa.OSFile(str(folder / name), 'wb') as file, pa.ipc.new_stream(
        file, table.schema) as stream:
      stream.write_table(table, max_chunksize=2)
  (folder / 'state.json').write_text(json.dumps(
      {'_data_files': [{'filename': name} for name in names]}))
  (folder / 'dataset_info.json').write_text('{}')
  return folder


@pytest.fixture
def saved(tmp_path):
  table = pa.table(COLUMNS)
  return save(tmp_path / 'set', [table.slice(0, 1), table.slice(1)])


def skipped(folder):
  return (Skipped(f'{folder}, row 2', 'a question without an answer'),
          Skipped(f'{folder}, row 3',
                  '"context" is empty: it has no character that can be seen'))


def test_rows_of_a_data_set(saved):
  found = own_data.read(saved)
  assert ([*found.documents], [*found.questions]) == READ
  assert found.skipped == skipped(saved)


def test_a_data_set_inside_of_a_folder(saved):
  (saved.parent / 'a.txt').write_text('Zero.')
  found = own_data.read(saved.parent)
  assert found.documents == (Document('', 'Zero.'), *READ[0])
  assert found.skipped == skipped(saved)


def test_splits(tmp_path):
  folder = tmp_path / 'both'
  for name, text in ('train', 'One.'), ('test', 'Two.'):
    save(folder / name, [pa.table({'text': [text], 'label': [1]})])
  (folder / 'dataset_dict.json').write_text('{"splits": ["train", "test"]}')
  assert own_data.read(folder).documents == (
      Document('', 'One.'), Document('', 'Two.'))


def test_what_datasets_itself_has_saved(tmp_path):
  datasets = pytest.importorskip('datasets')
  rows = datasets.Dataset.from_dict(COLUMNS)
  rows.save_to_disk(tmp_path / 'one', num_shards=2)
  datasets.DatasetDict(train=rows).save_to_disk(tmp_path / 'splits')
  for folder, place in (('one', 'one'), ('splits', 'splits/train')):
    found = own_data.read(tmp_path / folder)
    assert ([*found.documents], [*found.questions]) == READ
    assert found.skipped == skipped(tmp_path / place)


def damage(folder, kind):
  if kind == 'columns':
    save(folder.parent / 'other', [pa.table({'sentence': ['x'], 'label': [1]})])
    return folder.parent / 'other'
  content = {'state': '{', 'outside': {'_data_files': [
      {'filename': '../a.arrow'}]}, 'missing': {'_data_files': [
          {'filename': 'a.arrow'}]}, 'keys': [1]}.get(kind)
  if kind == 'cut':
    path = next(folder.glob('*.arrow'))
    path.write_bytes(path.read_bytes()[:100])
  else:
    (folder / 'state.json').write_text(
        content if isinstance(content, str) else json.dumps(content))
  return folder


@pytest.mark.parametrize('kind, message', [
    ('columns', 'no column with texts or questions; .* got sentence, label'),
    ('state', 'state.json: damaged'), ('keys', 'state.json: damaged'),
    ('outside', "state.json: '../a.arrow' is outside of the folder"),
    ('missing', 'a.arrow: missing or damaged'),
    ('cut', 'arrow: missing or damaged')])
def test_damaged_data_sets_are_explained(saved, kind, message):
  with pytest.raises(UserError, match=message):
    own_data.read(damage(saved, kind))


def test_pyarrow_is_asked_for_by_name(saved, monkeypatch):
  monkeypatch.setitem(sys.modules, 'pyarrow', None)
  with pytest.raises(UserError, match='pip install pyarrow'):
    own_data.read(saved)
