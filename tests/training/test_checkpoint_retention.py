import json

import numpy as np
import pytest

from sleepjax.errors import UserError
from sleepjax.training import checkpoint_retention, checkpoints
from sleepjax.training.checkpoint_retention import KeepConfig, retain


def saved(folder, number):
  checkpoints.save_progress(
      folder / 'progress', number, {'x': np.full(3, number, np.float32)}, {})
  return folder / 'progress'


def names(folder):
  return sorted(p.name for p in (folder / 'kept').iterdir() if p.is_dir())


def run(folder, measures, settings, start=0):
  for number, measure in enumerate(measures[start:], start):
    retain(saved(folder, number), number, measure, settings)


def test_the_latest_and_the_best_stay(tmp_path):
  run(tmp_path, [0.1, 0.9, 0.3, 0.9, 0.2], KeepConfig(latest=2, best=True))
  assert names(tmp_path) == ['000001', '000003', '000004']
  index = json.loads((tmp_path / 'kept/kept.json').read_text())
  assert index == {'best': '000001', 'measures': {
      '000001': 0.9, '000003': 0.9, '000004': 0.2}}
  for number in (1, 3, 4):
    back = checkpoints.load_progress(tmp_path / f'kept/{number:06d}')
    assert back.step == number and (back.tree['x'] == number).all()


@pytest.mark.parametrize('settings, expected', [
    (KeepConfig(latest=3), ['000002', '000003', '000004']),
    (KeepConfig(best=True), ['000001'])])
def test_either_alone(settings, expected, tmp_path):
  run(tmp_path, [0.1, 0.9, 0.3, 0.8, 0.2], settings)
  assert names(tmp_path) == expected


def test_nothing_is_kept_by_default(tmp_path):
  run(tmp_path, [0.1, 0.9], KeepConfig())
  run(tmp_path, [None, None], KeepConfig(best=True))
  assert not (tmp_path / 'kept').exists()


def test_links_where_there_are_links(tmp_path):
  run(tmp_path, [0.0], KeepConfig(latest=1))
  newest, one = (tmp_path / part / 'progress.json'
                 for part in ('progress', 'kept/000000'))
  assert newest.stat().st_ino == one.stat().st_ino


@pytest.mark.parametrize('moment', ['copytree', 'replace', 'rmtree'])
def test_a_run_that_dies_keeps_the_same_in_the_end(
    moment, tmp_path, monkeypatch):
  """Killed while it keeps, whatever it is doing, it starts with the save that
  it goes on from."""
  measures, settings = [0.5, 0.9, 0.3, 0.2], KeepConfig(latest=1, best=True)
  run(tmp_path / 'whole', measures, settings)
  died = tmp_path / 'died'
  run(died, measures[:3], settings)
  with monkeypatch.context() as patch:
    place = (checkpoint_retention.os if moment == 'replace' else
             checkpoint_retention.shutil)

    def die(*args, **kwargs):
      raise KeyboardInterrupt

    folder = saved(died, 3)
    patch.setattr(place, moment, die)
    with pytest.raises(KeyboardInterrupt):
      retain(folder, 3, measures[3], settings)
  retain(folder, 3, measures[3], settings)
  assert names(died) == names(tmp_path / 'whole') == ['000001', '000003']
  assert (died / 'kept/kept.json').read_text() == (
      tmp_path / 'whole/kept/kept.json').read_text()


def test_another_run_in_the_same_folder_starts_anew(tmp_path):
  """Its progress was deleted, as messages advise; what was kept was not."""
  settings = KeepConfig(latest=2, best=True)
  run(tmp_path, [0.1, 0.2, 0.9, 0.8], settings)
  for number in range(3):
    checkpoints.save_progress(
        tmp_path / 'progress', number, {'x': np.zeros(2)}, {'run': 'new'})
    retain(tmp_path / 'progress', number, 0.3, settings)
  assert names(tmp_path) == ['000000', '000001', '000002']
  for name in names(tmp_path):
    assert checkpoints.describe(tmp_path / 'kept' / name).metadata == {
        'run': 'new'}


def test_numbers_are_ordered_as_numbers(tmp_path):
  settings = KeepConfig(latest=1)
  for number in 999_999, 1_000_000:
    retain(saved(tmp_path, number), number, None, settings)
  assert names(tmp_path) == ['1000000']


def test_what_cannot_be_kept_is_an_error_and_the_save_stands(tmp_path):
  (tmp_path / 'kept').write_text('a file')
  with pytest.raises(UserError, match='progress could not be kept there.*'
                     'newest save is complete'):
    run(tmp_path, [0.1], KeepConfig(latest=1))
  assert checkpoints.load_progress(tmp_path / 'progress').step == 0


def test_wrong_settings():
  with pytest.raises(ValueError, match='latest=-1 must not be negative'):
    KeepConfig(latest=-1)
