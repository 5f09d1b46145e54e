"""Every arm of few-shot tasks on a small model; what is not repeated."""

import json

import pytest

from configs.few_shot import arc, arms, small, smoke
from experiments import _config, few_shot
from sleepjax.data import self_edits
from sleepjax.errors import UserError
from sleepjax.lifecycle.config import SleepConfig
from sleepjax.models.config import ModelConfig
from sleepjax.pretraining.grid_batches import GridRows
from sleepjax.pretraining.next_token import PretrainingConfig
from sleepjax.tasks import few_shot as task
from sleepjax.tasks.edit_writer import WriterConfig
from sleepjax.tasks.few_shot import FewShotConfig


def run(workdir, *flags):
  few_shot.main(['x', '--config=configs/few_shot/smoke.py',
                 f'--workdir={workdir}', *flags])


def rows_of(workdir, seed=0):
  return {path.parent.parent.name: json.loads(path.read_text())['row']
          for path in (workdir / 'rows').glob(f'*/seed_{seed}/all.json')}


@pytest.fixture(scope='module')
def table(tmp_path_factory):
  workdir = tmp_path_factory.mktemp('few_shot')
  run(workdir)
  return workdir


@pytest.mark.parametrize('module', [small, smoke, arc])
def test_configurations_can_be_built(module):
  config = module.get_config()
  bed = _config.to_dataclass(FewShotConfig, config.bed)
  _config.to_dataclass(WriterConfig, config.writer)
  seeding = _config.to_dataclass(SleepConfig, config.sleep).seeding
  assert (seeding.target, seeding.on_policy, seeding.in_passes) == (
      'tokens', 0.0, True)
  p = config.pretrained
  _config.to_dataclass(ModelConfig, p.model)
  _config.to_dataclass(PretrainingConfig, p.pretraining)
  _config.to_dataclass(GridRows, p.rows)
  assert set(config.arms) == set(arms.ARMS) and config.arms[:2] == (
      'sleep', 'seal')
  for text in (config.edit, *config.oracle):
    assert self_edits.read(text) in self_edits.EVERY
  assert bed.updates[0] <= bed.updates[1]


@pytest.mark.parametrize('flag, message', [
    ('--config.arms=("sleep", "nap")', "'nap' is none of sleep"),
    ('--config.edit=both', "config.edit: 'both' is no self-edit"),
    ('--config.data=squad', "data='squad' must be one of generated"),
    ('--config.bed.votes=0', 'votes=0 must be at least 1'),
    ('--config.pretrained.model.vocab_size=9',
     'vocab_size=9: the vocabulary has 27')])
def test_what_cannot_be_run_is_refused_first(tmp_path, flag, message):
  with pytest.raises(UserError, match=message):
    run(tmp_path, flag)
  assert not (tmp_path / 'rows').exists()


def test_rows_are_of_what_they_depend_on():
  """A writer's settings concern those that write, and so on."""
  of = {arm: few_shot.identity(smoke.get_config(), arm)
        for arm in (*arms.ARMS, 'gap')}
  having = lambda name: {arm for arm, same in of.items() if name in same}
  assert having('writer') == {'sleep', 'seal', 'untrained'}
  assert having('edit') == {'ttt', 'ttt_slot'}
  assert having('oracle') == {'gap'} and not having('seeds')
  assert having('pretrained') == having('bed') == set(of)
  config = smoke.get_config()
  config.model = 'x'
  assert 'pretrained' not in few_shot.identity(config, 'sleep')


@pytest.mark.slow
def test_every_arm_has_a_row(table):
  rows = rows_of(table)
  assert set(rows) == set(arms.ARMS)
  for arm, row in rows.items():
    assert len(row['right']) == len(row['alone']) == 6
    assert (row['tokens'] > 0) == (arm != 'in_context')
    assert ('trials' in row) == (arm in ('sleep', 'seal'))
    assert ('edits' in row) == (arms.ARMS[arm].writer != 'fixed')
  assert len(rows['untrained']['edits']) == 3
  report = json.loads((table / 'report.json').read_text())
  assert set(report['arms']) == set(rows)
  assert report['gap']['asked'] == 4 and len(report['gap']['tasks']) == 2
  assert report['verdict']['tasks'] == 3
  assert '| ttt_slot | 1 |' in (table / 'table.md').read_text()


@pytest.mark.slow
def test_a_later_run_makes_only_what_is_missing(table, monkeypatch):
  made, original = [], task.Bed.exam

  def noted(self, learn, seed):
    made.append(seed)
    return original(self, learn, seed)

  monkeypatch.setattr(task.Bed, 'exam', noted)
  monkeypatch.setattr(task.Bed, 'gap', None)  # It has been checked.
  run(table, '--config.arms=("ttt", "in_context")', '--config.seeds=(0, 1)')
  assert made == [1, 1]
  with pytest.raises(UserError, match='rows'):
    run(table, '--config.arms=("ttt",)', '--config.bed.rows=3')


@pytest.mark.slow
def test_a_bed_without_room_ends_before_the_first_row(tmp_path, table, capsys):
  flags = (f'--config.model={table}/pretrained/hf',
           '--config.bed.least_oracle=1.1', '--config.arms=("in_context",)')
  run(tmp_path, *flags)
  assert 'Stopped: with the examples in view' in capsys.readouterr().out
  report = json.loads((tmp_path / 'report.json').read_text())
  assert report['stopped'] and report['gap']['asked'] == 4
  assert not (tmp_path / 'rows').exists()
  run(tmp_path, *flags, '--any_room')
  assert set(rows_of(tmp_path)) == {'in_context'}
