"""The outer update: the slot learns the dreams that helped (ReST^EM's M-step).

It continues from the slot as it is; ReST^EM as published restarts from the base
in every iteration. The paper does not say what dreaming writes into the model:
here it is this update of the slot, and the copies of the inner loop are gone.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp

from sleepjax.dreaming import inner, loss
from sleepjax.models import layout, transformer
from sleepjax.models.config import ModelConfig
from sleepjax.sampling.rows import Rows
from sleepjax.seeding import chunked


class Outcome(NamedTuple):
  """What the outer update made.

  slot: the updated slot.
  loss: [] reward-weighted loss before the last update.
  tau: [] held-in loss afterwards.
  retention: [] nats per token, or None without retention rows.
  """

  slot: dict
  loss: jax.Array
  tau: jax.Array
  retention: jax.Array | None


def reward_weighted_loss(config: ModelConfig, frozen, slot, index, dreams: Rows,
                         rewards_n) -> jax.Array:
  """Σ_i r_i · L_SFT(dream_i) / Σ_i r_i; zero if no dream has a reward."""
  losses_n = loss.sft_losses(config, frozen, slot, index, dreams)
  total = rewards_n.sum()
  return (rewards_n * losses_n).sum() / jnp.where(total > 0, total, 1.0)


def retention_divergence(config: ModelConfig, frozen, before, after, index,
                         rows: Rows) -> jax.Array:
  """KL(before ‖ after) per completion token of the rows, in nats.

  Args:
    config: the model's shape, in either layout.
    frozen: its parameters.
    before: the slot as it was; the teacher.
    after: the slot now.
    index: their place in the pool.
    rows: text on which the model should stay what it was.
  """
  head = transformer.unembedding(frozen)
  old, new = (loss.student_hidden_states(config, frozen, slot, index, rows)
              for slot in (before, after))
  total, weight, _ = chunked.divergence_from_hidden(
      'forward_kl', old, head, new, head,
      rows.completion_mask.astype(jnp.float32),
      matmul=layout.head_matmul(config))
  return total / jnp.maximum(weight, 1.0)


@functools.partial(jax.jit, static_argnums=0)
def outer_update(config: ModelConfig, frozen, slot, index, dreams: Rows,
                 rewards_n, held_in: Rows, retention: Rows | None, steps,
                 learning_rate) -> Outcome:
  """Adam updates on the reward-weighted loss, and what they did to the model.

  Args:
    config: the model's shape, in either layout.
    frozen: its parameters.
    slot: where to start.
    index: its place in the pool.
    dreams: the kept dreams, [n, P] and [n, N].
    rewards_n: their rewards, not all zero.
    held_in: questions and answers that define τ.
    retention: rows on which the model should stay what it was, or None.
    steps: Adam updates; may be traced, so is the learning rate.
    learning_rate: of Adam.
  """
  loss_fn = lambda slot: reward_weighted_loss(
      config, frozen, slot, index, dreams, rewards_n)
  updated, value = inner.descended(loss_fn, slot, steps, learning_rate)
  tau = loss.held_in_loss(config, frozen, updated, index, held_in)
  moved = None if retention is None else retention_divergence(
      config, frozen, slot, updated, index, retention)
  return Outcome(updated, value, tau, moved)
