"""Every arm of reasoning on a small model; what is not repeated."""

import dataclasses
import json

import numpy as np
import pytest

from configs.reasoning import arms, full, qwen3_1p7b, small, smoke
from experiments import _config, reasoning
from sleepjax.data import arithmetic
from sleepjax.errors import UserError
from sleepjax.evals.answer_checks import SameNumber
from sleepjax.growth.adapters import AllLayers, LowRank, Slot
from sleepjax.model import load_pretrained
from sleepjax.models.config import ModelConfig
from sleepjax.pretraining.arithmetic_batches import ArithmeticRows
from sleepjax.pretraining.next_token import PretrainingConfig
from sleepjax.tasks import reasoning as task
from sleepjax.tasks.reasoning import ReasoningConfig
from sleepjax.training import observer


def run(workdir, *flags):
  reasoning.main(['x', '--config=configs/reasoning/smoke.py',
                  f'--workdir={workdir}', *flags])


def settings(config, name):
  return reasoning.settings_of({name: arms.with_arm(
      config.sleep, name, config.rates, config.whole)})[name]


@pytest.fixture(scope='module')
def table(tmp_path_factory):
  workdir = tmp_path_factory.mktemp('reasoning')
  run(workdir)
  return workdir


@pytest.fixture(scope='module')
def bed(table):
  """The model of `table`, before any arm."""
  return task.Bed(
      load_pretrained(str(table / 'pretrained/hf')), arithmetic.exercises,
      SameNumber(), _config.to_dataclass(
          ReasoningConfig, smoke.get_config().bed))


def rows_of(workdir, seed=0):
  return {path.parent.parent.name: json.loads(path.read_text())['row']
          for path in (workdir / 'rows').glob(f'*/seed_{seed}/all.json')}


@pytest.mark.parametrize('module', [small, full, smoke, qwen3_1p7b])
def test_configurations_can_be_built(module):
  config = module.get_config()
  _config.to_dataclass(ReasoningConfig, config.bed)
  p = config.pretrained
  _config.to_dataclass(ModelConfig, p.model)
  _config.to_dataclass(PretrainingConfig, p.pretraining)
  _config.to_dataclass(ArithmeticRows, p.rows)
  assert set(config.arms) == {arms.UNTAUGHT, *arms.ARMS}
  assert config.arms[0] == 'sleep' and set(config.tried) == set(config.rates)
  whole = LowRank if module is qwen3_1p7b else AllLayers
  for name in arms.ARMS:
    adapter = settings(config, name).adapter
    assert type(adapter) is (
        Slot if name in ('sleep', 'opsd_slot', 'no_imitation', 'no_semantic')
        else whole), name
  for rates in config.tried.values():
    assert len(set(rates)) == 3


def test_arms_are_what_they_are_called():
  config = small.get_config()
  of = {name: settings(config, name) for name in arms.ARMS}
  seeding = {name: s.seeding for name, s in of.items()}
  sleep, opsd, grpo = (seeding[name] for name in ('sleep', 'opsd', 'grpo'))
  assert seeding['no_imitation'] == dataclasses.replace(sleep, alpha=1.0)
  assert seeding['no_semantic'] == dataclasses.replace(sleep, gamma=0.0)
  assert seeding['no_expansion'] == dataclasses.replace(
      sleep, learning_rate=config.rates.no_expansion)
  assert of['no_expansion'].source == of['sleep'].source == 'dreams'
  assert seeding['opsd_slot'] == dataclasses.replace(
      opsd, learning_rate=config.rates.opsd_slot)
  assert (opsd.on_policy, opsd.group_size, opsd.alpha, opsd.prefix) == (
      1.0, 1, 1.0, 0.0)
  assert (seeding['sft'].target, seeding['sft'].on_policy) == ('tokens', 0.0)
  assert (grpo.alpha, grpo.gamma, grpo.group_size) == (0.0, 1.0, 8)
  assert grpo.steps == 5 * sleep.steps and opsd.steps == sleep.steps
  assert len({s.rows for s in seeding.values()}) == 1
  for s in seeding.values():
    assert not s.rehearsal and not s.retention
  with pytest.raises(UserError, match="'nap' is no arm with a rate"):
    arms.with_arm(config.sleep, 'nap', config.rates, 'all_layers')


@pytest.mark.parametrize('flag, message', [
    ('--config.arms=("sleep", "sleep")', 'must be different'),
    ('--config.arms=("sleep", "nap")', "'nap' is no arm"),
    ('--config.check=eyes', "check='eyes'"),
    ('--config.bed.samples=0', 'samples=0 must be at least 1'),
    ('--config.pretrained.model.vocab_size=9',
     'vocab_size=9: the vocabulary has')])
