"""Consolidation: what a sender knows is seeded into its slower receiver.

arXiv 2606.03979, section 3.3. Whoever the sender is, the context or a fast MLP
level, the teacher is the model that still has the sender's memory, the student
one that has not, and a newborn slot of the receiver learns what lies between
them. How much of it was closed is measured on rows that it did not learn from,
and a hand-over that moves what should stay is undone.
"""

import dataclasses
import functools
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from sleepjax.losses import from_hidden
from sleepjax.losses.divergences import ForwardKL
from sleepjax.models import layout
from sleepjax.models.config import ModelConfig
from sleepjax.sampling import rows as rows_lib
from sleepjax.sampling.rows import Rows
from sleepjax.seeding import objective, update
from sleepjax.seeding.examples import Examples
from sleepjax.seeding.loop import Seeder
from sleepjax.training import phase_saves
from sleepjax.training.budget import Budget
from sleepjax.training.observer import Observer

_ROWS = 8  # Read at once where a divergence is measured,
_MOST_ROWS = 16  # and in all.


@dataclasses.dataclass(frozen=True)
class HandOver:
  """What one hand-over did; plain Python values, nats per token.

  sender, receiver: names of memory levels, see `level_name`.
  divergence_before, divergence_after: of the student from the teacher, on
    prompts that were not trained in it; None without any.
  retention_divergence: by which it moved the model on what should stay, kept
    or not; None without rows of that.
  rolled_back: that was more than allowed, and the model is as before.
  """

  sender: str
  receiver: str
  divergence_before: float | None
  divergence_after: float | None
  retention_divergence: float | None
  rolled_back: bool

  @property
  def closed(self) -> float | None:
    """The share of the divergence that it closed; None if there was none."""
    if not self.divergence_before:
      return None
    return 1 - self.divergence_after / self.divergence_before


@dataclasses.dataclass(frozen=True)
class Guard:
  """What a hand-over is measured on, and held to.

  held_out: rows about the same text that are not trained in it, or None.
  retention: rows on which the model should stay what it was, or None.
  max_divergence: nats per token by which it may move on them.
  """

  held_out: Examples | None = None
  retention: Rows | None = None
  max_divergence: float = float('inf')


def level_name(memory_level: int) -> str:
  """How reports call a memory level: 0 is the context."""
  return f'mlp {memory_level - 1}' if memory_level else 'context'


def consolidate(seeder: Seeder, newborn, key, *, between: tuple[str, str],
                guard: Guard | None = None, budget: Budget | None = None,
                observer: Observer, note: Mapping[str, Any] | None = None):
  """Seeds what the teacher of `seeder` knows into its slot.

  Args:
    seeder: teacher, student, examples and every term of the objective.
    newborn: value of what is trained before it learns.
    key: typed PRNG key.
    between: names of sender and receiver, see `level_name`.
    guard: what is measured, and what undoes it.
    budget: of the updates; None is no limit.
    observer: is shown phase `seed`, gets a line for each update, and keeps
      what is unfinished.
    note: added to each line.

  Returns:
    (value of what is trained, HandOver).
  """
  guard = guard or Guard()
  with observer.phase('seed', total=seeder.settings.steps) as phase:
    def report(step, values, tokens):
      observer.wrote('seed', step, {**(note or {}), **values})
      phase.advance(tokens=tokens, **{
          name: v for name, v in values.items() if name == 'divergence'})

    before = held_out_divergence(seeder, newborn, guard.held_out)
    state = update.init_state(
        seeder.settings, jax.tree.map(jnp.copy, newborn))
    meter, saves = observer.meter(budget or Budget()), observer.saves
    if saved := saves.restored('seed'):
      state = phase_saves.in_place_of(state, saved, 'the unfinished seeding')
      meter.restore(saved.metadata['spent'])
      phase.advance(saved.step)
    with saves.deferred():
      learnt = seeder.run(
          state, key, report, meter, lambda state: saves.save_if_due(
              'seed', int(state.step), state, {'spent': meter.spent()})).slot
    after = held_out_divergence(seeder, learnt, guard.held_out)
    moved, undone = None, False
    if guard.retention is not None:
      moved = float(retention_divergence(
          seeder.learner.config, *(
              seeder.learner.with_value(value).params
              for value in (newborn, learnt)), guard.retention))
      # Written so that a divergence that is not a number is undone, too.
      undone = not moved <= guard.max_divergence
      phase.advance(0, retention_divergence=moved, rolled_back=float(undone))
  return (newborn if undone else learnt), HandOver(
      *between, before, after, moved, undone)


def held_out_divergence(seeder: Seeder, value,
                        examples: Examples | None) -> float | None:
  """D of the student with `value` from its target, nats per token.

  The target is the teacher, or the completions themselves, as in training.

  Args:
    seeder: whose student, divergence and prefix are meant.
    value: of what is trained.
    examples: rows with the teacher's hidden states, of which at most 16 are
      read, evenly chosen; None gives None.
  """
  if examples is None:
    return None
  learner = seeder.learner
  sums, chosen = np.zeros(2), np.unique(np.linspace(
      0, len(examples) - 1, min(_MOST_ROWS, len(examples))).round().astype(int))
  for start in range(0, len(chosen), _ROWS):
    wanted = np.arange(start, start + _ROWS)
    rows, hidden = examples.take(chosen[np.minimum(wanted, len(chosen) - 1)])
    real = wanted < len(chosen)
    rows = rows._replace(
        completion_mask=rows.completion_mask & real[:, None])
    sums += np.asarray(_divergence(
        learner.config, seeder.settings, learner.frozen, value, learner.index,
        rows, hidden, seeder.terms.shared_ids, part=learner.part), np.float64)
  return float(sums[0] / max(sums[1], 1.0))


@functools.partial(jax.jit, static_argnums=(0, 1), static_argnames='part')
def _divergence(config, settings, frozen, value, index, rows, teacher_hidden,
                shared_ids, *, part):
  student = part.insert(config, frozen, value, index)
  segments = objective.shared_segments(config, student, shared_ids)
  hidden = rows_lib.completion_hidden(config, student, rows, segments)
  if settings.target == 'tokens':
    log_probs = from_hidden.sequence_log_probs_from_hidden(
        hidden, layout.frozen_unembedding(config, frozen), rows.completion,
        chunk_rows=settings.divergence.chunk_rows,
        matmul=layout.unembedding_matmul(config))
    mask = rows.completion_mask
    return jnp.stack([-jnp.where(mask, log_probs, 0).sum(),
                      mask.sum(dtype=jnp.float32)])
  total, weight, _ = objective.divergence(
      config, settings, layout.frozen_unembedding(config, frozen),
      teacher_hidden, hidden, rows.completion_mask)
  return jnp.stack([total, weight])


@functools.partial(jax.jit, static_argnums=0)
def retention_divergence(config: ModelConfig, before, after,
                         rows: Rows) -> jax.Array:
  """KL(before ‖ after) per completion token of the rows, in nats.

  Args:
    config: the model's shape, in either layout.
    before, after: parameters, the teacher's first; one unembedding.
    rows: text on which the model should stay what it was.
  """
  unembedding = layout.frozen_unembedding(config, before)
  old, new = (rows_lib.completion_hidden(config, params, rows)
              for params in (before, after))
  total, weight, _ = from_hidden.divergence_from_hidden(
      ForwardKL(), (old, unembedding), (new, unembedding),
      rows.completion_mask.astype(jnp.float32),
      matmul=layout.unembedding_matmul(config))
  return total / jnp.maximum(weight, 1.0)
