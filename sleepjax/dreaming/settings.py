"""Settings of dreaming."""

import dataclasses

from sleepjax.errors import UserError

_CHOICES = {
    'selection': ('gradient_norm', 'influence', 'random'),
    'reward': ('binary', 'argmax', 'improvement'),
    'outer': ('rest_em', 'reward_weighted', 'group_relative'),
    'outer_start': ('birth', 'last_round'),
    'generator': ('kept', 'merged'),
    'curriculum': ('learnability', 'uniform'),
    'inner_adapter': ('slot', 'low_rank')}


@dataclasses.dataclass(frozen=True)
class DreamingConfig:
  """Every choice of the second stage, with the reason for its default.

  The paper gives none of these numbers for text; its source for the loop, SEAL
  (arXiv 2506.10943), writes 5 to 15 dreams a context and trains a LoRA copy of
  rank 32 on each. The defaults keep the proportions and fit a round into a
  minute on two CPU cores.

  rounds: of dreaming and learning to dream. 0 leaves the write-back alone.
  dreams: m, dreams a round writes about each memory.
  rehearsed: memories of earlier sleeps that are dreamt about besides tonight's.
  curriculum: how those are drawn, see `sleepjax.dreaming.curriculum`;
    'uniform' is the control.
  dream_tokens: longest dream; as long as a teacher's dream in seeding.
  prompt_tokens: longest prompt; fixed, so that one program serves all rounds.
  temperature: of the samples; 1 is the policy whose gradient is taken.
  random_expert: whether every layer uses one more random slot, drawn anew for
    each dream, see `sleepjax.dreaming.sample`.
  selection: what makes a dream important: its 'gradient_norm', its 'influence'
    on the held-in questions, or nothing ('random', the control).
  top_k: dreams of each memory that are kept because they are important.
  random: dreams kept at random among the others, so that selection cannot
    settle on one kind of dream.
  gradient_rows: dreams whose gradients exist at once during selection; each is
    as large as the slot. A divisor of the number of dreams compiles one
    program, any other two.
  inner_adapter: what learns a dream: a copy of the 'slot', or 'low_rank', LoRA
    on all matrices.
  inner_rank, inner_alpha: of that LoRA; SEAL's.
  inner_steps, inner_learning_rate: Adam updates of a copy on one dream. Enough
    to move the held-in loss well beyond rounding, few enough that the copy is
    still about the dream and not a wreck.
  copies_at_once: copies that train together; 0 for all of them. Copies of a
    slot share the base weights; LoRA copies are multiplied out, so that as many
    models exist at once: choose 1 where they are large.
  reward: 'binary', 1 if the held-in loss falls (Eq. 5); 'argmax', 1 for the
    best of a memory's dreams, as in SEAL's code; 'improvement', nats per token.
  outer: how the generator learns from rewards, see `sleepjax.dreaming.outer`.
  outer_start: whether a round starts the generator from its 'birth', as ReST-EM
    was published, or goes on from 'last_round', as SEAL's code does.
  outer_steps, outer_learning_rate: Adam updates of the generator.
  generator_rank, generator_alpha: of the generator, a LoRA; SEAL's.
  generator: 'kept' apart from the model for the rounds of the night and gone
    when it ends, or 'merged' into the weights of the layers.
  write_back_steps, write_back_learning_rate: seeding of the slot with the best
    dreams and tonight's held-out questions, see `sleepjax.dreaming.write_back`.
    0 steps leave the slot as it was, and so need generator='kept'.
  write_back_dreams: dreams of each memory and round that are written back at
    most, those that helped most: a small reward is often chance. On early
    nights tonight's memory stands in for earlier ones that are missing, each
    time with as many of its own: up to 1 + `rehearsed` times as many.
  questions: of seeding that are held in as well, at most; dreams of seeding
    have answered them already, so that τ says above all what a dream would
    spoil. Those that seeding is kept from (`DreamConfig.held_out`) are asked
    besides.
  agreement_samples, agreement: a question of the model's own is held in if
    so many answers sampled with the text in view agree at least so much
    with the greedy one. 0 samples hold in all.
  max_retention_divergence: nats per token by which the model may move away, on
    the retention rows, from what it was before the write-back; beyond it that
    is rolled back.
  """

  rounds: int = 1
  dreams: int = 12
  rehearsed: int = 0
  curriculum: str = 'learnability'
  dream_tokens: int = 24
  prompt_tokens: int = 72
  temperature: float = 1.0
  random_expert: bool = True
  selection: str = 'gradient_norm'
  top_k: int = 3
  random: int = 1
  gradient_rows: int = 4
  inner_adapter: str = 'slot'
  inner_rank: int = 32
  inner_alpha: float = 64.0
  inner_steps: int = 3
  inner_learning_rate: float = 3e-4
  copies_at_once: int = 0
  reward: str = 'binary'
  outer: str = 'rest_em'
  outer_start: str = 'last_round'
  outer_steps: int = 4
  outer_learning_rate: float = 3e-4
  generator_rank: int = 16
  generator_alpha: float = 32.0
  generator: str = 'kept'
  write_back_steps: int = 6
  write_back_learning_rate: float = 5e-4
  write_back_dreams: int = 2
  questions: int = 8
  agreement_samples: int = 4
  agreement: float = 0.3
  max_retention_divergence: float = 0.05

  def __post_init__(self):
    for name, known in _CHOICES.items():
      if getattr(self, name) not in known:
        raise UserError(f'{name}={getattr(self, name)!r} must be one of '
                        f'{", ".join(known)}.')
    for name in ('dreams', 'dream_tokens', 'prompt_tokens', 'gradient_rows',
                 'inner_rank', 'inner_steps', 'outer_steps', 'generator_rank',
                 'write_back_dreams'):
      if getattr(self, name) < 1:
        raise UserError(f'{name}={getattr(self, name)} must be at least 1.')
    for name in ('rounds', 'rehearsed', 'copies_at_once', 'write_back_steps',
                 'questions', 'agreement_samples'):
      if getattr(self, name) < 0:
        raise UserError(f'{name}={getattr(self, name)} must not be negative.')
    for name in ('temperature', 'inner_alpha', 'inner_learning_rate',
                 'outer_learning_rate', 'generator_alpha',
                 'write_back_learning_rate'):
      if not getattr(self, name) > 0:
        raise UserError(f'{name}={getattr(self, name)} must be positive.')
    if self.top_k < 0 or self.random < 0 or not (
        1 <= self.kept <= self.dreams):
      raise UserError(
          f'top_k={self.top_k} and random={self.random} must not be negative '
          f'and keep between 1 and dreams={self.dreams} dreams together.')
    if not 0 <= self.agreement <= 1:
      raise UserError(f'agreement={self.agreement} must be from 0 to 1.')
    if self.outer == 'group_relative' and self.kept < 2:
      raise UserError(
          "outer='group_relative' compares the dreams of a memory: top_k + "
          f'random = {self.kept} must be at least 2.')
    if self.generator == 'merged' and not self.write_back_steps:
      raise UserError(
          "generator='merged' is merged by the write-back, to which the slot "
          "has to fit: set write_back_steps to at least 1, or generator="
          "'kept'.")
    if not self.max_retention_divergence >= 0:
      raise UserError(
          f'max_retention_divergence={self.max_retention_divergence} must not '
          'be negative: it is a limit in nats per token.')

  @property
  def kept(self) -> int:
    """Dreams of each memory that selection keeps."""
    return self.top_k + self.random


