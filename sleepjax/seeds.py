"""Random keys of seeds that people choose."""

import jax
import numpy as np

from sleepjax.errors import UserError


def key_of(seed: int) -> jax.Array:
  """A typed PRNG key, another one for every seed, however large.

  `jax.random.key` alone drops what is beyond 32 bits, or keeps 64 where
  jax_enable_x64 is set. Seeds below 2^32 have its keys.

  Raises:
    UserError: the seed is no whole number, or negative.
  """
  if not isinstance(seed, int | np.integer) or seed < 0:
    raise UserError(f'seed={seed!r} must be a whole number, 0 or more.')
  seed = int(seed)
  key = jax.random.key(np.uint32(seed & 0xffffffff))
  while seed := seed >> 32:
    key = jax.random.fold_in(key, np.uint32(seed & 0xffffffff))
  return key
