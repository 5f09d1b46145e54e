"""Divergences and log-probabilities of many rows without their logits.

Rows of final hidden states are projected to the vocabulary one chunk at a
time, forward and backward: the two full [N, V] logit tensors, which are what
exhausts memory in distillation, are never built. N counts rows here: any set of
positions, in any order. `experiments.divergence_memory` measures what is saved.

A row's value depends on its own hidden state alone. So where a gradient will be
asked for, the derivative in the hidden state is taken while the logits are at
hand, and the backward pass only scales it: a frozen unembedding is multiplied
twice forward and once backward, and no logits are computed again.
"""

import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Num, Shaped

from sleepjax.losses import divergences
from sleepjax.losses.divergences import Divergence
from sleepjax.losses.policy_gradient import Sums
from sleepjax.models import ops
from sleepjax.models.arrays import AnyArray

Matmul = Callable[[Float[Array, 'C D'], Float[Array, 'D V']],
                  Float[Array, 'C V']]


def divergence_from_hidden(
    divergence: Divergence,
    teacher: tuple[Float[AnyArray, '*rows Dt'], Float[AnyArray, 'Dt V']],
    student: tuple[Float[AnyArray, '*rows D'], Float[AnyArray, 'D V']],
    weight_N: Shaped[AnyArray, '*rows'],
    *,
    targets: tuple[Int[AnyArray, '*rows'],
                   Num[AnyArray, '*rows']] | None = None,
    temperature: float = 1.0,
    chunk_rows: int = 512,
    matmul: Matmul | None = None,
) -> Sums:
  """Weighted sum of a divergence over rows of final hidden states.

    sum_n weight_n D(softmax(teacher_n) || softmax(student_n))
      + sum_n target_weight_n log softmax(student_n)[target_n]

  The second sum, at temperature 1 and only if asked for, is what a policy
  gradient needs: on the same logits it costs next to nothing.

  Forward and backward hold the logits of `chunk_rows` rows at a time; they are
  computed again for a gradient in the unembedding only. Teacher and weights
  get no gradient.
  Reverse mode only, and once. Rows whose weights are zero are replaced by zeros
  before the projection, so they add exactly nothing to the sum and to every
  gradient, whatever they hold.

  Args:
    divergence: D of the equation, see `divergences`.
    teacher, student: (hidden states after the final norm, flattened to rows;
      unembedding, the projection to logits): the same rows in the same order,
      and one vocabulary. Their D may differ.
    weight_N: weight of each row, [...] like the hidden states; 0 masks.
    targets: (token ids, weights of their log-probabilities, of any sign; 0
      masks) of the second sum, or None.
    temperature: divides both models' logits.
    chunk_rows: rows projected at once; any positive number.
    matmul: (x [C, D], unembedding [D, V]) -> logits [C, V] in float32. By
      default a dot product that accumulates in float32.

  Returns:
    (sum [], weight [], aux): the weighted sum in nats, the sum of the
    divergence's weights, and sums with those weights, to be divided by theirs:
    `divergence` alone, `student_entropy` in nats at this temperature,
    `top1_agreement` (1 where both models rank the same token first).

  Raises:
    UserError: chunk_rows < 1, or the divergence refuses the vocabulary.
    ValueError: the shapes do not fit together.
  """
  project = _dot if matmul is None else matmul
  teacher_hidden, teacher_unembedding = jax.lax.stop_gradient(teacher)
  student_hidden, student_unembedding = student
  _check_rows('teacher', teacher_hidden, teacher_unembedding, weight_N.shape)
  _check_rows('student', student_hidden, student_unembedding, weight_N.shape)
  if teacher_unembedding.shape[1] != student_unembedding.shape[1]:
    raise ValueError(
        f'The teacher scores {teacher_unembedding.shape[1]} tokens and the '
        f'student {student_unembedding.shape[1]}: a divergence needs one '
        'vocabulary.')

  compared = keep = weight_N != 0
  if targets is not None:
    keep = compared | (targets[1] != 0)
  teacher_hidden = jnp.where(compared[..., None], teacher_hidden, 0)
  student_hidden = jnp.where(keep[..., None], student_hidden, 0)

  def per_row(student_hidden_CxD, student_unembedding, teacher_unembedding,
              teacher_hidden_CxD, weight_C, *targets):
    teacher_logits = project(teacher_hidden_CxD, teacher_unembedding)
    student_logits = project(student_hidden_CxD, student_unembedding)
    log_p = divergences.log_softmax(teacher_logits, temperature)
    log_q = divergences.log_softmax(student_logits, temperature)
    apart = divergence(log_p, log_q)
    value = jnp.where(weight_C != 0, weight_C * apart, 0)
    if targets:
      targets_C, target_weight_C = targets
      policy = (log_q if temperature == 1
                else divergences.log_softmax(student_logits))
      value += jnp.where(target_weight_C != 0, target_weight_C * _log_prob(
          policy, targets_C), 0)
    apart, log_q = jax.lax.stop_gradient((apart, log_q))
    return value, (apart, -jnp.sum(jnp.exp(log_q) * log_q, axis=-1),
                   _first_largest(log_p) == _first_largest(log_q))

  value, (apart, entropy, agree) = _map_row_chunks(
      per_row, chunk_rows, student_hidden, student_unembedding,
      teacher_unembedding, teacher_hidden,
      *jax.lax.stop_gradient((weight_N, *(targets or ()))))

  def weighted_sum(of):
    return jnp.sum(jnp.where(compared, weight_N * of, 0))

  aux = {
      'divergence': weighted_sum(apart),
      'student_entropy': weighted_sum(entropy),
      'top1_agreement': weighted_sum(agree.astype(value.dtype)),
  }
  return (jnp.sum(value), jnp.sum(weight_N, dtype=value.dtype),
          jax.lax.stop_gradient(aux))


