"""Growth by slots: rank-R slices of an MLP level.

A slot adds y += (silu(x A) ⊙ (x U)) B with B = 0 at birth, so opening one
changes no output (arXiv 2606.03979, section 3.2 and appendix B; the form is
ours: exactly R more hidden units of the block's own MLP; `slot_form` names the
others). These functions take and return canonical parameter trees
(`sleepjax.models.config`).

Slots are held in two ways, with the same numbers for the same keys. *Append*:
the pool gains an entry at every sleep, shapes change and programs are compiled
anew. *Pool*: `allocate_pool` makes room once, entries are opened by a mask
(`open_slot`), and nothing is ever recompiled; closed entries contribute exactly
zero and receive exactly zero gradient.
"""

import jax
import jax.numpy as jnp

from sleepjax.errors import UserError
from sleepjax.models import layout, transformer
from sleepjax.models.config import SLOT_MATRICES, ModelConfig


def new_slot(config: ModelConfig, key, rank: int, level: int = -1) -> dict:
  """A slot with zero output: A, U ~ N(0, 1/D), B = 0, router = 0 (gate 1).

  Returns:
    {gate [L, D, R], up [L, D, R], down [L, R, D]} float32, of these what the
    config's slot_form has, and router [L, D] if slots are routed; L is the
    number of layers that the level is in.
  """
  layers = config.layers_of(level)
  L, D = layers.stop - layers.start, config.embed_dim
  keys = dict(zip(('gate', 'up'), jax.random.split(key), strict=True))
  slot = {name: D ** -0.5 * jax.random.normal(
      keys[name], (L, D, rank), jnp.float32)
          for name in SLOT_MATRICES[config.slot_form] if name != 'down'}
  slot['down'] = jnp.zeros((L, rank, D), jnp.float32)
  if config.slot_routing != 'none':
    slot['router'] = jnp.zeros((L, D), jnp.float32)
  return slot


def _owner(config, params, level):
  """The part of params['layers'] that holds a level's pool."""
  name = transformer.level_name(config, level)
  return params['layers'] if name is None else params['layers'][name]


def _with_pool(config, params, level, pool):
  name = transformer.level_name(config, level)
  layers = params['layers']
  layers = ({**layers, 'slots': pool} if name is None else
            {**layers, name: {**layers[name], 'slots': pool}})
  return {**params, 'layers': layers}


def append_slot(config: ModelConfig, params, slot, layers, level: int = -1):
  """Parameters with one more slot, open in the chosen layers.

  Args:
    config: config of `params`.
    params: canonical parameters with N >= 0 slots.
    slot: as `new_slot` makes it.
    layers: [L] bool, true where the slot is open.
    level: which MLP level gets it, 0 the fastest, −1 the block's own MLP.

  Returns:
    (config, params) with N + 1 slots.

  Raises:
    ValueError: if the rank differs from that of the slots already there.
  """
  rank = slot['down'].shape[1]
  _check_rank(config, rank)
  leaves = {name: value[:, None] for name, value in slot.items()}
  leaves['open'] = jnp.asarray(layers, bool)[:, None]
  return _with_more(config, params, level, leaves, rank)


def _with_more(config, params, level, leaves, rank):
  """(config, params) with these entries behind those of a level's pool."""
  pool = _owner(config, params, level).get('slots')
  if pool is not None:
    leaves = {name: jnp.concatenate([pool[name], leaves[name]], axis=1)
              for name in pool}
  count = leaves['open'].shape[1]
  grown = transformer.with_slots(config, count, rank, level)
  return grown, _with_pool(config, params, level, leaves)


def allocate_pool(config: ModelConfig, params, num_slots: int, rank: int,
                  level: int = -1):
  """Parameters with room for `num_slots` closed slots more in one level.

  Returns:
    (config, params): the same function; every new leaf is zero.
  """
  if not num_slots:
    return config, params
  _check_rank(config, rank)
  blank = jax.eval_shape(lambda: new_slot(config, jax.random.key(0), rank))
  room = {name: jnp.zeros((config.num_layers, num_slots, *leaf.shape[1:]))
          for name, leaf in blank.items()}
  room['open'] = jnp.zeros((config.num_layers, num_slots), bool)
  return _with_more(config, params, level, room, rank)


def open_slot(config: ModelConfig, params, slot, index, layers,
              level: int = -1):
  """Parameters in which pool entry `index` holds `slot`, open where chosen.

  Jit-able with a traced index: shapes stay.
  """
  params = layout.insert_slot(config, params, slot, index, level)
  return set_open(config, params, index, layers, level)


