"""The phases of a life with sleep, each as a step that can be timed.

A function builds a phase and returns its step; `benchmark` names them. They
call what the lifecycle calls. Rows are filled with random tokens and nothing
stops early, so that every run and every peer has the same work.
"""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np

from experiments.bench.work import Sizes
from sleepjax.dreaming import inner
from sleepjax.dreaming.inner import Descent
from sleepjax.growth import grow as growth
from sleepjax.growth import slots
from sleepjax.growth.learner import Learner
from sleepjax.growth.slot_operators import OpenSlot
from sleepjax.model import load_pretrained
from sleepjax.models import layout
from sleepjax.pretraining import next_token
from sleepjax.sampling import context, sampler
from sleepjax.sampling.rows import Rows
from sleepjax.seeding import loop, objective, update
from sleepjax.seeding.examples import Examples
from sleepjax.seeding.settings import SeedingConfig

# The seeding objective alone, which peers have as well: no rehearsal, no
# retention. `seeding_step` adds the reward. Four rows at once: a group of
# rollouts.
_SEEDING = SeedingConfig(
    rows=8, rows_at_once=4, group_size=4, on_policy=1.0, prefix=0.0,
    rehearsal=0.0, retention=0.0, divergence=dataclasses.replace(
        SeedingConfig().divergence, chunk_rows=64))


def random_tokens(vocab_size: int, *shape: int, seed: int = 0) -> np.ndarray:
  """int32 ids that every contestant draws alike."""
  return np.random.default_rng(seed).integers(
      0, vocab_size, shape, dtype=np.int32)


def _rows(config, sizes: Sizes, count: int, prompt_tokens: int | None = None):
  """Random rows without padding."""
  P = prompt_tokens or sizes.prompt_tokens
  ids = random_tokens(config.vocab_size, count, P + sizes.new_tokens)
  real = np.ones(ids.shape, bool)
  return Rows(ids[:, :P], real[:, :P], ids[:, P:], real[:, P:])


def _model(source, dtype):
  """The plain model in compute layout."""
  model = load_pretrained(source)
  return layout.for_compute(model.config, model.params, dtype)


def _sleeping(source, dtype, sizes: Sizes):
  """(config, parameters in compute layout, slot) with one newborn slot."""
  model = load_pretrained(source)
  slot = slots.new_slot(model.config, jax.random.key(0), sizes.slot_rank)
  grown = slots.append_slot(
      model.config, model.params, slot,
      jnp.ones(model.config.num_layers, bool))
  return *layout.for_compute(*grown, dtype), slot


def prefill(source: str, dtype: str, sizes: Sizes):
  """Reads a text once, as a segment for every later prompt."""
  config, params = _model(source, dtype)
  ids = random_tokens(config.vocab_size, sizes.prefix_tokens).tolist()
  return lambda: _wait(context.read_prefix(config, params, ids))


def decode(source: str, dtype: str, sizes: Sizes, batch: int):
  """Continues prompts, the most likely token each time."""
  config, params = _model(source, dtype)
  prompt = random_tokens(config.vocab_size, batch, sizes.prompt_tokens)
  return lambda: _wait(sampler.jitted_sample(
      config, params, prompt, np.ones(prompt.shape, bool), jax.random.key(0),
      sampler.Until(sizes.new_tokens),
      method=sampler.Sampling(temperature=0.0)))


def scoring(source: str, dtype: str, sizes: Sizes, shared: bool = True):
  """The teacher reads rollouts behind a text that it has read, or, if not
  `shared`, that every row contains."""
  config, params = _model(source, dtype)
  prefix = random_tokens(config.vocab_size, sizes.prefix_tokens, seed=1)
  rows, segments = _rows(config, sizes, sizes.rows), ()
  if shared:
    segments = (context.read_prefix(config, params, prefix.tolist()),)
  else:
    longer = lambda part, before: np.concatenate(
        [np.broadcast_to(before, (len(part), len(before))), part], axis=1)
    rows = rows._replace(
        prompt=longer(rows.prompt, prefix),
        prompt_mask=longer(rows.prompt_mask, np.ones(len(prefix), bool)))
  return lambda: _wait(objective.teacher_hidden_states(
      config, params, rows, segments))


