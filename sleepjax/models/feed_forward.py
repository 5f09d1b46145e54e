"""The feed-forward half of a layer: SwiGLU, the slots beside it, extra levels.

Norms are here, too. Thin Linen layers, as in `sleepjax.models.transformer`.
"""

import dataclasses

import jax
import jax.numpy as jnp
from flax import linen as nn

from sleepjax.mesh import activations
from sleepjax.models import ops
from sleepjax.models.config import SLOT_MATRICES, ModelConfig


def kernel(module, name, shape, fan_in, split=None):
  """A weight, brought together on a mesh but for its axis `split`."""
  w = module.param(
      name, nn.initializers.normal(fan_in ** -0.5), shape, jnp.float32)
  return activations.gathered(w, split)


def activation(config: ModelConfig):
  """The nonlinearity of an MLP's gate."""
  return jax.nn.silu if config.mlp_activation == 'silu' else jax.nn.gelu


class Norm(nn.Module):
  config: ModelConfig

  @nn.compact
  def __call__(self, x):
    scale = self.param(
        'scale', nn.initializers.ones, (self.config.embed_dim,), jnp.float32)
    return ops.rms_norm(x, scale, self.config.rms_eps)


class Mlp(nn.Module):
  config: ModelConfig
  down_init: nn.initializers.Initializer | None = None

  @nn.compact
  def __call__(self, x):
    c = self.config
    D, F = c.embed_dim, c.mlp_dim
    if c.cpu_layout:
      gate_up = ops.matmul(
          x, kernel(self, 'gate_up', (2 * F, D), D), c.matmul_dtype, True)
      gate, up = jnp.split(gate_up, 2, axis=-1)
    else:
      gate = ops.matmul(
          x, kernel(self, 'gate', (D, F), D, 1), c.matmul_dtype)
      up = ops.matmul(
          x, kernel(self, 'up', (D, F), D, 1), c.matmul_dtype)
    gate, up = activations.by_unit(gate), activations.by_unit(up)
    hidden = activation(c)(gate) * up
    if c.cpu_layout:
      out = kernel(self, 'out', (D, F), F, 1)
      return ops.matmul(hidden, out, c.matmul_dtype, True)
    down_init = self.down_init or nn.initializers.normal(F ** -0.5)
    down = activations.gathered(
        self.param('down', down_init, (F, D), jnp.float32), 0)
    return ops.matmul(hidden, down, c.matmul_dtype)


class Slots(nn.Module):
  """y = Σ_n open_n · g_n(x) · slot_n(x), the grown part of an MLP.

  With `slot_form` 'swiglu', slot_n(x) = (silu(x A_n) ⊙ (x U_n)) B_n: N slots of
  rank R are N·R more hidden units of the block's own MLP. Without routing g is
  1. A closed slot contributes exactly zero and receives exactly zero gradient.

  Parameters may hold `extra` [B, N], bool: slots that a row of the batch uses
  besides, see `layout.with_extra_slots`. Routing then chooses them too; where
  all open ones are used anyway, they count twice.
  """

  config: ModelConfig
  num_slots: int

  @nn.compact
  def __call__(self, x):
    c = self.config
    N, D, R = self.num_slots, c.embed_dim, c.slot_rank
    # The units of all slots are one axis: slot by slot, as they are stored. On
    # a mesh that splits R the first of all, then the second: so it stays split.
    split = activations.splits_units()
    columns = (1, 2, 0) if split else (1, 0, 2)
    of_units = lambda of_slots: (
        jnp.tile(of_slots, R) if split else jnp.repeat(of_slots, R, axis=-1))
    wide = lambda name: ops.matmul(
        x, kernel(self, name, (N, D, R), D, 2).transpose(columns).reshape(
            D, N * R), c.matmul_dtype)
    matrices, hidden = SLOT_MATRICES[c.slot_form], 1.0
    if 'gate' in matrices:
      hidden *= activation(c)(wide('gate'))
    if 'up' in matrices:
      hidden *= wide('up')
    down = activations.gathered(self.param(
        'down', nn.initializers.zeros, (N, R, D), jnp.float32), 1)
    opened = self.param('open', nn.initializers.zeros, (N,), jnp.bool_)
    extra = None
    if self.has_variable('params', 'extra'):
      extra = self.get_variable('params', 'extra')[:, None] & opened
      if not (c.slot_routing == 'sigmoid' and 0 < c.slot_top_k < N):
        hidden *= of_units(1.0 + extra.astype(jnp.float32))
    if c.slot_routing == 'sigmoid':
      router = self.param('router', nn.initializers.zeros, (N, D), jnp.float32)
      gates = 2 * jax.nn.sigmoid(ops.matmul(x, router.T, c.matmul_dtype))
      opened = jnp.broadcast_to(opened, gates.shape)
      if 0 < c.slot_top_k < N:
        among = jnp.where(opened, gates, -1.0)
        _, best = jax.lax.top_k(among, c.slot_top_k)
        opened &= jax.nn.one_hot(best, N, dtype=jnp.bool_).any(-2)
        if extra is not None:
          opened |= extra
      hidden *= of_units(gates)
    hidden = jnp.where(of_units(opened), hidden, 0.0)
    rows = down.transpose(1, 0, 2) if split else down
    return ops.matmul(hidden, rows.reshape(N * R, D), c.matmul_dtype)


class Level(nn.Module):
  """y = MLP(norm(x)) + slots(norm(x)): an extra level, zero at birth.

  Its weights learn while the model is awake: they are the same in every layout.
  """

  config: ModelConfig
  level: int

  @nn.compact
  def __call__(self, x):
    c = self.config
    own = dataclasses.replace(
        c, mlp_dim=c.level_dims[self.level], cpu_layout=False)
    x = Norm(c, name='norm')(x)
    out = Mlp(own, nn.initializers.zeros, name='mlp')(x)
    if c.slots_of(self.level):
      out += Slots(c, c.slots_of(self.level), name='slots')(x)
    return out
