"""Weights that are moved on questions with their answers, one way or the other.

Rivals of closing a slot, which forget what stands in any weight: gradient
ascent, negative preference optimisation, low-rank deltas that are subtracted.
The other way round it is how fast something is learnt again.
"""

import dataclasses
import functools
from collections.abc import Iterator, Sequence

import jax
import jax.numpy as jnp
import numpy as np
import optax

from sleepjax.data.documents import Question
from sleepjax.evals.questions import completion_log_probs
from sleepjax.growth.adapters import Adapter
from sleepjax.losses import unlearning
from sleepjax.model import Model
from sleepjax.sampling import rows as rows_lib
from sleepjax.sampling.rows import Rows

LOSSES = 'descent', 'ascent', 'npo'


@dataclasses.dataclass(frozen=True)
class Moving:
  """How weights are moved.

  loss: 'descent' learns the answers; 'ascent' and 'npo' make them unlikely,
    see `sleepjax.losses.unlearning`.
  rate: of Adam, constant.
  beta: of NPO.
  """

  loss: str = 'descent'
  rate: float = 1e-3
  beta: float = 0.1

  def __post_init__(self):
    if self.loss not in LOSSES:
      raise ValueError(f'loss={self.loss!r} must be one of '
                       f'{", ".join(LOSSES)}.')
    for name in ('rate', 'beta'):
      if not getattr(self, name) > 0:
        raise ValueError(f'{name}={getattr(self, name)} must be positive.')


def answer_rows(model: Model, asked: Sequence[Question], prompt: str) -> Rows:
  """Rows [B, …] of questions, closed book, with their answers to complete.

  Args:
    model: whose tokens.
    asked: questions with their answers.
    prompt: how they are put, with {question}.
  """
  chat = model.chat
  prompts = [chat.closed_book(prompt.format(question=q.question))
             for q in asked]
  golds = [chat.tokenizer.encode(q.answer) for q in asked]
  # Hardly padded: the same few rows are read again and again.
  return Rows(*rows_lib.pad_left(
      prompts, rows_lib.bucket(max(map(len, prompts)), 8)),
              *rows_lib.pad_right(golds, max(map(len, golds))))


def moved(model: Model, part: Adapter, rows: Rows, settings: Moving, *,
          retained: Rows | None = None, key: int = 0) -> Iterator[dict]:
  """Moves what `part` names of a model's weights, without end.

  Args:
    model: in a layout for compute that stores float32.
    part: what is moved.
    rows: on all of which each update is made.
    settings: which way, and how fast.
    retained: rows of which each update learns as many as there are in `rows`,
      drawn at random, with the same weight.
    key: seed of what is drawn, and of what `part` begins with.

  Yields:
    After every update the value of `part` (`Adapter.insert`).
  """
  value = part.init(model.config, jax.random.key(key))
  state = value, _optimizer(settings).init(value)
  reference = completion_log_probs(model.config, model.params, rows)
  rng = np.random.default_rng(key)
  while True:
    drawn = None
    if retained is not None:
      chosen = rng.choice(len(retained.prompt), len(rows.prompt))
      drawn = Rows(*(leaf[chosen] for leaf in retained))
    state = _update(model.config, part, settings, model.params, state, rows,
                    reference, drawn)
    yield state[0]


def _optimizer(settings):
  return optax.adam(settings.rate)


@functools.partial(jax.jit, static_argnums=(0, 1, 2))
def _update(config, part, settings, frozen, state, rows, reference, retained):
  value, opt_state = state

  def loss(value):
    params = part.insert(config, frozen, value)
    total = _loss(settings, completion_log_probs(config, params, rows),
                  reference, rows.completion_mask)
    if retained is not None:
      total += _loss(
          Moving(), completion_log_probs(config, params, retained), None,
          retained.completion_mask)
    return total

  updates, opt_state = _optimizer(settings).update(
      jax.grad(loss)(value), opt_state)
  return optax.apply_updates(value, updates), opt_state


def _loss(settings, log_probs, reference, mask):
  """[], per completion."""
  if settings.loss == 'npo':
    total, weight, _ = unlearning.negative_preference_loss(
        log_probs, reference, mask, settings.beta)
  else:
    total, weight, _ = unlearning.gradient_ascent_loss(log_probs, mask)
  return (-1 if settings.loss == 'descent' else 1) * total / jnp.maximum(
      weight, 1)
