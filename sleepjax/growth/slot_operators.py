"""Slots as operators of a growth plan: append, open, close.

With `growth.grow` they change parameters, moments and lineage together; the
functions of `growth.slots` do the same to bare parameters. The same key gives
the same slot either way. A slot that is opened or closed starts anew: zero
output, fresh input weights, moments cleared.
"""

import dataclasses

import jax.numpy as jnp

from sleepjax.errors import UserError
from sleepjax.growth import slots
from sleepjax.growth.expansion import NEW, Create, Expansion, Gather
from sleepjax.leaves import leaf_of
from sleepjax.models import transformer
from sleepjax.models.config import SLOT_MATRICES, ModelConfig


def _pool_path(config: ModelConfig, level: int) -> str:
  if config.level_layers:
    raise UserError(
        f'level_layers={config.level_layers}: an operator opens a slot in any '
        'layer, and here a level has only some. Grow the model before its '
        'layers are grouped into levels.')
  name = transformer.level_name(config, level)
  return 'layers/slots' if name is None else f'layers/{name}/slots'


def _leaves(config: ModelConfig) -> list[str]:
  routed = ['router'] if config.slot_routing != 'none' else []
  return [*SLOT_MATRICES[config.slot_form], 'open', *routed]


def _check_top_k(config, count):
  if 0 < config.slot_top_k < count:
    raise UserError(
        f'slot_top_k={config.slot_top_k}: with {count} slots, a newborn one '
        '(gate 1) would take the place of a slot in use wherever its gate is '
        'below 1, and the function would change. Use all open slots '
        f'(slot_top_k=0) or at least {count}.')


def _newborn(config, leaf, index, rank, opened_L):
  """(key, shape) -> the pool's leaf with a newborn slot at `index`."""
  def init(key, shape):
    value = opened_L if leaf == 'open' else slots.new_slot(
        config, key, rank)[leaf]
    return jnp.zeros(shape, value.dtype).at[:, index].set(value)
  return init


@dataclasses.dataclass(frozen=True)
class AppendSlot:
  """One more slot of zero output in the pool of an MLP level.

  Where a token uses fewer slots than there are (slot_top_k), a newborn one can
  take the place of one in use: refused, unless it is born closed.

  rank: R.
  layers: where it is open; empty for all.
  level: MLP level, −1 for the block's own.
  opened: false for room that is opened later.
  """

  rank: int
  layers: tuple[int, ...] = ()
  level: int = -1
  opened: bool = True

  def __call__(self, config: ModelConfig) -> Expansion:
    level = range(config.num_levels)[self.level]
    N = config.slots_of(level)
    if self.rank < 1:
      raise UserError(f'rank={self.rank} must be at least 1.')
    others = [config.slots_of(i) for i in range(config.num_levels)]
    if any(others) and self.rank != config.slot_rank:
      raise UserError(f'rank={self.rank}: all slots of a model share one rank, '
                      f'here {config.slot_rank}.')
    if self.opened:
      _check_top_k(config, N + 1)
    after = transformer.with_slots(config, N + 1, self.rank, level)
    prefix = _pool_path(config, level)
    opened = slots.layer_mask(config, self.layers) & self.opened
    R, sizes = self.rank, {'L': config.num_layers, 'N': 1,
                           'D': config.embed_dim, 'R': self.rank}

    def change(leaf):
      init = _newborn(config, leaf, N, R, opened)
      if N:
        return Gather(f'{prefix}/{leaf}', 1, (*range(N), NEW), init=init)
      return Create(f'{prefix}/{leaf}',
                    leaf_of(f'layers/slots/{leaf}').shape(sizes),
                    'bool' if leaf == 'open' else 'float32', init)

    return Expansion(after, tuple(map(change, _leaves(config))))


@dataclasses.dataclass(frozen=True)
class OpenSlot:
  """Pool entry `index` becomes a newborn slot, open in `layers`.

  Shapes stay, so nothing is recompiled. The function does not change if the
  entry was closed. Refused in a pool of more than slot_top_k entries, as for
  `AppendSlot`.

  index: which of the N slots.
  layers: where it is open; empty for all.
  level: MLP level, −1 for the block's own.
  """

  index: int
  layers: tuple[int, ...] = ()
  level: int = -1

  def __call__(self, config: ModelConfig) -> Expansion:
    _check_top_k(config, config.slots_of(
        range(config.num_levels)[self.level]))
    return _reset(config, self.index, self.level,
                  slots.layer_mask(config, self.layers))


@dataclasses.dataclass(frozen=True)
class CloseSlot:
  """Pool entry `index` is closed everywhere and newborn again.

  What an open slot knew is gone: this is the paper's pruning, and the one
  operator here that is meant to change the function.

  index: which of the N slots.
  level: MLP level, −1 for the block's own.
  """

  index: int
  level: int = -1

  def __call__(self, config: ModelConfig) -> Expansion:
    return _reset(config, self.index, self.level,
                  jnp.zeros(config.num_layers, bool))


def _reset(config, index, level, opened_L):
  N = config.slots_of(range(config.num_levels)[level])
  if not 0 <= index < N:
    raise UserError(
        f'index={index}: the pool has {N} slots, numbered from 0; make room '
        'with AppendSlot.')
  source = tuple(NEW if i == index else i for i in range(N))
  return Expansion(config, tuple(
      Gather(f'{_pool_path(config, level)}/{leaf}', 1, source,
             init=_newborn(config, leaf, index, config.slot_rank, opened_L))
      for leaf in _leaves(config)))
