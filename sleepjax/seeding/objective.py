"""The knowledge-seeding objective; `update` has its train step.

Seeding maximises (1 − α)·E[r] − α·D over a new slot (arXiv 2606.03979, section
3.3), D a divergence of the student from its smaller self on a λ-mixture of the
teacher's samples and the student's own, r the imitation reward. To it come
two terms of ours: rehearsal, the same divergence on what the old self wrote
about *other* texts, with those texts in both contexts, which keeps the new slot
from teaching the model to look at its context less; and retention, the same on
what it answered closed book about other things that it knows.

The baselines are settings of the same objective: `target='tokens'` is
supervised fine-tuning, `ewc` adds its penalty, and `trainable` names what may
change.
"""

import dataclasses
import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp

from sleepjax.growth.adapters import OWN_MLP_SLOT, Adapter
from sleepjax.losses import from_hidden, imitation, policy_gradient
from sleepjax.models import layout, transformer
from sleepjax.models.config import ModelConfig
from sleepjax.models.transformer import Segment
from sleepjax.sampling import rows as rows_lib
from sleepjax.sampling.rows import Rows
from sleepjax.seeding.settings import NAMED, SeedingConfig


class Batch(NamedTuple):
  """What one update learns from.

  rows: [B, P] prompts and [B, N] completions; None with all that is theirs
    in a part of a batch, see `objective`.
  teacher_hidden: [B, N, D] of the old self, with the document in context.
  advantage: [B] for the student's own rollouts, or None for teacher samples.
  rehearsal: rows whose prompts contain their own text, or None.
  rehearsal_hidden: [B', N', D] of the old self for them.
  retention, retention_hidden: the same of rows without a text.
  shared_prefix: [P'] ids that all prompts go on from, or None. They are read
    once for all rows.
  importance: diagonal of the Fisher matrix, shaped like what is trained, for
    elastic weight consolidation; see `sleepjax.seeding.ewc`.
  sampled_log_probs: [B, N] of rollouts when they were sampled, if several
    updates learn from them.
  prefixes: [B] first tokens of a completion that stand in its prompt, or None
    for none.
  states: [B, P + N, D] that the layers below the slot make of the rows, where
    the model begins above those, see `sleepjax.seeding.below`; else None.
  other_states: the same of rehearsal, retention and shared_prefix, by name, or
    None.
  named: [B, N] tokens that the teacher names in place of its distributions, see
    `sleepjax.seeding.targets`, or None.
  """

  rows: Rows | None
  teacher_hidden: jax.Array | None
  advantage: jax.Array | None = None
  rehearsal: Rows | None = None
  rehearsal_hidden: jax.Array | None = None
  retention: Rows | None = None
  retention_hidden: jax.Array | None = None
  shared_prefix: jax.Array | None = None
  importance: dict | None = None
  sampled_log_probs: jax.Array | None = None
  prefixes: jax.Array | None = None
  states: jax.Array | None = None
  other_states: dict | None = None
  named: jax.Array | None = None


@functools.partial(jax.jit, static_argnums=0)
def teacher_hidden_states(config: ModelConfig, frozen, rows: Rows,
                          segments: tuple[Segment, ...] = ()):
  """Hidden states [B, N, D] from which the old self predicts completions."""
  return rows_lib.completion_hidden(config, frozen, rows, segments)


def shared_segments(config: ModelConfig, params, shared_ids
                    ) -> tuple[Segment, ...]:
  """What `params` makes of ids [P'] that all rows go on from; () for None.

  Of a model that begins above the embedding, of states [P', D].
  """
  if shared_ids is None:
    return ()
  return (transformer.hidden_states(config, params, shared_ids[None])[1],)


def divergence(config: ModelConfig, settings: SeedingConfig, unembedding,
               teacher_hidden, student_hidden, mask,
               scored: tuple | None = None):
  """D of completion tokens that it is to see, as (sum, weight, aux)."""
  d = settings.divergence
  return from_hidden.divergence_from_hidden(
      d.make(), (teacher_hidden, unembedding),
      (student_hidden, unembedding), mask.astype(jnp.float32),
      targets=scored, temperature=d.temperature, chunk_rows=d.chunk_rows,
      matmul=layout.unembedding_matmul(config))


