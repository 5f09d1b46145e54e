"""Learning to imitate: the reward of a completion against the teacher's own.

The student completes a prefix of something the teacher wrote, and is rewarded
for saying the same (arXiv 2606.03979, Eq. 3-4):

  r = gamma r_sem + (1 - gamma) r_abs

Every function compares *continuations only*: the common prefix must be cut
off first, or it would raise every reward. Rows are padded token ids with a
length each, and what lies beyond it is never read. Seeding counts the stop
token too, so that ending where the teacher ends is rewarded. No function here
is differentiable: rewards enter the loss through the policy gradient.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Num

from sleepjax.errors import UserError
from sleepjax.models.arrays import AnyArray

# A ratio equal to a threshold may come out just beyond it: division is not
# rounded correctly on every accelerator.
_ROUNDING = 1e-6


def levenshtein_distance(
    a_BxT: Int[AnyArray, 'B T'],
    a_len_B: Int[AnyArray, ' B'],
    b_BxT: Int[AnyArray, 'B S'],
    b_len_B: Int[AnyArray, ' B'],
) -> Int[Array, ' B']:
  """Fewest insertions, deletions and substitutions from row a to row b.

  The table of prefix distances is filled one anti-diagonal at a time: all its
  cells depend on the two diagonals before it alone, so a step is elementwise
  over the batch and the diagonal, and there are max(a_len + b_len) steps.

  Args:
    a_BxT: token ids.
    a_len_B: number of tokens of each row, at most T.
    b_BxT: token ids; its T may differ from a's.
    b_len_B: number of tokens of each row.

  Returns:
    [B], int32.
  """
  batch, a_width = a_BxT.shape
  b_width = b_BxT.shape[1]
  i = jnp.arange(a_width + 1, dtype=jnp.int32)
  a_len_B, b_len_B = (
      jnp.asarray(n).astype(jnp.int32) for n in (a_len_B, b_len_B))
  total_B = a_len_B + b_len_B
  # Cell i of diagonal k compares a[i - 1] with b[k - i - 1]. Reversed, b is
  # read left to right along the diagonal, at an offset that falls with k.
  a_BxI = jnp.pad(a_BxT, ((0, 0), (1, 0)))
  b_reversed = jnp.pad(b_BxT[:, ::-1], ((0, 0), (a_width + 1, a_width + 1)))

  def from_above(diagonal_BxI):
    return jnp.pad(diagonal_BxI[:, :-1], ((0, 0), (1, 0)))

  def step(k, carry):
    two_back, one_back, distance_B = carry
    b_BxI = jax.lax.dynamic_slice_in_dim(
        b_reversed, b_width - k + a_width + 1, a_width + 1, axis=1)
    substitute = from_above(two_back) + (a_BxI != b_BxI).astype(jnp.int32)
    insert_or_delete = jnp.minimum(one_back, from_above(one_back)) + 1
    diagonal = jnp.minimum(substitute, insert_or_delete)
    # The border of the table: one of the two prefixes is empty. Cells outside
    # the table hold nonsense that no cell inside it reads.
    diagonal = jnp.where((i == 0) | (i == k), k, diagonal)
    corner_B = jnp.take_along_axis(diagonal, a_len_B[:, None], axis=1)[:, 0]
    return one_back, diagonal, jnp.where(total_B == k, corner_B, distance_B)

  origin = jnp.zeros((batch, a_width + 1), jnp.int32)
  carry = (origin, origin, jnp.zeros(batch, jnp.int32))
  last = jnp.max(total_B, initial=0)
  return jax.lax.fori_loop(1, last + 1, step, carry)[2]


def levenshtein_reward(
    a_BxT: Int[AnyArray, 'B T'],
    a_len_B: Int[AnyArray, ' B'],
    b_BxT: Int[AnyArray, 'B S'],
    b_len_B: Int[AnyArray, ' B'],
    threshold: float = 0.5,
) -> Float[Array, ' B']:
  """Token-level similarity r_abs, zero beyond a distance (Eq. 4).

    r_abs = 1 - z / max(|a|, |b|)  if z / max(|a|, |b|) <= z0,  else 0

  with z the Levenshtein distance. The paper compares z itself with z0; here
  z0 is a fraction of the longer row, so that it means the same at any length.

  Args:
    a_BxT: token ids of the student's continuations.
    a_len_B: number of tokens of each row.
    b_BxT: token ids of the teacher's continuations.
    b_len_B: number of tokens of each row.
    threshold: z0 in [0, 1], inclusive.

  Returns:
    [B], float32 in {0} or [1 - z0, 1]. Two empty rows are equal: 1.

  Raises:
    UserError: the threshold is outside [0, 1].
  """
  _check_fraction('threshold', threshold)
  distance = levenshtein_distance(a_BxT, a_len_B, b_BxT, b_len_B)
  longest = jnp.maximum(jnp.maximum(a_len_B, b_len_B), 1)
  ratio = distance.astype(jnp.float32) / longest.astype(jnp.float32)
  return jnp.where(ratio <= threshold + _ROUNDING, 1 - ratio, 0)


def token_f1(
    a_BxT: Int[AnyArray, 'B T'],
    a_len_B: Int[AnyArray, ' B'],
    b_BxT: Int[AnyArray, 'B S'],
    b_len_B: Int[AnyArray, ' B'],
) -> Float[Array, ' B']:
  """F1 of two rows as bags of tokens: their order does not matter.

    F1 = 2 o / (|a| + |b|),  o = sum over distinct tokens of min(count_a,
    count_b)

  Args:
    a_BxT: token ids.
    a_len_B: number of tokens of each row.
    b_BxT: token ids; its T may differ from a's.
    b_len_B: number of tokens of each row.

  Returns:
    [B], float32 in [0, 1]; 1 for two empty rows, 0 if one alone is empty.
  """
  return _bag_f1(
      a_BxT, _is_token(a_BxT, a_len_B), b_BxT, _is_token(b_BxT, b_len_B))


def content_overlap_judge(
    a_BxT: Int[AnyArray, 'B T'],
    a_len_B: Int[AnyArray, ' B'],
    b_BxT: Int[AnyArray, 'B S'],
    b_len_B: Int[AnyArray, ' B'],
    ignore_V: Bool[AnyArray, ' V'],
    threshold: float = 0.5,
) -> Float[Array, ' B']:
  """Stand-in for the frozen judge: do two rows share their content words?

  The paper's r_sem is the verdict of a frozen reward model, unnamed, on
  whether two texts mean the same. This is not such a model. It answers 1 when
  the F1 of the two bags of *content* tokens (function words and punctuation
  left out) reaches a threshold. It misses paraphrase and negation, and is
  blind to order; it is deterministic, costs nothing and cannot be talked
  round by fluent text. Calibrate the threshold on two completions of one
  prompt by the teacher (should pass) against shuffled pairs (should fail).

  Args:
    a_BxT: token ids of the student's continuations.
    a_len_B: number of tokens of each row.
    b_BxT: token ids of the teacher's continuations.
    b_len_B: number of tokens of each row.
    ignore_V: bool; True for tokens that carry no content.
    threshold: least F1 for a yes, in [0, 1], inclusive.

  Returns:
    [B], float32, 0 or 1. Where neither row has a content token, all tokens
    are compared instead.

  Raises:
    UserError: the threshold is outside [0, 1].
  """
  _check_fraction('threshold', threshold)
  a_all, b_all = _is_token(a_BxT, a_len_B), _is_token(b_BxT, b_len_B)
  content_V = ~jnp.asarray(ignore_V, bool)
  a_content, b_content = a_all & content_V[a_BxT], b_all & content_V[b_BxT]
  no_content = ~jnp.any(a_content, axis=1) & ~jnp.any(b_content, axis=1)
  f1 = _bag_f1(
      a_BxT, jnp.where(no_content[:, None], a_all, a_content),
      b_BxT, jnp.where(no_content[:, None], b_all, b_content))
  return (f1 >= threshold - _ROUNDING).astype(jnp.float32)


def imitation_reward(
    gamma: float,
    r_sem: Num[AnyArray, '*rows'],
    r_abs: Num[AnyArray, '*rows'],
) -> Float[Array, '*rows']:
  """r = gamma r_sem + (1 - gamma) r_abs (Eq. 3).

  Args:
    gamma: weight of the semantic reward, a Python number in [0, 1]; 0 is the
      ablation without it.
    r_sem: [...], 0 or 1.
    r_abs: [...], in [0, 1].

  Returns:
    [...], in [0, 1].

  Raises:
    UserError: gamma is outside [0, 1].
  """
  _check_fraction('gamma', gamma)
  return gamma * jnp.asarray(r_sem) + (1 - gamma) * jnp.asarray(r_abs)


def _is_token(x_BxT, len_B):
  len_B = jnp.asarray(len_B)
  return jnp.arange(x_BxT.shape[1], dtype=len_B.dtype) < len_B[:, None]


def _bag_f1(a_BxT, a_keep_BxT, b_BxT, b_keep_BxT):
  """F1 of the bags of kept tokens."""
  # The n-th occurrence of a token in a is matched if b holds n or more.
  a_equal = (a_BxT[:, :, None] == a_BxT[:, None, :]) & a_keep_BxT[:, None, :]
  b_equal = (a_BxT[:, :, None] == b_BxT[:, None, :]) & b_keep_BxT[:, None, :]
  occurrence_BxT = jnp.sum(jnp.tril(a_equal), axis=-1)
  matched = a_keep_BxT & (occurrence_BxT <= jnp.sum(b_equal, axis=-1))
  overlap_B = jnp.sum(matched, axis=1)
  total_B = jnp.sum(a_keep_BxT, axis=1) + jnp.sum(b_keep_BxT, axis=1)
  f1 = 2 * overlap_B.astype(jnp.float32) / jnp.maximum(
      total_B, 1).astype(jnp.float32)
  return jnp.where(total_B == 0, 1, f1)


def _check_fraction(name, value):
  if not 0 <= value <= 1:
    raise UserError(f'{name}={value} must lie in [0, 1]: it is a fraction.')
