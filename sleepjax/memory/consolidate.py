"""Compute – consolidate – update: one memory level hands over to the next.

arXiv 2606.03979, section 3.3. The sender's base update is computed and held
back. The teacher is the model as it is: old weights, the sender's slots and, if
the sender is attention, the context in its cache. The student has the
prospective weights, the sender's slots closed, no context, and a newborn slot
in the receiver, the only thing that learns. What comes back is the student
itself, so that the update, applied at the end, gives exactly the trained model.

Memory level 0 is attention; memory level ℓ + 1 is MLP level ℓ. What is learnt
was asked of the sender while it held it (`material`); how is
`seeding.consolidation`'s, as for a night.
"""

import dataclasses
import functools
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from sleepjax.growth import slots
from sleepjax.growth.adapters import Slot
from sleepjax.growth.learner import Learner
from sleepjax.memory.material import Asking, Holder, Prompts
from sleepjax.memory.stretches import StretchConfig, Stretches
from sleepjax.models import layout, transformer
from sleepjax.models.config import ModelConfig
from sleepjax.seeding import consolidation, loop
from sleepjax.seeding.consolidation import Guard, HandOver, level_name
from sleepjax.seeding.roles import Privilege
from sleepjax.seeding.settings import SeedingConfig
from sleepjax.training.observer import Observer, silent

_GUARDED_ROWS = 32  # Of retention, on which it is seen what a hand-over moves.


@dataclasses.dataclass(frozen=True)
class ConsolidationConfig:
  """How a slot is seeded from a stream of tokens.

  seeding: the objective and its optimizer.
  stretches: of what the sender has seen, which it continues where nothing else
    is asked of it.
  max_retention_divergence: nats per token by which a hand-over may move the
    model on what it is to retain; beyond it what it has learnt is undone.
  """

  seeding: SeedingConfig = SeedingConfig()
  stretches: StretchConfig = StretchConfig()
  max_retention_divergence: float = 1.0


class Sides(NamedTuple):
  """The two models of a hand-over, canonical parameters of one shape.

  teacher: the running model.
  student: the same with the sender's base update in place; the teacher itself
    if the sender is attention, which has none.
  """

  teacher: Any
  student: Any


@dataclasses.dataclass(frozen=True)
class Source:
  """Where the material of a hand-over comes from.

  asking: how a sender is asked; None has it continue stretches.
  earlier: prompts that were asked at hand-overs before.
  """

  asking: Asking | None = None
  earlier: Prompts = ()

  def asking_of(self, settings: ConsolidationConfig) -> Asking:
    """How it is asked, with the default of `settings`."""
    return self.asking or Stretches(settings.stretches)


class Consolidated(NamedTuple):
  """What a consolidation leaves.

  params: the model after the update, which is the trained student bit for bit.
  hand_over: what was done; without any divergence if there was nothing to hand
    over, and then no slot of the receiver is in use for it.
  asked: the prompts that were learnt from.
  """

  params: Any
  hand_over: HandOver
  asked: Prompts = ()


def _seed_slot(config, sides, place, material, segments, settings, key,
               between, observer):
  """Trains one open slot of the student to do what the teacher does.

  Args:
    place: (MLP level, number of the slot in its pool).
    material: what is learnt.
    segments: what the teacher alone has in its cache.
    between, observer: see `consolidate`.

  Returns:
    (the student's parameters with the trained slot, HandOver).
  """
  level, index = place
  m = material
  seeder = loop.Seeder(
      Learner(config, sides.student, Slot(level), index),
      settings.seeding, loop.Terms(m.examples, m.rehearsal, m.retention),
      Privilege(segments, params=sides.teacher))
  slot, hand_over = consolidation.consolidate(
      seeder, slots.read_slot(config, sides.student, index, level), key,
      between=between, guard=Guard(
          m.held_out, m.retention and _some(m.retention),
          settings.max_retention_divergence), observer=observer)
  return layout.insert_slot(
      config, sides.student, slot, index, level), hand_over


def _some(examples):
  """Rows of examples, evenly chosen, as many whenever there are enough."""
  chosen = np.linspace(
      0, len(examples) - 1, min(_GUARDED_ROWS, len(examples))).round()
  return examples.take(chosen.astype(int))[0]


