"""What a sleep may change: a slot, low-rank deltas, or every layer.

Sleep trains a newly grown slot. Its baselines keep the model's size: LoRA, or
all weights of the layers. Each is a tree that a pure function puts into frozen
parameters, so one train step serves them all. Deltas are zero at birth; put
into canonical parameters they have become the model's own weights.
"""

import dataclasses
import math

import jax
import jax.numpy as jnp

from sleepjax.models import layout
from sleepjax.models.config import ModelConfig

MATRICES = ('q', 'k', 'v', 'o', 'gate', 'up', 'down')
_ATTENTION = ('q', 'k', 'v', 'o')


def _shapes(config: ModelConfig):
  """matrix -> (its shape [in…], [out…]) in one layer."""
  c = config
  D, F, H, G = c.embed_dim, c.mlp_dim, c.num_heads, c.num_kv_heads
  K, C = c.head_dim, c.value_dim or c.head_dim
  return {'q': ((D,), (H, K)), 'k': ((D,), (G, K)), 'v': ((D,), (G, C)),
          'o': ((H, C), (D,)), 'gate': ((D,), (F,)), 'up': ((D,), (F,)),
          'down': ((F,), (D,))}


def _by_module(deltas):
  """{matrix: leaf} as the part of params['layers'] that it belongs to."""
  parts = {'attn': {}, 'mlp': {}}
  for name, leaf in deltas.items():
    parts['attn' if name in _ATTENTION else 'mlp'][name] = leaf
  return {module: leaves for module, leaves in parts.items() if leaves}


@dataclasses.dataclass(frozen=True)
class Slot:
  """A slot of the pool of an MLP level, see `sleepjax.growth.slots`.

  level: whose pool, see `transformer.level_name`.
  """

  level: int = -1

  def insert(self, config: ModelConfig, params, slot, index):
    """`params` in either layout, with `slot` as entry `index` of its pool."""
    return layout.insert_slot(config, params, slot, index, self.level)


@dataclasses.dataclass(frozen=True)
class LowRank:
  """LoRA (Hu et al. 2021, arXiv 2106.09685): W + (alpha / rank) A B.

  A ~ N(0, 1 / in), B = 0 at birth.

  rank, alpha: alpha / rank scales the product.
  matrices: which of a layer's, see `MATRICES`.
  """

  rank: int = 64
  alpha: float = 64.0
  matrices: tuple[str, ...] = MATRICES

  def __post_init__(self):
    _check_matrices(self.matrices)
    if self.rank < 1:
      raise ValueError(f'rank={self.rank} must be at least 1.')

  def init(self, config: ModelConfig, key):
    """{matrix: {a [L, in…, r], b [L, r, out…]}}."""
    L, shapes = config.num_layers, _shapes(config)
    tree = {}
    for i, name in enumerate(self.matrices):
      inner, outer = shapes[name]
      fan_in = math.prod(inner)
      tree[name] = {
          'a': jax.random.normal(jax.random.fold_in(key, i), (
              L, *inner, self.rank), jnp.float32) * fan_in ** -0.5,
          'b': jnp.zeros((L, self.rank, *outer), jnp.float32)}
    return tree

  def deltas(self, config: ModelConfig, tree):
    shapes = _shapes(config)

    def product(name, pair):
      inner, outer = shapes[name]
      L = config.num_layers
      delta = jnp.einsum('lir,lro->lio', pair['a'].reshape(L, -1, self.rank),
                         pair['b'].reshape(L, self.rank, -1),
                         precision=jax.lax.Precision.HIGHEST)
      return (self.alpha / self.rank) * delta.reshape(L, *inner, *outer)

    return _by_module({n: product(n, pair) for n, pair in tree.items()})

  def insert(self, config: ModelConfig, params, tree, index=None):
    del index
    return layout.add_to_layers(config, params, self.deltas(config, tree))


@dataclasses.dataclass(frozen=True)
class AllLayers:
  """All matrices of the layers, as deltas; embeddings and head stay.

  The head is frozen in every arm because divergences share it between teacher
  and student.

  matrices: which of a layer's, see `MATRICES`.
  """

  matrices: tuple[str, ...] = MATRICES

  def __post_init__(self):
    _check_matrices(self.matrices)

  def init(self, config: ModelConfig, key=None):
    """{matrix: zeros [L, in…, out…]}; nothing is random."""
    del key
    shapes = _shapes(config)
    return {name: jnp.zeros(
        (config.num_layers, *shapes[name][0], *shapes[name][1]),
        jnp.float32)
        for name in self.matrices}

  def deltas(self, config: ModelConfig, tree):
    del config
    return _by_module(tree)

  def insert(self, config: ModelConfig, params, tree, index=None):
    del index
    return layout.add_to_layers(config, params, self.deltas(config, tree))


Trainable = Slot | LowRank | AllLayers
OWN_MLP_SLOT = Slot()


def _check_matrices(names):
  wrong = [name for name in names if name not in MATRICES]
  if wrong or not names:
    raise ValueError(f'matrices={tuple(names)}: expected at least one, all of '
                     f'{", ".join(MATRICES)}.')
