"""Growth on a mesh: entries change devices, and no device holds a whole leaf.

An operator rearranges a leaf along one axis. Where the rules of
`sleepjax.mesh.sharding` split that axis, the leaf is split along another
one instead while it is rearranged, and back afterwards: two all-to-alls, in
which a device holds its share of the leaf and no more.
"""

import math

import jax
from jax.sharding import NamedSharding, PartitionSpec

from sleepjax.errors import UserError
from sleepjax.mesh import sharding


def _parts(mesh, names) -> int:
  return math.prod(mesh.shape[name] for name in names)


def _split(path, shape, mesh) -> list[tuple[str, ...]]:
  """Mesh axes of each dimension, those of size 1 left out."""
  spec = sharding.param_spec(path, shape, mesh)
  names = [(e,) if isinstance(e, str) else tuple(e or ()) for e in spec]
  names += [()] * (len(shape) - len(names))
  return [tuple(n for n in entry if mesh.shape[n] > 1) for entry in names]


def rearranged(path: str, axis: int, leaf, mesh, rearrange):
  """rearrange(leaf), which may move entries along `axis` and lengthen it.

  Args:
    path: of the leaf in the tree of parameters.
    axis: along which entries move.
    leaf: split as the rules say.
    mesh: where it lies; None for one device.
    rearrange: leaf -> leaf.

  Raises:
    UserError: no other axis can take over the split.
  """
  if mesh is None:
    return rearrange(leaf)
  names = _split(path, leaf.shape, mesh)
  moving, names[axis] = names[axis], ()
  if not moving:
    return rearrange(leaf)
  others = [i for i in range(leaf.ndim) if i != axis and leaf.shape[i] % _parts(
      mesh, names[i] + moving) == 0]
  if not others:
    raise UserError(
        f'{path} of shape {list(leaf.shape)} grows along axis {axis}, which is '
        f'split over {", ".join(moving)}, and no other axis divides by their '
        f'{_parts(mesh, moving)} parts: grow it on a mesh that splits it less.')
  other = max(others, key=lambda i: leaf.shape[i])
  names[other] += moving
  meanwhile = NamedSharding(mesh, PartitionSpec(*(n or None for n in names)))
  hold = lambda x: jax.lax.with_sharding_constraint(x, meanwhile)
  return hold(rearrange(hold(leaf)))


def resharded(before, after, mesh):
  """A larger state, split as the rules say.

  Args:
    before, after: trees of the state, of paths that the rules know.
    mesh: where they lie.

  Raises:
    UserError: an axis that was split no longer divides.
  """
  old = sharding.whole_axes(before, mesh)
  for path, names in sharding.whole_axes(after, mesh).items():
    if names != old.get(path):
      raise UserError(
          f'{path} would no longer divide by mesh axes {names} '
          f'({_parts(mesh, names.split(", "))} parts) and be whole on every '
          'device: grow it to a multiple.')
  return jax.lax.with_sharding_constraint(
      after, sharding.param_shardings(after, mesh))
