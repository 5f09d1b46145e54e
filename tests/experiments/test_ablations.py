"""The table of arms: what it counts, resumes and refuses."""

import json

import pytest

from configs.dreaming import arms as dreaming_arms
from configs.dreaming import squad as dreaming_squad
from configs.dreaming import world as dreaming_world
from configs.seeding import squad, world
from configs.seeding.arms import ARMS
from experiments import _ablation, ablate_dreaming, ablate_seeding, quickstart
from sleepjax.errors import UserError
from sleepjax.evals.interval import interval, ratio_interval
from sleepjax.runs import table
from sleepjax.runs.rows import Cell


def test_interval_by_hand():
  """t(2 degrees of freedom, 97.5 %) = 4.302653."""
  got = interval([1.0, 2.0, 6.0])
  assert got['mean'] == 3.0
  assert got['half_width'] == pytest.approx(4.302653 * (7 / 3) ** 0.5, rel=1e-6)
  assert interval([2.0])['half_width'] is None


def test_ratio_interval_by_hand():
  """r = 6 / 4; residuals -0.5, 0.5, 0 with sd 0.5."""
  got = ratio_interval([1.0, 2.0, 3.0], [1.0, 1.0, 2.0])
  assert got['mean'] == 1.5
  assert got['half_width'] == pytest.approx(
      4.302653 * 0.5 / 3 ** 0.5 / (4 / 3), rel=1e-6)
  assert ratio_interval([1.0], [2.0])['half_width'] is None
  assert ratio_interval([1.0, 1.0], [1.0, -1.0]) is None


def test_the_table_of_passages():
  columns = _ablation.SEEDING_COLUMNS['squad']
  row = lambda value, **changes: {
      'right': [True, False], 'gained_net': value, 'gap': 1.0,
      'closed_book_nll_after': value, 'drift': value, **changes}
  text = table.markdown(table.summary({
      Cell('seeding', 0, '000'): row(0.5), Cell('seeding', 1, '000'): row(0.7),
      Cell('other', 0, '000'): row(0.5, drift=None)}, columns), columns)
  first, second, seeding, other = text.splitlines()
  assert other.startswith('| other | 1 | 50% ± ') and '| – |' in other
  assert first.count('|') == second.count('|') == seeding.count('|')
  assert '| 60% ± 127% | 0.60 ± 1.27 |' in seeding  # t(1) sd 2^-½, 12.7062.
  assert '+60.0% ± 127.1%' in seeding


@pytest.mark.parametrize('flags_, message', [
    (['--config.arms=("seeding", "seedling")'], "'seedling' is no arm"),
    (['--config.seeds=(1, 1)'], 'must be different'),
    (['--config.seeds=(0, -1)'], 'must not be negative'),
    (['--config.scale=moon'], 'one of world, squad'),
    (['--config.scale=squad'], 'needs config.passages'),
    (['--config=configs/seeding/squad.py', '--config.passages=0'],
     'config.passages=0 must be at least 1')])
def test_bad_comparisons_are_refused_before_any_run(flags_, message, tmp_path):
  with pytest.raises(UserError, match=message):
    ablate_seeding.main(['x', f'--workdir={tmp_path}/out', *flags_])
  assert not (tmp_path / 'out').exists()


@pytest.mark.parametrize('main', [
    ablate_seeding.main, ablate_dreaming.main, quickstart.main])
def test_a_workdir_is_asked_for(main):
  with pytest.raises(UserError, match='--workdir is missing'):
    main(['x'])


def test_arms_and_seeds_are_run_in_turn_and_kept(tmp_path, monkeypatch):
  """Every arm once before the second seed; what is finished is not repeated."""
  calls = []

  def run(model, settings, cell, place):
    calls.append((cell.arm, cell.seed, settings.trained,
                  place.config['sleep']['seeding']['learning_rate']))
    assert place.workdir == tmp_path / cell.arm / f'seed_{cell.seed}'
    return {'learnt': cell.seed / 10}

  monkeypatch.setitem(_ablation._RUNS, 'world', run)
  monkeypatch.setattr(_ablation, 'load_pretrained', lambda name: None)
  ablate = lambda seeds: ablate_seeding.main([
      'x', f'--workdir={tmp_path}', f'--config.seeds={seeds}',
      '--config.arms=("seeding", "text_full")'])
  ablate((3,))
  ablate((3, 5))
  rate = world.get_config().sleep.seeding.learning_rate
  assert calls == [
      (arm, seed, trained, lr) for seed in (3, 5) for arm, trained, lr in (
          ('seeding', 'slot', rate), ('text_full', 'all_layers', 3e-4))]
  report = json.loads((tmp_path / 'report.json').read_text())
  assert report['arms']['seeding']['learnt']['values'] == [0.3, 0.5]
  assert report['arms']['text_full']['learnt']['mean'] == pytest.approx(0.4)
  assert report['against_seeding']['text_full']['learnt'] == {
      'mean': 0.0, 'half_width': 0.0, 'p': 1.0, 'p_single': 1.0, 'pairs': 2}
  assert '| seeding | 2 | –' in (tmp_path / 'table.md').read_text()
  with pytest.raises(UserError, match='another configuration'):
    ablate_seeding.main(['x', f'--workdir={tmp_path}', '--config.seeds=(3,)',
                         '--config.sleep.seeding.steps=7'])


def test_arms_of_dreaming():
  sleep = dreaming_world.get_config().sleep
  arm = lambda name: dreaming_arms.with_arm(sleep, name)
  assert arm('no_dreaming').dreaming is None
  assert arm('more_seeding').seeding.steps == (
      sleep.seeding.steps + sleep.dreaming.write_back_steps)
  assert arm('no_curriculum').dreaming.curriculum == 'uniform'
  assert arm('dreaming') == sleep
  with pytest.raises(UserError, match="'nap' is no arm"):
    arm('nap')


def test_committed_comparisons_name_arms_that_exist():
  for config in (world.get_config(), squad.get_config()):
    assert set(config.arms) <= set(ARMS)
  known = {*dreaming_arms.ARMS, *dreaming_arms.WITHOUT}
  for config in (dreaming_world.get_config(), dreaming_squad.get_config()):
    assert set(config.arms) <= known
