"""The command of nights, on models without questions to answer."""

import json
import re

import numpy as np
import pytest

from experiments import nights
from sleepjax.errors import UserError
from sleepjax.model import Model
from sleepjax.models import export
from sleepjax.training import checkpoints
from tests.some_nights import slept


@pytest.fixture(scope='module')
def folders(talker, byte_tokenizer, tmp_path_factory):
  """A base as a Hugging Face folder, and two models that have slept on it."""
  folder = tmp_path_factory.mktemp('nights')
  export.export_hf(*talker, byte_tokenizer, folder / 'base')
  base = Model(*talker, byte_tokenizer, 'base')
  for name, seeds in (('one', (1,)), ('two', (2, 3))):
    model = base
    for seed in seeds:
      model = slept(model, seed, exam=[])
    checkpoints.save_model(
        folder / name / 'model', model.config, model.params, model.tokenizer,
        {'base': 'base', 'config': {'secret': 1}, **model.lineage})
  return folder


@pytest.fixture(autouse=True)
def no_cache(monkeypatch):
  # The cache is a setting of the whole process, so of the other tests too.
  monkeypatch.setattr(nights, 'enable_compilation_cache', lambda: None)
  monkeypatch.setenv('COLUMNS', '200')


def run(*arguments):
  nights.main(['nights', *map(str, arguments)])


def test_list_fits_eighty_columns(folders, capsys, monkeypatch):
  monkeypatch.setenv('COLUMNS', '80')
  run('list', f'--checkpoint={folders}/two')
  rows = [re.split(r' {2,}', line.strip())
          for line in capsys.readouterr().out.splitlines() if 'Day' in line]
  assert [row[:3] for row in rows] == [['1', '0', 'Day 2'], ['2', '1', 'Day 3']]
  assert all(re.fullmatch(r'\d{4}-\d\d-\d\d', row[3]) for row in rows)
  # 3 matrices of 32 · 4 in each of 2 layers.
  assert [row[4:] for row in rows] == [['768', '0', '0'], ['768', '1', '0']]


def test_saved_combined_and_forgotten(folders, tmp_path, capsys):
  """Out of two models into a third, and back to one of them."""
  for name, number, file in (('one', 1, 'a'), ('two', 1, 'b'), ('two', 2, 'c')):
    run('save', f'--checkpoint={folders}/{name}', f'--night={number}',
        f'--out={tmp_path}/{file}')
    printed = capsys.readouterr().out
    assert printed.startswith('# A night: Day ')
    assert f'Wrote {tmp_path}/{file}' in printed
  run('combine', *(tmp_path / file for file in 'cab'),
      f'--model={folders}/base', f'--out={tmp_path}/all')
  report = json.loads((tmp_path / 'all/report.json').read_text())
  titles = {entry['title']: entry['night'] for entry in report['nights']}
  assert sorted(titles) == ['Day 1', 'Day 2', 'Day 3']
  run('forget', f'--checkpoint={tmp_path}/all', f'--night={titles["Day 1"]}',
      f'--out={tmp_path}/less')
  assert 'the model that never had them' in capsys.readouterr().out
  assert json.loads((tmp_path / 'less/report.json').read_text())['exact']
  left = checkpoints.load_model(tmp_path / 'less/model')
  assert [night.title for night in left.nights()] == ['Day 2', 'Day 3']
  two = checkpoints.load_model(folders / 'two/model')
  for night in left.nights():
    old, = (one for one in two.nights() if one.title == night.title)
    for name in ('gate', 'up', 'down'):
      have, want = (model.params['layers']['slots'][name][:, one.slot]
                    for model, one in ((left, night), (two, old)))
      np.testing.assert_array_equal(have, want)
  run('open', tmp_path / 'a', f'--checkpoint={tmp_path}/less',
      f'--out={tmp_path}/again')
  again = checkpoints.load_model(tmp_path / 'again/model')
  assert [night.title for night in again.nights()] == [
      'Day 2', 'Day 3', 'Day 1']


def test_what_leans_on_the_forgotten(folders, tmp_path, capsys):
  run('forget', f'--checkpoint={folders}/two', '--night=1',
      f'--out={tmp_path}/less')
  assert 'Other nights were learnt while these were open' in (
      capsys.readouterr().out)
  assert not json.loads((tmp_path / 'less/report.json').read_text())['exact']
  # Nor is it still the run whose model it was.
  lineage = checkpoints.load_model(tmp_path / 'less/model').lineage
  assert 'config' not in lineage and lineage['base'] == 'base'


@pytest.mark.slow
def test_what_leant_on_it_is_reseeded(folders, tmp_path, capsys):
  two = checkpoints.load_model(folders / 'two/model')
  texts = [[], [{'kind': 'question', 'prompt': 'Who?'}]]
  checkpoints.save_model(
      tmp_path / 'run/model', two.config, two.params, two.tokenizer,
      {**two.lineage, 'progress': {'sleeps': [
          {'texts': written} for written in texts]}})
  run('forget', f'--checkpoint={tmp_path}/run', '--night=1', '--reseed=1',
      f'--out={tmp_path}/less')
  assert 'Night 2 has learnt its answers once more' in capsys.readouterr().out
  entry, = json.loads((tmp_path / 'less/report.json').read_text())['reseeded']
  assert entry['night'] == 2
  night, = checkpoints.load_model(tmp_path / 'less/model').nights()
  assert night.settings['reseeded.updates'] == 1
  assert night.sha256 != two.nights()[1].sha256


@pytest.mark.parametrize('arguments, message', [
    (['list'], 'give --checkpoint=DIR, or --model=NAME'),
    (['list', '--checkpoint=nowhere'], 'nowhere: no such folder'),
    (['list', '--checkpoint={}/one', '--model=x'], 'give --checkpoint=DIR, or'),
    (['list', 'file', '--checkpoint={}/one'], 'list: takes no FILE'),
    (['lose', '--checkpoint={}/one'], "invalid choice: 'lose'"),
    (['save', '--checkpoint={}/one', '--night=1'], 'save: --out is missing'),
    (['save', '--checkpoint={}/one', '--out=x'], 'save: --night is missing'),
    (['save', '--checkpoint={}/one', '--night=7', '--out=x'],
     'night 7: this model has the nights 1'),
    (['save', '--checkpoint={}/one', '--night=1,2', '--out=x'], 'holds one'),
    (['save', '--checkpoint={}/one', '--night=x', '--out=x'], 'invalid .*val'),
    (['open', '--model={}/base', '--out=x'], 'open: a FILE is missing'),
    (['open', 'none', '--model={}/base', '--out=x'], 'none: cannot be read'),
    (['combine', '{}/one/model/model.json', '--model={}/base', '--out=x'],
     'not the file of a night'),
    (['forget', '--checkpoint={}/one', '--night=1', '--out={}/two'],
     'two is not empty'),
    (['forget', '--checkpoint={}/two', '--night=1', '--reseed=2', '--out=x'],
     'night 2 .Day 3. was learnt while .* nothing is saved of what it was'),
    (['forget', '--checkpoint={}/two', '--night=1', '--reseed=-1', '--out=x'],
     'it is a number of updates'),
    (['list', '--checkpoint='], 'checkpoint is empty')])
def test_wrong_input(folders, arguments, message, tmp_path, monkeypatch):
  monkeypatch.chdir(tmp_path)
  with pytest.raises(UserError, match=message):
    run(*(argument.format(folders) for argument in arguments))
  assert not list(tmp_path.iterdir())
