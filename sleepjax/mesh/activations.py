"""Where the operands of a layer's products lie on a mesh.

Left alone, a compiler that sees weights split over the same devices as the rows
of a batch may gather the rows, layer after layer, or send weights round in a
ring once for every product. Told that rows stay where they are and that a
layer's weights come together over `fsdp` before they are used, it moves what at
training sizes is the smaller, once in each pass. Without a mesh
(`jax.set_mesh`), or where its axes are explicit and need no hints, these
functions return what they are given.
"""

import jax
from jax.sharding import PartitionSpec

from sleepjax.mesh import sharding

_ROWS = (sharding.DATA, sharding.FSDP)


def _constrained(x, *spec):
  mesh = sharding.hinted_mesh()
  if mesh is None:
    return x
  return jax.lax.with_sharding_constraint(
      x, sharding.fitted(PartitionSpec(*spec), x.shape, mesh, 'first'))


def by_row(x):
  """x [B, ...] with rows split over `data` and `fsdp`, whole otherwise."""
  return _constrained(x, _ROWS)


def by_head(x_BxTxHxK):
  """The same with heads split over `tensor`."""
  return _constrained(x_BxTxHxK, _ROWS, None, sharding.TENSOR)


def by_unit(x):
  """x [B, ..., F] with rows split as ever and hidden units over `tensor`."""
  return _constrained(
      x, _ROWS, *(None,) * (x.ndim - 2), sharding.TENSOR)


def splits_units() -> bool:
  """Whether hidden units lie on several devices."""
  mesh = jax.sharding.get_abstract_mesh()
  return dict(mesh.shape).get(sharding.TENSOR, 1) > 1


def gathered(w, split: int | None = None):
  """A weight that is whole but for axis `split`, which lies over `tensor`."""
  spec = () if split is None else ((None,) * split + (sharding.TENSOR,))
  return _constrained(w, *spec)
