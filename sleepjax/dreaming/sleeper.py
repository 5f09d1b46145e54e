"""Who dreams."""

from typing import NamedTuple

import jax

from sleepjax.models import layout
from sleepjax.models.config import ModelConfig


class Sleeper(NamedTuple):
  """Who dreams.

  config, frozen: the model in either layout.
  slot, index: its trained slot and the place of that in the pool.
  """

  config: ModelConfig
  frozen: dict
  slot: dict
  index: jax.Array

  def params(self):
    """Parameters with the slot in its place."""
    return layout.insert_slot(*self)
