"""How far a student's next-token distribution is from its teacher's.

Argument order is (teacher, student) everywhere, as in F(teacher || student) of
knowledge seeding (arXiv 2606.03979, section 3.3). With P the teacher and Q the
student:

  forward KL         KL(P || Q) = sum_v P_v (log P_v - log Q_v)
  reverse KL         KL(Q || P) = sum_v Q_v (log Q_v - log P_v)
  JSD_beta           beta KL(P || M) + (1 - beta) KL(Q || M),
                     M = beta P + (1 - beta) Q   (GKD, arXiv 2306.13649, Eq. 1)
  skewed forward KL  KL(P || beta P + (1 - beta) Q)
  skewed reverse KL  KL(Q || beta Q + (1 - beta) P)
                     (both: DistiLLM, arXiv 2402.03898)
  top-k forward KL   forward KL over the teacher's k likeliest tokens and one
                     bucket for all the others

A temperature divides both models' logits; no T^2 factor is added to the result.

Each is a frozen dataclass, a function of log-probabilities per position, and is
passed as an object: `from_hidden` takes it to hidden states without holding the
logits of all rows. `DIVERGENCES` has their names for configurations; a new one
is a class and a line there.
"""

import dataclasses
import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from sleepjax.errors import UserError
from sleepjax.models.arrays import AnyArray

Logits = Float[AnyArray, '*rows V']
LogProbs = Float[Array, '*rows V']
Values = Float[Array, '*rows']

# Of log P and log Q [..., V], the teacher's and the student's, both finite as
# `log_softmax` leaves them; [...] in nats, differentiable in both.
Divergence = Callable[[LogProbs, LogProbs], Values]

# Stands in for log(0): a logit of -inf must not turn 0 * log(0) into NaN.
_LOG_ZERO = -1e30


@dataclasses.dataclass(frozen=True)
class ForwardKL:
  """KL(P || Q): it covers everything that the teacher might say.

  Its gradient in the student's logits is (Q - P) / temperature.
  """

  def __call__(self, log_p: LogProbs, log_q: LogProbs) -> Values:
    return _kl(log_p, log_q)


@dataclasses.dataclass(frozen=True)
class ReverseKL:
  """KL(Q || P): it says nothing that the teacher would not."""

  def __call__(self, log_p: LogProbs, log_q: LogProbs) -> Values:
    return _kl(log_q, log_p)


@dataclasses.dataclass(frozen=True)
class JensenShannon:
  """JSD_beta: beta KL(P || M) + (1 - beta) KL(Q || M).

  At most the entropy of a coin of bias beta, so at most log 2. Its scale
  changes with beta: JSD_beta / beta tends to the forward KL as beta -> 0, and
  JSD_beta / (1 - beta) to the reverse KL as beta -> 1, so the value itself
  vanishes at both ends.

  Attributes:
    beta: weight of the teacher in M, a Python number in (0, 1).

  Raises:
    UserError: beta is not inside (0, 1).
  """

  beta: float = 0.5

  def __post_init__(self):
    _check_beta(self.beta, 'JSD is zero at both ends. Use forward_kl for the '
                'limit beta -> 0, reverse_kl for beta -> 1.')

  def __call__(self, log_p: LogProbs, log_q: LogProbs) -> Values:
    log_m = _log_mixture(log_p, log_q, self.beta)
    return (self.beta * _kl(log_p, log_m)
            + (1 - self.beta) * _kl(log_q, log_m))


@dataclasses.dataclass(frozen=True)
class SkewedForwardKL:
  """KL(P || M), M = beta P + (1 - beta) Q.

  The forward KL with every token's pull on the student scaled by
  (1 - beta) Q_v / M_v < 1, least where only the teacher would say the token
  (skew KL of DistiLLM, arXiv 2402.03898, which takes 0.1). At most -log(beta);
  it tends to the plain one as beta -> 0 and vanishes as beta -> 1.

  Attributes:
    beta: weight of the teacher in M, a Python number in (0, 1).

  Raises:
    UserError: beta is not inside (0, 1).
  """

  beta: float = 0.5

  def __post_init__(self):
    _check_skew(self.beta, 'forward_kl')

  def __call__(self, log_p: LogProbs, log_q: LogProbs) -> Values:
    return _kl(log_p, _log_mixture(log_p, log_q, self.beta))


