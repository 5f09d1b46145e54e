"""What the layers below a slot make of rows, once for a whole night.

A slot that is open in the upper layers alone changes nothing below them. So the
states that enter its first layer are those of every update, and the train step
begins there: forward and backward pass leave the layers below out. Nothing is
approximated.
"""

import dataclasses
import functools

import jax
import numpy as np

from sleepjax.mesh.sharding import to_host
from sleepjax.models import layout, transformer
from sleepjax.models.config import ModelConfig
from sleepjax.sampling import rows as rows_lib
from sleepjax.sampling.rows import Rows

_ROWS = 16  # Read at once.


@dataclasses.dataclass(frozen=True)
class Below:
  """A model cut at the first layer that learns.

  lower: (config, params) of the layers that stay as they are.
  upper: (config, params) of those from it on, which take [B, T, D] states.
  shared_prefix: [P', D] states of what all prompts go on from, or None.
  segments: what the lower layers make of it; () without.
  """

  lower: tuple[ModelConfig, dict]
  upper: tuple[ModelConfig, dict]
  shared_prefix: jax.Array | None = None
  segments: tuple[transformer.Segment, ...] = ()

  def states(self, rows: Rows) -> jax.Array:
    """[B, P + N, D] that enter the first layer that learns."""
    return _states(*self.lower, *rows_lib.whole(rows), self.segments)[0]

  def all_states(self, rows: Rows) -> np.ndarray:
    """The same of many rows, some at once."""
    n = len(rows.prompt)
    parts = []
    for start in range(0, n, _ROWS):
      wanted = np.minimum(np.arange(start, start + _ROWS), n - 1)
      parts.append(to_host(self.states(Rows(*(
          np.asarray(leaf)[wanted] for leaf in rows))))[:n - start])
    return np.concatenate(parts)


def cut(config: ModelConfig, params, first: int, shared_ids=None) -> Below:
  """The model cut below layer `first`.

  Args:
    config, params: the student, in either layout.
    first: 1 <= first < L.
    shared_ids: [P'] ids that all prompts go on from, or None.
  """
  lower = layout.layers_from(config, params, 0, first)
  upper = layout.layers_from(config, params, first, config.num_layers)
  if shared_ids is None:
    return Below(lower, upper)
  ids = np.asarray(shared_ids, np.int32)[None]
  states, segment = _states(*lower, ids, np.ones(ids.shape, bool), ())
  return Below(lower, upper, states[0], (segment,))


@functools.partial(jax.jit, static_argnums=0)
def _states(config, params, ids, mask, segments):
  return transformer.hidden_states(
      config, params, ids, mask, segments, norm=False)
