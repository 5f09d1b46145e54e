"""Negative log-likelihood of completions under the sleeping student.

Dreams are learnt, selected and scored by this one quantity: the student is the
frozen model with the trainable slot in its place, and nothing else is in its
context.
"""

import jax
import jax.numpy as jnp

from sleepjax.models import layout, transformer
from sleepjax.models.config import ModelConfig
from sleepjax.sampling import rows as rows_lib
from sleepjax.sampling.rows import Rows
from sleepjax.seeding import chunked


def student_hidden_states(config: ModelConfig, frozen, slot, index,
                          rows: Rows) -> jax.Array:
  """Hidden states [B, N, D] from which the student predicts completions."""
  student = layout.insert_slot(config, frozen, slot, index)
  return rows_lib.completion_hidden(config, student, rows)


def completion_nll(config: ModelConfig, frozen, slot, index,
                   rows: Rows) -> jax.Array:
  """−log p of every completion token [B, N] in nats; 0 where masked.

  Args:
    config: the model's shape, in either layout.
    frozen: its parameters; whatever they hold in pool entry `index` is ignored.
    slot: {gate [L, D, R], up [L, D, R], down [L, R, D]}; differentiable.
    index: its place in the pool.
    rows: prompts [B, P] and completions [B, N].
  """
  hidden = student_hidden_states(config, frozen, slot, index, rows)
  log_probs = chunked.sequence_log_probs_from_hidden(
      hidden, transformer.unembedding(frozen), rows.completion,
      matmul=layout.head_matmul(config))
  return jnp.where(rows.completion_mask, -log_probs, 0.0)


def sft_losses(config: ModelConfig, frozen, slot, index,
               rows: Rows) -> jax.Array:
  """L_SFT of every row [B]: mean nats per completion token; 0 without any."""
  nll_BxN = completion_nll(config, frozen, slot, index, rows)
  return nll_BxN.sum(-1) / jnp.maximum(rows.completion_mask.sum(-1), 1)


def held_in_loss(config: ModelConfig, frozen, slot, index,
                 held_in: Rows) -> jax.Array:
  """τ: mean nats per answer token, pooled over questions; lower is better."""
  nll_QxN = completion_nll(config, frozen, slot, index, held_in)
  return nll_QxN.sum() / jnp.maximum(held_in.completion_mask.sum(), 1)