@dataclasses.dataclass(frozen=True)
class Given:
  """What every term is made from.

  config, settings, slot, batch, whole: as `objective` has them.
  student: the model's parameters, the slot in its place.
  unembedding: of teacher and student.
  segments: what the student makes of what all prompts begin with.
  """

  config: ModelConfig
  settings: SeedingConfig
  slot: dict
  batch: Batch
  whole: Batch
  student: dict
  unembedding: jax.Array
  segments: tuple[Segment, ...]

  def hidden_of(self, rows: Rows, states=None):
    """[B, N, D] from which the student predicts completions."""
    return rows_lib.completion_hidden(
        self.config, self.student, rows, self.segments, states)

  def log_probs_of(self, hidden, tokens=None):
    """[B, N] of the batch's completions, predicted from hidden states.

    tokens: [B, N] others in their place.
    """
    if tokens is None:
      tokens = self.batch.rows.completion
    return from_hidden.sequence_log_probs_from_hidden(
        hidden, self.unembedding, tokens,
        chunk_rows=self.settings.divergence.chunk_rows,
        matmul=layout.unembedding_matmul(self.config))

  # Of the batch's own rows, and made once for the terms that share them.

  @functools.cached_property
  def hidden(self):
    """Those of the batch's rows."""
    return self.hidden_of(self.batch.rows, self.batch.states)

  @functools.cached_property
  def log_probs(self):
    """The student's, of the batch's completions."""
    return self.log_probs_of(self.hidden)

  @functools.cached_property
  def tokens(self):
    """How many D sees in the whole batch."""
    return _count(_seen(self.settings, self.whole))

  @functools.cached_property
  def rollouts(self):
    """How many the whole batch has."""
    return _count(self.whole.rows.completion_mask.any(-1))


# A term is (weight, Given) -> (what it adds to the loss [], metrics).


def divergence_term(weight, given: Given, scored: tuple | None = None):
  """w·D per token that it sees, of the batch's rows.

  scored: (ids, weights) of log-probabilities that its pass over the
    vocabulary takes along, where D is exact.
  """
  settings, batch = given.settings, given.batch
  seen = _seen(settings, batch)
  if settings.exact_divergence:
    total, _, aux = divergence(
        given.config, settings, given.unembedding, batch.teacher_hidden,
        given.hidden, seen, scored)
    return weight * total / given.tokens, {
        'divergence': aux['divergence'] / given.tokens,
        'entropy': aux['student_entropy'] / given.tokens,
        'top1_agreement': aux['top1_agreement'] / given.tokens}
  if settings.target == 'tokens':
    total = -jnp.where(seen, given.log_probs, 0).sum()
  elif settings.target in NAMED:
    named = given.log_probs_of(given.hidden, batch.named)
    total = -jnp.where(seen, named, 0).sum()
  else:
    total, _, _ = policy_gradient.sampled_reverse_kl(
        given.log_probs, given.log_probs_of(batch.teacher_hidden), seen,
        settings.group_size)
  value = total / given.tokens
  return weight * value, {'divergence': value}


def imitation_term(weight, given: Given):
  """w·(−reward's surrogate) per rollout: its gradient is that of −w·E[r]."""
  batch, mask = given.batch, given.batch.rows.completion_mask
  scale = weight / given.rollouts
  if batch.sampled_log_probs is None:
    loss, _, _ = policy_gradient.policy_gradient_loss(
        given.log_probs, batch.advantage, mask)
    return scale * loss, {}
  loss, _, aux = policy_gradient.clipped_policy_gradient_loss(
      given.log_probs, batch.sampled_log_probs, batch.advantage, mask,
      given.settings.clip)
  return scale * loss, {
      'clipped': aux['clipped'] / _count(given.whole.rows.completion_mask)}


def divergence_and_imitation(weights, given: Given):
  """Both terms in one pass over the vocabulary.

  Unless ratios are clipped the surrogate is linear in log-probabilities, and
  the pass that D makes over the same logits takes them along.
  """
  of_divergence, of_imitation = weights
  share = given.tokens / of_divergence * (of_imitation / given.rollouts)
  rows = given.batch.rows
  return divergence_term(
      of_divergence, given, (rows.completion, jnp.where(
          rows.completion_mask, -share * given.batch.advantage[:, None], 0)))


def rehearsal_term(weight, given: Given):
  """w·D on what the old self wrote about other texts, with those in view."""
  return _divergence_of('rehearsal', weight, given)


def retention_term(weight, given: Given):
  """w·D on what the old self answered about other things that it knows."""
  return _divergence_of('retention', weight, given)


def ewc_term(weight, given: Given):
  """λ/2 Σ F Δ², F the importance and Δ what is trained."""
  penalty = weight / 2 * sum(jax.tree.leaves(jax.tree.map(
      lambda f, delta: (f * jnp.square(delta)).sum(),
      given.batch.importance, given.slot)))
  return penalty, {'ewc': penalty}


