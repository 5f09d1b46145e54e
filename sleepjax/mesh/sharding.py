"""Where every array of a run lies: a mesh, and rules from paths to axes.

A mesh has three axes. `data` splits the rows of a batch, `fsdp` splits rows as
well as parameters, `tensor` splits heads, hidden units and the vocabulary. What
a leaf is split over follows from its path in the finished tree by the first
rule that matches, so that a grown tree, its moments and whatever else is
trained need no annotations of their own. Everything here works on shapes, and
on meshes of devices that are not there (`jax.experimental.topologies`).
"""

import dataclasses
import math
import re
from collections.abc import Callable, Sequence

import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from sleepjax.errors import UserError
from sleepjax.leaves import CPU_LEAVES, LEAVES, MATRICES

DATA, FSDP, TENSOR = AXES = 'data', 'fsdp', 'tensor'
_ROWS = (DATA, FSDP)  # The axes that the rows of a batch are split over.

Rules = Sequence[tuple[str, PartitionSpec]]
P = PartitionSpec

# A spec names the *last* axes of a leaf. Those before them (the layers, the
# slots of a pool) are never split: the layers' loop slices one, and growth
# lengthens the other. So one rule serves stacked and unrolled layers, a pool
# and the one slot that is trained, parameters and their moments.
_SPLIT = {'D': FSDP, **dict.fromkeys('VHGFRA', TENSOR)}
_SMALL = ('norm', 'open', 'router')  # Kinds of leaves that stay whole.


def _split(axes: str) -> list[str | None]:
  return [_SPLIT.get(letter) for letter in axes]


PARAM_RULES: Rules = (
    # Leaves of layers by their names alone: one rule for those of all levels,
    # and of a slot [D, R] where the MLP's own [D, F] comes first in the table.
    *((rf'(^|/){leaf.name if leaf.stacked else leaf.path}$',
       P() if leaf.kind in _SMALL else P(*_split(leaf.axes)))
      for leaf in (*LEAVES, *CPU_LEAVES)),
    # Low-rank deltas, a [in…, r] and b [r, out…].
    *((rf'(^|/){name}/a$', P(*_split(leaf.inputs), None))
      for name, leaf in MATRICES.items()),
    *((rf'(^|/){name}/b$', P(None, *_split(leaf.outputs)))
      for name, leaf in MATRICES.items()),
    (r'(^|/)ns_coeffs$', P()),  # Of Muon's polynomial.
)

# A spec names the *first* axes of an array that many rows are in.
BATCH_RULES: Rules = (
    (r'(^|/)shared_prefix$', P()),  # Ids that all rows go on from.
    (r'(^|/)(k|v)$', P(None, _ROWS, None, TENSOR)),  # [L, B, S, G, K]
    (r'(^|/)(k|v)/\d+$', P(_ROWS, None, TENSOR)),  # [B, S, G, K] of a layer
    (r'', P(_ROWS)),
)


