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
import math
from typing import NamedTuple

import jax
import jax.numpy as jnp

from sleepjax.growth.adapters import OWN_MLP_SLOT, Trainable
from sleepjax.losses import divergences, from_hidden, imitation, policy_gradient
from sleepjax.models import layout, transformer
from sleepjax.models.config import ModelConfig
from sleepjax.models.transformer import Segment
from sleepjax.sampling import rows as rows_lib
from sleepjax.sampling.rows import Rows

_ADVANTAGES = {
    'leave_one_out': policy_gradient.leave_one_out_advantage,
    'group_normalised': policy_gradient.group_normalised_advantage}


@dataclasses.dataclass(frozen=True)
class SeedingConfig:
  """Every choice of knowledge seeding, with the reason for its default.

  steps: batches in one sleep; one update each, but for updates_per_rollout.
  epochs: how often a row is seen on average, in place of `steps`; 0 leaves it
    to them.
  rows: dreams, or rollouts, per update.
  rows_at_once: rows whose gradient is taken at once, a divisor of `rows`; 0 for
    all. Fewer need less memory, and the update is the same: gradients of groups
    of rows add up. What all prompts go on from is read anew for every group. On
    a mesh, every device works where it is a multiple of those that share rows.
  on_policy: λ, the chance that an update learns from the student's own
    rollouts (GKD finds ≥ 0.25 enough; a rollout costs several plain updates).
  group_size: K rollouts from one prefix, for the leave-one-out baseline.
  alpha: weight of the divergence; 1 − α weighs the reward. 1 switches
    imitation off.
  gamma: weight of the semantic reward; 0 is the Levenshtein reward alone.
  levenshtein_threshold: z₀, largest distance that is rewarded, as a fraction
    of the longer text.
  semantic_threshold: content-token F1 from which the stand-in judge says yes.
  prefix: a rollout starts after a fraction of a dream drawn uniformly from
    [0, prefix].
  rehearsal: weight of the rehearsal term; 0 switches it off.
  rehearsal_rows: rehearsed answers per update.
  retention: weight of the retention term; 0 switches it off.
  retention_rows: its answers per update.
  learning_rate, warmup_steps, clip_norm: AdamW with linear warm-up and cosine
    decay to a tenth; the gradient is clipped to a global norm.
  divergence: D.
  target: 'teacher', its distributions; 'tokens', the completions themselves
    (supervised fine-tuning: D is their cross-entropy).
  masked_first_tokens: of each completion that D does not see: where a teacher
    with a text in view begins with "according to the text", its first tokens
    teach that (self-distillation fine-tuning, arXiv 2601.19897). Of a rollout
    those that stand in its prefix count.
  estimator: of D: 'exact', over the whole vocabulary at the positions of a
    completion; 'sampled', for reverse KL on rollouts alone, from the sampled
    tokens by policy gradient (`policy_gradient.sampled_reverse_kl`), which also
    knows where a token leads.
  advantage: 'leave_one_out' (unbiased) or 'group_normalised'.
  updates_per_rollout, clip: more than one update on the same rollouts clips
    their ratios (`policy_gradient.clipped_policy_gradient_loss`).
  teacher: 'frozen', the old self; 'ema', its slot follows the student's, and
    the text and the rows about it are read anew with it at every update.
  ema_decay: of that teacher, per update.
  ewc: λ of elastic weight consolidation (Kirkpatrick et al. 2017, arXiv
    1612.00796), λ/2 Σ F Δ², for deltas to all layers; 0 switches it off.
  """

  steps: int = 130
  epochs: float = 0.0
  rows: int = 8
  rows_at_once: int = 0
  on_policy: float = 0.1
  group_size: int = 4
  alpha: float = 0.8
  gamma: float = 0.5
  levenshtein_threshold: float = 0.5
  semantic_threshold: float = 0.5
  prefix: float = 0.5
  rehearsal: float = 1.0
  rehearsal_rows: int = 1
  retention: float = 1.0
  retention_rows: int = 4
  learning_rate: float = 1.5e-3
  warmup_steps: int = 5
  clip_norm: float = 1.0
  divergence: divergences.DivergenceConfig = divergences.DivergenceConfig()
  target: str = 'teacher'
  masked_first_tokens: int = 0
  estimator: str = 'exact'
  updates_per_rollout: int = 1
  clip: float = 0.2
  advantage: str = 'leave_one_out'
  teacher: str = 'frozen'
  ema_decay: float = 0.99
  ewc: float = 0.0

  def for_rows(self, count: int) -> 'SeedingConfig':
    """These settings with the steps that `epochs` of so many rows take.

    Rounded up to twenties: programs are compiled for a number of steps.
    """
    steps = rows_lib.bucket(math.ceil(self.epochs * count / self.rows), 20)
    return dataclasses.replace(self, steps=steps, epochs=0.0)

  @property
  def updates(self) -> int:
    """Of the slot, as many as are expected."""
    return round(self.steps * (
        1 + self.on_policy * (self.updates_per_rollout - 1)))

  @property
  def exact_divergence(self) -> bool:
    """Whether D compares distributions, not single tokens."""
    return self.target == 'teacher' and self.estimator == 'exact'

  def __post_init__(self):
    for name in ('on_policy', 'alpha', 'gamma', 'levenshtein_threshold',
                 'semantic_threshold', 'prefix', 'ema_decay'):
      if not 0 <= getattr(self, name) <= 1:
        raise ValueError(
            f'{name}={getattr(self, name)} must lie between 0 and 1.')
    for name in ('steps', 'epochs', 'rehearsal', 'rehearsal_rows', 'retention',
                 'retention_rows', 'learning_rate', 'warmup_steps',
                 'masked_first_tokens', 'ewc'):
      if not getattr(self, name) >= 0:
        raise ValueError(f'{name}={getattr(self, name)} must not be negative.')
    if (self.group_size < 2 or self.rows < 1
        or self.rows % self.group_size):
      raise ValueError(
          f'rows={self.rows} must be a positive multiple of group_size='
          f'{self.group_size}, which must be at least 2: rollouts of one '
          'prefix are compared with each other.')
    if self.rows_at_once < 0 or self.rows % (self.rows_at_once or 1):
      raise ValueError(
          f'rows_at_once={self.rows_at_once} must be 0, for all, or divide '
          f'rows={self.rows}.')
    for name, known in (('target', ('teacher', 'tokens')),
                        ('estimator', ('exact', 'sampled')),
                        ('advantage', tuple(_ADVANTAGES)),
                        ('teacher', ('frozen', 'ema'))):
      if getattr(self, name) not in known:
        raise ValueError(f'{name}={getattr(self, name)!r} must be one of '
                         f'{", ".join(known)}.')
    for name in ('updates_per_rollout', 'clip', 'clip_norm'):
      if not getattr(self, name) > 0:
        raise ValueError(f'{name}={getattr(self, name)} must be positive.')
    if self.estimator == 'sampled' and (
        self.on_policy, self.divergence.kind, self.divergence.temperature,
        self.updates_per_rollout, self.target) != (
            1, 'reverse_kl', 1, 1, 'teacher'):
      raise ValueError(
          'estimator=sampled needs fresh samples of the student: set '
          'on_policy=1, updates_per_rollout=1, target=teacher and divergence '
          'to reverse_kl at temperature 1.')
    if self.estimator == 'sampled' and self.rows_at_once % self.group_size:
      raise ValueError(
          f'rows_at_once={self.rows_at_once} with estimator=sampled must be a '
          f'multiple of group_size={self.group_size}, whose rows are compared.')
    if self.target == 'tokens' and self.on_policy:
      raise ValueError(
          f'on_policy={self.on_policy} with target=tokens would teach the '
          'student its own words: set on_policy=0.')


