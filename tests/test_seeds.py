import jax
import numpy as np
import pytest

from sleepjax import seeds
from sleepjax.errors import UserError


def data(seed):
  return tuple(np.asarray(jax.random.key_data(seeds.key_of(seed))).tolist())


def test_small_seeds_have_the_keys_of_jax():
  for seed in (0, 1, 2 ** 31, 2 ** 32 - 1, np.int64(7)):
    assert data(seed) == (0, seed)


def test_large_seeds_have_keys_of_their_own():
  large = [2 ** 32, 2 ** 32 + 1, 2 ** 33, 2 ** 40 + 7, 2 ** 63, 2 ** 64 + 1,
           2 ** 96]
  assert len({data(seed) for seed in [0, 1, 7, *large]}) == 10
  with jax.enable_x64(True):
    wide = [data(seed) for seed in large]
  assert wide == [data(seed) for seed in large]


@pytest.mark.parametrize('seed', [-1, 1.5, '3', None])
def test_what_is_no_seed_is_refused(seed):
  with pytest.raises(UserError, match='must be a whole number, 0 or more'):
    seeds.key_of(seed)
