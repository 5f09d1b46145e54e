"""Arms of a sequence of passages, on a tiny model and made-up ones."""

import json

import pytest

from configs.knowledge import sequence as config_of
from configs.knowledge.arms import with_arm
from experiments import _config, sequence
from sleepjax.errors import UserError
from sleepjax.lifecycle.config import SleepConfig
from sleepjax.tasks.sequence import SequenceTask


def run(data, workdir, *flags):
  with pytest.MonkeyPatch.context() as patched:
    patched.setenv('SLEEPJAX_DATA_DIR', str(data))
    sequence.main([
        'x', '--config=configs/knowledge/sequence_smoke.py',
        f'--workdir={workdir}', f'--config.model={data}/model', '--list=train',
        '--config.sleep.dreams.prompt_tokens=160', *flags])


@pytest.fixture(scope='module')
def table(made_up_passages, tmp_path_factory):
  workdir = tmp_path_factory.mktemp('sequence')
  with pytest.MonkeyPatch.context() as patched:
    # A random model cannot read: the stop rule is tested for itself.
    patched.setattr('sleepjax.tasks.incorporation_table._LEAST_HELP', -1.0)
    run(made_up_passages, workdir)
  return workdir


def rows_of(workdir):
  return {path.parent.parent.name: json.loads(path.read_text())['row']
          for path in (workdir / 'rows').glob('*/*/0.json')}


def test_arms_are_what_they_are_called():
  config = config_of.get_config()
  assert set(config.rates) == set(config.arms)
  sleep, static, no_retention, *others = (_config.to_dataclass(
      SleepConfig, with_arm(config.sleep, arm, config.rates), arm)
      for arm in ('sleep', 'static_slot', 'no_retention', 'sft_low_rank',
                  'sft_all_layers'))
  changed = {'trained': 'slot', 'max_retention_divergence': 1.0,
             'seeding': sleep.seeding}
  assert sleep.seeding.retention and sleep.seeding.retention_rows
  for arm in (static, no_retention, *others):
    assert {name: getattr(sleep, name) for name in vars(sleep)} == {
        **vars(arm), **changed}
  assert static.seeding == sleep.seeding and static.trained == 'static_slot'
  assert no_retention.trained == 'slot'
  assert no_retention.seeding.retention == 0.0


@pytest.mark.parametrize('flag, message', [
    ('--config.arms=("sleep", "base")', "'base' lives no night"),
    ('--config.arms=("sleep", "nap")', "'nap' is no arm"),
    ('--config.sequences=(0, 0)', 'must be different, at least one'),
    ('--config.sequences=(1,)', 'train has 2 passages beside the controls'),
    ('--config.exam.controls=0', 'exam.controls=0: ask at least 1'),
    ('--config.sleep.context_tokens=40', 'takes . nights and should take one')])
def test_what_cannot_be_run_is_refused_first(made_up_passages, tmp_path, flag,
                                             message):
  with pytest.raises(UserError, match=message):
    run(made_up_passages, tmp_path / 'new', flag)
  assert not (tmp_path / 'new/rows').exists()


@pytest.mark.slow
def test_arms_have_rows(table):
  rows = rows_of(table)
  assert set(rows) == set(config_of.get_config().arms) - {'sft_all_layers'}
  for row in rows.values():
    assert len(row['matrix']) == len(row['matrix'][0]) == 2
    assert len(row['hand_overs']) == 2 and len(row['elsewhere']) == 3
    assert len(row['right']) == len(row['answers']) == 8
    assert row['passage_of'] == 4 * [0] + 4 * [1]
    assert row['untrained'] == rows['sleep']['untrained']
    assert row['elsewhere'][0] == rows['sleep']['elsewhere'][0]
    assert row['elsewhere'][2] != row['elsewhere'][0]
    assert row['tokens']['write'] > 0
  # Two slots, one, and none.
  grown = {arm: row['grown'] for arm, row in rows.items()}
  assert grown['sleep'] == 2 * grown['static_slot'] > 0
  assert grown['no_retention'] == grown['sleep']
  assert grown['sft_low_rank'] == 0
  assert not list((table / 'unfinished').iterdir())
  report = json.loads((table / 'report.json').read_text())
  assert set(report['matrices']) == set(rows)
  assert report['verdict']['verdict'] in ('not shown', 'refuted')
  assert '| static_slot | 1 |' in (table / 'table.md').read_text()
  assert (table / 'report.png').stat().st_size > 10_000


@pytest.mark.slow
def test_a_life_goes_on_after_its_last_night(made_up_passages, table, tmp_path,
                                             monkeypatch):
  """Killed in the second night: the first is not lived again."""
  monkeypatch.setattr('sleepjax.tasks.incorporation_table._LEAST_HELP', -1.0)
  lived, original = [], SequenceTask.words_of

  def killed(self, night):
    lived.append(night)
    if night:
      raise KeyboardInterrupt
    return original(self, night)

  arms = '--config.arms=("sleep",)'
  monkeypatch.setattr(SequenceTask, 'words_of', killed)
  with pytest.raises(KeyboardInterrupt):
    run(made_up_passages, tmp_path, arms)
  assert lived == [0, 1] and not (tmp_path / 'rows').exists()

  def noted(self, night):
    lived.append(night)
    return original(self, night)

  monkeypatch.setattr(SequenceTask, 'words_of', noted)
  run(made_up_passages, tmp_path, arms)
  assert lived == [0, 1, 1]
  once, again = (rows_of(workdir)['sleep'] for workdir in (table, tmp_path))
  for name in ('matrix', 'elsewhere', 'hand_overs', 'answers'):
    assert once[name] == again[name]


@pytest.mark.slow
def test_texts_that_do_not_help_end_it(made_up_passages, tmp_path):
  """A random model answers nothing right, in view or not."""
  run(made_up_passages, tmp_path)
  report = json.loads((tmp_path / 'report.json').read_text())
  assert 'less than 10% apart over 2 passages' in report['stopped']
  assert not (tmp_path / 'rows').exists()
