"""Augmentations undo themselves, and votes are counted."""

import numpy as np
import pytest

from sleepjax.data import grid_augmentations, grids
from sleepjax.data.grid_augmentations import Augmentation
from sleepjax.data.grids import Pair

GRID = grids.read_grid('012\n340')


def test_by_hand():
  """Mirrored first, then turned, then recoloured."""
  change = Augmentation(1, True, (0, 2, 1, 3, 4, 5, 6, 7, 8, 9))
  assert grids.write_grid(change(GRID)) == '03\n24\n10'
  assert grids.write_grid(Augmentation()(GRID)) == grids.write_grid(GRID)


@pytest.mark.parametrize('turned', [False, True])
@pytest.mark.parametrize('coloured', [False, True])
def test_undone_it_is_the_grid_again(turned, coloured):
  rng = np.random.default_rng(0)
  for _ in range(60):
    grid = rng.integers(0, 5, rng.integers(1, 7, 2)).astype(np.int8)
    change = grid_augmentations.draw(rng, turned, coloured)
    np.testing.assert_array_equal(change.undo(change(grid)), grid)
    np.testing.assert_array_equal(change(change.undo(grid)), grid)
    assert change.colours[0] == 0 and sorted(change.colours) == list(range(10))
    assert turned or (change.turns, change.mirrored) == (0, False)
    assert coloured or change.colours == tuple(range(10))


def test_a_rule_that_is_right_gets_every_vote():
  """Turned tasks have a turned rule; undone, its answers are the same."""
  rng = np.random.default_rng(1)
  for task in grids.tasks('exam', 40, grids.GridConfig(), 2):
    rule = {pair.input.tobytes(): pair.output for pair in task.asked}
    views = grid_augmentations.drawn(8, rng, True, True)
    assert views[0] == Augmentation() and len(set(views)) == 8
    for pair in task.asked:
      votes = [view.undo(view.of_pair(pair).output) for view in views]
      for vote in votes:
        np.testing.assert_array_equal(vote, rule[pair.input.tobytes()])


def test_no_more_views_than_there_are():
  rng = np.random.default_rng(0)
  assert len(grid_augmentations.drawn(20, rng, True, False)) == 8
  assert len(grid_augmentations.drawn(90, rng, False, True, colours=4)) == 6
  assert grid_augmentations.drawn(5, rng, False, False) == [Augmentation()]


def test_votes():
  one, other = GRID, GRID[::-1]
  majority = grid_augmentations.majority
  assert majority([None, other, one, other]) is other
  assert majority([one, other]) is one
  assert majority([None, other]) is other
  assert majority([None]) is None
  wide = GRID.reshape(1, 6)  # The same cells in another shape.
  assert majority([wide, one, one]) is one


def test_a_pair_is_changed_alike():
  change = Augmentation(2)
  pair = change.of_pair(Pair(GRID, GRID.T))
  np.testing.assert_array_equal(pair.input, GRID[::-1, ::-1])
  np.testing.assert_array_equal(pair.output, GRID.T[::-1, ::-1])