class Batch(NamedTuple):
  """What one update learns from.

  rows: [B, P] prompts and [B, N] completions; None with all that is theirs
    in a part of a batch, see `objective`.
  teacher_hidden: [B, N, D] of the old self, with the document in context.
  advantage: [B] for the student's own rollouts, or None for teacher samples.
  rehearsal: rows whose prompts contain their own text, or None.
  rehearsal_hidden: [B', N', D] of the old self for them.
  retention, retention_hidden: the same of rows without a text.
  head: [P'] ids that all prompts go on from, or None. They are read once for
    all rows.
  importance: diagonal of the Fisher matrix, shaped like what is trained, for
    elastic weight consolidation; see `sleepjax.seeding.ewc`.
  sampled_log_probs: [B, N] of rollouts when they were sampled, if several
    updates learn from them.
  prefixes: [B] first tokens of a completion that stand in its prompt, or None
    for none.
  """

  rows: Rows | None
  teacher_hidden: jax.Array | None
  advantage: jax.Array | None = None
  rehearsal: Rows | None = None
  rehearsal_hidden: jax.Array | None = None
  retention: Rows | None = None
  retention_hidden: jax.Array | None = None
  head: jax.Array | None = None
  importance: dict | None = None
  sampled_log_probs: jax.Array | None = None
  prefixes: jax.Array | None = None


@functools.partial(jax.jit, static_argnums=0)
def teacher_hidden_states(config: ModelConfig, frozen, rows: Rows,
                          segments: tuple[Segment, ...] = ()):
  """Hidden states [B, N, D] from which the old self predicts completions."""
  return rows_lib.completion_hidden(config, frozen, rows, segments)


def head_segments(config: ModelConfig, params, head) -> tuple[Segment, ...]:
  """What `params` makes of ids [P'] that all rows go on from; () for None."""
  if head is None:
    return ()
  return (transformer.hidden_states(config, params, head[None])[1],)