@dataclasses.dataclass(frozen=True)
class MeshConfig:
  """How many parts each axis of the mesh has; one device by default.

  At most one size may be −1: whatever number of devices the others leave.
  """

  data: int = 1
  fsdp: int = 1
  tensor: int = 1

  def __post_init__(self):
    sizes = dataclasses.astuple(self)
    for name, size in zip(AXES, sizes, strict=True):
      if size != -1 and size < 1:
        raise UserError(f'mesh.{name}={size} must be positive, or -1 for all '
                        'the devices that the other axes leave.')
    if sizes.count(-1) > 1:
      raise UserError(f'mesh sizes {self.named(sizes)}: only one of them may '
                      'be -1.')

  @staticmethod
  def named(sizes: Sequence[int]) -> str:
    return ', '.join(f'{n}={s}' for n, s in zip(AXES, sizes, strict=True))

  def sizes(self, num_devices: int) -> tuple[int, int, int]:
    """Parts of (data, fsdp, tensor) on so many devices; at most all are used.

    Raises:
      UserError: the sizes need more devices, or -1 cannot be filled.
    """
    sizes = dataclasses.astuple(self)
    fixed = math.prod(size for size in sizes if size != -1)
    if -1 in sizes and num_devices % fixed:
      raise UserError(
          f'mesh sizes {self.named(sizes)}: {num_devices} devices do not '
          f'divide by {fixed}, so nothing whole is left for -1.')
    sizes = tuple(num_devices // fixed if s == -1 else s for s in sizes)
    if math.prod(sizes) > num_devices:
      raise UserError(
          f'mesh sizes {self.named(sizes)} need {math.prod(sizes)} devices, '
          f'and there are {num_devices}. On a CPU, XLA_FLAGS='
          '--xla_force_host_platform_device_count=N makes N of them.')
    return sizes


def make_mesh(config: MeshConfig, devices: Sequence | None = None,
              axis_type: AxisType = AxisType.Auto) -> Mesh:
  """The mesh of a configuration, the first devices if it needs fewer.

  Args:
    config: sizes of the axes.
    devices: of this run, all processes together, by default; or those of a
      topology that is not there.
    axis_type: Auto, the compiler propagates shardings; Explicit, they are part
      of types.

  Raises:
    UserError: the sizes do not fit the devices, or leave a process of several
      without any.
  """
  here = devices is None
  devices = jax.devices() if here else list(np.ravel(devices))
  sizes = config.sizes(len(devices))
  used = math.prod(sizes)
  if here and jax.process_count() > 1 and used < len(devices):
    raise UserError(
        f'mesh sizes {config.named(sizes)} use {used} of {len(devices)} '
        f'devices, but {jax.process_count()} processes must all take part: '
        'set one of them to -1.')
  return jax.make_mesh(sizes, AXES, axis_types=(axis_type,) * len(AXES),
                       devices=devices[:used])


def _path(path) -> str:
  return jax.tree_util.keystr(path, simple=True, separator='/')


def _names(entry) -> tuple[str, ...]:
  return (entry,) if isinstance(entry, str) else tuple(entry or ())


def fitted(spec: PartitionSpec, shape: Sequence[int], mesh,
           align: str = 'last') -> PartitionSpec:
  """A rule's spec on a shape.

  Where a dimension does not divide by a mesh axis, it is not split over that
  axis and whole along it: rows of a small batch, key-value heads fewer than
  `tensor`. A leaf of fewer dimensions than its rule is whole.

  Args:
    spec: of a rule.
    shape: of the leaf.
    mesh: anything with a `shape` that maps names of axes to sizes.
    align: 'first' or 'last', the dimensions that the spec names.
  """
  if len(spec) > len(shape):
    return P()
  free = (None,) * (len(shape) - len(spec))
  aligned = (*free, *spec) if align == 'last' else (*spec, *free)
  entries = []
  for size, entry in zip(shape, aligned, strict=True):
    kept, parts = [], 1
    for name in _names(entry):
      if size % (parts * mesh.shape[name]) == 0:
        kept.append(name)
        parts *= mesh.shape[name]
    entries.append(kept[0] if len(kept) == 1 else tuple(kept) or None)
  while entries and entries[-1] is None:
    entries.pop()
  return P(*entries)


def _rule(path: str, rules: Rules) -> PartitionSpec:
  for pattern, spec in rules:
    if re.search(pattern, path):
      return spec
  raise UserError(
      f'no sharding rule for {path}: add it to the table of '
      'sleepjax/leaves.py, which says what its axes are.')


def param_spec(path: str, shape: Sequence[int], mesh,
               rules: Rules = PARAM_RULES) -> PartitionSpec:
  """Of a parameter, a moment of one, or a number, which is whole.

  Raises:
    UserError: no rule matches the path.
  """
  return fitted(_rule(path, rules), shape, mesh) if shape else P()


def batch_spec(path: str, shape: Sequence[int], mesh) -> PartitionSpec:
  """Of an array of rows or of keys and values. `importance/…` of a batch is
  shaped like what is trained, and lies as that does."""
  if re.search(r'(^|/)importance/', path):
    return param_spec(path, shape, mesh)
  return fitted(_rule(path, BATCH_RULES), shape, mesh, 'first')


def _shardings(tree, mesh, spec_of: Callable):
  return jax.tree_util.tree_map_with_path(
      lambda path, leaf: NamedSharding(
          mesh, spec_of(_path(path), np.shape(leaf), mesh)), tree)


def param_shardings(tree, mesh, rules: Rules = PARAM_RULES):
  """NamedShardings of parameters, optimizer state, or a state with both.

  Args:
    tree: arrays or `jax.ShapeDtypeStruct`s.
    mesh: with the axes of `AXES`.
    rules: (regular expression of a path, spec of the leaf's last axes); the
      first that matches counts.

  Raises:
    UserError: no rule matches the path of a leaf.
  """
  return _shardings(
      tree, mesh, lambda *leaf: param_spec(*leaf, rules=rules))


def batch_shardings(tree, mesh):
  """NamedShardings of batches, `Rows`, rollouts, advantages and `Segment`s.

  Rows are split over data and fsdp together; keys and values also over tensor,
  by head. A segment of batch size 1, which all rows read, is on every device.
  """
  return _shardings(tree, mesh, batch_spec)


def replicated(mesh) -> NamedSharding:
  """A whole copy on every device."""
  return NamedSharding(mesh, P())


def abstract(tree, shardings):
  """`jax.ShapeDtypeStruct`s that say where they would lie: nothing is stored.

  Lowering a jitted function with them compiles it for these shardings.
  """
  return jax.tree.map(
      lambda leaf, sharding: jax.ShapeDtypeStruct(
          np.shape(leaf), leaf.dtype, sharding=sharding), tree, shardings)


def put(tree, shardings):
  """Arrays of the host as sharded ones; a device gets its parts only.

  Args:
    tree: numpy or jax arrays, the same in every process.
    shardings: as of `param_shardings` or `batch_shardings`.
  """
  def placed(leaf, sharding):
    if isinstance(leaf, jax.Array) and (
        sharding.is_fully_addressable or not leaf.is_fully_addressable):
      return jax.device_put(leaf, sharding)
    leaf = np.asarray(leaf)
    return jax.make_array_from_callback(
        leaf.shape, sharding, lambda part: leaf[part])

  return jax.tree.map(placed, tree, shardings)


def born_sharded(init: Callable, mesh, *args, rules: Rules = PARAM_RULES):
  """init(*args), computed where it is going to lie.

  No device ever holds a leaf that is split.

  Args:
    init: makes a tree of parameters or optimizer state.
    mesh: with the axes of `AXES`.
    *args: of init.
    rules: as of `param_shardings`.
  """
  shardings = param_shardings(jax.eval_shape(init, *args), mesh, rules)
  return jax.jit(init, out_shardings=shardings)(*args)


def hinted_mesh():
  """The mesh of `jax.set_mesh`; None without one of `AXES`, or where shardings
  are part of types and need no hints."""
  mesh = jax.sharding.get_abstract_mesh()
  if not set(AXES) <= set(mesh.axis_names) or any(
      kind != AxisType.Auto for kind in mesh.axis_types):
    return None
  return mesh


def constrained(tree, by_row: bool = False):
  """Keeps a new state where the rules say, as the old one was; inside a step.

  Args:
    tree: parameters, moments, or a state with both; returned as it is without
      a mesh that is hinted at.
    by_row: every leaf is [B, ...], of rows that have states of their own.
  """
  mesh = hinted_mesh()
  if mesh is None:
    return tree
  shardings = batch_shardings if by_row else param_shardings
  return jax.lax.with_sharding_constraint(tree, shardings(tree, mesh))


def on_mesh(tree):
  """Arrays of the host or of one device, put on the mesh of `jax.set_mesh`.

  They lie as the rules say; without a mesh the tree is returned as it is.
  """
  mesh = jax.sharding.get_mesh()
  if not set(AXES) <= set(mesh.axis_names):
    return tree
  return put(tree, param_shardings(tree, mesh))


def whole_axes(tree, mesh, rules: Rules = PARAM_RULES) -> dict[str, str]:
  """{path: mesh axes} that a rule names but the leaf's shape does not divide
  by: what `fitted` left whole."""
  left = {}
  for path, leaf in jax.tree_util.tree_leaves_with_path(tree):
    path, shape = _path(path), np.shape(leaf)
    wanted = _rule(path, rules) if shape else P()
    kept = param_spec(path, shape, mesh, rules)
    missing = ({n for e in wanted for n in _names(e) if mesh.shape[n] > 1}
               - {n for e in kept for n in _names(e)})
    if missing:
      left[path] = ', '.join(name for name in AXES if name in missing)
  return left


def to_host(leaf) -> np.ndarray:
  """A whole numpy array of one that may be split, also between processes.

  Every process has to call it, and each gets the whole array.
  """
  if not isinstance(leaf, jax.Array) or leaf.is_fully_addressable:
    return np.asarray(leaf)
  if not leaf.is_fully_replicated:
    leaf = jax.jit(_same, out_shardings=replicated(leaf.sharding.mesh))(leaf)
  return np.asarray(leaf.addressable_data(0))


def _same(x):
  return x