def merge_oldest(config: ModelConfig, params, level: int,
                 tokens: Sequence[int], settings: ConsolidationConfig, key, *,
                 source: Source | None = None,
                 observer: Observer | None = None):
  """Makes room in a full pool: its two oldest slots become one.

  By distillation: the teacher is the model with both; the student keeps the
  units that matter most as its oldest slot, which learns, and drops the other.

  Args:
    config, params: a model whose pool at `level` is full.
    level: MLP level.
    tokens: ids of what was seen last.
    settings: every choice.
    key: typed PRNG key.
    source, observer: see `consolidate`.

  Returns:
    Parameters whose pool has its last entry closed.
  """
  source, observer = source or Source(), observer or silent()
  close_key, ask_key, seed_key = jax.random.split(key, 3)
  opened = slots.opened_layers(config, params, level)
  student = slots.open_slot(
      config, params, slots.strongest_units(config, params, 0, 1, level), 0,
      opened[:, 0] | opened[:, 1], level)
  student = slots.close_slot(config, student, 1, close_key, level)
  material = source.asking_of(settings).recite(Holder(
      config, params, student, (), tokens, source.earlier), ask_key)
  if material is not None:
    oldest = f'two oldest of {level_name(level + 1)}'
    student, _ = _seed_slot(
        config, Sides(params, student), (level, 0), material, (), settings,
        seed_key, (oldest, oldest), observer)
  return slots.open_first(config, student, level)


_read = jax.jit(transformer.hidden_states, static_argnums=0)
_jitted = functools.partial(jax.jit, static_argnames=('config', 'level'))
_close_all = _jitted(slots.close_all)
_open_slot = _jitted(slots.open_slot)


def consolidate(config: ModelConfig, sides: Sides, sender: int,
                tokens: Sequence[int], settings: ConsolidationConfig, key, *,
                source: Source | None = None,
                observer: Observer | None = None) -> Consolidated:
  """One consolidation, from a memory level into the next slower one.

  Args:
    config: the model's shape, with a pool of slots at the receiver.
    sides: teacher and student, canonical layout. They are not changed.
    sender: memory level; the receiver is sender + 1.
    tokens: what the sender has seen since its last sleep. If the sender is
      attention they are the teacher's context, too.
    settings: every choice.
    key: typed PRNG key.
    source: how the sender is asked for what it holds; by default it continues
      stretches of `tokens`.
    observer: is shown the seeding, and gets a line for every update.

  Raises:
    ValueError: the sender has no slower neighbour, or that has no pool of at
      least two slots.
  """
  if not 0 <= sender < config.num_levels:
    raise ValueError(
        f'sender={sender}: expected a memory level from 0 (attention) to '
        f'{config.num_levels - 1}, which has a slower neighbour.')
  level = sender  # Memory level sender + 1 is MLP level sender.
  if config.slots_of(level) < 2:
    raise ValueError(
        f'MLP level {level} has a pool of {config.slots_of(level)} slots: '
        'allocate at least two (growth.slots.allocate_pool), so that the '
        'oldest can merge when it is full.')
  source, observer = source or Source(), observer or silent()
  between = level_name(sender), level_name(sender + 1)
  prune_key, merge_key, new_key, key = jax.random.split(key, 4)
  ask_key, seed_key = jax.random.split(key)
  student, segments = sides.student, ()
  if sender:
    student = _close_all(config, student, prune_key, level=sender - 1)
  else:
    segments = (_read(
        config, sides.teacher, np.asarray(tokens, np.int32)[None])[1],)
  material = source.asking_of(settings).write(Holder(
      config, sides.teacher, student, segments, tokens, source.earlier),
      ask_key)
  if material is None:
    return Consolidated(student, HandOver(*between, None, None, None, False))
  if np.asarray(slots.is_open(config, student, level)).all():
    student = merge_oldest(config, student, level, tokens, settings, merge_key,
                           source=source, observer=observer)
  index = int(np.argmin(slots.is_open(config, student, level)))
  newborn = slots.new_slot(config, new_key, config.slot_rank, level)
  student = _open_slot(
      config, student, newborn, index, jnp.ones(len(newborn['down']), bool),
      level=level)
  student, hand_over = _seed_slot(
      config, sides._replace(student=student), (level, index), material,
      segments, settings, seed_key, between, observer)
  return Consolidated(student, hand_over, material.asked)
