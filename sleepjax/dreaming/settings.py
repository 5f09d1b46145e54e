"""Settings of one round of dreaming."""

import dataclasses

from sleepjax.errors import UserError


@dataclasses.dataclass(frozen=True)
class DreamingConfig:
  """Every choice of a round of dreaming, with the reason for its default.

  The paper gives none of these numbers for text; its source for the loop, SEAL
  (arXiv 2506.10943), trains 15 LoRA copies per task for tens of steps each. The
  defaults keep the proportions and fit a round into a minute on two CPU cores.

  dreams: m, dreams sampled.
  dream_tokens: longest dream; as long as a teacher's dream in seeding.
  prompt_tokens: longest prompt; fixed, so that one program serves all rounds.
  temperature: of the samples; 1 is the policy whose gradient is taken.
  top_k: dreams kept because their gradient is large.
  random: dreams kept at random among the others, so that selection cannot
    settle on one kind of dream. top_k = 0 is the control without selection.
  gradient_rows: dreams whose gradients exist at once during selection; each is
    as large as the slot. A divisor of `dreams` compiles one program, any other
    number two.
  inner_steps, inner_learning_rate: Adam updates of a copy of the slot on one
    dream. Enough to move the held-in loss well beyond rounding, few enough that
    the copy is still about the dream and not a wreck.
  outer_steps, outer_learning_rate: Adam updates of the slot on the rewarded
    dreams together. The rate is smaller than the inner one: what a copy may try
    is thrown away, this is kept.
  max_retention_divergence: nats per token by which the model may move away, on
    the retention rows, from what it was before the round; beyond it the round
    is rolled back.
  """

  dreams: int = 16
  dream_tokens: int = 32
  prompt_tokens: int = 80
  temperature: float = 1.0
  top_k: int = 4
  random: int = 2
  gradient_rows: int = 4
  inner_steps: int = 3
  inner_learning_rate: float = 3e-4
  outer_steps: int = 4
  outer_learning_rate: float = 1e-4
  max_retention_divergence: float = 0.05

  def __post_init__(self):
    for name in ('dreams', 'dream_tokens', 'prompt_tokens', 'gradient_rows',
                 'inner_steps', 'outer_steps'):
      if getattr(self, name) < 1:
        raise UserError(f'{name}={getattr(self, name)} must be at least 1.')
    for name in ('temperature', 'inner_learning_rate', 'outer_learning_rate'):
      if not getattr(self, name) > 0:
        raise UserError(f'{name}={getattr(self, name)} must be positive.')
    if self.top_k < 0 or self.random < 0 or not (
        1 <= self.kept <= self.dreams):
      raise UserError(
          f'top_k={self.top_k} and random={self.random} must not be negative '
          f'and keep between 1 and dreams={self.dreams} dreams together.')
    if not self.max_retention_divergence >= 0:
      raise UserError(
          f'max_retention_divergence={self.max_retention_divergence} must not '
          'be negative: it is a limit in nats per token.')

  @property
  def kept(self) -> int:
    """Dreams that selection keeps."""
    return self.top_k + self.random
