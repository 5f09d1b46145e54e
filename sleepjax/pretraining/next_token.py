"""Ordinary training: next-token prediction on windows of a text or packed rows.

For small models from scratch, which growth and memory are measured on where a
pretrained one would be too slow. The state is the one that `growth.grow` grows.
"""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import optax.contrib

from sleepjax.errors import UserError
from sleepjax.losses import from_hidden
from sleepjax.mesh import sharding
from sleepjax.models import layout, transformer
from sleepjax.models.config import ModelConfig
from sleepjax.pretraining.packed import PackedRows
from sleepjax.training.optimizer import promoting


@dataclasses.dataclass(frozen=True)
class PretrainingConfig:
  """How a model is trained from scratch.

  steps: updates.
  rows, window: B and T of a batch.
  learning_rate: peak of AdamW's, after `warmup_steps`.
  matrix_learning_rate: peak of Muon's, which then updates the layers' matrices
    in AdamW's place; 0 leaves them to AdamW.
  final_rate: share of the peak that a cosine reaches at the last step; at 1 the
    rate stays constant.
  weight_decay: of matrices and norms alike; with Muon of matrices only.
  b2: decay of AdamW's second moments.
  clip_norm: of the global gradient.
  chunk_rows: rows of hidden states that meet the unembedding at a time.
  """

  steps: int = 300
  rows: int = 16
  window: int = 128
  learning_rate: float = 3e-3
  matrix_learning_rate: float = 0.0
  final_rate: float = 1.0
  warmup_steps: int = 30
  weight_decay: float = 0.01
  b2: float = 0.99
  clip_norm: float = 1.0
  chunk_rows: int = 1024

  def __post_init__(self):
    for name in ('rows', 'window', 'chunk_rows'):
      if getattr(self, name) < 1:
        raise ValueError(f'{name}={getattr(self, name)} must be at least 1.')
    if self.final_rate != 1.0 and self.warmup_steps >= self.steps:
      raise ValueError(
          f'warmup_steps={self.warmup_steps} must be less than steps='
          f'{self.steps}, or no step is left in which the rate falls to '
          f'final_rate={self.final_rate}.')


def make_optimizer(settings: PretrainingConfig):
  s = settings

  def schedule(peak):
    if s.final_rate == 1.0:
      return optax.warmup_constant_schedule(
          peak / max(s.warmup_steps, 1), peak, s.warmup_steps)
    return optax.warmup_cosine_decay_schedule(
        peak / max(s.warmup_steps, 1), peak, s.warmup_steps, s.steps,
        peak * s.final_rate)

  if s.matrix_learning_rate:
    learn = optax.contrib.muon(
        schedule(s.matrix_learning_rate), weight_decay=s.weight_decay,
        adam_b2=s.b2, adam_learning_rate=schedule(s.learning_rate),
        muon_weight_dimension_numbers=_matrix_axes)
  else:
    learn = optax.adamw(
        schedule(s.learning_rate), b2=s.b2, weight_decay=s.weight_decay)
  return promoting(optax.chain(
      optax.clip_by_global_norm(s.clip_norm), learn))


def _matrix_axes(params):
  """Which axes of the layers' matrices are inputs and which are outputs."""
  axes = optax.contrib.MuonDimensionNumbers

  def of(path, leaf):
    names = [key.key for key in path]
    if (names[0] != 'layers' or leaf.ndim < 3
        or names[-1].endswith('_bias')):
      return None
    if names[-1] == 'o':
      return axes(reduction_axis=(1, 2), output_axis=(3,))
    return axes(reduction_axis=(1,), output_axis=tuple(range(2, leaf.ndim)))

  return jax.tree_util.tree_map_with_path(of, params)


def random_windows(stream_S, rows: int, window: int, key):
  """Windows [B, T + 1] of a token stream [S], anywhere in it."""
  starts = jax.random.randint(
      key, (rows,), 0, stream_S.shape[0] - window, jnp.int32)
  return stream_S[starts[:, None] + jnp.arange(window + 1, dtype=jnp.int32)]


def next_token_loss(config: ModelConfig, params, tokens_BxT, *,
                    chunk_rows: int = 1024):
  """Loss of each token but the first, given those before it in its row.

  Returns:
    (sum of losses [] in nats, number of tokens []).
  """
  log_probs = _log_probs(config, params, tokens_BxT, chunk_rows)
  return -log_probs.sum(), jnp.float32(log_probs.size)


