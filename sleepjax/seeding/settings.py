"""The settings of knowledge seeding: weights of its terms, rows and rates."""

import dataclasses
import math

from sleepjax.losses.divergences import DivergenceConfig
from sleepjax.losses.policy_gradient import ADVANTAGES
from sleepjax.sampling import rows as rows_lib

# Targets of a teacher that names a token in place of its distribution.
NAMED = 'sampled', 'likeliest'


@dataclasses.dataclass(frozen=True)
class SeedingConfig:
  """Every choice of knowledge seeding, with the reason for its default.

  steps: batches in one sleep; one update each, but for updates_per_rollout.
  epochs: how often a row is seen on average at least: there are more than
    `steps` if that takes more. 0 leaves it to them.
  rows: dreams, or rollouts, per update.
  in_passes: dreams, and prompts of rollouts, are taken in passes over all of
    them, each in an order of its own, in place of independent draws.
  rows_at_once: rows whose gradient is taken at once, a divisor of `rows`; 0 for
    all. Fewer need less memory, and the update is the same: gradients of groups
    of rows add up. What all prompts go on from is read anew for every group. On
    a mesh, every device works where it is a multiple of those that share rows.
  on_policy: λ, the chance that an update learns from the student's own
    rollouts (GKD finds ≥ 0.25 enough; a rollout costs several plain updates).
  group_size: K rollouts from one prefix, for the leave-one-out baseline; 1
    where nothing compares them (α = 1, D exact).
  alpha: weight of the divergence; 1 − α weighs the reward. 1 switches
    imitation off, 0 the divergence, which is not computed then.
  gamma: weight of the semantic reward; 0 is the Levenshtein reward alone.
  levenshtein_threshold: z₀, largest distance that is rewarded, as a fraction
    of the longer text.
  semantic_threshold: content-token F1 from which the stand-in judge says yes.
  prefix: a rollout starts after a fraction of a dream drawn uniformly from
    [0, prefix].
  rehearsal: weight of the rehearsal term; 0 or None switches it off.
  rehearsal_rows: rehearsed answers per update.
  rehearsal_every: an update of so many has the rehearsal term, so many times as
    heavy: its rows, with their texts in front, are the longest.
  retention: weight of the retention term; 0 or None switches it off.
  retention_rows: its answers per update.
  learning_rate, warmup_steps, clip_norm: AdamW with linear warm-up and cosine
    decay to a tenth; the gradient is clipped to a global norm.
  divergence: D.
  target: 'teacher', its distributions; 'tokens', the completions themselves
    (supervised fine-tuning: D is their cross-entropy); of a teacher that names
    one token at every position of a dream or rollout 'sampled', drawn from its
    distribution, or 'likeliest'. Rehearsal and retention have distributions.
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
    1612.00796), λ/2 Σ F Δ², for deltas to all layers; 0 or None switches it
    off.
  """

  steps: int = 130
  epochs: float = 0.0
  rows: int = 8
  in_passes: bool = False
  rows_at_once: int = 0
  on_policy: float = 0.1
  group_size: int = 4
  alpha: float = 0.8
  gamma: float = 0.5
  levenshtein_threshold: float = 0.5
  semantic_threshold: float = 0.5
  prefix: float = 0.5
  rehearsal: float | None = 1.0
  rehearsal_rows: int = 1
  rehearsal_every: int = 1
  retention: float | None = 1.0
  retention_rows: int = 4
  learning_rate: float = 1.5e-3
  warmup_steps: int = 5
  clip_norm: float = 1.0
  divergence: DivergenceConfig = DivergenceConfig()
  target: str = 'teacher'
  masked_first_tokens: int = 0
  estimator: str = 'exact'
  updates_per_rollout: int = 1
  clip: float = 0.2
  advantage: str = 'leave_one_out'
  teacher: str = 'frozen'
  ema_decay: float = 0.99
  ewc: float | None = 0.0

  def for_rows(self, count: int) -> 'SeedingConfig':
    """These settings with the steps that `epochs` of so many rows take.

    At least `steps`, and rounded up to twenties: programs are compiled for a
    number of steps.
    """
    steps = rows_lib.bucket(math.ceil(self.epochs * count / self.rows), 20)
    return dataclasses.replace(
        self, steps=max(self.steps, steps), epochs=0.0)

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
      if not (getattr(self, name) or 0) >= 0:
        raise ValueError(f'{name}={getattr(self, name)} must not be negative.')
    least = 1 if self.alpha == 1 and self.estimator == 'exact' else 2
    if (self.group_size < least or self.rows < 1
        or self.rows % self.group_size):
      raise ValueError(
          f'rows={self.rows} must be a positive multiple of group_size='
          f'{self.group_size}, which must be at least {least}: rollouts of one '
          'prefix are compared with each other, unless alpha=1 and '
          'estimator=exact.')
    if self.rows_at_once < 0 or self.rows % (self.rows_at_once or 1):
      raise ValueError(
          f'rows_at_once={self.rows_at_once} must be 0, for all, or divide '
          f'rows={self.rows}.')
    for name, known in (('target', ('teacher', 'tokens', *NAMED)),
                        ('estimator', ('exact', 'sampled')),
                        ('advantage', tuple(ADVANTAGES)),
                        ('teacher', ('frozen', 'ema'))):
      if getattr(self, name) not in known:
        raise ValueError(f'{name}={getattr(self, name)!r} must be one of '
                         f'{", ".join(known)}.')
    for name in ('updates_per_rollout', 'rehearsal_every', 'clip', 'clip_norm'):
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
