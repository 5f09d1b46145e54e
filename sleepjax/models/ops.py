"""The arithmetic that every layer shares: products, norms, rotary embedding."""

import functools

import jax
import jax.numpy as jnp

from sleepjax.models.config import RopeScaling

NEGATIVE_INFINITY = -1e30  # Finite, so that a fully masked row stays finite.
_FEW_ROWS = 128  # Multiplied from the right, see `matmul`.


def precision(dtype):
  """What a product of `dtype` must be asked for to be one of that dtype.

  Accelerators otherwise multiply float32 in fewer bits: TPUs in bfloat16,
  GPUs in TF32.
  """
  return jax.lax.Precision.HIGHEST if dtype == 'float32' else None


def _product(a, b, contract, dtype, batch=((), ())):
  return jax.lax.dot_general(
      a.astype(dtype), b.astype(dtype), (contract, batch),
      precision=precision(dtype), preferred_element_type=jnp.float32)


def _forward(x, w, dtype, outputs_first):
  if (dtype == 'bfloat16' and x.size == x.shape[-1]
      and jax.default_backend() == 'cpu'):
    # XLA keeps a single bfloat16 row from the CPU's matrix code: with a row of
    # zeros beside it, the product takes a third of the time.
    two = jnp.pad(x.reshape(1, -1), ((0, 1), (0, 0)))
    return _forward(two, w, dtype, outputs_first)[:1].reshape(
        *x.shape[:-1], -1)
  last = x.ndim - 1
  if not outputs_first:
    return _product(x, w, ((last,), (0,)), dtype)
  if x.size // x.shape[-1] > _FEW_ROWS:
    return _product(x, w, ((last,), (1,)), dtype)
  return jnp.moveaxis(outputs_by_rows(x, w, dtype), 0, -1)


def outputs_by_rows(x, w, dtype='float32'):
  """w · x, [C, ...] float32 of x [..., A] and weights w [C, A], outputs first.

  The product as it is for few rows of x, not turned round: no gradient of its
  own, see `matmul`.
  """
  return _product(w, x, ((1,), (x.ndim - 1,)), dtype)


@functools.partial(jax.custom_vjp, nondiff_argnums=(2, 3))
def matmul(x, w, dtype='float32', outputs_first=False):
  """Product of activations and weights with float32 accumulation.

  Both operands are rounded to `dtype`; so are the cotangents in the backward
  pass, which plain autodiff would multiply in float32 and so send past the
  matrix units of TPUs, GPUs and AMX CPUs.

  Args:
    x: [..., A] activations.
    w: [A, C] weights, or [C, A] with `outputs_first`.
    dtype: name of the dtype in which operands are multiplied.
    outputs_first: how w is stored. XLA's CPU code spreads the rows of a
      product's left operand over its vectors and threads: few rows of x are
      multiplied up to twice as fast from the right, by weights whose rows are
      the outputs.

  Returns:
    [..., C] float32.
  """
  return _forward(x, w, dtype, outputs_first)


def _matmul_forward(x, w, dtype, outputs_first):
  return matmul(x, w, dtype, outputs_first), (x, w)


def _matmul_backward(dtype, outputs_first, saved, g):
  x, w = saved
  rows = tuple(range(x.ndim - 1))
  if outputs_first:
    dx = _product(g, w, ((g.ndim - 1,), (0,)), dtype)
    dw = _product(g, x, (rows, rows), dtype)
  else:
    dx = _product(g, w, ((g.ndim - 1,), (1,)), dtype)
    dw = _product(x, g, (rows, rows), dtype)
  return dx.astype(x.dtype), dw.astype(w.dtype)


matmul.defvjp(_matmul_forward, _matmul_backward)


def first_true(mask, axis: int = -1):
  """Place along `axis` of the first true entry, int32; its size if none is.

  argmax in a form that CPUs vectorise: a third of the time at 49,152 entries.
  """
  size = mask.shape[axis]
  places = jax.lax.broadcasted_iota(jnp.int32, mask.shape, axis % mask.ndim)
  return jnp.where(mask, places, size).min(axis)


def rms_norm(x, scale, eps):
  """x / sqrt(mean(x²) + eps) · scale over the last axis, in float32."""
  x = x.astype(jnp.float32)
  variance = jnp.mean(jnp.square(x), axis=-1, keepdims=True)
  return x * jax.lax.rsqrt(variance + eps) * scale.astype(jnp.float32)


def rope_frequencies(head_dim, theta, scaling: RopeScaling | None = None):
  """Angular frequencies [K/2] of rotary embedding (RoFormer, 2104.09864).

  Linear `scaling` divides all of them by `factor`. Llama 3's divides those
  whose wavelength exceeds the original context; short ones are kept, those
  between blended.
  """
  exponents = jnp.arange(0, head_dim, 2, dtype=jnp.float32) / head_dim
  frequencies = 1.0 / (theta ** exponents)
  if scaling is None:
    return frequencies
  if scaling.is_linear:
    return frequencies / scaling.factor
  turns = scaling.original_max_context * frequencies / (2 * jnp.pi)
  blend = (turns - scaling.low_freq_factor) / (
      scaling.high_freq_factor - scaling.low_freq_factor)
  blend = jnp.clip(blend, 0.0, 1.0)
  return frequencies * (blend + (1.0 - blend) / scaling.factor)


