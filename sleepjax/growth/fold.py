"""Folding slots into the dense MLP, and padding that, exactly.

A SwiGLU slot of rank R is R more hidden units of its block's MLP, so N slots
turn a model of MLP width F into a plain one of width F + N·R with the same
function, which any server of the family runs.
"""

import dataclasses

import jax.numpy as jnp
import numpy as np

from sleepjax.errors import UserError
from sleepjax.models.config import ModelConfig
from sleepjax.models.export import check_foldable


def fold_slots(config: ModelConfig, params):
  """A model without slots that computes the same function.

    gate' = [gate, A_1 … A_N]  up' = [up, U_1 … U_N]  down' = [down; B_1 … B_N]

  Slots that are closed in every layer are left out; where a kept slot is closed
  in one layer, that layer gets hidden units with zero output.

  Args:
    config: canonical config, with or without slots.
    params: canonical parameters.

  Returns:
    (config, params) with num_slots = 0 and a larger mlp_dim; slots of other
    levels stay.

  Raises:
    UserError: the slots are routed or not SwiGLU, so that they are no part of a
      dense SwiGLU MLP.
  """
  if not config.num_slots:
    return config, params
  check_foldable(config)
  layers = dict(params['layers'])
  pool = layers.pop('slots')
  opened = np.asarray(pool['open'])  # [L, N]
  kept = np.flatnonzero(opened.any(axis=0))
  L, D, R = config.num_layers, config.embed_dim, config.slot_rank
  wide = lambda w: jnp.asarray(w)[:, kept].swapaxes(1, 2).reshape(L, D, -1)
  down = jnp.where(opened[:, kept, None, None],
                   jnp.asarray(pool['down'])[:, kept], 0.0)
  mlp = layers['mlp']
  layers['mlp'] = {
      'gate': jnp.concatenate([mlp['gate'], wide(pool['gate'])], axis=2),
      'up': jnp.concatenate([mlp['up'], wide(pool['up'])], axis=2),
      'down': jnp.concatenate([mlp['down'], down.reshape(L, -1, D)], axis=1)}
  folded = dataclasses.replace(
      config, num_slots=0, mlp_dim=config.mlp_dim + len(kept) * R,
      slot_rank=config.slot_rank if any(config.level_slots) else 0)
  return folded, {**params, 'layers': layers}


def pad_units(config: ModelConfig, params, multiple: int):
  """The same function with a width that kernels of servers divide evenly.

  Hidden units whose weights are zero are added to every layer's own MLP: their
  activation is zero, and so is what they add.

  Args:
    config, params: canonical, without slots in that MLP.
    multiple: of which `mlp_dim` becomes one; 1 changes nothing.

  Returns:
    (config, params).

  Raises:
    UserError: the multiple is less than 1.
  """
  if multiple < 1:
    raise UserError(f'a multiple of {multiple}: it must be at least 1.')
  more = -config.mlp_dim % multiple
  if not more:
    return config, params
  layers = params['layers']
  padded = {name: jnp.pad(jnp.asarray(w), [
      (0, more if axis == (1 if name == 'down' else 2) else 0)
      for axis in range(3)]) for name, w in layers['mlp'].items()}
  return (dataclasses.replace(config, mlp_dim=config.mlp_dim + more),
          {**params, 'layers': {**layers, 'mlp': padded}})
