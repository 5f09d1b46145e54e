"""Inner updates: what learning one dream alone would do to the held-in loss."""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from sleepjax.dreaming import loss
from sleepjax.models.config import ModelConfig
from sleepjax.sampling.rows import Rows


class Trials(NamedTuple):
  """How every kept dream did.

  tau_before: [] held-in loss of the slot as it was, nats per token.
  tau_after: [n] held-in loss of the copy that learnt dream i alone.
  """

  tau_before: jax.Array
  tau_after: jax.Array


def descended(loss_fn, slot, steps, learning_rate):
  """The slot after Adam updates from a fresh state.

  Args:
    loss_fn: slot -> loss [].
    slot: where to start.
    steps: number of updates; may be traced, 0 returns the slot unchanged.
    learning_rate: of Adam.

  Returns:
    (slot, loss []): the loss is that before the last update, 0 without any.
  """
  optimizer = optax.adam(learning_rate)

  def update(_, carry):
    slot, state, _ = carry
    value, gradient = jax.value_and_grad(loss_fn)(slot)
    updates, state = optimizer.update(gradient, state, slot)
    return optax.apply_updates(slot, updates), state, value

  slot, _, value = jax.lax.fori_loop(
      0, steps, update, (slot, optimizer.init(slot), jnp.float32(0)))
  return slot, value


def inner_update(config: ModelConfig, frozen, slot, index, dream: Rows, steps,
                 learning_rate):
  """A copy of the slot after `steps` updates on one dream, Rows of [1, ...]."""
  loss_fn = lambda copy: loss.sft_losses(
      config, frozen, copy, index, dream)[0]
  return descended(loss_fn, slot, steps, learning_rate)[0]


@functools.partial(jax.jit, static_argnums=0)
def dream_trials(config: ModelConfig, frozen, slot, index, dreams: Rows,
                 held_in: Rows, steps, learning_rate) -> Trials:
  """Isolated inner updates θ'^(i) = SFT(θ, dream_i), scored by τ.

  Copies exist one after the other and only their losses are kept, so memory
  holds one copy with its optimiser state whatever n is. The slot as it was
  goes through the same loop with zero updates: a copy that learnt nothing then
  has exactly its τ, and no rounding can look like an improvement.

  Args:
    config: the model's shape, in either layout.
    frozen: its parameters, shared by all copies.
    slot: where every copy starts.
    index: its place in the pool.
    dreams: the kept dreams, [n, P] and [n, N].
    held_in: questions [Q, P'] and answers [Q, N'] that define τ.
    steps: Adam updates of every copy; may be traced, so is the learning rate.
    learning_rate: of Adam.
  """
  def trial(steps_and_row):
    own_steps, row = steps_and_row
    dream = Rows(*(part[None] for part in row))
    copy = inner_update(
        config, frozen, slot, index, dream, own_steps, learning_rate)
    return loss.held_in_loss(config, frozen, copy, index, held_in)

  n = dreams.completion.shape[0]
  all_steps = jnp.full(n + 1, steps, jnp.int32).at[0].set(0)
  padded = Rows(*(jnp.concatenate([part[:1], part]) for part in dreams))
  tau = jax.lax.map(trial, (all_steps, padded))
  return Trials(tau[0], tau[1:])


def improvement_reward(tau_before, tau_after) -> jax.Array:
  """1 where τ fell, strictly, else 0 (Eq. 5); not a number earns 0."""
  return (jnp.asarray(tau_after) < tau_before).astype(jnp.float32)
