"""Compute – consolidate – update: one memory level hands over to the next.

arXiv 2606.03979, section 3.3. The sender's base update is computed and held
back. The teacher is the model as it is: old weights, the sender's slots and, if
the sender is attention, the context in its cache. The student has the
prospective weights, the sender's slots closed, no context, and a newborn slot
in the receiver, the only thing that learns. What comes back is the student
itself, so that the update, applied at the end, gives exactly the trained model.

Memory level 0 is attention; memory level ℓ + 1 is MLP level ℓ. What is learnt
is `seeding.consolidation`'s, as for a night.
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
from sleepjax.mesh.sharding import to_host
from sleepjax.models import layout, transformer
from sleepjax.models.config import ModelConfig
from sleepjax.models.transformer import Segment
from sleepjax.sampling import sampler
from sleepjax.seeding import consolidation, loop
from sleepjax.seeding.consolidation import Guard, level_name
from sleepjax.seeding.examples import Examples, score_examples
from sleepjax.seeding.roles import Privilege
from sleepjax.seeding.settings import SeedingConfig
from sleepjax.training.observer import Observer, silent

_SAMPLED_ROWS = 16


@dataclasses.dataclass(frozen=True)
class ConsolidationConfig:
  """How a slot is seeded from a stream of tokens.

  The paper does not say what the dreams' prompts are: here they are stretches
  of what the sender has seen since its last sleep, which the teacher continues.

  seeding: the objective and its optimizer.
  dreams: how many the teacher writes.
  held_out: how many more, which nothing is trained on: the divergence before
    and after a hand-over is taken on them; 0 takes none.
  prompt_tokens: length of a stretch.
  dream_tokens: length of what follows it.
  temperature: at which the teacher writes.
  max_retention_divergence: nats per token by which a hand-over may move the
    model on what it is to retain; beyond it what it has learnt is undone.
  """

  seeding: SeedingConfig = SeedingConfig()
  dreams: int = 32
  held_out: int = 8
  prompt_tokens: int = 16
  dream_tokens: int = 32
  temperature: float = 1.0
  max_retention_divergence: float = 1.0

  def __post_init__(self):
    for name, least in (('dreams', 1), ('prompt_tokens', 1),
                        ('dream_tokens', 1), ('held_out', 0)):
      if getattr(self, name) < least:
        raise ValueError(
            f'{name}={getattr(self, name)} must be at least {least}.')


class Sides(NamedTuple):
  """The two models of a hand-over, canonical parameters of one shape.

  teacher: the running model.
  student: the same with the sender's base update in place; the teacher itself
    if the sender is attention, which has none.
  """

  teacher: Any
  student: Any


class Others(NamedTuple):
  """What a hand-over must leave alone: prompts as token ids.

  rehearsal: that contain a text of their own, which the model shall go on
    using; retention: without one, about what it knows.
  """

  rehearsal: Sequence[Sequence[int]] = ()
  retention: Sequence[Sequence[int]] = ()


NO_OTHERS = Others()


def stretches(tokens: Sequence[int], number: int, length: int,
              key) -> np.ndarray:
  """Random stretches [number, length] of a stream, as int32.

  Raises:
    ValueError: the stream is shorter than one of them.
  """
  tokens = np.asarray(tokens, np.int32)
  if len(tokens) < length:
    raise ValueError(
        f'{len(tokens)} tokens hold no stretch of prompt_tokens={length}: '
        'choose shorter prompts or larger chunks.')
  starts = np.asarray(jax.random.randint(
      key, (number,), 0, len(tokens) - length + 1, jnp.int32))
  return tokens[starts[:, None] + np.arange(length)]


def continuations(config: ModelConfig, teacher,
                  prompts: Sequence[Sequence[int]],
                  settings: ConsolidationConfig, key,
                  segments: tuple[Segment, ...] = ()) -> Examples:
  """What the teacher writes after each of some prompts, scored by itself.

  Args:
    config, teacher: who writes.
    prompts: token ids, all of one length.
    settings: length and temperature of what is written.
    key: typed PRNG key.
    segments: what the teacher alone has in its cache.
  """
  prompts = np.asarray(prompts, np.int32)
  method = sampler.Sampling(temperature=settings.temperature)
  completions = []
  for start in range(0, len(prompts), _SAMPLED_ROWS):
    rows = np.minimum(
        np.arange(start, start + _SAMPLED_ROWS), len(prompts) - 1)
    rollout = sampler.jitted_sample(
        config, teacher, prompts[rows], np.ones_like(prompts[rows], bool),
        jax.random.fold_in(key, start), sampler.Until(settings.dream_tokens),
        method=method, segments=segments)
    written, mask = map(to_host, (rollout.tokens, rollout.mask))
    completions += [w[m] for w, m in zip(written, mask, strict=True)]
  prompts = prompts.tolist()
  return score_examples(
      config, teacher, prompts, prompts, completions[:len(prompts)],
      settings.dream_tokens, segments)


def _seed_slot(config, sides, place, tokens, settings, key, others, between,
               observer):
  """Trains one open slot of the student to do what the teacher does.

  Args:
    place: (MLP level, number of the slot in its pool).
    others, between, observer: see `consolidate`.

  Returns:
    (the student's parameters with the trained slot, HandOver).
  """
  level, index = place
  dream_key, seed_key = jax.random.split(key)
  prompt_key, sample_key = jax.random.split(dream_key)
  segments = ()
  if between[0] == level_name(0):
    _, context = _read(
        config, sides.teacher, np.asarray(tokens, np.int32)[None])
    segments = (context,)
  write = lambda prompts, key, segments=(): continuations(
      config, sides.teacher, prompts, settings, key, segments)
  prompts = lambda number, key: stretches(
      tokens, number, settings.prompt_tokens, key)
  examples = write(prompts(settings.dreams, prompt_key), sample_key, segments)
  # Keys of their own, so that what is trained on does not depend on them.
  unseen = prompts(settings.held_out, jax.random.fold_in(prompt_key, 1))
  held_out = write(unseen, jax.random.fold_in(sample_key, 1), segments) if len(
      unseen) else None
  rehearsal, retention = (
      write(rows, jax.random.fold_in(sample_key, i)) if len(rows) else None
      for i, rows in enumerate(others, 2))
  seeder = loop.Seeder(
      Learner(config, sides.student, Slot(level), index),
      settings.seeding, loop.Terms(examples, rehearsal, retention),
      Privilege(segments, params=sides.teacher))
  slot, hand_over = consolidation.consolidate(
      seeder, slots.read_slot(config, sides.student, index, level), seed_key,
      between=between, guard=Guard(
          held_out, retention and retention.student,
          settings.max_retention_divergence), observer=observer)
  return layout.insert_slot(
      config, sides.student, slot, index, level), hand_over


def merge_oldest(config: ModelConfig, params, level: int,
                 tokens: Sequence[int], settings: ConsolidationConfig, key,
                 observer: Observer | None = None):
  """Makes room in a full pool: its two oldest slots become one.

  By distillation: the teacher is the model with both; the student keeps the
  units that matter most as its oldest slot, which learns, and drops the other.

  Returns:
    Parameters whose pool has its last entry closed.
  """
  close_key, seed_key = jax.random.split(key)
  opened = slots.opened_layers(config, params, level)
  student = slots.open_slot(
      config, params, slots.strongest_units(config, params, 0, 1, level), 0,
      opened[:, 0] | opened[:, 1], level)
  student = slots.close_slot(config, student, 1, close_key, level)
  oldest = f'two oldest of {level_name(level + 1)}'
  student, _ = _seed_slot(
      config, Sides(params, student), (level, 0), tokens, settings, seed_key,
      NO_OTHERS, (oldest, oldest), observer or silent())
  return slots.open_first(config, student, level)


_read = jax.jit(transformer.hidden_states, static_argnums=0)
_jitted = functools.partial(jax.jit, static_argnames=('config', 'level'))
_close_all = _jitted(slots.close_all)
_open_slot = _jitted(slots.open_slot)


def consolidate(config: ModelConfig, sides: Sides, sender: int,
                tokens: Sequence[int], settings: ConsolidationConfig, key,
                others: Others = NO_OTHERS, observer: Observer | None = None):
  """One consolidation, from a memory level into the next slower one.

  Args:
    config: the model's shape, with a pool of slots at the receiver.
    sides: teacher and student, canonical layout. They are not changed.
    sender: memory level; the receiver is sender + 1.
    tokens: what the sender has seen since its last sleep. If the sender is
      attention they are the teacher's context, too.
    settings: every choice.
    key: typed PRNG key.
    others: what the hand-over must leave alone.
    observer: is shown the seeding, and gets a line for every update.

  Returns:
    (the model after the update, which is the trained student bit for bit;
    HandOver).

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
  prune_key, merge_key, new_key, seed_key = jax.random.split(key, 4)
  student = sides.student
  if sender:
    student = _close_all(config, student, prune_key, level=sender - 1)
  if np.asarray(slots.is_open(config, student, level)).all():
    student = merge_oldest(
        config, student, level, tokens, settings, merge_key)
  index = int(np.argmin(slots.is_open(config, student, level)))
  student = _open_slot(
      config, student, slots.new_slot(config, new_key, config.slot_rank), index,
      jnp.ones(config.num_layers, bool), level=level)
  return _seed_slot(
      config, sides._replace(student=student), (level, index), tokens,
      settings, seed_key, others,
      (level_name(sender), level_name(sender + 1)), observer or silent())
