"""Who learns: a model, and what of it is trained."""

import dataclasses
import functools
from typing import Any

import jax

from sleepjax.growth.adapters import Adapter, Slot
from sleepjax.models.config import ModelConfig


@functools.partial(
    jax.tree_util.register_dataclass, data_fields=['frozen', 'index', 'value'],
    meta_fields=['config', 'part', 'first_layer'])
@dataclasses.dataclass(frozen=True)
class Learner:
  """Who learns: a model, and what of it is trained.

  A pytree, so that it passes whole into a jitted function; what names the
  program is static.

  frozen: the model's parameters in either layout; of them `part` is trained,
    and whatever they hold in its place is ignored.
  index: the slot's place in its pool; deltas have none.
  first_layer: the first that learns. A value has the layers from there on, and
    those below are left out of the train step.
  value: what is trained, as `part` makes it; None while a train state has it.
  """

  config: ModelConfig
  frozen: dict
  part: Adapter = Slot()
  index: int | jax.Array | None = 0
  first_layer: int = 0
  value: Any = None

  def with_value(self, value) -> 'Learner':
    """The same learner with another value of what is trained."""
    return dataclasses.replace(self, value=value)

  @property
  def params(self) -> dict:
    """The model's parameters with the value in its place."""
    return self.part.insert(self.config, self.frozen, self.value, self.index)
