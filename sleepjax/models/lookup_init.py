"""A start from which small models learn soon to look things up in a context.

Looking up takes two layers that work together: one that brings to each token
what stood before it, and one that attends to tokens before which the same thing
stood (induction heads, 2209.11895). Small models find this pair late and
suddenly, if at all. Here both layers begin as rough versions of it, and all of
it is trained afterwards like everything else.
"""

import dataclasses
import math

import jax
import jax.numpy as jnp
import numpy as np

from sleepjax.models import ops
from sleepjax.models.config import ModelConfig


@dataclasses.dataclass(frozen=True)
class LookupStart:
  """How strongly the start is drawn.

  marks: size of the embeddings' first two features, where the others have a
    standard deviation of 1.
  position_gain: of layer 0's attention to an offset, in nats between the right
    offset and the next.
  rare_gain: of layer 0's attention to rare tokens, in nats between rare and
    other ones.
  content_gain: of layer 1's attention, in nats between equal content and
    unrelated, if a token held nothing else.
  far_gain: of layer 1's attention to tokens far away, in nats between those
    and its own.
  copied: how strongly layer 1 writes what it has found, relative to a token's
    own embedding.
  final_scale: of the last norm, since embeddings are also the head.
  """

  marks: float = 2.0
  position_gain: float = 2.0
  rare_gain: float = 8.0
  content_gain: float = 24.0
  far_gain: float = 4.0
  copied: float = 2.0
  final_scale: float = 0.1


def lookup_init(config: ModelConfig, params, rare, key,
                start: LookupStart = LookupStart()) -> dict:
  """Parameters whose first two layers begin as a rough pair for lookup.

  Head h of layer 0 attends to rare tokens about h + 2 back: queries and keys
  come from two features, one that all embeddings share and one that says
  whether a token is rare, and rotary embedding turns a query into one for an
  offset. A projection of what is read is written to a part of the residual
  stream of its own. In layer 1, even heads look for tokens that had the same
  before them and copy the token (a name before, a value here); odd heads look
  for tokens that are what the query had before it and copy what stood before
  those (a value here, a name before). What does not depend on offsets is
  compared in the slower half of the rotary pairs.

  Args:
    config: of the model, with two layers at least, keys of its own for every
      head and no normalisation of queries and keys.
    params: canonical parameters of `transformer.init`.
    rare: [V] bool, tokens that carry content, as names do.
    key: typed PRNG key of embeddings and projections.
    start: strengths.

  Returns:
    Parameters with other embeddings, attention in layers 0 and 1, and scale of
    the last norm.

  Raises:
    ValueError: the config has no such two layers.
  """
  c = config
  if (c.num_layers < 2 or c.num_heads != c.num_kv_heads or c.qk_norm
      or c.value_dim not in (None, c.head_dim)
      or c.embed_dim < 2 * c.head_dim + 2):
    raise ValueError(
        'lookup_init needs two layers, as many key/value heads as heads, '
        'value_dim equal to head_dim, no qk_norm, and embed_dim of at least '
        f'2 · head_dim + 2; the config has num_layers={c.num_layers}, '
        f'num_heads={c.num_heads}, num_kv_heads={c.num_kv_heads}, '
        f'value_dim={c.value_dim}, qk_norm={c.qk_norm}, '
        f'embed_dim={c.embed_dim}, head_dim={c.head_dim}.')
  D, H, K = c.embed_dim, c.num_heads, c.head_dim
  table_key, projection_key = jax.random.split(key)
  # All of the same size, so that a norm scales all of them alike.
  words = jax.random.normal(table_key, (c.vocab_size, D - 2), jnp.float32)
  words *= jnp.sqrt((D - 2) / jnp.square(words).sum(1, keepdims=True))
  rare = jnp.where(
      jnp.asarray(rare), jnp.float32(start.marks), -start.marks)
  table = jnp.concatenate(
      [jnp.full((c.vocab_size, 1), start.marks, jnp.float32),
       rare[:, None], words], 1)
  # What a norm makes of a feature of size 1.
  unit = 1 / math.sqrt((2 * start.marks ** 2 + D - 2) / D)
  mark = start.marks * unit

  q, k, v, o = (np.zeros((2, *shape), np.float32) for shape in (
      (D, H, K), (D, H, K), (D, H, K), (H, K, D)))
  frequencies = np.asarray(ops.rope_frequencies(
      K, c.rope_theta, c.rope_scaling))
  quick, half = np.arange(K // 4), K // 2
  slow = np.setdiff1d(np.arange(half), quick)
  slow = np.concatenate([slow[:-1], slow[:-1] + half])
  gain = lambda nats, best: math.sqrt(nats * math.sqrt(K) / best)
  place = gain(start.position_gain, np.sum(1 - np.cos(frequencies[quick])))
  k[0, 0, :, quick] = place / mark
  for h in range(H):
    # A key turns by its position: a query for an offset is one turned back.
    angles = -(h + 2) * frequencies[quick]
    q[0, 0, h, quick] = np.cos(angles) * place / mark
    q[0, 0, h, quick + half] = np.sin(angles) * place / mark
  choice = gain(start.rare_gain / 2, 1) / mark  # ± from other tokens.
  q[0, 0, :, half - 1] = choice  # In the slowest pair.
  k[0, 1, :, half - 1] = choice

  orthogonal = np.linalg.qr(np.asarray(
      jax.random.normal(
          projection_key, (D - 2, D - 2), jnp.float32)))[0]
  here, before = np.zeros((2, D, K), np.float32)
  here[2:] = orthogonal[:, :K]  # Of a token itself.
  before[2:] = orthogonal[:, K:2 * K]  # Where layer 0 writes it.
  here /= unit
  v[0], o[0] = here[:, None], before.T * unit
  # Layer 0 has written H times the size of a mark; the norm sees that too.
  shrunk = math.sqrt(1 + K / D * H ** 2)
  match = gain(start.content_gain, len(slow)) / H * shrunk
  choice = gain(start.rare_gain / 2, 1) / mark * shrunk
  q[1, 0, :, half - 1] = k[1, 1, :, half - 1] = choice
  near = gain(start.far_gain, len(quick) // 2) / mark * shrunk
  q[1, 0, :, quick[len(quick) // 2:]] = -near
  k[1, 0, :, quick[len(quick) // 2:]] = near
  for h in range(H):
    q[1, :, h, slow] = before[:, slow].T * match
    k[1, :, h, slow] = (
        here * H if h % 2 else before)[:, slow].T * match
    v[1, :, h] = before / H / unit if h % 2 else here
    o[1, h] = here.T * unit * shrunk * start.copied
  layers = params['layers']
  attention = {
      name: layers['attn'][name].at[:2].set(new)
      for name, new in zip('qkvo', (q, k, v, o), strict=True)}
  return {
      **params, 'embed': {'table': table},
      'final_norm': {'scale': jnp.full(D, start.final_scale, jnp.float32)},
      'layers': {**layers, 'attn': {**layers['attn'], **attention}}}