def test_what_cannot_be_run_is_refused_first(tmp_path, flag, message):
  with pytest.raises(UserError, match=message):
    run(tmp_path, flag)
  assert not (tmp_path / 'rows').exists()


@pytest.mark.slow
def test_every_arm_has_a_row(table):
  rows = rows_of(table)
  assert set(rows) == set(small.get_config().arms)
  for arm, row in rows.items():
    assert len(row['right']) == len(row['right_samples']) == 6
    assert row['samples'] == 2 and set(row['by_grade']) == {'0', '1', '2'}
    assert ('curve' in row) == (arm != arms.UNTAUGHT)
    if arm != arms.UNTAUGHT:
      steps = 10 if arm == 'grpo' else 2
      assert [p['step'] for p in row['curve']] == [0, steps // 2, steps]
      assert row['seconds'] > 0 and row['tokens'] > 0
      assert ('last_reward' in row) == (
          arm not in ('opsd', 'opsd_slot', 'sft'))
  assert rows['opsd']['trained'] == rows['grpo']['trained'] == (
      2 * (4 * 32 * 32 + 3 * 32 * 32))
  assert rows['sleep']['trained'] == 2 * 3 * 32 * 4
  report = json.loads((table / 'report.json').read_text())
  assert set(report['arms']) == set(rows)
  assert report['verdict']['verdict'] == 'not shown'  # A single seed.
  assert '| grpo | 1 |' in (table / 'table.md').read_text()


@pytest.mark.slow
def test_a_later_run_makes_only_what_is_missing(table, monkeypatch):
  made, original = [], task.Bed.exam

  def noted(self, ready, settings, seed, watch):
    made.append(seed)
    return original(self, ready, settings, seed, watch)

  monkeypatch.setattr(task.Bed, 'exam', noted)
  run(table, '--config.arms=("sleep", "base")', '--config.seeds=(0, 1)',
      '--config.rates.opsd=0.5')
  assert made == [1, 1]
  with pytest.raises(UserError, match='learning_rate'):
    run(table, '--config.arms=("sleep",)', '--config.rates.sleep=0.5')
  with pytest.raises(UserError, match='pretraining.steps'):
    run(table, '--config.pretrained.pretraining.steps=6')


@pytest.mark.slow
def test_rates_are_tried_apart(table):
  run(table, '--choose', '--config.arms=("base", "opsd")',
      '--config.tried.opsd=(0.0003, 0.001)')
  found = sorted((table / 'choice/rows/opsd/seed_100').iterdir())
  assert [path.name for path in found] == [
      '0.0003.json', '0.001.json']
  first, second = (json.loads(path.read_text()) for path in found)
  assert first['row']['curve'][0] == second['row']['curve'][0]
  assert first['same']['config']['sleep']['seeding']['learning_rate'] == 3e-4


@pytest.mark.slow
def test_a_bed_without_room_ends_before_the_first_row(tmp_path, table, capsys):
  run(tmp_path, f'--config.model={table}/pretrained/hf',
      '--config.bed.least_gap=0.2')
  assert 'Stopped: the teacher solves' in capsys.readouterr().out
  report = json.loads((tmp_path / 'report.json').read_text())
  assert report['stopped'] and report['gap']['problems'] == 3
  assert not (tmp_path / 'rows').exists()


@pytest.mark.slow
def test_fine_tuning_comes_closer_to_the_solutions(table, bed):
  """The cross-entropy of two problems falls; both alone are learnt from."""
  config = smoke.get_config()
  config.rates.sft = 1e-2
  config.sleep.seeding.steps = 60
  two = dataclasses.replace(
      bed, problems=lambda part, count, seed: arithmetic.exercises(
          'train', 2, 5))
  _, learnt = two.learn(settings(config, 'sft'), 0, observer.silent())
  first = rows_of(table)['sft']['last_divergence']
  assert learnt['last_divergence'] < first - 0.3
  assert learnt['tokens'] > 60 * 8 * 40  # Rows of at least 40 tokens.


@pytest.mark.slow
def test_an_exam_counts_the_right_samples_of_every_problem(bed):
  """By a check that knows each problem from its solution."""
  asked = arithmetic.exercises('exam', 6, 3)
  right = {exercise.solution: number % 3 != 1
           for number, exercise in enumerate(asked)}
  check = lambda texts, solutions: np.array(
      [right.get(solution, 0) for solution in solutions])
  config = smoke.get_config()
  row = dataclasses.replace(bed, check=check).exam(
      bed.model, settings(config, 'sft'), 3, observer.silent())
  assert row['right'] == [True, False, True, True, False, True]
  assert row['right_samples'] == [2, 0, 2, 2, 0, 2]
  assert row['mean'] == pytest.approx(4 / 6)
  assert row['by_grade'] == {'0': 1.0, '1': 0.0, '2': 1.0}
