"""Growth as data: which entries of which leaf come from where.

An operator (`sleepjax.growth.operators`, `slot_operators`) describes a larger
model as a short list of changes to leaves. One executor applies them in every
role that a leaf can have: parameters, moments of an optimizer, masks of what is
new, and shapes before any memory is spent.
"""

import dataclasses
import zlib
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from sleepjax.growth import exchange
from sleepjax.models.config import ModelConfig
from sleepjax.models.named_leaves import named_leaves, nested

NEW = -1


@dataclasses.dataclass(frozen=True)
class Gather:
  """Entry i of the larger leaf, along one axis, is old entry source[i].

  path: names joined by '/', as in the tree of `sleepjax.models.config`.
  axis: of the leaf.
  source: old indices, NEW for an entry that was not there.
  scale: multiplies old entries; one number, or one for each entry.
  gradient_scale: how the loss's gradient in such an entry changes by that, for
    the moments: 1/s for a parameter that is s times as large; the share of a
    copy where an entry was copied.
  std: of new entries, which are normal; 0 for zeros.
  value: of new entries, if not random.
  init: (key, shape of the larger leaf) -> array with the new entries in place.
  """

  path: str
  axis: int
  source: tuple[int, ...]
  scale: float | tuple[float, ...] = 1.0
  gradient_scale: float | tuple[float, ...] = 1.0
  std: float = 0.0
  value: float = 0.0
  init: Callable[..., Any] | None = None


@dataclasses.dataclass(frozen=True)
class Create:
  """A leaf that was not there. init: (key, shape) -> array; None for zeros."""

  path: str
  shape: tuple[int, ...]
  dtype: str = 'float32'
  init: Callable[..., Any] | None = None


@dataclasses.dataclass(frozen=True)
class Expansion:
  """A larger model: its config and the changes that lead to it."""

  config: ModelConfig
  changes: tuple[Gather | Create, ...]


def _apply(changes, tree, gather, create):
  leaves = named_leaves(tree)
  for change in changes:
    if isinstance(change, Create):
      leaves[change.path] = create(change)
    else:
      leaves[change.path] = gather(change, leaves[change.path])
  return nested(leaves)


def _taken(change, leaf, scale, mesh=None):
  """Old entries in their new places, times scale; zeros where new."""
  source = np.asarray(change.source)
  along = [1] * leaf.ndim
  along[change.axis] = len(source)
  out = exchange.rearranged(
      change.path, change.axis, leaf, mesh,
      lambda leaf: jnp.take(leaf, np.maximum(source, 0), axis=change.axis))
  if leaf.dtype != jnp.bool_:
    out *= np.broadcast_to(np.asarray(scale, np.float32), source.shape).reshape(
        along).astype(leaf.dtype)
  return jnp.where((source == NEW).reshape(along),
                   jnp.zeros((), leaf.dtype), out)


def _is_new(change, ndim):
  along = [1] * ndim
  along[change.axis] = len(change.source)
  return (np.asarray(change.source) == NEW).reshape(along)


def expand_params(changes: Sequence[Gather | Create], params, key, mesh=None):
  """The larger parameters; random entries depend on key, path and axis.

  On a mesh, see `sleepjax.growth.exchange`.
  """

  def gather(change, leaf):
    old = _taken(change, leaf, change.scale, mesh)
    if not _is_new(change, leaf.ndim).any():
      return old
    if change.init is not None:
      new = change.init(key, old.shape).astype(leaf.dtype)
    elif change.std:
      name = f'{change.path} {change.axis}'.encode()
      new = change.std * jax.random.normal(
          jax.random.fold_in(key, zlib.crc32(name)), old.shape, jnp.float32)
    else:
      new = change.value
    return jnp.where(_is_new(change, leaf.ndim),
                     jnp.asarray(new, leaf.dtype), old)

  def create(change):
    if change.init is None:
      return jnp.zeros(change.shape, change.dtype)
    return jnp.asarray(change.init(key, change.shape), change.dtype)

  return _apply(changes, params, gather, create)


def expand_moments(changes: Sequence[Gather | Create], moments, order: int,
                   mesh=None):
  """The moments of gradients (order 1) or of their squares (order 2).

  New entries start at zero.
  """
  def gather(change, leaf):
    return _taken(
        change, leaf, np.asarray(change.gradient_scale) ** order, mesh)

  return _apply(changes, moments, gather,
                lambda change: jnp.zeros(change.shape, change.dtype))


def expand_is_new(changes: Sequence[Gather | Create], is_new):
  """Masks of the parameters' shape, true where an entry was not there."""
  def gather(change, leaf):
    return _taken(change, leaf, 1) | _is_new(change, leaf.ndim)

  return _apply(changes, is_new, gather,
                lambda change: jnp.ones(change.shape, bool))


def expand_shapes(changes: Sequence[Gather | Create], shapes):
  """Larger `jax.ShapeDtypeStruct`s; needs no memory."""
  def gather(change, leaf):
    shape = list(leaf.shape)
    shape[change.axis] = len(change.source)
    return jax.ShapeDtypeStruct(tuple(shape), leaf.dtype)

  return _apply(changes, shapes, gather, lambda change: jax.ShapeDtypeStruct(
      change.shape, change.dtype))


def misfits(have, want) -> str:
  """A table path / have / want of the leaves that differ; '' if none does."""
  shown = lambda leaf: '–' if leaf is None else (
      f'{leaf.dtype}{list(leaf.shape)}')
  have, want = named_leaves(have), named_leaves(want)
  rows = [(path, shown(have.get(path)), shown(want.get(path)))
          for path in sorted({*have, *want})]
  return table([r for r in rows if r[1] != r[2]], ('path', 'have', 'want'))


def shape_table(before, after) -> str:
  """What a growth changed: path, shape before, shape after."""
  before, after = named_leaves(before), named_leaves(after)
  shown = lambda leaf: '–' if leaf is None else str(list(leaf.shape))
  rows = [(path, shown(before.get(path)), shown(after.get(path)))
          for path in sorted({*before, *after})]
  return table([r for r in rows if r[1] != r[2]], ('path', 'before', 'after'))


def table(rows, heads) -> str:
  if not rows:
    return ''
  widths = [max(map(len, column)) for column in zip(heads, *rows, strict=True)]
  return '\n'.join('  '.join(cell.ljust(width) for cell, width in zip(
      row, widths, strict=True)).rstrip() for row in [heads, *rows])