def _log_probs(config, params, tokens_BxT, chunk_rows=1024):
  """Of each token but the first, given those before it in its row."""
  hidden, _ = transformer.hidden_states(config, params, tokens_BxT[:, :-1])
  return from_hidden.sequence_log_probs_from_hidden(
      hidden, transformer.unembedding(params), tokens_BxT[:, 1:],
      chunk_rows=chunk_rows, matmul=layout.unembedding_matmul(config))


def packed_loss(config: ModelConfig, params, rows: PackedRows, *,
                chunk_rows: int = 1024):
  """Weighted loss of tokens, each turn of a row seeing its context and itself.

  Positions count the tokens that a token sees, as if its turn came first.

  Returns:
    (weighted sum of losses [] in nats, sum of the weights []).
  """
  T, turn = rows.tokens.shape[1] - 1, rows.turn[:, :-1]
  seen_BxTxT = (turn[:, None] == 0) | (turn[:, None] == turn[..., None])
  seen_BxTxT &= jnp.tril(jnp.ones((T, T), bool)) & (turn >= 0)[..., None]
  positions = jnp.maximum(seen_BxTxT.sum(-1, dtype=jnp.int32) - 1, 0)
  hidden, _ = transformer.Decoder(config).apply(
      {'params': params}, rows.tokens[:, :-1], positions, seen_BxTxT, ())
  log_probs = from_hidden.sequence_log_probs_from_hidden(
      hidden, transformer.unembedding(params), rows.tokens[:, 1:],
      chunk_rows=chunk_rows, matmul=layout.unembedding_matmul(config))
  weight = rows.weight[:, 1:]
  return -(log_probs * weight).sum(), weight.sum()


def loss_of_stream(config: ModelConfig, params, stream_S, window: int,
                   rows: int = 16) -> float:
  """Mean loss in nats per token over a stream's consecutive windows.

  `rows` of them are read at once; every whole window counts.

  Raises:
    UserError: the stream is shorter than a window and the token after it.
  """
  count = (len(stream_S) - 1) // window
  if count < 1:
    raise UserError(f'a text of {len(stream_S)} tokens has no window of '
                    f'{window} and a token after it: give a longer one.')
  # The last batch is filled with copies: one program reads them all.
  starts = np.minimum(np.arange(-(-count // rows) * rows), count - 1) * window
  windows = stream_S[starts[:, None] + np.arange(window + 1)]
  losses = [_row_losses(config, params, windows[start:start + rows])
            for start in range(0, len(windows), rows)]
  return float(np.concatenate(losses)[:count].mean(dtype=np.float64) / window)


@functools.partial(jax.jit, static_argnums=0)
def _row_losses(config, params, tokens_BxT):
  return -_log_probs(config, params, tokens_BxT).sum(-1)


@functools.partial(jax.jit, static_argnums=(0, 1), donate_argnums=(2, 3))
def pretraining_step(config: ModelConfig, settings: PretrainingConfig, params,
                     opt_state, stream_S, key):
  """One AdamW update on random windows of the stream; everything learns.

  Args:
    config: of a model without slots, whose masks are no numbers.
    settings: every choice.
    params: canonical parameters.
    opt_state: of `make_optimizer`. Both are donated: their memory becomes that
      of the results, and they cannot be used again.
    stream_S: token ids.
    key: typed PRNG key.

  Returns:
    (params, opt_state, metrics).
  """
  windows = random_windows(stream_S, settings.rows, settings.window, key)
  return _updated(settings, params, opt_state, lambda params: next_token_loss(
      config, params, windows, chunk_rows=settings.chunk_rows))


@functools.partial(jax.jit, static_argnums=(0, 1))
def packed_step(config: ModelConfig, settings: PretrainingConfig, params,
                opt_state, rows: PackedRows):
  """The same on packed rows, which bring their own shape and weights. Nothing
  is donated, so that a state can be saved while the next one is computed."""
  return _updated(settings, params, opt_state, lambda params: packed_loss(
      config, params, rows, chunk_rows=settings.chunk_rows))


def _updated(settings, params, opt_state, loss_and_weight):
  """(params, opt_state, metrics) after one update."""

  def loss_fn(params):
    total, weight = loss_and_weight(params)
    return total / weight

  loss, gradient = jax.value_and_grad(loss_fn)(params)
  updates, opt_state = make_optimizer(settings).update(
      gradient, opt_state, params)
  metrics = {'loss': loss, 'gradient_norm': optax.tree.norm(gradient)}
  state = optax.apply_updates(params, updates), opt_state
  return *sharding.constrained(state), metrics
