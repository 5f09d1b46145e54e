"""One token a position in place of the teacher's whole distribution.

A teacher may give less than its distribution: a sample of it at every position
of a completion, or the likeliest token there. D is then their cross-entropy. Of
samples its expectation has the gradient of forward KL at temperature 1; of the
likeliest token it does not.
"""

import functools

import jax
import jax.numpy as jnp

from sleepjax.growth.learner import Learner
from sleepjax.models import layout
from sleepjax.models.config import ModelConfig
from sleepjax.seeding.settings import NAMED


@functools.partial(jax.jit, static_argnums=0)
def teacher_tokens(config: ModelConfig, frozen, hidden, key=None):
  """Token ids [B, N] that a teacher names at every position.

  The logits of one row are in memory at a time.

  Args:
    config, frozen: a model with the teacher's unembedding.
    hidden: [B, N, D] from which the teacher predicts.
    key: typed PRNG key of the samples; None names the likeliest tokens.
  """
  unembedding = layout.frozen_unembedding(config, frozen)
  project = layout.unembedding_matmul(config)

  def of_row(numbered):
    number, hidden_NxD = numbered
    logits = project(hidden_NxD, unembedding)
    if key is None:
      return jnp.argmax(logits, axis=-1)
    return jax.random.categorical(jax.random.fold_in(key, number), logits)

  return jax.lax.map(of_row, (jnp.arange(len(hidden)), jnp.asarray(hidden)))


def named_by(target: str, learner: Learner, hidden, key):
  """The tokens of an update, or None where whole distributions are the target.

  Args:
    target: of `SeedingConfig`.
    learner: whose unembedding the teacher shares.
    hidden: [B, N, D] from which the teacher predicts; None where it is not
      asked, as nothing weighs D.
    key: typed PRNG key of the update.
  """
  if target not in NAMED or hidden is None:
    return None
  return teacher_tokens(learner.config, learner.frozen, hidden, (
      jax.random.fold_in(key, 1) if target == 'sampled' else None))