def seeding_update(source: str, dtype: str, sizes: Sizes,
                   scoring: bool = False):
  """One update of a slot towards the teacher's distributions.

  With `scoring`, the teacher reads the rows in every step; else once before.
  """
  config, frozen, slot = _sleeping(source, dtype, sizes)
  rows = _rows(config, sizes, sizes.rows)
  score = lambda: objective.teacher_hidden_states(config, frozen, rows)
  hidden = None if scoring else score()
  state = update.init_state(_SEEDING, slot)

  def step():
    nonlocal state
    batch = objective.Batch(rows, score() if scoring else hidden)
    state, metrics = _wait(update.seeding_step(
        config, _SEEDING, frozen, state, jnp.int32(0), batch))
    _finite(metrics['loss'])

  return step


def seeding_step(source: str, dtype: str, sizes: Sizes):
  """Rollouts, their scoring by the teacher, their reward, and the update."""
  config, frozen, slot = _sleeping(source, dtype, sizes)
  settings = dataclasses.replace(_SEEDING, rows=sizes.rows)
  rows = _rows(config, sizes, sizes.rows)
  hidden = objective.teacher_hidden_states(config, frozen, rows)
  examples = Examples(
      rows, rows.prompt, rows.prompt_mask, np.asarray(hidden))
  seeder = loop.Seeder(
      Learner(config, frozen), settings, loop.Terms(examples))
  state, steps = update.init_state(settings, slot), 0

  def step():
    nonlocal state, steps
    state, metrics, _ = _wait(seeder.update(state, steps, jax.random.key(0)))
    _finite(metrics['loss'])
    steps += 1

  return step


def dream_inner(source: str, dtype: str, sizes: Sizes, together: bool = True):
  """Copies of a slot that learn one dream each, and what it did to them.

  Not `together`, only one exists at a time.
  """
  config, frozen, slot = _sleeping(source, dtype, sizes)
  held_in = Rows(*(part[None] for part in _rows(config, sizes, sizes.rows)))
  dreams = _rows(config, sizes, sizes.copies)
  return lambda: _wait(inner.dream_trials(
      Learner(config, frozen, value=slot), dreams, held_in,
      np.zeros(sizes.copies, np.int32), Descent(sizes.inner_steps, 3e-4),
      copies_at_once=0 if together else 1))


def train_step(source: str, dtype: str, sizes: Sizes):
  """One AdamW update of all parameters on windows of a stream."""
  model = load_pretrained(source)
  config = dataclasses.replace(model.config, matmul_dtype=dtype)
  settings = next_token.PretrainingConfig(
      rows=sizes.rows, window=sizes.window, learning_rate=1e-5)
  params = jax.tree.map(jnp.asarray, model.params)
  opt_state = next_token.make_optimizer(settings).init(params)
  stream = jnp.asarray(random_tokens(config.vocab_size, 4096))

  def step():
    nonlocal params, opt_state
    params, opt_state, metrics = _wait(next_token.pretraining_step(
        config, settings, params, opt_state, stream, jax.random.key(0)))
    _finite(metrics['loss'])

  return step


def growth_and_step(source: str, dtype: str, sizes: Sizes):
  """Opens the next slot of a pool, and makes the first update after it."""
  model = load_pretrained(source)
  config, params = slots.allocate_pool(
      model.config, jax.tree.map(jnp.asarray, model.params), sizes.pool,
      sizes.slot_rank)
  newborn = growth.ModelState(params, None, config)
  rows = _rows(config, sizes, sizes.rows)
  batch = objective.Batch(rows, np.zeros(
      (*rows.completion.shape, config.embed_dim), np.float32))
  state, sleeps = newborn, 0

  def step():
    nonlocal state, sleeps
    index = sleeps % sizes.pool
    state = growth.grow([OpenSlot(index)])(
        state if index else newborn, jax.random.key(sleeps))
    compute, frozen = layout.for_compute(state.config, state.params, dtype)
    _, metrics = _wait(update.seeding_step(
        compute, _SEEDING, frozen, update.init_state(
            _SEEDING, slots.read_slot(state.config, state.params, index)),
        jnp.int32(index), batch))
    _finite(metrics['loss'])
    sleeps += 1

  return step


def _wait(tree):
  return jax.block_until_ready(tree)


def _finite(loss):
  if not np.isfinite(loss):
    raise FloatingPointError(f'the loss is {loss}.')
