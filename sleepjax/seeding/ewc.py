"""Elastic weight consolidation (Kirkpatrick et al. 2017, arXiv 1612.00796).

A baseline that protects what a model knows by a quadratic penalty instead of by
growth: λ/2 Σ_i F_i (θ_i − θ*_i)², F the diagonal of the Fisher matrix at θ*.
What is trained here are deltas from θ*, which are zero there.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from sleepjax.growth.adapters import Adapter
from sleepjax.losses import from_hidden
from sleepjax.models import finite, layout, transformer
from sleepjax.models.config import ModelConfig
from sleepjax.models.transformer import Segment
from sleepjax.sampling import rows as rows_lib
from sleepjax.sampling.rows import Rows


@functools.partial(jax.jit, static_argnums=(0, 1))
def _squared_gradient(config, part, frozen, tree, index, row, segments):
  def log_prob(tree):
    model = part.insert(config, frozen, tree, index)
    hidden = rows_lib.completion_hidden(config, model, row, segments)
    log_probs = from_hidden.sequence_log_probs_from_hidden(
        hidden, transformer.unembedding(frozen), row.completion,
        matmul=layout.unembedding_matmul(config))
    return jnp.where(row.completion_mask, log_probs, 0).sum()
  return jax.tree.map(jnp.square, jax.grad(log_prob)(tree))


def fisher_diagonal(config: ModelConfig, part: Adapter, frozen, tree,
                    rows: Rows, index=0, segments: tuple[Segment, ...] = ()):
  """F_i = mean over rows of (∂ log p(completion | prompt) / ∂θ_i)².

  With completions that the model itself sampled at temperature 1 this estimates
  the Fisher matrix; with others it is an empirical one.

  Args:
    config, frozen: the model, in either layout.
    part, tree: what will be trained, at its start.
    rows: prompts and completions [B, …]; one backward pass for each.
    index: of a slot.
    segments: what the prompts follow.

  Returns:
    A tree shaped like `tree`, float32, nowhere negative.

  Raises:
    ValueError: there are no rows.
    NotFiniteError: a gradient, or its square, is not finite.
  """
  number = len(rows.prompt)
  if not number:
    raise ValueError('fisher_diagonal needs at least one row.')
  total = jax.tree.map(jnp.zeros_like, tree)
  for i in range(number):
    row = Rows(*(np.asarray(leaf)[i:i + 1] for leaf in rows))
    total = jax.tree.map(jnp.add, total, _squared_gradient(
        config, part, frozen, tree, index, row, segments))
  total = jax.tree.map(lambda leaf: leaf / number, total)
  finite.check_state(
      'ewc', f'of {number} rows', total,
      'What the model says of these rows is too unlikely: choose others.')
  return total
