"""Arms of languages learnt one after another; what is not repeated."""

import json

import pytest

from configs.translation import arms, small, smoke
from experiments import _config, _lives, translation
from sleepjax.errors import UserError
from sleepjax.growth.adapters import AllLayers, Slot
from sleepjax.models.config import ModelConfig
from sleepjax.pretraining.cipher_batches import CipherRows
from sleepjax.pretraining.next_token import PretrainingConfig
from sleepjax.tasks import translation as task
from sleepjax.tasks.translation import UNTAUGHT, TranslationConfig


def run(workdir, *flags):
  translation.main(['x', '--config=configs/translation/smoke.py',
                    f'--workdir={workdir}', *flags])


@pytest.fixture(scope='module')
def table(tmp_path_factory):
  workdir = tmp_path_factory.mktemp('translation')
  run(workdir)
  return workdir


@pytest.mark.parametrize('module', [small, smoke])
def test_configurations_can_be_built(module):
  config = module.get_config()
  _config.to_dataclass(TranslationConfig, config.bed)
  p = config.pretrained
  _config.to_dataclass(ModelConfig, p.model)
  _config.to_dataclass(PretrainingConfig, p.pretraining)
  _config.to_dataclass(CipherRows, p.rows)
  assert config.arms[0] == 'sleep'
  assert set(config.arms) <= {*arms.ARMS, *UNTAUGHT}
  for name, tried in config.tried.items():
    assert len(set(tried)) > 2 and config.chosen[name] in tried
    settings = _lives.settings_of({name: arms.with_arm(
        config.sleep, name, config.chosen)})[name]
    assert type(settings.adapter) is (Slot if name == 'sleep' else AllLayers)


@pytest.mark.parametrize('flag, message', [
    ('--config.arms=("sleep", "nap")', "'nap' is no arm"),
    ('--config.bed.languages=7', '7 languages: expected 1 to 6'),
    ('--config.bed.exam=0', 'exam=0 must be at least 1'),
    ('--config.pretrained.model.vocab_size=9',
     'vocab_size=9: the vocabulary has 126')])
def test_what_cannot_be_run_is_refused_first(tmp_path, flag, message):
  with pytest.raises(UserError, match=message):
    run(tmp_path, flag)
  assert not (tmp_path / 'rows').exists()


def test_a_row_by_hand():
  """Two days of two languages; the second is better alone."""
  report = lambda *nights: {
      'matrix': [[[chrf, [chrf > 50]] for chrf in night] for night in nights],
      'elsewhere': [80.0, 70.0], 'teacher': [90.0, 92.0], 'hand_overs': [],
      'undone': 0, 'tokens': {'seed': 500, 'wake': 100, 'ask': 9},
      'seconds': {'seed': 2.0, 'grow': 1.0}, 'params_before': 10,
      'params_after': 14}
  row = translation.row_of(
      [report((30, 5), (60, 6), (55, 40), (40, 70)),
       report((7, 50), (8, 80))], 2, 60.0)
  assert row['single'] == [60, 80] and row['sequential'] == [40, 70]
  assert row['kept'] == -15 and row['right'] == [False, True]
  assert row['taught'] == 91 and row['grown'] == 4
  assert row['night_tokens'] == 600 and row['break_even'] == 10
  assert row['night_seconds'] == 3


@pytest.mark.slow
def test_every_arm_has_a_row(table):
  found = {path.parts[-3]: json.loads(path.read_text())['row']
           for path in table.glob('rows/*/*/all.json')}
  assert set(found) == {'sleep', 'sft', 'in_context', 'base'}
  for arm, row in found.items():
    assert len(row['right']) == 8 and len(row['matrix']) == 2, arm
    assert (arm in UNTAUGHT) == ('hand_overs' not in row)
  for arm in ('sleep', 'sft'):
    assert len(found[arm]['hand_overs']) == len(found[arm]['teacher']) == 2
    slot = 2 * 2 * 3 * 36 * 4  # Nights, layers, matrices, D, R.
    assert found[arm]['grown'] == (slot if arm == 'sleep' else 0)
  report = json.loads((table / 'report.json').read_text())
  assert set(report['matrices']) == set(found)
  assert report['gap']['sentences'] == 8
  assert report['verdict']['verdict'] == 'not shown'  # One seed.
  assert '| sft | 1 |' in (table / 'table.md').read_text()
  assert not any((table / 'unfinished').iterdir())


@pytest.mark.slow
def test_a_later_run_makes_only_what_is_missing(table, monkeypatch):
  made, original = [], task.Bed.untaught

  def noted(self, arm, *rest):
    made.append(arm)
    return original(self, arm, *rest)

  monkeypatch.setattr(task.Bed, 'untaught', noted)
  monkeypatch.delattr(task.Bed, 'gap')  # It is not asked again.
  run(table, '--config.arms=("base", "in_context")', '--config.seeds=(0, 1)',
      '--config.chosen.replay=0.5')
  assert sorted(made) == ['base', 'in_context']
  with pytest.raises(UserError, match='learning_rate'):
    run(table, '--config.arms=("sft",)', '--config.chosen.replay=0.5')


@pytest.mark.slow
def test_a_bed_without_room_ends_before_the_first_row(tmp_path, table, capsys):
  run(tmp_path, f'--config.model={table}/pretrained/hf',
      '--config.bed.least_gap=101')
  assert 'cannot translate' in capsys.readouterr().out
  assert json.loads((tmp_path / 'report.json').read_text())['stopped']
  assert not (tmp_path / 'rows').exists()