def set_open(config: ModelConfig, params, index, layers, level: int = -1):
  """Parameters in which entry `index` is open in those of a level's layers.

  Args:
    layers: bool, one for each layer that the level is in.
  """
  pool = _owner(config, params, level)['slots']
  opened = pool['open'].at[config.layers_of(level), index].set(
      jnp.asarray(layers, bool))
  return _with_pool(config, params, level, {**pool, 'open': opened})


def close_slot(config: ModelConfig, params, index, key, level: int = -1):
  """Parameters in which entry `index` is closed and newborn again.

  Its output is zero and its input weights are fresh.
  """
  slot = new_slot(config, key, config.slot_rank, level)
  return open_slot(config, params, slot, index,
                   jnp.zeros(len(slot['down']), bool), level)


def close_all(config: ModelConfig, params, key, level: int = -1):
  """Every slot of a level closed and newborn: the paper's synaptic pruning."""
  for i in range(config.slots_of(range(config.num_levels)[level])):
    params = close_slot(config, params, i, jax.random.fold_in(key, i), level)
  return params


def open_first(config: ModelConfig, params, level: int = -1):
  """The same function with the pool's closed entries moved to its end.

  Entries that are open keep their order, the oldest first.
  """
  pool, layers = _owner(config, params, level)['slots'], config.layers_of(level)
  order = jnp.argsort(~pool['open'][layers].any(axis=0), stable=True)
  return _with_pool(config, params, level, jax.tree.map(
      lambda leaf: leaf.at[layers].set(jnp.take(leaf[layers], order, axis=1)),
      pool))


def read_slot(config: ModelConfig, params, index: int, level: int = -1,
              first_layer: int = 0) -> dict:
  """Pool entry `index` of canonical parameters, as `append_slot` takes it.

  Of layers from `first_layer` of the level's on, it is what
  `layout.insert_slot` takes.
  """
  pool, layers = _owner(config, params, level)['slots'], config.layers_of(level)
  return {name: leaf[layers.start + first_layer:layers.stop, index]
          for name, leaf in pool.items() if name != 'open'}


def opened_layers(config: ModelConfig, params, level: int = -1):
  """[L, N] bool, where each entry of a level's pool is open; N may be 0.

  L is the number of layers that the level is in.
  """
  layers = config.layers_of(level)
  if not config.slots_of(range(config.num_levels)[level]):
    return jnp.zeros((layers.stop - layers.start, 0), bool)
  return _owner(config, params, level)['slots']['open'][layers]


def is_open(config: ModelConfig, params, level: int = -1):
  """[N] bool: entries that are open in some layer."""
  return opened_layers(config, params, level).any(axis=0)


def strongest_units(config: ModelConfig, params, first: int, second: int,
                    level: int = -1) -> dict:
  """Of two slots' 2R hidden units the R that matter most, as one slot.

  In each layer, a unit matters by the product of the norms of its columns and
  its row of `down`; units of a slot that is closed there do not. A start for
  distillation, not yet the sum of both slots.
  """
  pair = [read_slot(config, params, i, level) for i in (first, second)]
  units = {'gate': 2, 'up': 2, 'down': 1}  # Their axis in each leaf.
  joint = {name: jnp.concatenate([slot[name] for slot in pair], units[name])
           for name in SLOT_MATRICES[config.slot_form]}
  opened = opened_layers(config, params, level)[:, jnp.array([first, second])]
  matters = jnp.repeat(opened, config.slot_rank, axis=1).astype(jnp.float32)
  for name, leaf in joint.items():
    matters *= jnp.linalg.norm(leaf, axis=3 - units[name])
  _, best = jax.lax.top_k(matters, config.slot_rank)  # [L, R]
  strongest = {
      name: jnp.take_along_axis(
          leaf, jnp.expand_dims(best, 3 - units[name]), units[name])
      for name, leaf in joint.items()}
  if config.slot_routing != 'none':
    strongest['router'] = (pair[0]['router'] + pair[1]['router']) / 2
  return strongest


def _check_rank(config, rank):
  have = [config.slots_of(i) for i in range(config.num_levels)]
  if any(have) and rank != config.slot_rank:
    raise ValueError(
        f'slot rank {rank} differs from the model\'s slot_rank='
        f'{config.slot_rank}: all slots of a model share one rank.')


def layer_mask(config: ModelConfig, layers) -> jnp.ndarray:
  """[L] bool from a sequence of layer numbers; an empty one means all.

  Raises:
    UserError: for a layer that the model does not have.
  """
  if not layers:
    return jnp.ones(config.num_layers, bool)
  wrong = [i for i in layers if not 0 <= i < config.num_layers]
  if wrong:
    raise UserError(
        f'a slot in layers={tuple(layers)}: the model has layers 0 to '
        f'{config.num_layers - 1}. Choose of those, or () for all: in a sleep, '
        'with sleep.slot_layers.')
  return jnp.zeros(config.num_layers, bool).at[jnp.asarray(layers)].set(True)