def terms_of(settings: SeedingConfig, batch: Batch) -> dict:
  """Term -> weight of all that are on.

  A term is off, and costs nothing, if its weight is 0 or None or if the batch
  has nothing for it.
  """
  on = {term: weight for term, weight, needed in (
      (divergence_term, settings.alpha, batch.rows),
      (imitation_term, 1 - settings.alpha, batch.advantage),
      (rehearsal_term, (settings.rehearsal or 0) * settings.rehearsal_every,
       batch.rehearsal),
      (retention_term, settings.retention, batch.retention),
      (ewc_term, settings.ewc, batch.importance),
  ) if weight and needed is not None}
  if (divergence_term in on and imitation_term in on
      and settings.exact_divergence and batch.sampled_log_probs is None):
    both = on.pop(divergence_term), on.pop(imitation_term)
    on = {divergence_and_imitation: both, **on}
  return on


def objective(config: ModelConfig, settings: SeedingConfig, frozen, slot, index,
              batch: Batch, part: Adapter = OWN_MLP_SLOT,
              whole: Batch | None = None):
  """Loss of one batch, the sum of its terms.

    α·D − (1 − α)·(reward surrogate) + w·D_rehearsal + w'·D_retention + EWC

  Args:
    config: the grown model's shape.
    settings: weights of the terms.
    frozen: the student's parameters but for the slot. Where nothing else tells
      it from the teacher, the teacher is `frozen` with the slot newborn. Their
      unembeddings are the same.
    slot: what is trained, a slot by default.
    index: its place in the pool; deltas have none.
    batch: rows with the teacher's hidden states.
    part: what `slot` is and how it enters the model.
    whole: the batch that `batch` is a part of, by default itself. Rows are
      divided by the whole's numbers, so that losses and metrics of parts that
      make up the whole add up to its own.

  Returns:
    (loss [], metrics): divergences divided by their own numbers of tokens, the
    reward surrogate by the number of rollouts.
  """
  student = part.insert(config, frozen, slot, index)
  given = Given(config, settings, slot, batch, whole or batch, student,
                layout.frozen_unembedding(config, frozen),
                shared_segments(config, student, (
                    batch.other_states or {}).get(
                        'shared_prefix', batch.shared_prefix)))
  loss, metrics = jnp.float32(0), {}
  for term, weight in terms_of(settings, batch).items():
    value, own = term(weight, given)
    loss, metrics = loss + value, {**metrics, **own}
  return loss, {**metrics, 'loss': loss}


def _divergence_of(name, weight, given):
  """w·D on the rows of this name, per token."""
  rows = getattr(given.batch, name)
  total, tokens, _ = divergence(
      given.config, given.settings, given.unembedding,
      getattr(given.batch, f'{name}_hidden'),
      given.hidden_of(rows, (given.batch.other_states or {}).get(name)),
      rows.completion_mask)
  value = total / jnp.maximum(tokens, 1.0)
  return weight * value, {f'{name}_divergence': value}


def _count(mask):
  """How many are true, as a float of at least 1."""
  return jnp.maximum(mask.sum(dtype=jnp.float32), 1.0)


def _seen(settings, batch):
  """[B, N] bool, the tokens of completions that D sees."""
  mask = batch.rows.completion_mask
  place = jnp.arange(mask.shape[1], dtype=jnp.int32)
  if batch.prefixes is not None:
    place += jnp.asarray(batch.prefixes, jnp.int32)[:, None]
  return mask & (place >= settings.masked_first_tokens)


def imitation_advantage(settings: SeedingConfig, completion, completion_mask,
                        reference, reference_mask, content_free_V,
                        verdict_B=None):
  """Advantages of rollouts, groups of K consecutive rows.

  Args:
    settings: γ, z₀, K and the judge's threshold.
    completion, completion_mask: [B, N] the student's continuations.
    reference, reference_mask: [B, N] what the teacher wrote from there on.
    content_free_V: [V] bool, tokens that the stand-in judge ignores.
    verdict_B: [B] what a judge of the texts says instead of the stand-in.

  Returns:
    (advantage [B], metrics with mean reward and share of constant groups).
  """
  lengths = [mask.sum(-1, dtype=jnp.int32)
             for mask in (completion_mask, reference_mask)]
  pair = completion, lengths[0], reference, lengths[1]
  r_abs = imitation.levenshtein_reward(
      *pair, threshold=settings.levenshtein_threshold)
  if verdict_B is None:
    r_sem = imitation.content_overlap_judge(
        *pair, content_free_V, threshold=settings.semantic_threshold)
  else:
    r_sem = jnp.asarray(verdict_B, jnp.float32)
  reward = imitation.imitation_reward(settings.gamma, r_sem, r_abs)
  groups = reward.reshape(-1, settings.group_size)
  advantage = policy_gradient.ADVANTAGES[settings.advantage](groups).reshape(-1)
  return advantage, {
      'reward': reward.mean(), 'reward_semantic': r_sem.mean(),
      'reward_levenshtein': r_abs.mean(),
      'constant_groups': policy_gradient.constant_groups(groups)}
