"""The matrix products of a decoder, and the FLOPs that follow from them.

One list of products serves three readers: their FLOPs (2·M·K·N each) tell what
a phase must compute, a benchmark multiplies bare matrices of the same shapes to
see how fast this machine could, and a planner adds them up. *Model* FLOPs: what
the mathematics needs, not what a program happens to do. Padding, recomputation
in a backward pass, norms, softmax and the optimizer do not count.
"""

from collections.abc import Iterable
from typing import NamedTuple

from sleepjax.models.config import SLOT_MATRICES, ModelConfig


class Product(NamedTuple):
  """[rows, inner] × [inner, outer], with weights of its own `count` times."""

  rows: int
  inner: int
  outer: int
  count: int = 1

  @property
  def flops(self) -> int:
    return 2 * self.rows * self.inner * self.outer * self.count


def _layer_shapes(config: ModelConfig):
  """(inner, outer) of the products of one layer, what is frozen in a sleep
  first, then those of all slots of all levels."""
  c = config
  D, H, G, K = c.embed_dim, c.num_heads, c.num_kv_heads, c.head_dim
  C = c.value_dim or K
  own = [(D, H * K + G * K + G * C), (H * C, D)]
  slots = []
  for level, width in enumerate((*c.level_dims, c.mlp_dim)):
    own += [(D, 2 * width), (width, D)]
    wide = c.slots_of(level) * c.slot_rank
    if wide:
      into = len(SLOT_MATRICES[c.slot_form]) - 1
      slots += [(D, into * wide), (wide, D)]
      if c.slot_routing != 'none':
        slots.append((D, c.slots_of(level)))
  return own, slots


def forward_products(config: ModelConfig, rows: int,
                     scored_rows: int) -> list[Product]:
  """Products of one forward pass, attention's own not among them.

  Products that read the same rows count as one (query, key and value; gate and
  up).

  Args:
    config: the model's shape.
    rows: tokens read, B · T.
    scored_rows: tokens whose logits are needed.
  """
  own, slots = _layer_shapes(config)
  products = [Product(rows, inner, outer, config.num_layers)
              for inner, outer in own + slots]
  if scored_rows:
    products.append(Product(scored_rows, config.embed_dim, config.vocab_size))
  return products


def backward_products(config: ModelConfig, rows: int, scored_rows: int,
                      trained: str = 'all') -> list[Product]:
  """Products of the backward pass that belongs to `forward_products`.

  For y = x W every product has dx = dy Wᵀ, and dW = xᵀ dy if W is trained. A
  frozen layer passes dx on: the slot of the first layer needs all but that of
  the first layer's own input, which is counted all the same.

  Args:
    config, rows, scored_rows: as in `forward_products`.
    trained: 'all', 'slot' for one slot in each layer and nothing else, or
      'levels' for the matrices of extra MLP levels.

  Raises:
    ValueError: for another `trained`.
  """
  if trained not in ('all', 'slot', 'levels'):
    raise ValueError(
        f"trained={trained!r} must be 'all', 'slot' or 'levels'.")
  forward = forward_products(config, rows, scored_rows)
  inputs = [Product(p.rows, p.outer, p.inner, p.count) for p in forward]
  D, R, L = config.embed_dim, config.slot_rank, config.num_layers
  if trained == 'all':
    weights = [Product(p.inner, p.rows, p.outer, p.count) for p in forward]
  elif trained == 'levels':
    weights = [product for F in config.level_dims for product in (
        Product(D, rows, 2 * F, L), Product(F, rows, D, L))]
  else:
    into = len(SLOT_MATRICES[config.slot_form]) - 1
    weights = [Product(D, rows, into * R, L), Product(R, rows, D, L)]
  return inputs + weights


def attention_flops(config: ModelConfig, pairs: int) -> int:
  """FLOPs of scores and of weighted values, 2·L·H·(K + C) a pair.

  Args:
    config: the model's shape.
    pairs: (query, key) pairs that are not masked, over the whole batch.
  """
  K = config.head_dim
  C = config.value_dim or K
  return 2 * config.num_layers * config.num_heads * (K + C) * pairs


def causal_pairs(new: int, before: int = 0) -> int:
  """(query, key) pairs of `new` tokens behind `before` others, in one row."""
  return new * before + new * (new + 1) // 2


def total_flops(products: Iterable[Product]) -> int:
  return sum(product.flops for product in products)
