"""What the phases of the benchmark must compute, and how fast this machine is.

A phase is a list of forward and backward passes. From their products follow the
model FLOPs, and the *wall*: the time of the same products alone, one after the
other, with weights that do not stay in the cache and that are stored as this
machine multiplies them fastest, or as usual, inputs first.
"""

import dataclasses
import time
from typing import NamedTuple

import jax
import jax.numpy as jnp

from sleepjax.models import ops
from sleepjax.models.config import ModelConfig
from sleepjax.roofline import flops
from sleepjax.roofline.flops import Product


@dataclasses.dataclass(frozen=True)
class Sizes:
  """Shapes of all phases.

  prompt_tokens, new_tokens: of a row that is continued, scored or learnt.
  prefix_tokens: of a text read once.
  rows: of a batch that is scored or learnt.
  window: tokens of a row of ordinary training.
  slot_rank: of a slot.
  copies: slots that try a dream each.
  inner_steps: updates of each copy.
  pool: slots that growth can open before it starts over.
  """

  prompt_tokens: int = 40
  new_tokens: int = 64
  prefix_tokens: int = 512
  rows: int = 8
  window: int = 128
  slot_rank: int = 64
  copies: int = 16
  inner_steps: int = 3
  pool: int = 4

  @property
  def row_tokens(self) -> int:
    return self.prompt_tokens + self.new_tokens


class Work(NamedTuple):
  """passes: (how often, products of one pass); tokens: read, or written where
  the phase writes; attention: FLOPs of attention itself."""

  tokens: int
  passes: tuple[tuple[int, tuple[Product, ...]], ...]
  attention: int

  @property
  def flops(self) -> int:
    return self.attention + sum(
        times * flops.total_flops(products) for times, products in self.passes)


def _forward(config, rows, head_rows, times=1):
  return times, tuple(flops.forward_products(config, rows, head_rows))


def _learn(config, rows, head_rows, trained):
  """Forward and backward."""
  _, forward = _forward(config, rows, head_rows)
  return 1, forward + tuple(
      flops.backward_products(config, rows, head_rows, trained))


def _decoding(config, sizes, batch):
  P, N = sizes.prompt_tokens, sizes.new_tokens
  passes = (_forward(config, batch * P, batch),
            _forward(config, batch, batch, N - 1))
  return Work(batch * N, passes, flops.attention_flops(
      config, batch * flops.causal_pairs(P + N - 1)))


def work_of(phase: str, config: ModelConfig, sizes: Sizes) -> Work:
  """What a phase must compute, model FLOPs only.

  Args:
    phase: its name.
    config: of the model, without slots.
    sizes: shapes.
  """
  s, B = sizes, sizes.rows
  grown = dataclasses.replace(config, num_slots=1, slot_rank=s.slot_rank)
  attention = lambda pairs: flops.attention_flops(config, pairs)
  row_pairs = B * flops.causal_pairs(s.row_tokens)
  teacher_head = 1, (Product(B * s.new_tokens, config.embed_dim,
                             config.vocab_size),)
  update = (_learn(grown, B * s.row_tokens, B * s.new_tokens, 'slot'),
            teacher_head)
  if phase == 'prefill':
    return Work(s.prefix_tokens, (_forward(config, s.prefix_tokens, 0),),
                attention(flops.causal_pairs(s.prefix_tokens)))
  if phase.startswith('decode_b'):
    return _decoding(config, s, int(phase.removeprefix('decode_b')))
  if phase == 'scoring_shared_prefix':
    return Work(
        B * s.row_tokens, (_forward(config, B * s.row_tokens, 0),),
        attention(B * flops.causal_pairs(s.row_tokens, s.prefix_tokens)))
  if phase == 'growth':
    grown = dataclasses.replace(grown, num_slots=s.pool)
    update = (_learn(grown, B * s.row_tokens, B * s.new_tokens, 'slot'),
              teacher_head)
  if phase in ('seeding_update', 'growth'):
    # Attention backward: four products for the two of the forward pass.
    return Work(B * s.row_tokens, update, 3 * attention(row_pairs))
  scoring = _forward(config, B * s.row_tokens, 0)
  if phase == 'distillation_update':
    return Work(
        B * s.row_tokens, (scoring, *update), 4 * attention(row_pairs))
  if phase == 'seeding_step':
    rollout = _decoding(grown, s, B)
    return Work(B * s.new_tokens, (*rollout.passes, scoring, *update),
                rollout.attention + 4 * attention(row_pairs))
  if phase == 'train_step':
    rows = B * s.window
    return Work(rows, (_learn(config, rows, rows, 'all'),),
                3 * attention(B * flops.causal_pairs(s.window)))
  if phase == 'dream_inner':
    return _dream_work(grown, s, attention)
  raise ValueError(f'unknown phase {phase!r}.')


def _dream_work(grown, s, attention):
  """Updates of every copy on its dream, then its held-in questions; so many
  copies are one batch."""
  rows, scored = s.copies * s.row_tokens, s.copies * s.rows * s.row_tokens
  times, learnt = _learn(grown, rows, s.copies * s.new_tokens, 'slot')
  own = flops.causal_pairs(s.row_tokens)
  return Work(
      s.inner_steps * rows + scored,
      ((s.inner_steps * times, learnt),
       _forward(grown, scored, s.copies * s.rows * s.new_tokens)),
      attention((3 * s.inner_steps + s.rows) * s.copies * own))


def _chained(products, dtype, outputs_first):
  """The products in turn, layer by layer; each waits for the one before."""
  layers = [p for p in products if p.count > 1]
  once = [p for p in products if p.count == 1]
  depth = max((p.count for p in layers), default=0)
  order = [(j, i) for i in range(depth) for j in range(len(layers))]
  order += [(len(layers) + j, 0) for j in range(len(once))]
  products = layers + once
  # Operands are arguments: constants would be folded.
  lefts = [jnp.full((p.rows, p.inner), 0.01, dtype) for p in products]
  shape = lambda p: (
      (p.outer, p.inner) if outputs_first else (p.inner, p.outer))
  rights = [[jnp.full(shape(p), 0.01, dtype) for _ in range(p.count)]
            for p in products]

  @jax.jit
  def run(lefts, rights):
    last = jnp.float32(0)
    for j, i in order:
      x = lefts[j] + (1e-30 * last).astype(dtype)
      last = ops.matmul(x, rights[j][i], dtype, outputs_first).max()
    return last

  return lambda: jax.block_until_ready(run(lefts, rights))


def wall(passes, dtype: str, outputs_first: bool):
  """A contestant: each distinct pass once, counted as often as it happens."""
  runs = [(times, _chained(products, dtype, outputs_first))
          for times, products in passes]

  def step():
    total = 0.0
    for times, run in runs:
      start = time.perf_counter()
      run()
      total += times * (time.perf_counter() - start)
    return total

  return step


def gemm_size() -> int:
  """Rows of that product: as many as keep the device busy."""
  return 2048 if jax.default_backend() == 'cpu' else 8192


def gemm(dtype: str):
  """A contestant: one square product, the best that this machine does."""
  x = jax.random.normal(jax.random.key(0), (gemm_size(),) * 2, dtype)
  product = jax.jit(lambda x: ops.matmul(x, x, dtype))

  def step():
    jax.block_until_ready(product(x))

  return step
