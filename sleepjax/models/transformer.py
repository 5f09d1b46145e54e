"""A Llama-like decoder: RMSNorm, rotary grouped-query attention, SwiGLU.

The modules are thin Linen layers; callers use the functions at the end of the
file, which take a plain parameter tree (`sleepjax.models.config` lists it).
Attention reads *segments*, finished stretches of keys and values (a document, a
prompt, a decoding cache), besides the tokens at hand, and never writes them: a
forward pass returns the new keys and values, and whoever owns a cache stores
them. So one document read once serves every row of every batch.
"""

import dataclasses
import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import linen as nn

from sleepjax.mesh import activations
from sleepjax.models import ops
from sleepjax.models.config import ModelConfig
from sleepjax.models.feed_forward import Level, Mlp, Norm, Slots, kernel


class Segment(NamedTuple):
  """Keys and values that attention may read, for all layers.

  k, v: [L, B, S, G, K] with scanned layers, or a tuple of L arrays
    [B, S, G, K] without. B = 1 shares the segment with every row of a batch.
  mask: [B, S] bool, true where a key is real.
  """

  k: jax.Array | tuple[jax.Array, ...]
  v: jax.Array | tuple[jax.Array, ...]
  mask: jax.Array

  def length(self):
    """Number of real tokens [B]."""
    return self.mask.sum(-1, dtype=jnp.int32)


def level_name(config: ModelConfig, level: int) -> str | None:
  """Where an MLP level's mlp, norm and slots are; None for the layer itself.

  Args:
    config: the model's shape.
    level: 0 is the fastest; −1 or num_levels − 1 is the block's own MLP. Groups
      of layers (`level_layers`) have it in common.
  """
  level = range(config.num_levels)[level]
  if config.level_layers or level == len(config.level_dims):
    return None
  return f'level_{level}'


class Attention(nn.Module):
  config: ModelConfig

  @nn.compact
  def __call__(self, x_BxTxD, angles, causal, memory):
    c = self.config
    B, T, D = x_BxTxD.shape
    H, G, K = c.num_heads, c.num_kv_heads, c.head_dim
    C, eps = c.value_dim or K, c.qk_norm_eps or c.rms_eps
    project = lambda w: ops.matmul(
        x_BxTxD, w.reshape(D, -1), c.matmul_dtype)
    if c.cpu_layout:
      qkv = ops.matmul(
          x_BxTxD, kernel(self, 'qkv', (H * K + G * K + G * C, D), D),
          c.matmul_dtype, True)
      q, k, v = jnp.split(qkv, [H * K, H * K + G * K], axis=-1)
    else:
      q = project(kernel(self, 'q', (D, H, K), D, 1))
      k = project(kernel(self, 'k', (D, G, K), D, 1))
      v = project(kernel(self, 'v', (D, G, C), D, 1))
    q, k, v = (activations.by_head(part.reshape(B, T, -1, size))
               for part, size in ((q, K), (k, K), (v, C)))
    if c.qkv_bias:
      zeros = nn.initializers.zeros
      q += self.param('q_bias', zeros, (H, K), jnp.float32)
      k += self.param('k_bias', zeros, (G, K), jnp.float32)
      v += self.param('v_bias', zeros, (G, C), jnp.float32)
    if c.qk_norm:
      ones = nn.initializers.ones
      q = ops.rms_norm(
          q, self.param('q_norm', ones, (K,), jnp.float32), eps)
      k = ops.rms_norm(
          k, self.param('k_norm', ones, (K,), jnp.float32), eps)
    q, k = ops.rotate(q, angles), ops.rotate(k, angles)
    k, v = k.astype(c.matmul_dtype), v.astype(c.matmul_dtype)
    out = ops.attend(q, [*memory, (k, v, causal)], c.matmul_dtype,
                     c.attention_queries)
    out = out.reshape(B, T, H * C)
    if c.cpu_layout:
      o = kernel(self, 'out', (D, H * C), H * C, 1)
      return ops.matmul(out, o, c.matmul_dtype, True), (k, v)
    o = kernel(self, 'o', (H, C, D), H * C, 0)
    return ops.matmul(out, o.reshape(H * C, D), c.matmul_dtype), (k, v)


