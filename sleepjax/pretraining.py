"""Ordinary training: next-token prediction on random windows of a text.

For small models from scratch, which growth and memory are measured on where a
pretrained one would be too slow. The state is the one that `growth.grow` grows.
"""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import optax

from sleepjax.models import layout, transformer
from sleepjax.models.config import ModelConfig
from sleepjax.seeding import chunked


@dataclasses.dataclass(frozen=True)
class PretrainingConfig:
  """How a model is trained from scratch.

  steps: updates.
  rows, window: B and T of a batch.
  learning_rate: peak of AdamW's, after `warmup_steps`, constant from there.
  weight_decay: of matrices and norms alike.
  clip_norm: of the global gradient.
  chunk_rows: rows of hidden states that meet the head at a time.
  """

  steps: int = 300
  rows: int = 16
  window: int = 128
  learning_rate: float = 3e-3
  warmup_steps: int = 30
  weight_decay: float = 0.01
  clip_norm: float = 1.0
  chunk_rows: int = 1024

  def __post_init__(self):
    for name in ('rows', 'window', 'chunk_rows'):
      if getattr(self, name) < 1:
        raise ValueError(f'{name}={getattr(self, name)} must be at least 1.')


def make_optimizer(settings: PretrainingConfig):
  return optax.chain(
      optax.clip_by_global_norm(settings.clip_norm),
      optax.adamw(
          optax.warmup_constant_schedule(
              settings.learning_rate / max(settings.warmup_steps, 1),
              settings.learning_rate, settings.warmup_steps),
          b2=0.99, weight_decay=settings.weight_decay))


def random_windows(stream_S, rows: int, window: int, key):
  """Windows [B, T + 1] of a token stream [S], anywhere in it."""
  starts = jax.random.randint(
      key, (rows,), 0, stream_S.shape[0] - window)
  return stream_S[starts[:, None] + jnp.arange(window + 1)]


def next_token_loss(config: ModelConfig, params, tokens_BxT, *,
                    chunk_rows: int = 1024):
  """Loss of each token but the first, given those before it in its row.

  Returns:
    (sum of losses [] in nats, number of tokens []).
  """
  hidden, _ = transformer.hidden_states(config, params, tokens_BxT[:, :-1])
  log_probs = chunked.sequence_log_probs_from_hidden(
      hidden, transformer.unembedding(params), tokens_BxT[:, 1:],
      chunk_rows=chunk_rows, matmul=layout.head_matmul(config))
  return -log_probs.sum(), jnp.float32(log_probs.size)


def loss_of_stream(config: ModelConfig, params, stream_S, window: int,
                   rows: int = 16) -> float:
  """Mean loss in nats per token over a stream's consecutive windows."""
  count = (len(stream_S) - 1) // window
  starts = jnp.arange(count)[:, None] * window + jnp.arange(window + 1)
  windows, total = stream_S[starts], 0.0
  for start in range(0, count - rows + 1, rows):
    total += float(_evaluated(config, params, windows[start:start + rows])[0])
  return total / (count // rows * rows * window)


_evaluated = jax.jit(next_token_loss, static_argnums=0)


@functools.partial(jax.jit, static_argnums=(0, 1))
def pretraining_step(config: ModelConfig, settings: PretrainingConfig, params,
                     opt_state, stream_S, key):
  """One AdamW update on random windows of the stream; everything learns.

  Args:
    config: of a model without slots, whose masks are no numbers.
    settings: every choice.
    params: canonical parameters.
    opt_state: of `make_optimizer`.
    stream_S: token ids.
    key: typed PRNG key.

  Returns:
    (params, opt_state, metrics).
  """
  windows = random_windows(stream_S, settings.rows, settings.window, key)

  def loss_fn(params):
    total, weight = next_token_loss(
        config, params, windows, chunk_rows=settings.chunk_rows)
    return total / weight

  loss, gradient = jax.value_and_grad(loss_fn)(params)
  updates, opt_state = make_optimizer(settings).update(
      gradient, opt_state, params)
  metrics = {'loss': loss, 'gradient_norm': optax.tree.norm(gradient)}
  return optax.apply_updates(params, updates), opt_state, metrics