def rotation(positions_BxT, frequencies, branch: bool = False):
  """(cosine, sine), each [B, T, 1, K/2], of the angles that `rotate` turns by.

  They are the same for all layers and heads.

  Args:
    positions_BxT: of the tokens, not negative.
    frequencies: of `rope_frequencies`.
    branch: works them out in a branch that is always taken. XLA's CPU code
      merges with nothing there, not even behind an optimization barrier; merged
      with what uses them, it would work them out in every layer and head.
  """
  angles = positions_BxT[..., None, None].astype(jnp.float32) * frequencies
  turns = lambda x: (jnp.cos(x), jnp.sin(x))
  if not branch:
    return turns(angles)
  return jax.lax.cond(
      positions_BxT.max() >= 0, turns, lambda x: (x, x), angles)


def rotate(x_BxTxNxK, angles):
  """Rotary embedding in the half-rotation pairing (feature i with i + K/2).

  Args:
    x_BxTxNxK: queries or keys.
    angles: of `rotation`.
  """
  cos, sin = angles
  first, second = jnp.split(x_BxTxNxK, 2, axis=-1)
  return jnp.concatenate(
      [first * cos - second * sin, second * cos + first * sin], axis=-1)


def attend(q_BxTxHxK, parts, dtype, queries: int = 0):
  """Softmax attention of grouped queries over several key/value parts.

  A query's row does not depend on other queries, so their number changes
  memory alone: with `queries`, scores of so many exist at a time, in the
  backward pass too, which computes them again.

  Args:
    q_BxTxHxK: rotated queries.
    parts: list of (k, v, allowed): k is [B or 1, S, G, K], v [B or 1, S, G, C]
      and allowed [B or 1, T or 1, S] bool. A part with leading 1 is shared by
      the batch and is never tiled.
    dtype: name of the dtype in which operands are multiplied.
    queries: whose scores exist at once; 0 for all.

  Returns:
    [B, T, H, C] float32.
  """
  B, T = q_BxTxHxK.shape[:2]
  if not 0 < queries < T:
    return _attend(q_BxTxHxK, parts, dtype)

  def in_blocks(x):
    """[B, T, ...] -> [blocks, B, queries, ...]"""
    rest = ((0, 0),) * (x.ndim - 2)
    x = jnp.pad(x, ((0, 0), (0, -T % queries), *rest))
    return x.reshape(x.shape[0], -1, queries, *x.shape[2:]).swapaxes(0, 1)

  def block(inputs):
    q, own = inputs
    masks = [mask if mask is not None else allowed
             for mask, (_, _, allowed) in zip(own, parts, strict=True)]
    return _attend(q, [(k, v, mask) for mask, (k, v, _) in zip(
        masks, parts, strict=True)], dtype)

  own = [in_blocks(allowed) if allowed.shape[1] == T else None
         for _, _, allowed in parts]
  out = jax.lax.map(jax.checkpoint(block, prevent_cse=False),
                    (in_blocks(q_BxTxHxK), own))
  return out.swapaxes(0, 1).reshape(B, -1, *out.shape[3:])[:, :T]


def _attend(q_BxTxHxK, parts, dtype):
  B, T, H, K = q_BxTxHxK.shape
  G = parts[0][0].shape[2]
  # Queries and weights to the left, which an einsum would not promise: what is
  # turned round is then the queries, not the scores, of which there are more.
  q_BxGxRxTxK = (q_BxTxHxK * K ** -0.5).reshape(
      B, T, G, H // G, K).astype(dtype).transpose(0, 2, 3, 1, 4)
  shared = tuple(k.shape[0] == 1 for k, _, _ in parts)
  scores = []
  for (k, _, allowed), first in zip(parts, shared, strict=True):
    # Added, where XLA's CPU code would write a selection once more.
    bias = jnp.where(
        allowed, jnp.float32(0), NEGATIVE_INFINITY)[:, None, None]
    if first:  # Groups come first, as in the product: [G, B, R, T, S].
      s = _product(q_BxGxRxTxK, k[0], ((4,), (2,)), dtype, ((1,), (1,)))
    else:
      s = _product(q_BxGxRxTxK, k, ((4,), (3,)), dtype, ((0, 1), (0, 2)))
    scores.append(s + _turned(bias, first))
  out = 0.0
  for w, (_, v, _), first in zip(
      _softmax(shared, scores), parts, shared, strict=True):
    if first:
      part = _product(w, v[0], ((4,), (0,)), dtype, ((0,), (1,)))
    else:
      part = _product(w, v, ((4,), (1,)), dtype, ((0, 1), (0, 2)))
    out += _turned(part, first)
  return jnp.moveaxis(out, 3, 1).reshape(B, T, H, -1)


def _turned(x, groups_first):
  """[G, B, ...] -> [B, G, ...], or back, of a part that has groups first."""
  return jnp.swapaxes(x, 0, 1) if groups_first else x


@functools.partial(jax.custom_jvp, nondiff_argnums=(0,))
def _softmax(shared, scores):
  """Over the last axes of all parts together, which are never put into one.

  Like that of `jax.nn`, it keeps nothing for its derivative but the result.
  """
  peak = functools.reduce(jnp.maximum, [
      _turned(s.max(-1, keepdims=True), first)
      for s, first in zip(scores, shared, strict=True)])
  below = [s - _turned(peak, first)
           for s, first in zip(scores, shared, strict=True)]
  log_total = jnp.log(_total(shared, [jnp.exp(s) for s in below]))
  return [jnp.exp(s - _turned(log_total, first))
          for s, first in zip(below, shared, strict=True)]


def _total(shared, parts):
  return sum(_turned(x.sum(-1, keepdims=True), first)
             for x, first in zip(parts, shared, strict=True))


@_softmax.defjvp
def _softmax_jvp(shared, primals, tangents):
  weights = _softmax(shared, *primals)
  moved = [w * t for w, t in zip(weights, *tangents, strict=True)]
  mean = _total(shared, moved)
  return weights, [m - w * _turned(mean, first) for m, w, first in zip(
      moved, weights, shared, strict=True)]