class Block(nn.Module):
  """Attention, then the chain of MLP levels, each a residual (Eq. 1)."""

  config: ModelConfig

  @nn.compact
  def __call__(self, x, views, kind, memory_kv):
    c = self.config
    angles, causal, masks = _view_of(views, kind)
    memory = [(k, v, m) for (k, v), m in zip(memory_kv, masks, strict=True)]
    attended, kv = Attention(c, name='attn')(
        Norm(c, name='attn_norm')(x), angles, causal, memory)
    if c.post_norms:
      attended = Norm(c, name='attn_post_norm')(attended)
    x = activations.by_row(x + attended)
    for level in range(len(c.level_dims)):
      x += Level(c, level, name=level_name(c, level))(x)
    normed = Norm(c, name='mlp_norm')(x)
    out = Mlp(c, name='mlp')(normed)
    if c.num_slots:
      out += Slots(c, c.num_slots, name='slots')(normed)
    if c.post_norms:
      out = Norm(c, name='mlp_post_norm')(out)
    return activations.by_row(x + out), kv


def _views(config: ModelConfig, positions, causal, segments):
  """[(angles, causal, masks)] of each kind of layer: how its queries are turned
  and which keys they may read, among those at hand and in each segment."""
  views = []
  for kind in config.kinds:
    theta, scaling = config.rope_theta, config.rope_scaling
    if kind == 'window':
      theta, scaling = config.window_theta, None
    frequencies = ops.rope_frequencies(config.head_dim, theta, scaling)
    if kind == 'unrotated':
      frequencies = jnp.zeros_like(frequencies)
    angles = ops.rotation(positions, frequencies, branch=config.cpu_layout)
    masks, readable = [s.mask[:, None, :] for s in segments], causal
    if kind == 'window':
      near = lambda keys: (
          positions[:, :, None] - keys[:, None, :] < config.window)
      readable = causal & near(positions)
      masks = [mask & near(keys) for mask, keys in zip(
          masks, _key_positions(segments), strict=True)]
    views.append((angles, readable, masks))
  return views


def _key_positions(segments):
  """[B, S] of each segment: real tokens are counted, after those before."""
  before = 0
  for segment in segments:
    yield before + jnp.cumsum(segment.mask, axis=1, dtype=jnp.int32) - 1
    before += segment.length()[:, None]


def _view_of(views, kind):
  """The view of one kind of layer, by its place; None where there is one."""
  if kind is None:
    return views[0]
  view = views[0]
  for i, other in enumerate(views[1:], start=1):
    view = jax.tree.map(
        lambda new, old, i=i: jnp.where(kind == i, new, old), other, view)
  return view


def _block(config: ModelConfig):
  """The class of a layer, with what `remat` says about its backward pass."""
  if config.remat == 'none':
    return Block
  # A scan keeps recomputation apart from the forward pass by itself.
  return nn.remat(Block, prevent_cse=not config.scan_layers)


class Decoder(nn.Module):
  """All layers between the embedding and the unembedding.

  norm: whether what the last layer makes is normalised.
  """

  config: ModelConfig
  norm: bool = True

  @nn.compact
  def __call__(self, tokens_BxT, positions, causal, segments):
    c = self.config
    x = tokens_BxT
    if jnp.issubdtype(x.dtype, jnp.integer):
      table = self.param('embed', lambda key: {'table': nn.initializers.normal(
          0.02)(key, (c.vocab_size, c.embed_dim), jnp.float32)})['table']
      x = jnp.take(table, x, axis=0).astype(jnp.float32)
      if c.embed_scale != 1.0:
        x *= c.embed_scale
    x = activations.by_row(x)
    views = _views(c, positions, causal, segments)
    kinds = [c.kinds.index(k) for k in c.layer_kinds] or [0] * c.num_layers
    memory_kv = [(s.k, s.v) for s in segments]
    if c.scan_layers:
      layers = nn.scan(
          _block(c), variable_axes={'params': 0}, split_rngs={'params': True},
          in_axes=(nn.broadcast, 0, 0), length=c.num_layers)(c, name='layers')
      kinds = jnp.array(kinds, jnp.int32) if len(views) > 1 else None
      x, (k, v) = layers(x, views, kinds, memory_kv)
    else:
      new = []
      for i in range(c.num_layers):
        x, kv = _block(c)(c, name=f'layer_{i}')(
            x, [views[kinds[i]]], None,
            [(k[i], v[i]) for k, v in memory_kv])
        new.append(kv)
      k, v = (tuple(part) for part in zip(*new, strict=True))
    if self.norm:
      x = Norm(c, name='final_norm')(x)
    if self.is_initializing() and not c.tie_embeddings:
      self.param('head', lambda key: {'kernel': nn.initializers.normal(
          c.embed_dim ** -0.5)(key, (c.embed_dim, c.vocab_size), jnp.float32)})
    return x, (k, v)