@dataclasses.dataclass(frozen=True)
class SkewedReverseKL:
  """KL(Q || M), M = beta Q + (1 - beta) P.

  The skewed forward KL with the models exchanged: finite where the student says
  what the teacher never would (skew reverse KL of DistiLLM, arXiv 2402.03898).

  Attributes:
    beta: weight of the student in M, a Python number in (0, 1).

  Raises:
    UserError: beta is not inside (0, 1).
  """

  beta: float = 0.5

  def __post_init__(self):
    _check_skew(self.beta, 'reverse_kl')

  def __call__(self, log_p: LogProbs, log_q: LogProbs) -> Values:
    return _kl(log_q, _log_mixture(log_q, log_p, self.beta))


@dataclasses.dataclass(frozen=True)
class TopKForwardKL:
  """Forward KL over the teacher's k likeliest tokens and the rest as one.

    sum_{v in K} P_v log(P_v / Q_v) + P_rest log(P_rest / Q_rest),
    P_rest = sum_{v not in K} P_v,  Q_rest = sum_{v not in K} Q_v

  with K the teacher's k likeliest tokens; of equally likely ones the lower ids
  come first. Putting tokens into one bucket can only bring two distributions
  closer (the log sum inequality; Cover and Thomas, Elements of Information
  Theory, 2.7), so this is a lower bound of the forward KL. It grows with k and
  is equal at k = V - 1 and V. Unlike a sum over the top tokens alone it is
  never negative, and it asks the student for the teacher's mass outside of
  them, but not how to spread it.

  Attributes:
    top_k: k, a Python number in [1, V].

  Raises:
    UserError: top_k < 1, or, when called, above V.
  """

  top_k: int = 100

  def __post_init__(self):
    if self.top_k < 1:
      raise UserError(
          f'top_k={self.top_k} must be at least 1: with all tokens in one '
          'bucket there is nothing to compare.')

  def __call__(self, log_p: LogProbs, log_q: LogProbs) -> Values:
    if self.top_k > log_p.shape[-1]:
      raise UserError(
          f'top_k={self.top_k} must not exceed the {log_p.shape[-1]} tokens of '
          'the vocabulary.')
    in_top = _is_among_largest(jax.lax.stop_gradient(log_p), self.top_k)
    top = jnp.where(in_top, jnp.exp(log_p) * (log_p - log_q), 0)
    # Added up, since 1 - the mass of the top would lose a small rest to
    # rounding.
    rest_p, rest_q = (
        jax.nn.logsumexp(jnp.where(in_top, _LOG_ZERO, x), axis=-1)
        for x in (log_p, log_q))
    return jnp.sum(top, axis=-1) + jnp.exp(rest_p) * (rest_p - rest_q)


# By the name that configurations have for it. A new divergence is added here;
# its fields are set from those of `DivergenceConfig`.
DIVERGENCES: dict[str, type] = {
    'forward_kl': ForwardKL,
    'reverse_kl': ReverseKL,
    'jsd': JensenShannon,
    'skewed_forward_kl': SkewedForwardKL,
    'skewed_reverse_kl': SkewedReverseKL,
    'top_k_forward_kl': TopKForwardKL,
}


