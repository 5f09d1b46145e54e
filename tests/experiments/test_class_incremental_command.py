"""Arms of class-incremental classification; what is not repeated."""

import dataclasses
import functools
import json

import pytest

from configs.class_incremental import (
    arms,
    banking77,
    clinc150,
    dbpedia14,
    small,
    smoke,
)
from experiments import _config, class_incremental
from sleepjax.data import intents, local_files, prepared
from sleepjax.errors import UserError
from sleepjax.growth.adapters import AllLayers, Slot
from sleepjax.tasks import class_incremental as task
from sleepjax.tasks.class_incremental import UNTAUGHT, ClassConfig


def run(workdir, *flags):
  class_incremental.main([
      'x', '--config=configs/class_incremental/smoke.py',
      f'--workdir={workdir}', *flags])


@pytest.fixture(scope='module')
def table(tmp_path_factory):
  workdir = tmp_path_factory.mktemp('classes')
  run(workdir)
  return workdir


def settings(config, name):
  return class_incremental.settings_of({name: arms.with_arm(
      config.sleep, name, config.chosen)})[name]


@pytest.mark.parametrize(
    'module', [small, smoke, clinc150, banking77, dbpedia14])
def test_configurations_can_be_built(module):
  config = module.get_config()
  c = _config.to_dataclass(ClassConfig, config.bed)
  assert config.data == 'invented' or config.data in intents.BENCHMARKS
  assert c.increments * c.classes <= {
      'clinc150': 150, 'banking77': 77, 'dbpedia14/sample': 14}.get(
          config.data, 50)
  assert config.arms[0] == 'sleep'
  assert set(config.arms) <= {*arms.ARMS, *UNTAUGHT}
  for name, tried in config.tried.items():
    assert len(set(tried)) > 2 and config.chosen[name] in tried
    adapter = settings(config, name).adapter
    assert type(adapter) is (Slot if name == 'sleep' else AllLayers)


def test_arms_are_what_they_are_called():
  config = small.get_config()
  config.chosen = {name: i + 1.0 for i, name in enumerate(config.chosen)}
  seeding = {name: settings(config, name).seeding for name in arms.ARMS}
  rate = dict(config.chosen)
  sleep, sft = seeding['sleep'], seeding['sft']
  same = dataclasses.replace
  assert seeding['no_store'] == same(sleep, retention=0.0)
  assert seeding['no_rehearsal'] == same(sleep, rehearsal=0.0)
  assert seeding['no_growth'] == same(sleep, learning_rate=rate['replay'])
  assert sft == same(sleep, rehearsal=0.0, retention=0.0, target='tokens',
                     learning_rate=rate['replay'])
  assert seeding['ewc'] == same(sft, ewc=rate['ewc'])
  assert seeding['replay'] == same(sft, rows=2 * sft.rows)
  for wrong in ('nap', 'in_view'):
    with pytest.raises(UserError, match='is no arm with a rate'):
      arms.with_arm(config.sleep, wrong, rate)


def test_bad_settings_are_refused_first(tmp_path):
  for flag, message in (
      ('--config.arms=("sleep", "nap")', "'nap' is no arm"),
      ('--config.data=clinc', 'must be one of invented'),
      ('--config.bed.classes=90', 'at most 160 values'),
      ('--config.bed.exam=0', 'exam=0 must be at least 1')):
    with pytest.raises(UserError, match=message):
      run(tmp_path, flag)
  assert not (tmp_path / 'rows').exists()


@pytest.mark.slow
def test_a_data_set_in_increments(tmp_path, monkeypatch):
  if local_files.find('clinc150/data_full.json') is None:
    pytest.skip('CLINC150 is not here')
  in_tmp = functools.partial(prepared.rows, data_dir=tmp_path)
  monkeypatch.setattr(prepared, 'rows', in_tmp)
  config = clinc150.get_config()
  made = task.bed_of('clinc150', _config.to_dataclass(
      ClassConfig, config.bed), 0, None).increments
  assert len(made) == 10 and len({x for i in made for x in i.labels}) == 150
  learnt = {row.utterance for i in made for row in i.learnt}
  assert not learnt & {row.utterance for i in made for row in i.exam}
  assert {len(i.learnt) for i in made} == {300}
  assert not any('_' in label for i in made for label in i.labels)


@pytest.mark.slow
def test_every_arm_has_a_row(table):
  found = {path.parts[-3]: json.loads(path.read_text())['row']
           for path in table.glob('rows/*/*/all.json')}
  assert set(found) == set(smoke.get_config().arms)
  for arm, row in found.items():
    assert len(row['right']) == 16 and len(row['matrix']) == 2, arm
    if arm not in UNTAUGHT:
      assert len(row['hand_overs']) == 2 and row['night_tokens'] > 0
      slot = 2 * 3 * 3 * 96 * 4  # Nights, layers, matrices, D, R.
      assert row['grown'] == (slot if arm == 'sleep' else 0)
      assert len(row['teacher']) == 2 and row['teacher'][0] > 0.5
  report = json.loads((table / 'report.json').read_text())
  assert set(report['matrices']) == set(found) and report['gap']['enough']
  assert report['verdict'] == {'verdict': 'not run'}  # Without `sft`.
  assert '| replay | 1 |' in (table / 'table.md').read_text()
  assert not any((table / 'unfinished').iterdir())


@pytest.mark.slow
def test_a_later_run_makes_only_what_is_missing(table, monkeypatch):
  made, original = [], task.Bed.untaught

  def noted(self, arm, *rest):
    made.append(arm)
    return original(self, arm, *rest)

  monkeypatch.setattr(task.Bed, 'untaught', noted)
  monkeypatch.delattr(task.Bed, 'gap')  # It is not asked again.
  run(table, '--config.arms=("gaussian", "in_view")', '--config.seeds=(0, 1)',
      '--config.chosen.replay=0.5')
  assert made == ['gaussian', 'in_view']
  with pytest.raises(UserError, match='learning_rate'):
    run(table, '--config.arms=("replay",)', '--config.chosen.replay=0.5')


@pytest.mark.slow
def test_values_are_tried_apart_on_a_seed_of_their_own(table):
  run(table, '--choose', '--config.arms=("gaussian", "ewc")',
      '--config.tried.ewc=(1.0, 10.0)')
  found = sorted((table / 'choice/rows/ewc/seed_100').iterdir())
  assert [path.name for path in found] == ['1.json', '10.json']
  assert json.loads(found[1].read_text())['same']['config']['sleep'][
      'seeding']['ewc'] == 10.0


@pytest.mark.slow
def test_a_bed_without_room_ends_before_the_first_row(tmp_path, capsys):
  run(tmp_path, '--config.bed.least_gap=1.5')
  assert 'cannot label' in capsys.readouterr().out
  assert json.loads((tmp_path / 'report.json').read_text())['stopped']
  assert not (tmp_path / 'rows').exists()
