"""Inner updates: what learning one dream alone would do to the held-in loss."""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from sleepjax.dreaming import loss
from sleepjax.growth.learner import Learner
from sleepjax.mesh import activations
from sleepjax.sampling.rows import Rows
from sleepjax.training.optimizer import promoting


class Trials(NamedTuple):
  """How every kept dream did.

  tau_before: [T] held-in loss of the model as it was, of each memory's
    questions, nats per token.
  tau_after: [n] the same, of its own memory, of the copy that learnt a dream
    alone.
  """

  tau_before: jax.Array
  tau_after: jax.Array


class Descent(NamedTuple):
  """How far an update goes.

  steps: of Adam, from a fresh state; none returns what was there.
  learning_rate: of Adam.
  """

  steps: int | jax.Array
  learning_rate: float | jax.Array


def descended(loss_fn, value, descent: Descent):
  """The value after Adam updates from a fresh state.

  Args:
    loss_fn: value -> loss [].
    value: where to start.
    descent: how far; may be traced.

  Returns:
    (value, loss []): the loss is that before the last update, 0 without any.
  """
  optimizer = promoting(optax.adam(descent.learning_rate))

  def update(_, carry):
    value, state, _ = carry
    now, gradient = jax.value_and_grad(loss_fn)(value)
    updates, state = optimizer.update(gradient, state, value)
    return optax.apply_updates(value, updates), state, now

  value, _, last = jax.lax.fori_loop(
      0, descent.steps, update, (value, optimizer.init(value), jnp.float32(0)))
  return value, last


@functools.partial(jax.jit, static_argnames='copies_at_once')
def dream_trials(start: Learner, dreams: Rows, held_in: Rows, task_n,
                 descent: Descent, *, copies_at_once: int = 0) -> Trials:
  """Isolated inner updates θ'^(i) = SFT(θ, dream_i), scored by τ.

  Copies of what is trained with their optimiser states are stacked and train at
  once; the frozen weights are shared by all, and only losses leave. What is as
  it was goes through the same loop with zero updates, once for each memory: a
  copy that learnt nothing then has exactly its τ, and no rounding can look like
  an improvement.

  Args:
    start: where every copy starts.
    dreams: the kept dreams, [n, P] and [n, N].
    held_in: [T, Q, ...] questions and answers of every memory.
    task_n: [n] which memory a dream is about.
    descent: of every copy.
    copies_at_once: copies that exist together, static; 0 for all.
  """
  T, n = held_in.completion.shape[0], dreams.completion.shape[0]

  def trial(own):
    own_steps, task, row = own
    dream = Rows(*(leaf[None] for leaf in row))
    copy, _ = descended(
        lambda value: loss.sft_losses(start.with_value(value), dream)[0],
        start.value, descent._replace(steps=own_steps))
    questions = Rows(*(leaf[task] for leaf in held_in))
    return loss.held_in_loss(start.with_value(copy), questions)

  # The first T learn nothing; what they would have learnt does not matter.
  all_steps = jnp.full(T + n, descent.steps, jnp.int32).at[:T].set(0)
  tasks = jnp.concatenate(
      [jnp.arange(T, dtype=jnp.int32), jnp.asarray(task_n, jnp.int32)])
  padded = Rows(*(jnp.concatenate([jnp.repeat(leaf[:1], T, 0), leaf])
                  for leaf in map(jnp.asarray, dreams)))
  together = copies_at_once or T + n
  # On a mesh every device has some of the copies and all of the questions.
  copies = jax.tree.map(activations.by_row, (all_steps, tasks, padded))
  tau = jax.lax.map(trial, copies, batch_size=(
      None if together == 1 else min(together, T + n)))
  return Trials(tau[:T], tau[T:])
