"""The command that forgets nights: arms, its report, what is not repeated."""

import json

import pytest

from configs.beds import forgetting as config_file
from experiments import _config, forgetting
from experiments.beds import with_arm
from sleepjax.tasks.ways_to_forget import METHODS, ForgettingConfig
from tests.world_runs import random_model

SMALL = ['--config.days.days=3', '--config.days.rehearsal_texts=0',
         '--config.days.remembered=4', '--config.sleep.slot_rank=4',
         '--config.sleep.memories=0', '--config.seeds=(0,)',
         '--config.sleep.dreams.questions_per_opening=1',
         '--config.sleep.dreams.open_prompts=("Tell me about Bokar.",)',
         '--config.sleep.seeding.steps=3', '--config.sleep.seeding.rows=4',
         '--config.sleep.seeding.learning_rate=0.1',
         '--config.sleep.seeding.warmup_steps=0',
         '--config.forgetting.most=2', '--config.forgetting.relearning=2',
         '--config.forgetting.relearnt=2']


def test_all_arms_can_be_built():
  config = config_file.get_config()
  assert set(config.arms) <= set(config.changes)
  ways = [_config.to_dataclass(ForgettingConfig, with_arm(
      config, arm)['forgetting']) for arm in config.changes]
  assert {way.method for way in ways} == set(METHODS)


@pytest.mark.slow
def test_a_night_is_forgotten_in_every_way(tmp_path, monkeypatch, capsys):
  """Of a random model; the last night closed is the night not lived."""
  monkeypatch.setattr(forgetting, 'load_pretrained',
                      lambda name: random_model())
  run = lambda arms: forgetting.main([
      'x', f'--workdir={tmp_path}', *SMALL, f'--config.arms={arms}'])
  # A random model asks the same of every night: nothing could be re-seeded.
  arms = tuple(arm for arm in config_file.get_config().arms
               if not arm.startswith('reseed'))
  run(arms[:3])
  row = lambda arm, night: json.loads(
      (tmp_path / f'rows/{arm}/seed_0/{night}.json').read_text())['row']
  took = 'seconds', 'updates'
  closed, without, kept = (
      {name: value for name, value in row(arm, 'last').items()
       if name not in took} for arm in ('close', 'without', 'keep'))
  assert closed == without
  assert without['divergence_others'] == 0 < kept['divergence_others']
  assert row('close', 'middle')['divergence_others'] > 0
  written = (tmp_path / 'rows/close/seed_0/last.json').stat().st_mtime_ns
  run(arms)
  assert (tmp_path / 'rows/close/seed_0/last.json'
          ).stat().st_mtime_ns == written
  report = json.loads((tmp_path / 'report.json').read_text())
  assert set(report) >= {'middle', 'last'}
  for night in ('middle', 'last'):
    assert set(report[night]['arms']) == set(arms)
    assert set(report[night]['against_without']) == {*arms} - {'without'}
  for arm in arms[4:]:
    assert 1 <= row(arm, 'middle')['updates'] <= 2
  assert 'The last night is forgotten' in capsys.readouterr().out
