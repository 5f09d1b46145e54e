"""Awake: MLP levels learn from a stream, each applying its updates at its pace.

Eq. 2 of arXiv 2606.03979: the gradients of the next-token loss gather in every
level, and a level of chunk C steps once in C tokens, by its own optimizer,

  θ_{i+1} = θ_i − η · mean of ∇ loss(x_t), t = i − C + 1 … i,   if C divides i

(the paper's sum starts one token too early; the mean only rescales η). A stream
is read in windows of the attention chunk. A window starts with an empty context
but for the token before it, so each token is predicted exactly once; gradients
do not flow between windows.

A state may hold several rows, streams that share the frozen parameters and have
fast weights each of their own: every leaf then has a leading axis [B].
"""

import dataclasses
import functools
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from sleepjax.errors import UserError
from sleepjax.losses import from_hidden
from sleepjax.memory import clock
from sleepjax.mesh import sharding
from sleepjax.models import finite, layout, transformer
from sleepjax.models.config import ModelConfig
from sleepjax.training.optimizer import promoting

# Of the tokens that a stream counts in 32 bits, with room for a window.
LONGEST_STREAM = 2 ** 31 - 2 ** 20


@dataclasses.dataclass(frozen=True)
class WakeConfig:
  """How the levels learn awake.

  chunks: in tokens, of attention and then of every MLP level, fastest first.
  learning_rates: of every MLP level; one of 0 is frozen and costs nothing.
  optimizer: 'sgd' or 'adamw', whose state each level keeps for itself.
  clip_norm: of a level's mean gradient.
  chunk_rows: rows of hidden states that meet the unembedding at a time.
  """

  chunks: tuple[int, ...]
  learning_rates: tuple[float, ...]
  optimizer: str = 'sgd'
  clip_norm: float = 1.0
  chunk_rows: int = 512

  def __post_init__(self):
    clock.check_chunks(self.chunks)
    if len(self.learning_rates) != len(self.chunks) - 1 or min(
        self.learning_rates) < 0:
      raise ValueError(
          f'learning_rates={self.learning_rates} must name one rate, 0 or '
          f'more, for each of the {len(self.chunks) - 1} MLP levels of '
          f'chunks={self.chunks}.')
    if self.optimizer not in ('sgd', 'adamw'):
      raise ValueError(
          f"optimizer={self.optimizer!r} must be 'sgd' or 'adamw'.")


class WakeState(NamedTuple):
  """What changes while a stream is read; entry ℓ belongs to MLP level ℓ.

  weights: each level's base weights (not its slots); {} if it is frozen.
  gradients: their sum over the tokens since the level's last update.
  counts: the number of those tokens, float32.
  opt_states: each level's optimizer.
  previous: the last token read, −1 at the very start.
  tokens_read: by this stream.
  """

  weights: tuple[Any, ...]
  gradients: tuple[Any, ...]
  counts: tuple[jax.Array, ...]
  opt_states: tuple[Any, ...]
  previous: jax.Array
  tokens_read: jax.Array


def _optimizer(settings: WakeConfig, level: int):
  rate = settings.learning_rates[level]
  step = (optax.sgd(rate) if settings.optimizer == 'sgd' else
          optax.adamw(rate, weight_decay=0.0))
  return promoting(optax.chain(
      optax.clip_by_global_norm(settings.clip_norm), step))


def _names(level_name):
  """The base weights of a level: not its slots, not a pretrained norm."""
  return ('mlp',) if level_name is None else ('mlp', 'norm')


def init_wake(config: ModelConfig, params, settings: WakeConfig,
              rows: int | None = None) -> WakeState:
  """The state of a stream, or of `rows` streams, before its first token.

  Raises:
    ValueError: the config has another number of MLP levels than `settings`.
  """
  if config.num_levels != len(settings.learning_rates):
    raise ValueError(
        f'chunks={settings.chunks} are for {len(settings.learning_rates)} MLP '
        f'levels; the model has {config.num_levels}.')
  weights = []
  for level, rate in enumerate(settings.learning_rates):
    name, here = transformer.level_name(config, level), config.layers_of(level)
    owner = params['layers'] if name is None else params['layers'][name]
    weights.append(jax.tree.map(
        lambda leaf, here=here: leaf[here],
        {k: owner[k] for k in _names(name)} if rate else {}))
  weights = jax.tree.map(jnp.array, tuple(weights))
  state = WakeState(
      weights, jax.tree.map(jnp.zeros_like, weights),
      tuple(jnp.float32(0) for _ in weights),
      tuple(_optimizer(settings, i).init(w) for i, w in enumerate(weights)),
      jnp.int32(-1), jnp.int32(0))
  if rows is None:
    return state
  return jax.tree.map(
      lambda leaf: jnp.broadcast_to(leaf, (rows, *leaf.shape)), state)


def merge_levels(config: ModelConfig, params, weights: Sequence[Any]):
  """Canonical parameters whose MLP levels have these base weights.

  A level whose weights are {} stays as it is; {name: None} takes them out.
  """
  layers = dict(params['layers'])
  for level, changed in enumerate(weights):
    name, here = transformer.level_name(config, level), config.layers_of(level)
    if config.level_layers:
      changed = {k: new and jax.tree.map(
          lambda old, new, here=here: old.at[here].set(new), layers[k], new)
                 for k, new in changed.items()}
    if name is None:
      layers.update(changed)
    else:
      layers[name] = {**layers[name], **changed}
  return {**params, 'layers': layers}


