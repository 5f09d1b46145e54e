"""What a sleep may change: a slot, low-rank deltas, or every layer.

Sleep trains a newly grown slot. Its baselines keep the model's size: LoRA, or
all weights of the layers. Each is an `Adapter`: a tree that a pure function
puts into frozen parameters, so one train step serves them all. Deltas are zero
at birth; put into canonical parameters they are the model's own weights.
"""

import dataclasses
import math
from collections.abc import Sequence
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np

from sleepjax import leaves
from sleepjax.growth import slots
from sleepjax.growth.grow import Operator, validate
from sleepjax.growth.slot_operators import AppendSlot, OpenSlot
from sleepjax.models import layout, weight_map
from sleepjax.models.config import ModelConfig
from sleepjax.models.named_leaves import nested

MATRICES = tuple(leaves.MATRICES)  # From 'q' to 'down'.
MLP_MATRICES = tuple(name for name, leaf in leaves.MATRICES.items()
                     if leaf.path.startswith('layers/mlp/'))


def _shapes(config: ModelConfig):
  """matrix -> (its shape [in…], [out…]) in one layer."""
  sizes = weight_map.axis_sizes(config)
  return {name: (leaves.sized(leaf.inputs, sizes),
                 leaves.sized(leaf.outputs, sizes))
          for name, leaf in leaves.MATRICES.items()}


def _by_module(deltas):
  """{matrix: leaf} as the part of params['layers'] that it belongs to."""
  return nested({leaves.MATRICES[name].path: delta
                 for name, delta in deltas.items()}).get('layers', {})


GrowthPlan = tuple[Sequence[Operator], int]


class Adapter:
  """What a sleep trains, and what that asks of the model.

  Subclasses are frozen dataclasses, since train steps take them as static
  arguments. `init` and `insert` are enough for one that changes weights.

  changes_weights: whether it adds to weights that the model has. They are then
    stored in float32, and elastic weight consolidation can protect them.
  can_dream: whether its value is a slot, of which dreaming trains copies.
  """

  changes_weights: ClassVar[bool] = True
  can_dream: ClassVar[bool] = False

  def init(self, config: ModelConfig, key):
    """A value, a tree of float32 arrays, that changes no output."""
    raise NotImplementedError

  def insert(self, config: ModelConfig, params, value, index=None):
    """`params`, in either layout, with a value put in.

    Args:
      config: names the layout of `params`.
      params: frozen; nothing of them is changed in place.
      value: as `init` makes it, or trained.
      index: place of a slot in its pool; may be traced.
    """
    raise NotImplementedError

  def growth(self, config: ModelConfig, opened: Sequence[bool]) -> GrowthPlan:
    """How the model grows before a sleep: (plan, place of a slot in its pool).

    Args:
      config: of the model before.
      opened: [N], which entries of the pool are in use.
    """
    del config, opened
    return (), 0

  def slots_in(self, nights: int, have: int) -> int:
    """How many slots so many nights open in a model that has some."""
    del nights, have
    return 0

  def newborn(self, config: ModelConfig, params, key, index: int
              ) -> tuple[Any, int]:
    """(value in a model that has just grown, first layer that it is in)."""
    del params, index
    return self.init(config, key), 0

  def first_layer(self, num_layers: int) -> int:
    """The first of a model's layers in which a sleep changes something."""
    del num_layers
    return 0


@dataclasses.dataclass(frozen=True)
class Slot(Adapter):
  """A slot more for every sleep, see `sleepjax.growth.slots`.

  level: whose pool, see `transformer.level_name`.
  rank: R.
  layers: where it is open; empty for all from `start` on.
  start: share of the layers, from the lowest, in which it stays closed.
  """

  level: int = -1
  rank: int = 64
  layers: tuple[int, ...] = ()
  start: float = 0.0
  changes_weights: ClassVar[bool] = False
  can_dream: ClassVar[bool] = True

  def __post_init__(self):
    if not 0 <= self.start < 1:
      raise ValueError(
          f'slot_from={self.start} must be at least 0 and below 1: it is the '
          'share of the layers in which a slot stays closed.')

  def init(self, config: ModelConfig, key):
    return slots.new_slot(config, key, self.rank, self.level)

  def insert(self, config: ModelConfig, params, value, index=None):
    return layout.insert_slot(config, params, value, index, self.level)

  def open_layers(self, num_layers: int) -> tuple[int, ...]:
    """In which of a model's layers a new slot is open; () for all."""
    first = int(self.start * num_layers)
    return self.layers or (tuple(range(first, num_layers)) if first else ())

  def first_layer(self, num_layers: int) -> int:
    return min(self.open_layers(num_layers), default=0)

  def growth(self, config: ModelConfig, opened: Sequence[bool]) -> GrowthPlan:
    """A closed entry is opened and nothing compiled anew, or the pool grows."""
    layers, index = self.open_layers(config.num_layers), int(
        np.argmin([*opened, False]))
    if index < len(opened):
      return [OpenSlot(index, layers, self.level)], index
    return [AppendSlot(self.rank, layers, self.level)], index

  def slots_in(self, nights: int, have: int) -> int:
    return nights

  def newborn(self, config: ModelConfig, params, key, index: int
              ) -> tuple[Any, int]:
    opened = slots.opened_layers(config, params, self.level)[:, index]
    first = int(np.argmax(np.asarray(opened)))
    return slots.read_slot(config, params, index, self.level, first), first


