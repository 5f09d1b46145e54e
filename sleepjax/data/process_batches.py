"""Batches of a run of several processes: each makes ready its own rows.

grain prepares the next steps in the background. What a step's rows are depends
on its number alone, so a run goes on anywhere, and on another mesh.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import grain
import jax
import numpy as np

from sleepjax.mesh import sharding

_AHEAD = 2  # Steps that are prepared while one is computed.


class StepBatch(NamedTuple):
  """What one step learns from.

  step: its number.
  rows: global arrays, split over the mesh by row.
  tokens: real tokens of all rows, those of other processes included.
  """

  step: int
  rows: Any
  tokens: int


def own_rows(placed: jax.sharding.Sharding, count: int) -> np.ndarray:
  """Which of `count` rows the devices of this process hold, in order."""
  parts = placed.addressable_devices_indices_map((count,)).values()
  ranges = {part[0].indices(count)[:2] for part in parts}
  return np.concatenate([np.arange(*ends) for ends in sorted(ranges)])


def step_batches(steps: Sequence[int], rows_of: Callable[[int], Any],
                 count_tokens: Callable[[Any], int], mesh
                 ) -> Iterator[StepBatch]:
  """The batches of the numbered steps.

  Args:
    steps: consecutive numbers.
    rows_of: the whole batch of a step, numpy arrays with rows first; the same
      in every process.
    count_tokens: of such a batch.
    mesh: over which rows are split.
  """
  def prepared(step):
    """What this process keeps of a batch; the rest is dropped right here."""
    whole = rows_of(int(step))

    def kept(leaf, placed):
      by_row = jax.sharding.NamedSharding(mesh, sharding.P(*placed.spec[:1]))
      return leaf[own_rows(by_row, len(leaf))], placed, leaf.shape

    leaves, structure = jax.tree.flatten(whole)
    shardings = jax.tree.leaves(sharding.batch_shardings(whole, mesh))
    return (int(step), count_tokens(whole), structure,
            list(map(kept, leaves, shardings)))

  dataset = grain.MapDataset.source(steps).map(prepared).to_iter_dataset(
      grain.ReadOptions(num_threads=1, prefetch_buffer_size=_AHEAD))
  for step, tokens, structure, parts in dataset:
    rows = [jax.make_array_from_process_local_data(placed, part, shape)
            for part, placed, shape in parts]
    yield StepBatch(step, structure.unflatten(rows), tokens)