def init(config: ModelConfig, key) -> dict:
  """Random parameters; use under `jax.eval_shape` for their abstract tree."""
  tokens = jnp.zeros((1, 1), jnp.int32)
  variables = Decoder(config).init(
      key, tokens, tokens, jnp.ones((1, 1, 1), bool), ())
  return variables['params']


def hidden_states(config: ModelConfig, params, tokens_BxT, mask_BxT=None,
                  segments: tuple[Segment, ...] = (), norm: bool = True):
  """Final hidden states, and the keys and values of the tokens read.

  Padding may stand anywhere: positions count real tokens only, continuing
  after those of the segments, and no real token reads a padded one.

  Args:
    config: the model's shape.
    params: its parameters, in the layout that `config` names.
    tokens_BxT: int32 token ids, or [B, T, D] float32, what goes into the first
      layer for them.
    mask_BxT: bool, true for real tokens; all real when None.
    segments: what was read before, in order.
    norm: whether hidden states are those after the final norm.

  Returns:
    (hidden [B, T, D] float32, Segment of these tokens).
  """
  if mask_BxT is None:
    mask_BxT = jnp.ones(tokens_BxT.shape[:2], bool)
  T = tokens_BxT.shape[1]
  offset = sum((s.length()[:, None] for s in segments), 0)
  positions = jnp.maximum(
      offset + jnp.cumsum(mask_BxT, axis=1, dtype=jnp.int32) - 1, 0)
  causal = jnp.tril(jnp.ones((T, T), bool))[None] & mask_BxT[:, None, :]
  hidden, (k, v) = Decoder(config, norm).apply(
      {'params': params}, tokens_BxT, positions, causal, segments)
  return hidden, Segment(k, v, mask_BxT)


def unembedding(params):
  """Head [D, V]: the model's own, or the transposed embedding when tied."""
  if 'head' in params:
    return params['head']['kernel']
  return params['embed']['table'].T


def next_token_scores(config: ModelConfig, params, hidden_BxD):
  """Logits of a few final hidden states, and the axis of the vocabulary.

  In the layout of CPUs they are [V, B], as their product is (`ops.matmul`): a
  table of so many columns takes as long to turn round as to compute.

  Returns:
    (float32 [B, V], 1) or (float32 [V, B], 0).
  """
  rows = params.get('head', {}).get('rows')  # See `models.layout`.
  if rows is None:
    return ops.matmul(hidden_BxD, unembedding(params), config.matmul_dtype), 1
  if len(hidden_BxD) == 1:
    return ops.matmul(hidden_BxD, rows, config.matmul_dtype, True), 1
  return ops.outputs_by_rows(hidden_BxD, rows, config.matmul_dtype), 0


def logits(config: ModelConfig, params, tokens_BxT, mask_BxT=None,
           segments: tuple[Segment, ...] = ()):
  """Next-token logits [B, T, V] float32. Large: losses work from hiddens."""
  hidden, _ = hidden_states(config, params, tokens_BxT, mask_BxT, segments)
  return ops.matmul(hidden, unembedding(params), config.matmul_dtype)


def parameter_count(params) -> int:
  """Number of scalars in a tree, slot masks not counted."""
  return sum(leaf.size for leaf in jax.tree.leaves(params)
             if leaf.dtype != jnp.bool_)


def abstract_params(config: ModelConfig):
  """Shapes and dtypes of the parameters that `config` needs."""
  return jax.tree.map(lambda leaf: leaf, _abstract(config))


@functools.cache
def _abstract(config):
  """Tracing a model takes a while: once for each config."""
  return jax.eval_shape(lambda: init(config, jax.random.key(0)))


def with_slots(config: ModelConfig, num_slots: int, slot_rank: int,
               level: int = -1) -> ModelConfig:
  """The config with another number of slots in one MLP level."""
  counts = [config.slots_of(i) for i in range(len(config.level_dims) + 1)]
  counts[-1 if config.level_layers else level] = num_slots
  return dataclasses.replace(
      config, num_slots=counts[-1], level_slots=tuple(counts[:-1]),
      slot_rank=slot_rank)
