"""Saves that are written while the run goes on."""

import subprocess
import sys
import threading

import jax.numpy as jnp
import numpy as np
import pytest

from sleepjax.errors import UserError
from sleepjax.training import background, checkpoints, saved_folder


@pytest.fixture
def slow(monkeypatch):
  """Writing waits until it is told to go on."""
  go, replace = threading.Event(), saved_folder._replace

  def waits(*args):
    assert go.wait(20)
    replace(*args)

  monkeypatch.setattr(saved_folder, '_replace', waits)
  yield go
  go.set()
  background.finish()


def test_the_run_goes_on_and_readers_wait(slow, tmp_path):
  x, heard = jnp.zeros(4), []
  checkpoints.save_progress(
      tmp_path / 'p', 1, {'x': x}, {}, then=lambda: heard.append(1))
  x = x.at[0].set(1.0)
  assert not heard and not (tmp_path / 'p').exists()
  threading.Timer(0.2, slow.set).start()
  saved = checkpoints.load_progress(tmp_path / 'p')
  assert heard == [1] and saved.step == 1
  np.testing.assert_array_equal(saved.tree['x'], np.zeros(4))


def test_what_is_saved_is_a_copy(slow, tmp_path):
  """The memory of the array may be given to the next one meanwhile."""
  x = np.zeros(4)
  checkpoints.save_progress(tmp_path / 'p', 1, {'x': x}, {}, then=lambda: None)
  x[:] = 1
  slow.set()
  assert (checkpoints.load_progress(tmp_path / 'p').tree['x'] == 0).all()


def test_one_save_at_a_time(slow, tmp_path):
  order = []
  for step in range(2):
    if step:
      threading.Timer(0.2, slow.set).start()
    checkpoints.save_progress(tmp_path / 'p', step, {}, {},
                              then=lambda step=step: order.append(step))
  background.finish()
  assert order == [0, 1]
  assert checkpoints.load_progress(tmp_path / 'p').step == 1


def test_what_goes_wrong_comes_to_whoever_is_next(tmp_path):
  (tmp_path / 'p').write_text('a file')
  checkpoints.save_progress(tmp_path / 'p', 0, {}, {}, then=lambda: None)
  with pytest.raises(UserError, match='would be replaced'):
    checkpoints.is_saved(tmp_path / 'elsewhere')
  assert not checkpoints.is_saved(tmp_path / 'elsewhere')


def test_what_is_not_finite_is_refused_at_once(tmp_path):
  with pytest.raises(UserError, match='not finite'):
    checkpoints.save_progress(
        tmp_path / 'p', 0, {'x': np.full(1, np.nan)}, {}, then=lambda: None)


def test_a_run_that_ends_by_an_error_ends_its_save_first(tmp_path):
  code = f"""
import time
from experiments import _main
from sleepjax.errors import UserError
from sleepjax.training import checkpoints, saved_folder
replace = saved_folder._replace
saved_folder._replace = lambda *args: (time.sleep(0.5), replace(*args))
def main(argv):
  checkpoints.save_progress({str(tmp_path / 'p')!r}, 5, {{}}, {{}},
                            then=lambda: None)
  raise UserError('something else')
_main.run(main, [])
"""
  ended = subprocess.run([sys.executable, '-c', code], text=True,
                         capture_output=True, timeout=60)
  assert (ended.returncode, 'something else' in ended.stderr) == (2, True)
  assert checkpoints.load_progress(tmp_path / 'p').step == 5
