"""The command of the test beds: arms, their table, what is not repeated."""

import json

import pytest

from configs.beds import growth, imitation, relational
from experiments import _config, beds
from sleepjax.errors import UserError
from sleepjax.lifecycle.config import SleepConfig
from sleepjax.runs import nights
from sleepjax.tasks.bed import BedConfig
from tests.world_runs import random_model

CONFIGS = [
    *(growth.get_config(facts) for facts in ('160', '320', '1280')),
    *(imitation.get_config(name) for name in (
        'exact', 'sampled', 'likeliest', 'estimated')),
    relational.get_config()]
SMALL = ['--config=configs/beds/growth.py:4', '--config.bed.facts_a_day=2',
         '--config.bed.rehearsal_texts=0', '--config.bed.room=2',
         '--config.sleep.rehearsal_per_text=0', '--config.sleep.memories=0',
         '--config.sleep.dreams.questions_per_opening=1',
         '--config.sleep.dreams.open_prompts=("Tell me about Bokar.",)',
         '--config.sleep.seeding.steps=2', '--config.sleep.seeding.rows=4']


def flat(tree, path=''):
  for name, value in tree.items():
    if isinstance(value, dict):
      yield from flat(value, f'{path}{name}.')
    else:
      yield path + name, value


@pytest.mark.parametrize('config', CONFIGS)
def test_all_arms_can_be_built(config):
  for arm in config.changes:
    entries = beds.with_arm(config, arm)
    _config.to_dataclass(SleepConfig, entries['sleep'])
    _config.to_dataclass(BedConfig, entries['bed']).make(0)
  assert set(config.arms) <= set(config.changes)


@pytest.mark.parametrize('config, what', [
    (CONFIGS[1], {'sleep.trained', 'sleep.slot_rank', 'sleep.low_rank',
                  'bed.room'}),
    (CONFIGS[4], {'sleep.seeding.alpha', 'sleep.seeding.rehearsal',
                  'sleep.seeding.retention'})])
def test_arms_differ_in_what_they_are_called_after_alone(config, what):
  """Rows, dreams, updates, replay and every other term are the same."""
  first, *others = (dict(flat(beds.with_arm(config, arm)))
                    for arm in config.arms)
  for other in others:
    assert other.keys() == first.keys()
    changed = {name for name in first if first[name] != other[name]}
    assert changed and changed <= what


def test_imitation_weighs_alpha_alone_and_its_control_replay():
  seeding = lambda arm: beds.with_arm(CONFIGS[4], arm)['sleep']['seeding']
  replay = lambda arm: (seeding(arm)['rehearsal'], seeding(arm)['retention'])
  for alpha in (100, 80, 50, 20):
    assert seeding(f'alpha_{alpha}')['alpha'] == alpha / 100
    assert replay(f'alpha_{alpha}') == (1.0, 1.0)
  # Beside α = ½ replay weighs twice as much; all weights times two.
  assert seeding('alpha_100_replay')['alpha'] == 1
  assert replay('alpha_100_replay') == (2.0, 2.0)


def test_static_and_growing_pools_have_the_same_units_in_the_end():
  for facts, count in (('160', 16), ('320', 32), ('1280', 32)):
    config = growth.get_config(facts)
    nights_ = len(_config.to_dataclass(BedConfig, config.bed).make(0).days)
    pool = beds.with_arm(config, 'static_pool')
    assert nights_ == count
    assert pool['sleep']['slot_rank'] == count * config.sleep.slot_rank
    assert pool['sleep']['trained'] == 'static_slot'


@pytest.mark.parametrize('arguments, message', [
    (['--config=configs/beds/growth.py:many'], 'a number of facts'),
    (['--config=configs/beds/imitation.py:soft'], 'one of exact, sampled'),
    (['--config.arms=("growth", "grown")'], "'grown' is no arm"),
    (['--config.seeds=(0, 0)'], 'must be different'),
    (['--config.bed.kind=moon'], 'one of capacity, relational')])
def test_bad_comparisons_are_refused_before_any_run(
    arguments, message, tmp_path):
  with pytest.raises(UserError, match=message):
    beds.main(['x', f'--workdir={tmp_path}/out', *arguments])
  assert not (tmp_path / 'out').exists()


def test_a_row_by_hand():
  """Eight nights of ten facts and a ninth; the ninth loses ten."""
  known = [10, 19, 28, 36, 44, 52, 58, 64, 54]
  row = beds.row_of({
      'in_view_accuracy': 0.9, 'sleeps_rolled_back': 0, 'params_before': 1,
      'dreamt_in_exam_wording': 0, 'units': [2, 4], 'known_accuracy': [1, 0.8],
      'tokens': {'write': 5, 'seed': 7, 'ask before': 9}, 'exams': {'direct': {
          'right': [True] * 54 + [False] * 36, 'learnt': [1.0, 0.5],
          'known_by_night': known, 'first_told': [1.0, 0.7],
          'asked_by_night': [10 * n for n in range(1, 10)]}}})
  assert row['direct_share'] == 0.6 and row['direct_at_80'] == 0.8
  assert (row['units'], row['known_after'], row['sleep_tokens']) == (4, 0.8, 12)
  assert row['direct_learnt'] == 0.75 and row['direct_first_told'] == 0.7
  assert row['direct_by_night'] == known


@pytest.mark.slow
def test_arms_are_run_and_a_finished_row_is_not_repeated(
    tmp_path, monkeypatch, capsys):
  """Of a random model: how it is asked, not what it says."""
  monkeypatch.setattr(beds, 'load_pretrained', lambda name: random_model())
  run, made = nights.run, []

  def counted(task, model, settings, place):
    made.append(place.workdir.relative_to(tmp_path).as_posix())
    return run(task, model, settings, place)

  monkeypatch.setattr(nights, 'run', counted)
  command = lambda arms: beds.main([
      'x', f'--workdir={tmp_path}', *SMALL, '--config.seeds=(1,)',
      f'--config.arms={arms}'])
  command(('growth',))
  command(('growth', 'static_slot'))
  assert made == ['growth/seed_1', 'static_slot/seed_1']
  report = json.loads((tmp_path / 'report.json').read_text())
  units = {arm: entry['units']['values']
           for arm, entry in report['arms'].items()}
  assert units == {'growth': [4], 'static_slot': [2]}
  assert set(report['against_growth']) == {'static_slot'}
  row = json.loads(
      (tmp_path / 'rows/growth/seed_1/all.json').read_text())['row']
  assert len(row['direct_right']) == 4 and len(row['direct_by_night']) == 2
  assert '| static_slot | 1 |' in capsys.readouterr().out
  assert (tmp_path / 'report.png').stat().st_size > 10_000
