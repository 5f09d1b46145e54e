"""The table of arms: what it counts, resumes and refuses."""

import json

import pytest

from configs.seeding import squad, world
from experiments import ablate_seeding, quickstart
from sleepjax.errors import UserError
from sleepjax.evals.interval import interval


def test_interval_by_hand():
  """t(2 degrees of freedom, 97.5 %) = 4.302653."""
  got = interval([1.0, 2.0, 6.0])
  assert got['mean'] == 3.0
  assert got['half_width'] == pytest.approx(4.302653 * (7 / 3) ** 0.5, rel=1e-6)
  assert interval([2.0])['half_width'] is None


def test_cells_and_table():
  reports = [dict.fromkeys(
      [key for key, _ in ablate_seeding.COLUMNS['squad'].values()], value)
             for value in (0.5, 0.7)]
  summary = ablate_seeding.collect({'seeding': reports}, 'squad')
  table = ablate_seeding.markdown(summary, 'squad')
  first, second, row = table.splitlines()
  assert first.count('|') == second.count('|') == row.count('|')
  assert row.startswith('| seeding | 2 | 60% ± 127% | 0.60 ± 1.27 |')
  assert '+0.60 ± 1.27' in row and '+60.0% ± 127.1%' in row


@pytest.mark.parametrize('flags_, message', [
    (['--config.arms=("seeding", "seedling")'], "'seedling' is no arm"),
    (['--config.seeds=(1, 1)'], 'must be different'),
    (['--config.scale=moon'], 'one of world, squad'),
    (['--config.scale=squad'], 'needs config.passages')])
def test_bad_comparisons_are_refused_before_any_run(flags_, message, tmp_path):
  with pytest.raises(UserError, match=message):
    ablate_seeding.main(['x', f'--workdir={tmp_path}/out', *flags_])
  assert not (tmp_path / 'out').exists()


@pytest.mark.parametrize('main', [ablate_seeding.main, quickstart.main])
def test_a_workdir_is_asked_for(main):
  with pytest.raises(UserError, match='--workdir is missing'):
    main(['x'])


def test_arms_and_seeds_are_run_in_turn_and_kept(tmp_path, monkeypatch):
  """Every arm once before the second seed; the order of what is run."""
  calls = []

  def run(model, config, settings, seed, folder, number):
    calls.append((folder.parent.name, seed, settings.trained,
                  config['sleep']['seeding']['learning_rate']))
    return dict.fromkeys(
        [key for key, _ in ablate_seeding.COLUMNS['world'].values()],
        seed / 10)

  monkeypatch.setitem(ablate_seeding._RUNS, 'world', run)
  monkeypatch.setattr(ablate_seeding, 'load_pretrained', lambda name: None)
  ablate_seeding.main([
      'x', f'--workdir={tmp_path}', '--config.seeds=(3, 5)',
      '--config.arms=("seeding", "text_full")'])
  rate = world.get_config().sleep.seeding.learning_rate
  assert calls == [
      (arm, seed, trained, lr) for seed in (3, 5) for arm, trained, lr in (
          ('seeding', 'slot', rate), ('text_full', 'all_layers', 3e-4))]
  report = json.loads((tmp_path / 'report.json').read_text())
  assert report['arms']['seeding']['learnt']['values'] == [0.3, 0.5]
  assert report['arms']['text_full']['learnt']['mean'] == pytest.approx(0.4)
  assert '| seeding | 2 | 40%' in (tmp_path / 'table.md').read_text()


def test_committed_comparisons_name_arms_that_exist():
  from configs.seeding.arms import ARMS
  for config in (world.get_config(), squad.get_config()):
    assert set(config.arms) <= set(ARMS)