@dataclasses.dataclass(frozen=True)
class JoiningConfig(DreamingConfig):
  """Dreams that join what was learnt apart, see `sleepjax.dreaming.joining`.

  Of the fields above, those of prompts and lengths count, `temperature`, those
  of questions and their agreement, and those of the write-back.

  rounds: none; seeding goes on as long, whether or not something was joined.
  ask_prompt: asks for a question of two steps, with {sentence}.
  stepwise_prompt: puts it so that it is answered step by step, with {question}.
  samples: replies to it, and to whatever reminds of a text.
  agreeing: so many have to end alike for a dream to be kept.
  shuffled: every kept question gets the answer of another one, the control: it
    has the form of these dreams and not what they say.
  """

  rounds: int = 0
  ask_prompt: str = 'Ask a question of two steps about this: {sentence}'
  stepwise_prompt: str = '{question} Step by step.'
  samples: int = 4
  agreeing: int = 3
  shuffled: bool = False

  def __post_init__(self):
    super().__post_init__()
    for name, needed in (('ask_prompt', '{sentence}'),
                         ('stepwise_prompt', '{question}')):
      if needed not in getattr(self, name):
        raise UserError(f'{name}={getattr(self, name)!r} must contain '
                        f'{needed}.')
    if not 1 <= self.agreeing <= self.samples:
      raise UserError(f'agreeing={self.agreeing} must be from 1 to samples='
                      f'{self.samples}.')
    if self.rounds:
      raise UserError(f'rounds={self.rounds} must be 0: nothing is tried where '
                      'dreams are joined.')