@dataclasses.dataclass(frozen=True)
class DivergenceConfig:
  """Which divergence seeding minimises, and how many rows it holds at once.

  Attributes:
    kind: a name in `DIVERGENCES`; 'forward_kl' has the argument order of the
      paper.
    beta: weight in the mixture, in (0, 1), see `JensenShannon`,
      `SkewedForwardKL` and `SkewedReverseKL`; unused without one.
    temperature: divides the logits of both models; 1 compares the
      distributions that are sampled from.
    chunk_rows: rows projected to the vocabulary at once. Peak memory is a few
      float32 tensors of [chunk_rows, V]. Any number will do; on a mesh, one
      that divides the rows and is a multiple of the devices they are sharded
      over needs no communication.
    top_k: tokens told apart by 'top_k_forward_kl', at least 1; unused by the
      others.
  """

  kind: str = 'forward_kl'
  beta: float = 0.5
  temperature: float = 1.0
  chunk_rows: int = 512
  top_k: int = 100

  def __post_init__(self):
    if self.kind not in DIVERGENCES:
      raise UserError(f'kind={self.kind!r} is no divergence: use one of '
                      f'{", ".join(DIVERGENCES)}.')
    self.make()
    if not self.temperature > 0:
      raise UserError(
          f'temperature={self.temperature} must be positive: it divides the '
          'logits.')
    check_chunk_rows(self.chunk_rows)

  def make(self) -> Divergence:
    """The divergence called `kind`, with those of these fields that it has.

    Raises:
      UserError: it refuses them.
    """
    made = DIVERGENCES[self.kind]
    return made(**{field.name: getattr(self, field.name)
                   for field in dataclasses.fields(made)})


def of_logits(
    divergence: Divergence,
    teacher_logits: Logits,
    student_logits: Logits,
    temperature: float = 1.0,
) -> Values:
  """The divergence at every position, in nats.

  Args:
    divergence: one of this module's, or any other.
    teacher_logits: [..., V].
    student_logits: [..., V].
    temperature: divides both.

  Returns:
    [...], float32 (float64 for float64 logits). Both arguments are
    differentiable; stop the teacher's gradient where it must not learn.
  """
  return divergence(log_softmax(teacher_logits, temperature),
                    log_softmax(student_logits, temperature))


def log_softmax(logits: Logits, temperature: float = 1.0) -> LogProbs:
  """log softmax(logits / temperature) over the last axis, floored at -1e30.

  Args:
    logits: [..., V]; -inf is allowed.
    temperature: positive.

  Returns:
    [..., V], finite, in float32 at least.
  """
  logits = logits.astype(jnp.promote_types(logits.dtype, jnp.float32))
  # The maximum goes first so that a small temperature cannot overflow.
  largest = jax.lax.stop_gradient(jnp.max(logits, axis=-1, keepdims=True))
  log_sum = temperature * jnp.log(jnp.sum(
      jnp.exp((logits - largest) / temperature), axis=-1, keepdims=True))
  # Not the difference above once more: XLA's CPU code would take the product
  # behind the logits, its maximum and that difference in one loop, two and a
  # half times as long as the product alone takes. The sum of both numbers is
  # rounded to the size of the largest logit, and what that loses, `rest`, taken
  # off as well: an offset that all logits share changes nothing.
  normalizer = jax.lax.stop_gradient(largest + log_sum)
  rest = (largest - normalizer) + log_sum
  return jnp.maximum(
      ((logits - normalizer) - rest) / temperature, _LOG_ZERO)


def check_chunk_rows(chunk_rows: int) -> None:
  """Raises a UserError unless there is at least one row in a chunk."""
  if chunk_rows < 1:
    raise UserError(
        f'chunk_rows={chunk_rows} must be at least 1: it is the number of '
        'rows projected to the vocabulary at once.')


def _kl(log_p, log_q):
  return jnp.sum(jnp.exp(log_p) * (log_p - log_q), axis=-1)


def _log_mixture(log_a, log_b, weight_of_a):
  return jnp.logaddexp(
      math.log(weight_of_a) + log_a, math.log1p(-weight_of_a) + log_b)


def _check_beta(beta, ends):
  if not 0 < beta < 1:
    raise UserError(f'beta={beta} must lie inside (0, 1): {ends}')


def _check_skew(beta, plain):
  _check_beta(beta, f'at 0 this is {plain}, which has a name of its own, and '
              'at 1 it is zero whatever the student does.')


def _is_among_largest(x, k):
  """bool like x: the k largest of the last axis, of equal ones the first."""
  # A mask rather than the k values gathered: nothing is scattered backward.
  values, indices = jax.lax.top_k(x, k)
  smallest, last = values[..., -1:], indices[..., -1:]
  return (x > smallest) | (
      (x == smallest) & (jnp.arange(x.shape[-1], dtype=last.dtype) <= last))
