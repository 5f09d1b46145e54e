"""Settings of seeding that cannot be meant are refused."""

import pytest

from sleepjax.seeding.settings import SeedingConfig


@pytest.mark.parametrize('kwargs, message', [
    ({'alpha': 1.5}, 'alpha=1.5 must lie between 0 and 1'),
    ({'on_policy': -0.1}, 'on_policy=-0.1'),
    ({'gamma': 2}, 'gamma=2'),
    ({'prefix': 1.1}, 'prefix=1.1'),
    ({'rows': 10}, 'rows=10 must be a positive multiple of group_size=4'),
    ({'rows': 0}, 'rows=0 must be a positive multiple'),
    ({'rows': -4}, 'rows=-4 must be a positive multiple'),
    ({'group_size': 0}, 'group_size=0, which must be at least 2'),
    ({'levenshtein_threshold': 5.0}, 'threshold=5.0 must lie between 0 and 1'),
    ({'semantic_threshold': -0.1}, 'semantic_threshold=-0.1 must lie'),
    ({'clip_norm': -1.0}, 'clip_norm=-1.0 must be positive'),
    *(({name: -1}, f'{name}=-1 must not be negative') for name in (
        'steps', 'rehearsal', 'rehearsal_rows', 'retention', 'retention_rows',
        'learning_rate', 'warmup_steps', 'masked_first_tokens', 'ewc')),
    ({'learning_rate': float('nan')}, 'learning_rate=nan must not be negative'),
    ({'group_size': 1}, 'group_size=1, which must be at least 2')], ids=str)
def test_settings_refuse(kwargs, message):
  with pytest.raises(ValueError, match=message):
    SeedingConfig(**kwargs)


def test_one_rollout_of_a_prompt_is_enough_where_none_are_compared():
  assert SeedingConfig(alpha=1.0, group_size=1).group_size == 1


def test_parts_that_are_off_are_no_mistake():
  SeedingConfig(steps=0, rehearsal=0.0, rehearsal_rows=0, retention=0.0,
                retention_rows=0, warmup_steps=0, ewc=0.0)
  SeedingConfig(rehearsal=None, retention=None, ewc=None)


@pytest.mark.parametrize('change, message', [
    ({'target': 'text'}, 'one of teacher, tokens'),
    ({'advantage': 'grpo'}, 'one of leave_one_out, group_normalised'),
    ({'teacher': 'moving'}, 'one of frozen, ema'),
    ({'ewc': -1.0}, 'must not be negative'),
    ({'target': 'tokens', 'on_policy': 0.5}, 'its own words'),
    ({'updates_per_rollout': 0}, 'rollout=0 must be positive'),
    ({'estimator': 'sampled'}, 'needs fresh samples of the student')])
def test_unknown_settings_are_refused(change, message):
  with pytest.raises(ValueError, match=message):
    SeedingConfig(**change)


def test_epochs_become_steps_of_so_many_rows():
  settings = SeedingConfig(rows=8, epochs=13, steps=10)
  assert [settings.for_rows(n).steps for n in (1, 12, 13, 62)] == [
      20, 20, 40, 120]
  assert settings.for_rows(62).epochs == 0
  assert SeedingConfig(rows=8, epochs=13, steps=30).for_rows(1).steps == 30
  with pytest.raises(ValueError, match='epochs=-1 must not be negative'):
    SeedingConfig(epochs=-1)
