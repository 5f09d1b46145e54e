"""Rooflines by hand."""

import pytest

from sleepjax.errors import UserError
from sleepjax.roofline import chips
from sleepjax.roofline.hlo import Collective


def test_slices_by_name():
  slice_ = chips.parse_slice('v5e:8x8')
  assert (slice_.generation, slice_.shape, slice_.num_chips) == (
      'v5e', (8, 8), 64)
  assert slice_.chip.hbm_bytes == 16 * 2**30
  assert chips.parse_slice('v5p:2x2x4').num_chips == 16


@pytest.mark.parametrize('topology, message', [
    ('v9:8x8', 'generations v4, v5e, v5p, v6e'),
    ('v5e', 'a slice of v5e has 2 dimensions, as v5e:4x4'),
    ('v5e:8x8x8', 'has 2 dimensions'), ('v5p:4x4', 'as v5p:4x4x4'),
    ('v5e:0x8', 'has 2 dimensions'), ('v5e:8xa', 'has 2 dimensions')])
def test_slices_that_do_not_exist(topology, message):
  with pytest.raises(UserError, match=message):
    chips.parse_slice(topology)


def test_bandwidth_of_the_worst_placed_chip():
  link = 1600e9 / 8 / 4  # 50 GB/s.
  grid, torus = chips.parse_slice('v5e:8x8'), chips.parse_slice('v5e:16x16')
  row, both = [(i, 0, 0) for i in range(8)], [(0, 0, 0), (0, 1, 0), (1, 0, 0)]
  assert grid.bandwidth(row) == link  # The end of a row has one neighbour.
  assert grid.bandwidth(both) == 2 * link
  assert torus.bandwidth(row) == 2 * link
  assert torus.bandwidth(both) == 4 * link
  cube, link = chips.parse_slice('v5p:4x4x4'), 4800e9 / 8 / 6
  assert cube.bandwidth([(0, 0, 0), (1, 2, 3)]) == 6 * link
  assert chips.parse_slice('v5p:4x4x2').rings() == (False,) * 3
  assert chips.parse_slice('v5e:8x16').rings() == (False, True)


def test_roofline_is_the_slowest_part():
  slice_ = chips.parse_slice('v5e:2x2')
  coordinates = [(0, 0, 0), (1, 0, 0), (0, 1, 0), (1, 1, 0)]
  bound = chips.roofline(
      slice_, 4 * 197e12, 819e9 / 2,
      [Collective('all-gather', 75 * 10**9, (0, 1)),
       Collective('all-reduce', 25 * 10**9, (0, 1, 2, 3))], coordinates)
  # 75 GB through one link of 50 GB/s, then 25 GB through two.
  assert (bound.compute, bound.memory, bound.network) == (1.0, 0.5, 1.75)
  assert (bound.seconds, bound.bound) == (1.75, 'network')
  assert chips.utilisation(slice_, 4 * 197e12 * 0.7, 1.75) == (
      pytest.approx(0.4))
