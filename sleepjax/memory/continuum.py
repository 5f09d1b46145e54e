"""A model whose memory levels read a stream, each at its own pace.

Awake, a window is read and gradients gather in every MLP level (`wake`). When
the clock says that a level's chunk is full (`clock`), the level hands over to
the next slower one (`consolidate`), slow before fast: its update is computed, a
slot of the receiver is seeded, and then both become the model, the update and
the slot together. The state is a value: an interrupted hand-over leaves the one
before it.
"""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from sleepjax.growth import slots
from sleepjax.memory import clock, consolidate, wake
from sleepjax.memory.consolidate import ConsolidationConfig, Sides, Source
from sleepjax.memory.material import Asking, Prompts
from sleepjax.memory.wake import WakeConfig, WakeState
from sleepjax.models import transformer
from sleepjax.models.config import ModelConfig
from sleepjax.seeding.consolidation import HandOver
from sleepjax.training import checkpoints
from sleepjax.training.observer import Observer


@dataclasses.dataclass(frozen=True)
class ContinuumConfig:
  """Every choice of a model with several memory levels.

  wake: chunks in tokens and how each level learns awake.
  sleep: how a slot is seeded; None hands nothing over, and levels only learn
    awake.
  sleep_steps, sleep_rates: updates of a hand-over and their learning rate, of
    every sender, attention first; () takes those of `sleep` for all.
  level_dims: hidden widths of the extra MLP levels, fastest first.
  level_layers: levels without any new weights, in place of extra ones: how many
    layers' own MLPs are of each, the lowest layers of the fastest (section 7.3
    of arXiv 2512.24695, in our reading).
  slots: pool size of each MLP level; 0 takes as many as the sender fills in one
    chunk of the receiver, which is what a level needs whose slots are pruned at
    its own update. The slowest level merges its oldest when it is full. Levels
    of `level_layers` all have the largest number.
  slot_rank: R of every slot.
  """

  wake: WakeConfig
  sleep: ConsolidationConfig | None = ConsolidationConfig()
  sleep_steps: tuple[int, ...] = ()
  sleep_rates: tuple[float, ...] = ()
  level_dims: tuple[int, ...] = ()
  level_layers: tuple[int, ...] = ()
  slots: tuple[int, ...] = ()
  slot_rank: int = 64

  def __post_init__(self):
    levels = len(self.level_layers) or len(self.level_dims) + 1
    if len(self.wake.chunks) != levels + 1:
      raise ValueError(
          f'chunks={self.wake.chunks} must name attention and {levels} MLP '
          f'levels: those of level_dims={self.level_dims} and the own one, or '
          f'of level_layers={self.level_layers}.')
    if self.slots and len(self.slots) != levels:
      raise ValueError(
          f'slots={self.slots} must name one pool for each of the {levels} MLP '
          'levels.')
    for name in ('sleep_steps', 'sleep_rates'):
      given = getattr(self, name)
      if given and (len(given) != levels or min(given) <= 0):
        raise ValueError(
            f'{name}={given} must name a positive number for each of the '
            f'{levels} senders: attention and the MLP levels but the slowest.')

  def sleep_of(self, sender: int) -> ConsolidationConfig:
    """How a sender hands over, with its own budget.

    Raises:
      ValueError: nothing is handed over.
    """
    if self.sleep is None:
      raise ValueError('sleep=None: these levels hand nothing over.')
    own = {name: given[sender] for name, given in (
        ('steps', self.sleep_steps), ('learning_rate', self.sleep_rates))
           if given}
    return dataclasses.replace(self.sleep, seeding=dataclasses.replace(
        self.sleep.seeding, **own))

  def pool_sizes(self) -> tuple[int, ...]:
    """Slots of each MLP level, fastest first; at least two."""
    chunks = self.wake.chunks
    given = self.slots or (0,) * (len(chunks) - 1)
    return tuple(n or max(2, slow // fast) for n, fast, slow in zip(
        given, chunks, chunks[1:], strict=False))