@dataclasses.dataclass(frozen=True)
class StaticSlot(Slot):
  """A slot that is grown in the first sleep and trained on in later ones.

  As wide as all slots of a life together, it is a static pool of their size.
  """

  def growth(self, config: ModelConfig, opened: Sequence[bool]) -> GrowthPlan:
    return ((), 0) if any(opened) else super().growth(config, opened)

  def slots_in(self, nights: int, have: int) -> int:
    return int(not have)


@dataclasses.dataclass(frozen=True)
class LowRank(Adapter):
  """LoRA (Hu et al. 2021, arXiv 2106.09685): W + (alpha / rank) A B.

  A ~ N(0, 1 / in), B = 0 at birth.

  rank, alpha: alpha / rank scales the product.
  matrices: which of a layer's, see `MATRICES`.
  """

  rank: int = 64
  alpha: float = 64.0
  matrices: tuple[str, ...] = MATRICES

  def __post_init__(self):
    _check_matrices(self.matrices)
    if self.rank < 1:
      raise ValueError(f'rank={self.rank} must be at least 1.')

  def init(self, config: ModelConfig, key):
    """{matrix: {a [L, in…, r], b [L, r, out…]}}."""
    L, shapes = config.num_layers, _shapes(config)
    tree = {}
    for i, name in enumerate(self.matrices):
      inner, outer = shapes[name]
      fan_in = math.prod(inner)
      tree[name] = {
          'a': jax.random.normal(jax.random.fold_in(key, i), (
              L, *inner, self.rank), jnp.float32) * fan_in ** -0.5,
          'b': jnp.zeros((L, self.rank, *outer), jnp.float32)}
    return tree

  def deltas(self, config: ModelConfig, tree):
    shapes = _shapes(config)

    def product(name, pair):
      inner, outer = shapes[name]
      L = config.num_layers
      delta = jnp.einsum('lir,lro->lio', pair['a'].reshape(L, -1, self.rank),
                         pair['b'].reshape(L, self.rank, -1),
                         precision=jax.lax.Precision.HIGHEST)
      return (self.alpha / self.rank) * delta.reshape(L, *inner, *outer)

    return _by_module({n: product(n, pair) for n, pair in tree.items()})

  def insert(self, config: ModelConfig, params, value, index=None):
    del index
    return layout.add_to_layers(config, params, self.deltas(config, value))


@dataclasses.dataclass(frozen=True)
class AllLayers(Adapter):
  """All matrices of the layers, as deltas; embedding and unembedding stay.

  The unembedding is frozen in every arm because divergences share it between
  teacher and student.

  matrices: which of a layer's, see `MATRICES`.
  """

  matrices: tuple[str, ...] = MATRICES

  def __post_init__(self):
    _check_matrices(self.matrices)

  def init(self, config: ModelConfig, key=None):
    """{matrix: zeros [L, in…, out…]}; nothing is random."""
    del key
    shapes = _shapes(config)
    return {name: jnp.zeros(
        (config.num_layers, *shapes[name][0], *shapes[name][1]),
        jnp.float32)
        for name in self.matrices}

  def deltas(self, config: ModelConfig, tree):
    del config
    return _by_module(tree)

  def insert(self, config: ModelConfig, params, value, index=None):
    del index
    return layout.add_to_layers(config, params, self.deltas(config, value))


OWN_MLP_SLOT = Slot()


def check_growth(adapter: Adapter, config: ModelConfig, params) -> None:
  """Refuses a model that cannot grow as the adapter wants, before any work.

  Raises:
    UserError: see `sleepjax.growth.grow.validate`.
  """
  validate(adapter.growth(
      config, np.asarray(slots.is_open(config, params)).tolist())[0], config)


def _check_matrices(names):
  wrong = [name for name in names if name not in MATRICES]
  if wrong or not names:
    raise ValueError(f'matrices={tuple(names)}: expected at least one, all of '
                     f'{", ".join(MATRICES)}.')