def sequence_log_probs_from_hidden(
    hidden_NxD: Float[AnyArray, '*rows D'],
    unembedding_DxV: Float[AnyArray, 'D V'],
    targets_N: Int[AnyArray, '*rows'],
    *,
    chunk_rows: int = 512,
    temperature: float = 1.0,
    matmul: Matmul | None = None,
) -> Float[Array, '*rows']:
  """Log-probability of the target token at every row.

    log softmax(hidden_n unembedding / temperature)[target_n]

  The caller aligns rows: the hidden state of position t predicts the token of
  position t + 1. Differentiable in the hidden states and in the unembedding,
  with the logits of `chunk_rows` rows in memory at a time.

  Args:
    hidden_NxD: hidden states after the final norm, [..., D].
    unembedding_DxV: projection to logits.
    targets_N: token ids, [...]. A row that will be masked may hold any id; an
      id outside [0, V) yields a finite number without meaning.
    chunk_rows: rows projected at once; any positive number.
    temperature: divides the logits; that of the sampler, to score its policy.
    matmul: as in `divergence_from_hidden`.

  Returns:
    log_prob, shaped like `targets_N`, in nats.

  Raises:
    UserError: chunk_rows < 1.
    ValueError: the shapes do not fit together.
  """
  _check_rows('policy', hidden_NxD, unembedding_DxV, targets_N.shape)
  project = _dot if matmul is None else matmul

  def per_row(hidden_CxD, unembedding_DxV, _, targets_C):
    log_p_CxV = divergences.log_softmax(
        project(hidden_CxD, unembedding_DxV), temperature)
    return _log_prob(log_p_CxV, targets_C), ()

  return _map_row_chunks(
      per_row, chunk_rows, hidden_NxD, unembedding_DxV, (), targets_N)[0]


def _dot(x, w):
  dtype = jnp.promote_types(jnp.result_type(x, w), jnp.float32)
  return jnp.dot(x, w, precision=jax.lax.Precision.HIGHEST,
                 preferred_element_type=dtype)


def _log_prob(log_p_CxV, targets_C):
  # A comparison rather than a gather: its transpose is no scatter, and it needs
  # no communication when the vocabulary is sharded.
  tokens_V = jnp.arange(log_p_CxV.shape[-1], dtype=targets_C.dtype)
  is_target = tokens_V == targets_C[:, None]
  return jnp.sum(jnp.where(is_target, log_p_CxV, 0), axis=-1)


