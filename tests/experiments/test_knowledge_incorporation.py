"""Every arm of knowledge incorporation on a tiny model and made-up passages."""

import dataclasses
import json

import pytest

from configs.knowledge import small
from configs.knowledge.arms import ARMS, with_arm
from experiments import _config, knowledge_incorporation
from sleepjax.errors import UserError
from sleepjax.lifecycle.config import SleepConfig
from sleepjax.tasks import incorporation


def run(passages, workdir, *flags):
  with pytest.MonkeyPatch.context() as patched:
    patched.setenv('SLEEPJAX_DATA_DIR', str(passages))
    knowledge_incorporation.main([
        'x', '--config=configs/knowledge/smoke.py', f'--workdir={workdir}',
        f'--config.model={passages}/model', '--list=train',
        '--config.sleep.dreams.prompt_tokens=160', *flags])


@pytest.fixture(scope='module')
def table(made_up_passages, tmp_path_factory):
  workdir = tmp_path_factory.mktemp('table')
  run(made_up_passages, workdir)
  return workdir


def rows_of(workdir, item='000'):
  return {path.parent.parent.name: json.loads(path.read_text())['row']
          for path in (workdir / 'rows').glob(f'*/*/{item}.json')}


def settings(arm):
  config = small.get_config()
  return _config.to_dataclass(
      SleepConfig, with_arm(config.sleep, arm, config.rates), arm)


def test_arms_are_what_they_are_called():
  config = small.get_config()
  in_turn = {'static_slot', 'no_retention'}  # Arms of sequences.
  assert set(config.arms) == {*incorporation.UNTAUGHT, *ARMS} - in_turn
  assert set(config.rates) == set(ARMS) - in_turn
  sleep, sft = settings('sleep'), settings('sft_low_rank')
  assert sleep.seeding.target == sft.seeding.target == 'tokens'
  assert dataclasses.replace(
      sft, trained='slot', max_retention_divergence=1.0,
      seeding=sleep.seeding) == sleep
  for arm in ('sft_low_rank', 'sft_all_layers'):
    assert settings(arm).seeding == dataclasses.replace(
        sleep.seeding, learning_rate=config.rates[arm])
  assert settings('sft_no_replay').seeding == dataclasses.replace(
      sft.seeding, rehearsal=0.0, retention=0.0)
  sdft = settings('sdft').seeding
  assert (sdft.on_policy, sdft.group_size, sdft.alpha, sdft.teacher) == (
      1.0, 1, 1.0, 'ema')
  assert sdft.in_passes and sdft.divergence.kind == 'forward_kl'
  text = settings('passage_sft')
  assert (text.source, text.low_rank, text.low_rank_scale) == ('text', 32, 2.0)
  assert text.seeding.for_rows(8).steps == 80  # Ten epochs, one row each.
  with pytest.raises(UserError, match="'nap' is no arm with a rate"):
    with_arm(config.sleep, 'nap', config.rates)


@pytest.mark.parametrize('flag, message', [
    ('--config.arms=("base", "base")', 'must be different names'),
    ('--config.arms=("sleep", "nap")', "'nap' is no arm"),
    ('--passages=3', 'train has 2 passages beside the controls'),
    ('--config.sleep.context_tokens=40', 'takes . nights and should take one')])
def test_what_cannot_be_run_is_refused_first(made_up_passages, tmp_path, flag,
                                             message):
  with pytest.raises(UserError, match=message):
    run(made_up_passages, tmp_path / 'new', flag)
  assert not (tmp_path / 'new/rows').exists()


@pytest.mark.slow
def test_every_arm_has_a_row(table):
  rows = rows_of(table)
  assert set(rows) == set(small.get_config().arms)
  for arm, row in rows.items():
    assert len(row['right']) == len(row['answers']) == 4
    for before, after in zip(
        rows['base']['answers'], row['answers'], strict=True):
      for name in ('question', 'gold', 'before', 'in_view'):
        assert before[name] == after[name]
    taught = arm not in incorporation.UNTAUGHT
    assert (row['night_tokens'] > 0) == taught
    assert (row['control_change'] != 0) == taught
    path = table / 'rows' / arm / 'seed_0/000.json'
    assert path.stat().st_size <= 20_000
  # Every passage has words of its own, and each question one of them.
  assert rows['bm25']['looked_up_right'] == 4
  assert rows['bm25']['right'] == rows['in_view']['right']
  assert not list((table / 'unfinished').iterdir())
  report = json.loads((table / 'report.json').read_text())
  assert set(report['arms']) == set(rows)
  assert report['verdict']['verdict'] in ('shown', 'not shown', 'refuted')
  assert '| sdft | 1 |' in (table / 'table.md').read_text()


@pytest.mark.slow
def test_arms_that_learn_from_dreams_have_the_same_ones(table):
  rows = rows_of(table)
  words = json.loads((
      table / 'shared/rows/words/seed_0/000.json').read_text())['row']
  for arm in set(rows) & set(ARMS) - {'passage_sft'}:
    assert rows[arm]['coverage'] == rows['sleep']['coverage']
    assert rows[arm]['tokens']['write'] > words['tokens']['write']
  assert 'coverage' not in rows['passage_sft']


@pytest.mark.slow
def test_a_later_run_makes_only_what_is_missing(table, made_up_passages,
                                               monkeypatch):
  made, original = [], incorporation.Bed.row

  def noted(self, cell, settings, config):
    made.append((cell.arm, cell.item))
    return original(self, cell, settings, config)

  monkeypatch.setattr(incorporation.Bed, 'row', noted)
  run(made_up_passages, table, '--config.arms=("base", "bm25", "in_view")',
      '--passages=2', '--config.rates.sleep=0.5')
  assert made == [(arm, '001') for arm in ('base', 'bm25', 'in_view')]
  # Controls were not asked again.
  first, second = (rows_of(table, item)['base'] for item in ('000', '001'))
  assert first['control_nll'] == second['control_nll']
