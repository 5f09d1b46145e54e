"""Compute – consolidate – update: one memory level hands over to the next.

arXiv 2606.03979, section 3.3. The sender's base update is computed and held
back. The teacher is the model as it is: old weights, the sender's slots and, if
the sender is attention, the context in its cache. The student has the
prospective weights, the sender's slots closed, no context, and a newborn slot
in the receiver, the only thing that learns. What comes back is the student
itself, so that the update, applied at the end, gives exactly the trained model.

Memory level 0 is attention; memory level ℓ + 1 is MLP level ℓ.
"""

import dataclasses
import functools
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import numpy as np

from sleepjax.growth import slots
from sleepjax.growth.adapters import Slot
from sleepjax.mesh.sharding import to_host
from sleepjax.models import layout, transformer
from sleepjax.models.config import ModelConfig
from sleepjax.models.transformer import Segment
from sleepjax.sampling import sampler
from sleepjax.seeding import loop, update
from sleepjax.seeding.objective import SeedingConfig

_SAMPLED_ROWS = 16

Report = Callable[[int, dict, int], None]


@dataclasses.dataclass(frozen=True)
class ConsolidationConfig:
  """How a slot is seeded from a stream of tokens.

  The paper does not say what the dreams' prompts are: here they are stretches
  of what the sender has seen since its last sleep, which the teacher continues.

  seeding: the objective and its optimizer.
  dreams: how many the teacher writes.
  prompt_tokens: length of a stretch.
  dream_tokens: length of what follows it.
  temperature: at which the teacher writes.
  """

  seeding: SeedingConfig = SeedingConfig()
  dreams: int = 32
  prompt_tokens: int = 16
  dream_tokens: int = 32
  temperature: float = 1.0

  def __post_init__(self):
    for name in ('dreams', 'prompt_tokens', 'dream_tokens'):
      if getattr(self, name) < 1:
        raise ValueError(f'{name}={getattr(self, name)} must be at least 1.')


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
      key, (number,), 0, len(tokens) - length + 1))
  return tokens[starts[:, None] + np.arange(length)]


def stream_dreams(config: ModelConfig, teacher, tokens: Sequence[int],
                  settings: ConsolidationConfig, key,
                  segments: tuple[Segment, ...] = (),
                  stop_ids: tuple[int, ...] = ()) -> loop.Examples:
  """The teacher's continuations of stretches of `tokens`, scored by itself."""
  prompt_key, sample_key = jax.random.split(key)
  prompts = stretches(
      tokens, settings.dreams, settings.prompt_tokens, prompt_key)
  method = sampler.Sampling(temperature=settings.temperature)
  completions = []
  for start in range(0, len(prompts), _SAMPLED_ROWS):
    rows = np.minimum(
        np.arange(start, start + _SAMPLED_ROWS), len(prompts) - 1)
    rollout = sampler.jitted_sample(
        config, teacher, prompts[rows], np.ones_like(prompts[rows], bool),
        jax.random.fold_in(sample_key, start),
        max_new_tokens=settings.dream_tokens, stop_ids=stop_ids, method=method,
        segments=segments)
    written, mask = map(to_host, (rollout.tokens, rollout.mask))
    completions += [w[m] for w, m in zip(written, mask, strict=True)]
  prompts = prompts.tolist()
  return loop.score_examples(
      config, teacher, prompts, prompts, completions[:len(prompts)],
      settings.dream_tokens, segments)


def seed_slot(config: ModelConfig, teacher, student, index: int, level: int,
              tokens: Sequence[int], settings: ConsolidationConfig, key,
              segments: tuple[Segment, ...] = (),
              stop_ids: tuple[int, ...] = (),
              report: Report = lambda *_: None):
  """Trains one open slot of the student to do what the teacher does.

  Args:
    config: shape of both models, canonical layout.
    teacher: parameters of the state before.
    student: prospective parameters; entry `index` of `level` is open.
    index: which slot learns.
    level: MLP level of its pool.
    tokens: the stream to dream about.
    settings: every choice.
    key: typed PRNG key.
    segments: what the teacher alone has in its cache.
    stop_ids: tokens that end a dream.
    report: gets (step, metrics, tokens) of every update.

  Returns:
    The student's parameters with the trained slot; nothing else differs.
  """
  dream_key, seed_key = jax.random.split(key)
  examples = stream_dreams(
      config, teacher, tokens, settings, dream_key, segments, stop_ids)
  seeder = loop.Seeder(
      config, student, index, settings.seeding, examples, segments, None,
      stop_ids, np.zeros(config.vocab_size, bool), teacher, part=Slot(level))
  slot = jax.tree.map(
      jnp.copy, slots.read_slot(config, student, index, level))
  state = update.init_state(settings.seeding, slot)
  slot = seeder.run(state, seed_key, report).slot
  return layout.insert_slot(config, student, slot, index, level)


def merge_oldest(config: ModelConfig, params, level: int,
                 tokens: Sequence[int], settings: ConsolidationConfig, key,
                 report: Report = lambda *_: None):
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
  student = seed_slot(config, params, student, 0, level, tokens, settings,
                      seed_key, report=report)
  return slots.open_first(config, student, level)


_read = jax.jit(transformer.hidden_states, static_argnums=0)
_jitted = functools.partial(jax.jit, static_argnames=('config', 'level'))
_close_all = _jitted(slots.close_all)
_open_slot = _jitted(slots.open_slot)


def consolidate(config: ModelConfig, params, prospective, sender: int,
                tokens: Sequence[int], settings: ConsolidationConfig, key,
                stop_ids: tuple[int, ...] = (),
                report: Report = lambda *_: None):
  """One consolidation, from a memory level into the next slower one.

  Args:
    config: the model's shape, with a pool of slots at the receiver.
    params: the running model, canonical layout. It is not changed.
    prospective: the same with the sender's base update in place; `params`
      itself if the sender is attention, which has none.
    sender: memory level; the receiver is sender + 1.
    tokens: what the sender has seen since its last sleep. If the sender is
      attention they are the teacher's context, too.
    settings: every choice.
    key: typed PRNG key.
    stop_ids: tokens that end a dream.
    report: gets (step, metrics, tokens) of every update.

  Returns:
    The model after the update: the trained student, bit for bit.

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
  student = prospective
  if sender:
    student = _close_all(config, student, prune_key, level=sender - 1)
  if np.asarray(slots.is_open(config, student, level)).all():
    student = merge_oldest(
        config, student, level, tokens, settings, merge_key)
  index = int(np.argmin(slots.is_open(config, student, level)))
  student = _open_slot(
      config, student, slots.new_slot(config, new_key, config.slot_rank), index,
      jnp.ones(config.num_layers, bool), level=level)
  segments = ()
  if sender == 0:
    _, context = _read(config, params, np.asarray(tokens, np.int32)[None])
    segments = (context,)
  return seed_slot(config, params, student, index, level, tokens, settings,
                   seed_key, segments, stop_ids, report)