def _first_largest(x):
  """argmax over the last axis."""
  return ops.first_true(x == jnp.max(x, axis=-1, keepdims=True))


def _map_row_chunks(per_row, chunk_rows, hidden, unembedding, shared, *arrays):
  """Applies `per_row` to chunks of rows, one chunk in memory at a time.

  Args:
    per_row: (hidden [C, D], unembedding, shared, *arrays of [C, ...]) ->
      (value [C], tree of [C]). Row n of the value depends on row n alone.
    chunk_rows: C at most.
    hidden: [*rows, D].
    unembedding: as per_row takes it. The value has derivatives in it and in
      hidden.
    shared: the same for all chunks, without derivatives.
    *arrays: [*rows] or [*rows, D'], without derivatives.

  Returns:
    (value, tree), every leaf shaped [*rows]; the tree has no derivatives.
  """
  divergences.check_chunk_rows(chunk_rows)
  rows_shape = hidden.shape[:-1]
  num_rows = math.prod(rows_shape)
  chunk = max(1, min(chunk_rows, num_rows))
  num_chunks = -(-num_rows // chunk)

  def to_chunks(x):
    x = x.reshape(num_rows, *x.shape[len(rows_shape):])
    x = jnp.pad(
        x, ((0, num_chunks * chunk - num_rows),) + ((0, 0),) * (x.ndim - 1))
    # Chunk i takes rows i, i + num_chunks, ...: where the rows are sharded,
    # every device then holds its share of every chunk already. Contiguous
    # chunks would each lie on one device and be gathered first.
    return x.reshape(chunk, num_chunks, *x.shape[1:]).swapaxes(0, 1)

  def from_chunks(y):
    y = y.swapaxes(0, 1).reshape(num_chunks * chunk, *y.shape[2:])
    return y[:num_rows].reshape(*rows_shape, *y.shape[1:])

  def mapped(body, *arrays):
    chunks = jax.lax.map(
        lambda xs: body(*xs), tuple(to_chunks(x) for x in arrays))
    return jax.tree.map(from_chunks, chunks)

  @jax.custom_vjp
  def values(hidden, unembedding, shared, arrays):
    return mapped(lambda h, *own: per_row(h, unembedding, shared, *own),
                  hidden, *arrays)

  def forward(hidden, unembedding, shared, arrays):
    def with_slope(h, *own):
      value, pull, aux = jax.vjp(
          lambda h: per_row(h, unembedding, shared, *own), h, has_aux=True)
      return (value, aux), pull(jnp.ones_like(value))[0]

    out, slope = mapped(with_slope, hidden, *arrays)
    return out, (hidden, unembedding, shared, arrays, slope)

  def backward(saved, cotangents):
    hidden, unembedding, shared, arrays, slope = saved
    by_row, _ = cotangents

    def add(total, xs):
      h, c, *own = xs
      pull = jax.vjp(lambda w: per_row(h, w, shared, *own)[0], unembedding)[1]
      return total + pull(c)[0], None

    # Where nobody wants this one, compilation drops it, logits and all.
    d_unembedding, _ = jax.lax.scan(
        add, jnp.zeros_like(unembedding),
        tuple(to_chunks(x) for x in (hidden, by_row, *arrays)))
    d_hidden = (by_row[..., None] * slope).astype(hidden.dtype)
    return d_hidden, d_unembedding, None, None

  values.defvjp(forward, backward)
  return values(hidden, unembedding, shared, arrays)


def _check_rows(name, hidden, unembedding, rows_shape):
  if hidden.shape[:-1] != rows_shape:
    raise ValueError(
        f'The {name} hidden states {hidden.shape} must be [*rows, D] with '
        f'rows {rows_shape}, the shape of the weights or targets.')
  if unembedding.ndim != 2 or unembedding.shape[0] != hidden.shape[-1]:
    raise ValueError(
        f'The {name} unembedding {unembedding.shape} must be [D, V] with '
        f'D={hidden.shape[-1]} as in its hidden states; pass the transpose '
        'of a tied embedding table.')
