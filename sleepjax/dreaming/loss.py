"""Negative log-likelihood of completions under the sleeping student.

Dreams are learnt, selected and scored by this one quantity: the student is the
frozen model with what is trained in its place, by default a slot, and nothing
else is in its context.
"""

import jax
import jax.numpy as jnp

from sleepjax.growth.learner import Learner
from sleepjax.losses import from_hidden
from sleepjax.models import layout
from sleepjax.sampling import rows as rows_lib
from sleepjax.sampling.rows import Rows


def completion_nll(learner: Learner, rows: Rows) -> jax.Array:
  """−log p of every completion token [B, N] in nats; 0 where masked.

  Args:
    learner: the student; differentiable in its value, see
      `Learner.with_value`.
    rows: prompts [B, P] and completions [B, N].
  """
  config = learner.config
  hidden = rows_lib.completion_hidden(config, learner.params, rows)
  log_probs = from_hidden.sequence_log_probs_from_hidden(
      hidden, layout.frozen_unembedding(config, learner.frozen),
      rows.completion, matmul=layout.unembedding_matmul(config))
  return jnp.where(rows.completion_mask, -log_probs, 0.0)


def sft_losses(learner: Learner, rows: Rows) -> jax.Array:
  """L_SFT of every row [B]: mean nats per completion token; 0 without any."""
  nll_BxN = completion_nll(learner, rows)
  tokens_B = rows.completion_mask.sum(-1, dtype=jnp.float32)
  return nll_BxN.sum(-1) / jnp.maximum(tokens_B, 1)


def held_in_loss(learner: Learner, held_in: Rows) -> jax.Array:
  """τ: mean nats per answer token, pooled over questions; lower is better."""
  nll_QxN = completion_nll(learner, held_in)
  tokens = held_in.completion_mask.sum(dtype=jnp.float32)
  return nll_QxN.sum() / jnp.maximum(tokens, 1)
