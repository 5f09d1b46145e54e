"""Negative log-likelihood of completions under the sleeping student.

Dreams are learnt, selected and scored by this one quantity: the student is the
frozen model with what is trained in its place, by default a slot, and nothing
else is in its context.
"""

import jax
import jax.numpy as jnp

from sleepjax.growth.adapters import OWN_MLP_SLOT, Adapter
from sleepjax.losses import from_hidden
from sleepjax.models import layout
from sleepjax.models.config import ModelConfig
from sleepjax.sampling import rows as rows_lib
from sleepjax.sampling.rows import Rows


def student_hidden_states(config: ModelConfig, frozen, value, index,
                          rows: Rows, part: Adapter = OWN_MLP_SLOT
                          ) -> jax.Array:
  """Hidden states [B, N, D] from which the student predicts completions."""
  student = part.insert(config, frozen, value, index)
  return rows_lib.completion_hidden(config, student, rows)


def completion_nll(config: ModelConfig, frozen, value, index, rows: Rows,
                   part: Adapter = OWN_MLP_SLOT) -> jax.Array:
  """−log p of every completion token [B, N] in nats; 0 where masked.

  Args:
    config: the model's shape, in either layout.
    frozen: its parameters; of a slot, whatever they hold in its place is
      ignored.
    value: what is trained, differentiable: a slot {gate [L, D, R],
      up [L, D, R], down [L, R, D]}, or what else `part` names.
    index: the slot's place in the pool.
    rows: prompts [B, P] and completions [B, N].
    part: how `value` is put into the parameters.
  """
  hidden = student_hidden_states(config, frozen, value, index, rows, part)
  log_probs = from_hidden.sequence_log_probs_from_hidden(
      hidden, layout.frozen_unembedding(config, frozen), rows.completion,
      matmul=layout.unembedding_matmul(config))
  return jnp.where(rows.completion_mask, -log_probs, 0.0)


def sft_losses(config: ModelConfig, frozen, value, index, rows: Rows,
               part: Adapter = OWN_MLP_SLOT) -> jax.Array:
  """L_SFT of every row [B]: mean nats per completion token; 0 without any."""
  nll_BxN = completion_nll(config, frozen, value, index, rows, part)
  tokens_B = rows.completion_mask.sum(-1, dtype=jnp.float32)
  return nll_BxN.sum(-1) / jnp.maximum(tokens_B, 1)


def held_in_loss(config: ModelConfig, frozen, value, index, held_in: Rows,
                 part: Adapter = OWN_MLP_SLOT) -> jax.Array:
  """τ: mean nats per answer token, pooled over questions; lower is better."""
  nll_QxN = completion_nll(config, frozen, value, index, held_in, part)
  tokens = held_in.completion_mask.sum(dtype=jnp.float32)
  return nll_QxN.sum() / jnp.maximum(tokens, 1)
