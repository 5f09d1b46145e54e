"""The train step of knowledge seeding: one update of what is trained.

Its gradient is that of the whole batch's objective. With
`SeedingConfig.rows_at_once` it is the sum of the gradients of groups of rows,
and as many activations are in memory as one group has.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from sleepjax.errors import UserError
from sleepjax.growth.adapters import OWN_MLP_SLOT, Adapter
from sleepjax.mesh import sharding
from sleepjax.models.config import ModelConfig
from sleepjax.seeding.objective import Batch, objective
from sleepjax.seeding.settings import SeedingConfig
from sleepjax.training.optimizer import promoting

# Of a batch, what has one entry for each of its rows.
_OF_ROWS = ('rows', 'teacher_hidden', 'advantage', 'sampled_log_probs',
            'prefixes', 'states', 'named')


class SlotState(NamedTuple):
  """The only thing that seeding changes.

  slot: a slot, or whatever else is trained, see `trainable`.
  teacher: the moving average of `slot`, or None for a frozen teacher.
  """

  slot: dict
  opt_state: optax.OptState
  step: jax.Array
  teacher: dict | None = None


def make_optimizer(settings: SeedingConfig) -> optax.GradientTransformation:
  schedule = optax.warmup_cosine_decay_schedule(
      settings.learning_rate / max(settings.warmup_steps, 1),
      settings.learning_rate, settings.warmup_steps,
      max(settings.updates, settings.warmup_steps + 1),
      end_value=settings.learning_rate / 10)
  return promoting(optax.chain(
      optax.clip_by_global_norm(settings.clip_norm),
      optax.adamw(schedule, weight_decay=0.0)))


def init_state(settings: SeedingConfig, slot) -> SlotState:
  teacher = (jax.tree.map(jnp.copy, slot)
             if settings.teacher == 'ema' else None)
  return SlotState(
      slot, make_optimizer(settings).init(slot), jnp.int32(0), teacher)


@functools.partial(jax.jit, static_argnums=(0, 1, 6), donate_argnums=3)
def seeding_step(config: ModelConfig, settings: SeedingConfig, frozen,
                 state: SlotState, index, batch: Batch,
                 part: Adapter = OWN_MLP_SLOT):
  """One AdamW update of the slot, or what else `part` names; no other moves.

  Returns:
    (new SlotState, metrics with the global gradient norm).

  Raises:
    UserError: rows_at_once does not divide the batch.
  """
  gradient, metrics = _gradient(
      config, settings, frozen, state.slot, index, batch, part)
  updates, opt_state = make_optimizer(settings).update(
      gradient, state.opt_state, state.slot)
  slot = optax.apply_updates(state.slot, updates)
  metrics['gradient_norm'] = optax.tree.norm(gradient)
  teacher = state.teacher
  if teacher is not None:
    teacher = optax.incremental_update(slot, teacher, 1 - settings.ema_decay)
  return sharding.constrained(SlotState(
      slot, opt_state, state.step + 1, teacher)), metrics


def _gradient(config, settings, frozen, slot, index, batch, part):
  """(gradient of the objective in `slot`, metrics)."""
  def of(some):
    return jax.grad(
        lambda slot: objective(
            config, settings, frozen, slot, index, some, part, whole=batch),
        has_aux=True)(slot)

  B = len(batch.rows.prompt)
  at_once = settings.rows_at_once or B
  if at_once == B:
    return of(batch)
  if B % at_once:
    raise UserError(
        f'rows_at_once={at_once} must divide the {B} rows of a batch.')
  # Only the sampled estimator compares rows, those of one prefix.
  unit = settings.group_size if settings.estimator == 'sampled' else 1
  of_rows = {name: _in_groups(getattr(batch, name), B // at_once, unit)
             for name in _OF_ROWS}
  zeros = jax.tree.map(jnp.zeros_like, slot)

  def add(total, own):
    gradient, metrics = of(Batch(
        **own, shared_prefix=batch.shared_prefix,
        other_states=batch.other_states))
    return jax.tree.map(jnp.add, total, gradient), metrics

  gradient, metrics = jax.lax.scan(add, zeros, of_rows)
  metrics = jax.tree.map(lambda x: x.sum(0), metrics)
  other, other_metrics = of(batch._replace(**dict.fromkeys(_OF_ROWS)))
  loss = metrics['loss'] + other_metrics['loss']
  return (jax.tree.map(jnp.add, gradient, other),
          {**metrics, **other_metrics, 'loss': loss})


def _in_groups(tree, groups, unit):
  """[B, ...] → [groups, B / groups, ...]; `unit` rows stay together.

  Group i takes units i, i + groups, ...: where rows are sharded, every device
  then holds its share of every group already.
  """
  def split(x):
    x = jnp.asarray(x)
    x = x.reshape(-1, groups, unit, *x.shape[1:]).swapaxes(0, 1)
    return x.reshape(groups, -1, *x.shape[3:])
  return jax.tree.map(split, tree)
