"""Phases of a night are saved as they end; seeding also on its way."""

import contextlib
import os
import pathlib
import shutil
import signal

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sleepjax.errors import UserError
from sleepjax.training import checkpoints, phase_saves, preemption
from sleepjax.training.budget import Budget, Meter
from sleepjax.training.phase_saves import NO_SAVES, PhaseSaves, in_place_of
from sleepjax.training.progress import Display

RUN = {'config': {'seed': 0}, 'base': 'tiny'}
TREE = {'slot': np.arange(6, dtype=np.float32), 'step': np.int32(3)}


def test_a_save_is_found_by_the_same_cycle_of_the_same_run(tmp_path):
  saves = PhaseSaves(tmp_path, RUN, seconds=0)
  saves.begin(4)
  assert saves.restored('seed') is None
  saves.save_if_due('seed', 3, TREE, {'spent': 7})
  again = PhaseSaves(tmp_path, RUN)
  again.begin(4)
  saved = again.restored('seed')
  assert saved.step == 3 and saved.metadata['spent'] == 7
  np.testing.assert_array_equal(saved.tree['slot'], TREE['slot'])
  assert again.restored('write') is None
  again.begin(5)
  assert again.restored('seed') is None
  other = PhaseSaves(tmp_path, {**RUN, 'base': 'larger'})
  other.begin(4)
  with pytest.raises(UserError, match='run with other settings.*--workdir'):
    other.restored('seed')


def test_nothing_is_left_when_the_cycle_has_ended(tmp_path):
  saves = PhaseSaves(tmp_path, RUN, seconds=0)
  for phase in ('write', 'seed', 'dream'):
    saves.save_if_due(phase, 0, {}, {})
  (tmp_path / 'unfinished_dream.writing').mkdir()  # As a killed save leaves it.
  (tmp_path / 'model').mkdir()
  saves.clear()
  assert [path.name for path in tmp_path.iterdir()] == ['model']


@pytest.mark.parametrize('deletions', [0, 1, 2, 3, 5, 8, 13])
@pytest.mark.parametrize('first', ['arrays', 'progress.json'])
def test_a_run_killed_while_it_tidies_up_can_be_run_again(
    tmp_path, monkeypatch, deletions, first):
  class Killed(BaseException):
    pass

  phases = 'write', 'seed', 'dream'
  saves = PhaseSaves(tmp_path, RUN, seconds=0)
  for phase in phases:
    saves.save_if_due(phase, 0, TREE, {})
  left = iter(range(deletions))

  def dying(path, ignore_errors=False):
    del ignore_errors
    parts = [*path.glob(f'{first}/*'), *path.glob(first), *path.glob('*/*'),
             *path.glob('*'), path]
    for part in filter(pathlib.Path.exists, dict.fromkeys(parts)):
      if next(left, None) is None:
        raise Killed
      rmtree(part) if part.is_dir() else part.unlink()

  rmtree = shutil.rmtree
  with monkeypatch.context() as patch, contextlib.suppress(Killed):
    patch.setattr(shutil, 'rmtree', dying)
    saves.clear()
  again = PhaseSaves(tmp_path, RUN, seconds=0)
  again.begin(1)
  for phase in phases:
    assert again.restored(phase) is None
    again.save_if_due(phase, 5, TREE, {})
    assert again.restored(phase).step == 5
  again.clear()
  assert not list(tmp_path.iterdir())


def test_only_what_took_long_is_saved(tmp_path):
  saves = PhaseSaves(tmp_path, RUN, seconds=1000)
  saves.save_if_due('seed', 3, TREE, {})
  assert not list(tmp_path.iterdir())
  NO_SAVES.save_if_due('seed', 3, TREE, {})
  assert NO_SAVES.restored('seed') is None
  NO_SAVES.clear()
  with NO_SAVES.deferred():
    pass


def test_slow_saves_are_rare(tmp_path, monkeypatch):
  now, steps = [0.0], []
  monkeypatch.setattr(phase_saves.time, 'monotonic', lambda: now[0])

  def slow(folder, step, *_):
    steps.append(step)
    now[0] += 10.0

  monkeypatch.setattr(checkpoints, 'save_progress', slow)
  saves = PhaseSaves(tmp_path, RUN, seconds=30)
  for step in range(50):
    now[0] += 10.0
    saves.save_if_due('seed', step, TREE, {})
  assert steps == [2, 22, 42]


def test_a_notice_saves_at_once_and_ends_the_run(tmp_path):
  with preemption.listen() as notice:
    saves = PhaseSaves(tmp_path, RUN, notice=notice, seconds=1000)
    with pytest.raises(preemption.Preempted), saves.deferred():
      os.kill(os.getpid(), signal.SIGTERM)
      saves.save_if_due('seed', 3, TREE, {})
  assert checkpoints.load_progress(tmp_path / 'unfinished_seed').step == 3


def test_a_notice_inside_a_save_waits_for_its_end(tmp_path, monkeypatch):
  save = checkpoints.save_progress

  def hear_and_save(*args):
    os.kill(os.getpid(), signal.SIGTERM)
    save(*args)

  monkeypatch.setattr(checkpoints, 'save_progress', hear_and_save)
  with preemption.listen() as notice:
    saves = PhaseSaves(tmp_path, RUN, notice=notice, seconds=0)
    with pytest.raises(preemption.Preempted):
      saves.save_if_due('write', 3, TREE, {})
  assert checkpoints.load_progress(tmp_path / 'unfinished_write').step == 3


def test_totals_go_on_from_what_was_saved(tmp_path):
  with Display() as display:
    with display.phase('write') as phase:
      phase.advance(tokens=10)
    saves = PhaseSaves(tmp_path, RUN, display, seconds=0)
    with display.phase('seed') as phase:
      phase.advance(tokens=5)
      saves.save_if_due('seed', 1, TREE, {})
      phase.advance(tokens=100)  # Lost.
  with Display() as display:
    with display.phase('write') as phase:
      phase.advance(tokens=10)  # Once more, and not counted again.
    with display.phase('seed') as phase:
      assert PhaseSaves(tmp_path, RUN, display).restored('seed').step == 1
      phase.advance(tokens=7)
  assert display.tokens == {'write': 10, 'seed': 12}
  assert display.seconds['seed'] > 0


def test_a_state_comes_back_in_its_own_form(tmp_path):
  state = (jnp.zeros(6), {'step': jnp.int32(0), 'none': None})
  saves = PhaseSaves(tmp_path, RUN, seconds=0)
  saves.save_if_due(
      'seed', 1, (TREE['slot'], {'step': TREE['step'], 'none': None}), {})
  restored = in_place_of(state, saves.restored('seed'), 'it')
  assert jax.tree.structure(restored) == jax.tree.structure(state)
  np.testing.assert_array_equal(restored[0], TREE['slot'])
  assert int(restored[1]['step']) == 3
  with pytest.raises(UserError, match='it is not what this run needs'):
    in_place_of((jnp.zeros(5), state[1]), saves.restored('seed'), 'it')


def test_a_meter_goes_on_from_what_was_spent():
  meter = Meter(Budget(tokens=10, seconds=1000))
  meter.spend(6)
  again = Meter(Budget(tokens=10, seconds=1000))
  again.restore({**meter.spent(), 'seconds': 999.0})
  assert not again.exhausted()
  again.spend(4)
  assert again.exhausted() and again.steps == 2
  late = Meter(Budget(seconds=1000))
  late.restore({**meter.spent(), 'seconds': 1000.0})
  assert late.exhausted()