class MemoryState(NamedTuple):
  """A model that reads.

  params: canonical parameters, the whole model as it speaks now.
  wake: what `sleepjax.memory.wake` carries; its weights are those of `params`.
  pending: tokens that do not fill a window yet.
  seen: for each memory level that hands over, the tokens since its last sleep,
    and those that were handed to it when it had just slept.
  sleeps: [number of MLP levels], sleeps of the sender of each so far.
  asked: prompts of all hand-overs so far, their ids one after another, each
    with −1 behind it.
  """

  params: Any
  wake: WakeState
  pending: np.ndarray
  seen: tuple[np.ndarray, ...]
  sleeps: np.ndarray
  asked: np.ndarray

  def earlier(self) -> Prompts:
    """The prompts of all hand-overs so far, in order."""
    ends = np.flatnonzero(self.asked < 0)
    return tuple(tuple(part[part >= 0].tolist()) for part in np.split(
        self.asked, ends + 1)[:len(ends)])


def newborn_levels(config: ModelConfig, params, level_dims: tuple[int, ...],
                   key):
  """The same function with extra MLP levels, fastest first, without slots.

  They have zero output until they learn, input weights ~ N(0, 1/D) and gains of
  one.

  Returns:
    (config, params), canonical.
  """
  pools = (config.num_slots, config.slot_rank)
  config = dataclasses.replace(config, level_dims=tuple(level_dims))
  bare = transformer.with_slots(config, 0, 0)

  @jax.jit
  def newborn():
    layers = transformer.init(bare, key)['layers']
    return {name: layers[name] for name in layers
            if name.startswith('level_')}

  params = {**params, 'layers': {**params['layers'], **newborn()}}
  return transformer.with_slots(config, *pools), params


def add_levels(config: ModelConfig, params, settings: ContinuumConfig, key):
  """The same function with several MLP levels and empty pools of slots.

  Returns:
    (config, params), canonical.

  Raises:
    ValueError: the model has several levels already, or other layers than
      `settings` groups.
  """
  if config.num_levels > 1:
    raise ValueError(f'the model has {config.num_levels} levels already.')
  sizes = settings.pool_sizes()
  if settings.level_layers:
    config = dataclasses.replace(config, level_layers=settings.level_layers)
    sizes = max(sizes),  # All levels are in one pool, each in its layers.
  elif settings.level_dims:
    config, params = newborn_levels(
        config, params, settings.level_dims, key)
  for level, size in enumerate(sizes):
    config, params = slots.allocate_pool(
        config, params, size, settings.slot_rank, level)
  return config, params


def init_state(config: ModelConfig, params,
               settings: ContinuumConfig) -> MemoryState:
  """Before the first token; `config` and `params` come from `add_levels`."""
  nothing = np.zeros(0, np.int32)
  return MemoryState(
      params, wake.init_wake(config, params, settings.wake), nothing,
      (nothing,) * config.num_levels, np.zeros(config.num_levels, np.int32),
      nothing)


def restored(state: MemoryState, tree) -> MemoryState:
  """A saved state in the structure of a new one.

  Args:
    state: of `init_state`, with the same settings.
    tree: what was saved; its levels have seen, and were asked, any number of
      tokens.

  Raises:
    UserError: it is the state of another model or other settings.
  """
  saved = tree.get('seen', {})
  seen = tuple(saved.get(str(i), old) for i, old in enumerate(state.seen))
  return checkpoints.with_structure(state._replace(
      seen=seen, asked=tree.get('asked', state.asked)), tree)


def hand_over(config: ModelConfig, settings: ContinuumConfig,
              state: MemoryState, pair: tuple[int, int | None], key,
              asking: Asking | None = None, observer: Observer | None = None
              ) -> tuple[MemoryState, HandOver | None]:
  """Compute, consolidate, update: one due pair of memory levels.

  Args:
    config, settings: of the model.
    state: stays as it is.
    pair: sender, a memory level with 0 for attention, and receiver: sender + 1,
      or None for the slowest level, which only updates.
    key: typed PRNG key of this hand-over.
    asking: how the sender is asked for what it holds, see
      `consolidate.consolidate`.
    observer: as of that.

  Returns:
    The state after it, and what was done; None of the slowest level, and if
    levels only learn awake.
  """
  (sender, receiver), after, report = pair, state.wake, None
  if sender:
    after = wake.updated(settings.wake, after, sender - 1)
  params = wake.merge_levels(config, state.params, after.weights)
  seen, sleeps, asked = list(state.seen), state.sleeps.copy(), state.asked
  if receiver is not None and settings.sleep:
    params, report, prompts = consolidate.consolidate(
        config, Sides(state.params, params), sender, seen[sender],
        settings.sleep_of(sender), key,
        source=Source(asking, state.earlier()), observer=observer)
    asked = np.concatenate([asked, *(
        (*prompt, -1) for prompt in prompts)]).astype(np.int32)
    sleeps[receiver - 1] += 1
    # A receiver that has slept in this step forgot these before it got them.
    if receiver < len(seen) and not len(seen[receiver]):
      seen[receiver] = seen[sender]
  if receiver is not None:
    seen[sender] = np.zeros(0, np.int32)
  return state._replace(params=params, wake=after, seen=tuple(seen),
                        sleeps=sleeps, asked=asked), report


