"""Growth by slots: rank-R slices of each block's SwiGLU MLP.

A slot adds y += (silu(x A) ⊙ (x U)) B with B = 0 at birth, so opening one
changes no output (arXiv 2606.03979, section 3.2 and appendix B; the form is
ours: exactly R more hidden units of the block's own MLP). These functions take
and return canonical parameter trees (`sleepjax.models.config`).
"""

import jax
import jax.numpy as jnp

from sleepjax.models import transformer
from sleepjax.models.config import ModelConfig


def new_slot(config: ModelConfig, key, rank: int) -> dict:
  """A slot with zero output: A, U ~ N(0, 1/D), B = 0.

  Returns:
    {gate [L, D, R], up [L, D, R], down [L, R, D]} float32.
  """
  L, D = config.num_layers, config.embed_dim
  gate_key, up_key = jax.random.split(key)
  normal = lambda k: jax.random.normal(k, (L, D, rank)) * D ** -0.5
  return {'gate': normal(gate_key), 'up': normal(up_key),
          'down': jnp.zeros((L, rank, D))}


def append_slot(config: ModelConfig, params, slot, layers):
  """Parameters with one more slot, open in the chosen layers.

  Args:
    config: config of `params`.
    params: canonical parameters with N >= 0 slots.
    slot: {gate [L, D, R], up [L, D, R], down [L, R, D]}.
    layers: [L] bool, true where the slot is open.

  Returns:
    (config, params) with N + 1 slots.

  Raises:
    ValueError: if the rank differs from that of the slots already there.
  """
  rank = slot['gate'].shape[-1]
  if config.num_slots and rank != config.slot_rank:
    raise ValueError(
        f'slot rank {rank} differs from the model\'s slot_rank='
        f'{config.slot_rank}: all slots of a model share one rank.')
  leaves = {name: value[:, None] for name, value in slot.items()}
  leaves['open'] = jnp.asarray(layers, bool)[:, None]
  pool = params['layers'].get('slots')
  if pool is not None:
    leaves = {name: jnp.concatenate([pool[name], leaves[name]], axis=1)
              for name in pool}
  layers_tree = {**params['layers'], 'slots': leaves}
  grown = transformer.with_slots(config, config.num_slots + 1, rank)
  return grown, {**params, 'layers': layers_tree}


def read_slot(params, index: int) -> dict:
  """Slot `index` of canonical parameters, as `append_slot` takes it."""
  pool = params['layers']['slots']
  return {name: pool[name][:, index] for name in ('gate', 'up', 'down')}


def layer_mask(config: ModelConfig, layers) -> jnp.ndarray:
  """[L] bool from a sequence of layer numbers; an empty one means all.

  Raises:
    ValueError: for a layer that the model does not have.
  """
  if not layers:
    return jnp.ones(config.num_layers, bool)
  wrong = [i for i in layers if not 0 <= i < config.num_layers]
  if wrong:
    raise ValueError(
        f'layers={tuple(layers)}: the model has layers 0 to '
        f'{config.num_layers - 1}.')
  return jnp.zeros(config.num_layers, bool).at[jnp.asarray(layers)].set(True)