def _read_one(config, settings, params, state, tokens, mask):
  started = state.previous >= 0
  inputs = jnp.concatenate(
      [jnp.maximum(state.previous, 0)[None], tokens[:-1]])[None]
  readable = jnp.concatenate([started[None], mask[:-1]])[None]
  # The very first token of a stream is predicted by nothing.
  counted = (mask & readable[0]).astype(jnp.float32)

  def loss_fn(weights):
    merged = merge_levels(config, params, weights)
    hidden, _ = transformer.hidden_states(config, merged, inputs, readable)
    log_probs = from_hidden.sequence_log_probs_from_hidden(
        hidden[0], layout.frozen_unembedding(config, params), tokens,
        chunk_rows=settings.chunk_rows,
        matmul=layout.unembedding_matmul(config))
    return -(log_probs * counted).sum()

  loss, gradient = jax.value_and_grad(loss_fn)(state.weights)
  length, number = mask.sum(dtype=jnp.int32), counted.sum()
  last = tokens[jnp.maximum(length - 1, 0)]
  state = state._replace(
      gradients=jax.tree.map(jnp.add, state.gradients, gradient),
      counts=tuple(count + number for count in state.counts),
      previous=jnp.where(length > 0, last, state.previous),
      tokens_read=state.tokens_read + length)
  return state, {'loss': loss / jnp.maximum(number, 1), 'tokens': number}


@functools.partial(jax.jit, static_argnums=(0, 2))
def read_window(config: ModelConfig, params, settings: WakeConfig,
                state: WakeState, tokens, mask=None):
  """Reads one window: gradients gather, nothing is updated.

  Args:
    config: canonical layout.
    params: canonical parameters; the base weights of levels that learn are
      taken from `state` instead.
    settings: every choice.
    state: of one stream, or of B.
    tokens: [T], or [B, T], at most the attention chunk.
    mask: bool, true for real tokens, which come first; all of them if None.

  Returns:
    (state, {'loss': nats per token, 'tokens': number of losses in it}), with
    [B] entries for B streams.

  Raises:
    ValueError: more tokens than the attention chunk, or another number of rows
      than the state has.
  """
  tokens = jnp.asarray(tokens, jnp.int32)
  if tokens.shape[-1] > settings.chunks[0]:
    raise ValueError(
        f'a window of {tokens.shape[-1]} tokens exceeds the attention chunk of '
        f'{settings.chunks[0]}.')
  if tokens.shape[:-1] != state.previous.shape:
    raise ValueError(
        f'tokens of shape {tokens.shape} do not fit a state with rows '
        f'{state.previous.shape}.')
  mask = jnp.ones(tokens.shape, bool) if mask is None else jnp.asarray(mask)
  read = functools.partial(_read_one, config, settings, params)
  if tokens.ndim == 2:
    read = jax.vmap(read)
  state, metrics = read(state, tokens, mask)
  return _in_place(state), metrics


def check_read(config: ModelConfig, params, state: WakeState,
               metrics) -> None:
  """Stops a run that has read what makes its levels NaN.

  Args:
    config, params: as `read_window` takes them.
    state, metrics: what it has given.

  Raises:
    NotFiniteError: naming the window and the leaves.
    UserError: the stream is so long that its tokens cannot be counted.
  """
  read = int(np.max(state.tokens_read))
  if not 0 <= read <= LONGEST_STREAM:
    raise UserError(
        f'a stream of more than {LONGEST_STREAM} tokens: what has been read is '
        'counted in 32 bits. End the stream, and begin another with the model '
        'that it has made.')
  # All but what `state` has in its place.
  frozen = merge_levels(
      config, params, [dict.fromkeys(level) for level in state.weights])
  for loss in np.atleast_1d(metrics['loss']):
    finite.check_loss(
        'wake', f'window up to token {read}', float(loss),
        {'weights': state.weights, 'gradients': state.gradients},
        'Lower the learning rates of the levels, or clip_norm.',
        [finite.Cause("the model's weights", frozen,
                      'They do not learn here: load another copy of the '
                      'model.')])


@functools.partial(jax.jit, static_argnums=(0, 2))
def updated(settings: WakeConfig, state: WakeState, level: int) -> WakeState:
  """The state after one level's update: mean gradient, own optimizer.

  Computing is not applying: the argument stays as it is. The level's gradients
  start again from zero. Without any gradients the level does not move.
  """
  def step(weights, gradient, count, opt_state):
    if not weights:
      return weights, opt_state
    mean = jax.tree.map(lambda g: g / jnp.maximum(count, 1), gradient)
    change, new = _optimizer(settings, level).update(mean, opt_state, weights)
    keep = lambda have, old: jnp.where(count > 0, have, old)
    return (jax.tree.map(keep, optax.apply_updates(weights, change), weights),
            jax.tree.map(keep, new, opt_state))

  if state.previous.ndim:
    step = jax.vmap(step)
  weights, opt_state = step(state.weights[level], state.gradients[level],
                            state.counts[level], state.opt_states[level])
  put = lambda entries, value: tuple(
      value if i == level else entry for i, entry in enumerate(entries))
  return _in_place(state._replace(
      weights=put(state.weights, weights),
      gradients=put(state.gradients, jax.tree.map(
          jnp.zeros_like, state.gradients[level])),
      counts=put(state.counts, jnp.zeros_like(state.counts[level])),
      opt_states=put(state.opt_states, opt_state)))


def _in_place(state: WakeState) -> WakeState:
  """Left alone, zeros would lie whole on every device of a mesh."""
  return sharding.constrained(state, by_row=bool(state.previous.ndim))