def _read_window(config, settings, state, window, mask=None):
  awake, metrics = wake.read_window(
      config, state.params, settings.wake, state.wake, window, mask)
  wake.check_read(config, state.params, awake, metrics)
  real = window if mask is None else window[mask]
  seen = tuple(np.concatenate([old, real]) for old in state.seen)
  return state._replace(wake=awake, seen=seen), metrics


def _sleep(config, settings, state, pairs, key, asking, observer):
  """(the state after all due hand-overs, what each did)."""
  now, reports = int(state.wake.tokens_read), []
  for pair in pairs:
    before = len(state.earlier())
    state, report = hand_over(
        config, settings, state, pair,
        jax.random.fold_in(jax.random.fold_in(key, now), pair[0]), asking,
        observer)
    if report is not None:
      reports.append({**dataclasses.asdict(report),
                      'asked': len(state.earlier()) - before})
  return state, reports


def read(config: ModelConfig, settings: ContinuumConfig, state: MemoryState,
         tokens: Sequence[int], key,
         report: Callable[[dict], None] = lambda _: None,
         asking: Asking | None = None, observer: Observer | None = None
         ) -> MemoryState:
  """Reads a stretch of a stream, asleep whenever the clock says so.

  What does not fill a window waits in the state, so that a stream gives the
  same model in whatever stretches it is read.

  Args:
    config: of a model with pools, see `add_levels`.
    settings: every choice.
    state: where reading goes on.
    tokens: ids, any number of them.
    key: typed PRNG key of the whole stream.
    report: gets the metrics of every window, with `tokens_read`, the pairs that
      were `due`, what their `hand_overs` did with how many `asked` prompts, and
      the number of all `sleeps` so far.
    asking, observer: see `hand_over`.

  Returns:
    The state after the last whole window and what was due then.
  """
  size = settings.wake.chunks[0]
  waiting = np.concatenate(
      [state.pending, np.asarray(tokens, np.int32)]).astype(np.int32)
  whole = len(waiting) // size * size
  for window in waiting[:whole].reshape(-1, size):
    state, metrics = _read_window(config, settings, state, window)
    now = int(state.wake.tokens_read)
    pairs = clock.due(now, settings.wake.chunks)
    state, hand_overs = _sleep(
        config, settings, state, pairs, key, asking, observer)
    report({**metrics, 'tokens_read': now, 'due': pairs,
            'hand_overs': hand_overs, 'sleeps': int(state.sleeps.sum())})
  return state._replace(pending=waiting[whole:])


def finish(config: ModelConfig, settings: ContinuumConfig, state: MemoryState,
           key, asking: Asking | None = None, observer: Observer | None = None
           ) -> MemoryState:
  """The end of a stream: its last, partial chunks are read and handed over.

  Every level that has seen something since its last sleep hands over, slow
  before fast; a stretch too short for a prompt is only learnt from. The partial
  window counts as a whole one on the clock.
  """
  size = settings.wake.chunks[0]
  if len(state.pending):
    window = np.zeros(size, np.int32)
    window[:len(state.pending)] = state.pending
    state, _ = _read_window(config, settings, state, window,
                            np.arange(size) < len(state.pending))
  last = config.num_levels
  pairs = [(level, level + 1 if level < last else None)
           for level in range(last, -1, -1)]
  pairs = [(sender, receiver) for sender, receiver in pairs
           if receiver is None
           or settings.sleep is None
           or len(state.seen[sender]) >= settings.sleep.stretches.prompt_tokens]
  state, _ = _sleep(config, settings, state, pairs, key, asking, observer)
  nothing = np.zeros(0, np.int32)
  rounded = -(-state.wake.tokens_read // size) * size
  return state._replace(
      pending=nothing, seen=(nothing,) * last,
      wake=state.wake._replace(tokens_read=rounded))