def divergence(config: ModelConfig, settings: SeedingConfig, head,
               teacher_hidden, student_hidden, mask, **likelihood):
  """D of completion tokens that it is to see, as (sum, weight, aux)."""
  d = settings.divergence
  return from_hidden.divergence_from_hidden(
      d.kind, teacher_hidden, head, student_hidden, head,
      mask.astype(jnp.float32), **likelihood, beta=d.beta,
      temperature=d.temperature, chunk_rows=d.chunk_rows, top_k=d.top_k,
      matmul=layout.head_matmul(config))


def objective(config: ModelConfig, settings: SeedingConfig, frozen, slot, index,
              batch: Batch, part: Trainable = OWN_MLP_SLOT,
              whole: Batch | None = None):
  """Loss of one batch: α·D − (1 − α)·(reward surrogate) + w·D_rehearsal +
  w'·D_retention + EWC.

  Args:
    config: the grown model's shape.
    settings: weights of the terms.
    frozen: the student's parameters but for the slot. Where nothing else tells
      it from the teacher, the teacher is `frozen` with the slot newborn. Their
      output heads are the same.
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
  head = layout.frozen_head(config, frozen)
  segments = head_segments(config, student, batch.head)
  loss, metrics = jnp.float32(0), {}
  if batch.rows is not None:
    loss, metrics = _loss_of_rows(
        config, settings, student, head, segments, batch, whole or batch)
  for name in ('rehearsal', 'retention'):
    rows = getattr(batch, name)
    if rows is not None:
      hidden = rows_lib.completion_hidden(config, student, rows, segments)
      total, weight, _ = divergence(
          config, settings, head, getattr(batch, f'{name}_hidden'), hidden,
          rows.completion_mask)
      metrics[f'{name}_divergence'] = total / jnp.maximum(weight, 1.0)
      loss += getattr(settings, name) * metrics[f'{name}_divergence']
  if batch.importance is not None:
    metrics['ewc'] = settings.ewc / 2 * sum(
        jax.tree.leaves(jax.tree.map(
            lambda f, delta: (f * jnp.square(delta)).sum(),
            batch.importance, slot)))
    loss += metrics['ewc']
  return loss, {**metrics, 'loss': loss}


def _loss_of_rows(config, settings, student, head, segments, batch, whole):
  """The batch's own rows: α·D − (1 − α)·(reward surrogate), with metrics."""
  hidden = rows_lib.completion_hidden(config, student, batch.rows, segments)
  tokens, mask = batch.rows.completion, batch.rows.completion_mask
  seen = _seen(settings, batch)
  count = lambda mask: jnp.maximum(mask.sum(dtype=jnp.float32), 1.0)
  weight = count(_seen(settings, whole))
  rewarded = batch.advantage is not None
  reward_scale = (1 - settings.alpha) / count(
      whole.rows.completion_mask.any(-1))
  # The reward's share of the loss is linear in log-probabilities, unless ratios
  # are clipped: the pass over the vocabulary that D makes takes it along.
  together = (rewarded and batch.sampled_log_probs is None
              and settings.exact_divergence and settings.alpha > 0)
  log_probs_of = lambda hidden: from_hidden.sequence_log_probs_from_hidden(
      hidden, head, tokens, chunk_rows=settings.divergence.chunk_rows,
      matmul=layout.head_matmul(config))
  if not settings.exact_divergence or rewarded and not together:
    log_probs = log_probs_of(hidden)
  if settings.exact_divergence:
    likelihood = {}
    if together:
      share = weight / settings.alpha * reward_scale
      likelihood = {
          'targets_N': tokens,
          'target_weight_N': jnp.where(
              mask, -share * batch.advantage[:, None], 0)}
    total, _, aux = divergence(
        config, settings, head, batch.teacher_hidden, hidden, seen,
        **likelihood)
    loss = settings.alpha * total / weight
    metrics = {'divergence': aux['divergence'] / weight,
               'entropy': aux['student_entropy'] / weight,
               'top1_agreement': aux['top1_agreement'] / weight}
  else:
    if settings.target == 'tokens':
      total = -jnp.where(seen, log_probs, 0).sum()
    else:
      total, _, _ = policy_gradient.sampled_reverse_kl(
          log_probs, log_probs_of(batch.teacher_hidden), seen,
          settings.group_size)
    metrics = {'divergence': total / weight}
    loss = settings.alpha * metrics['divergence']
  if rewarded and not together:
    if batch.sampled_log_probs is None:
      pg, _, _ = policy_gradient.policy_gradient_loss(
          log_probs, batch.advantage, mask)
    else:
      pg, _, aux = policy_gradient.clipped_policy_gradient_loss(
          log_probs, batch.sampled_log_probs, batch.advantage, mask,
          settings.clip)
      metrics['clipped'] = aux['clipped'] / count(whole.rows.completion_mask)
    loss += reward_scale * pg
  return loss, metrics


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
  advantage = _ADVANTAGES[settings.advantage](groups).reshape(-1)
  return advantage, {
      'reward': reward.mean(), 'reward_semantic': r_sem.mean(),
      'reward_levenshtein': r_abs.mean(),
      'constant_groups': policy_gradient.constant_groups(groups)}
