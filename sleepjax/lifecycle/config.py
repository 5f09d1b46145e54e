"""How a model wakes and sleeps: the settings of one cycle."""

import dataclasses
from collections.abc import Callable

from sleepjax.dreaming.settings import DreamingConfig, JoiningConfig
from sleepjax.evals import judge_by_name
from sleepjax.growth.adapters import (
    MLP_MATRICES,
    Adapter,
    AllLayers,
    LowRank,
    Slot,
    StaticSlot,
)
from sleepjax.memory.day import LevelMemory
from sleepjax.model import Model
from sleepjax.seeding.settings import SeedingConfig
from sleepjax.training.budget import Budget
from sleepjax.writing.dreamer import DreamConfig
from sleepjax.writing.facts import WritingConfig
from sleepjax.writing.rows import RowConfig


@dataclasses.dataclass(frozen=True)
class SleepConfig:
  """How a model wakes and sleeps.

  context_tokens: longest stretch that is read before a sleep.
  slot_rank: R, hidden units that each layer gains; the paper's 64.
  slot_layers: layers whose slot is open; empty for all from `slot_from` on.
  slot_from: share of the layers, from the lowest, in which it stays closed. A
    train step leaves them out, see `sleepjax.seeding.below`.
  rehearsal_per_text: questions tried for each rehearsal text.
  rehearsal_tokens: longest prompt of a rehearsal row, its text included.
  rehearse_questions: whether writing those questions is rehearsed as well.
  memories: questions that it asks itself closed book for retention, with
    `memory_prompt`.
  contrasts: of a night that learns from facts, its own questions about other
    topics, for retention, see `sleepjax.writing.contrasts`.
  matmul_dtype, unroll: see `sleepjax.models.layout.for_compute`. On a CPU,
    scanned layers (unroll=False) compile several times faster and run slower:
    right for a short run on a new machine.
  dreams, seeding, dreaming: settings of the phases; dreaming=None leaves the
    second stage out, and a `JoiningConfig` has it join what was learnt apart.
  max_retention_divergence: nats per token by which seeding may move the model
    on rows of rehearsal and retention; beyond it the sleep is undone.
  seeding_budget, dreaming_budget: what those two may spend each night.
  answer_prompt: how questions are put, with {question}.
  judge: of the semantic reward: 'stand_in', which compares content tokens
    inside the jitted step, or a name of `judge_by_name.KINDS`.
  trained: what learns, a name in `ADAPTERS` or an adapter: 'slot', one more for
    every sleep; for baselines 'static_slot', grown in the first sleep and
    trained on in later ones, or what leaves the model's size alone, 'low_rank',
    'low_rank_mlp' (LoRA on the MLP's matrices alone) or 'all_layers'.
  low_rank: rank of LoRA. 11 on all matrices of SmolLM2-135M has as many
    parameters as a slot of rank 64.
  low_rank_scale: by which its product is multiplied, alpha / rank.
  level: how MLP levels take in what is read; None keeps it in the context. The
    model must have them (`continuum.newborn_levels`); asleep they are cleared.
  source: what seeding learns from: 'dreams', which are sampled; 'facts', what
    the text says as questions with verified answers; or the 'text' itself.
  writing, rows: of facts, which there are and what is learnt of them; how long
    a row may be and how it asks is said by `dreams` and `answer_prompt`.
  replay: of 'text', half the rows are of earlier texts (experience replay).
  """

  dreams: DreamConfig = DreamConfig()
  seeding: SeedingConfig = SeedingConfig()
  dreaming: DreamingConfig | JoiningConfig | None = DreamingConfig()
  answer_prompt: str = '{question} Answer briefly.'
  context_tokens: int = 512
  slot_rank: int = 64
  slot_layers: tuple[int, ...] = ()
  slot_from: float = 0.0
  rehearsal_per_text: int = 6
  rehearsal_tokens: int = 288
  rehearse_questions: bool = False
  memories: int = 0
  contrasts: int = 0
  memory_prompt: str = 'Ask a question.'
  matmul_dtype: str = 'auto'
  unroll: bool | None = None
  judge: str = 'stand_in'
  trained: str | Adapter = 'slot'
  low_rank: int = 11
  low_rank_scale: float = 1.0
  level: LevelMemory | None = None
  source: str = 'dreams'
  writing: WritingConfig = WritingConfig()
  rows: RowConfig = RowConfig()
  replay: bool = False
  max_retention_divergence: float = 1.0
  seeding_budget: Budget = Budget()
  dreaming_budget: Budget = Budget()

  @property
  def adapter(self) -> Adapter:
    """What a sleep trains, with the ranks and layers that stand here."""
    if isinstance(self.trained, Adapter):
      return self.trained
    if self.trained not in ADAPTERS:
      raise ValueError(f'trained={self.trained!r} must be one of '
                       f'{", ".join(ADAPTERS)}.')
    return ADAPTERS[self.trained](self)

  @property
  def reply_tokens(self) -> int:
    """What a prompt and its reply may take in context beside a document."""
    return self.dreams.prompt_tokens + self.dreams.completion_tokens

  def for_compute(self, model: Model) -> Model:
    """A canonical model in the layout of `matmul_dtype` and `unroll`."""
    adds_to_layers = self.adapter.changes_weights or self.dreaming
    return model.for_compute(self.matmul_dtype, self.unroll,
                             'float32' if adds_to_layers else None)

  def __post_init__(self):
    if '{question}' not in self.answer_prompt:
      raise ValueError(f'answer_prompt={self.answer_prompt!r} must contain '
                       '{question}.')
    if not self.dreams.openings:
      raise ValueError("dreams.openings is empty: give at least one, such as "
                       "'' for a question that begins with any word.")
    if self.judge not in ('stand_in', *judge_by_name.KINDS):
      raise ValueError(f'judge={self.judge!r} must be one of stand_in, '
                       f'{", ".join(judge_by_name.KINDS)}.')
    if self.source not in ('dreams', 'facts', 'text'):
      raise ValueError(f'source={self.source!r} must be one of dreams, facts, '
                       'text.')
    for name in ('slot_rank', 'low_rank'):
      if getattr(self, name) < 1:
        raise ValueError(f'{name}={getattr(self, name)} must be at least 1.')
    adapter = self.adapter
    if self.dreaming is not None and not adapter.can_dream:
      raise ValueError(f'trained={self.trained!r} has no slot for the second '
                       'stage to work on: set dreaming=None.')
    if self.seeding.ewc and not adapter.changes_weights:
      raise ValueError(f'seeding.ewc={self.seeding.ewc} protects weights that '
                       "the model has: set trained='all_layers' or 'low_rank'.")
    if self.level is not None and self.seeding.teacher == 'ema':
      raise ValueError("seeding.teacher='ema' reads the text anew into its "
                       'context: it needs level=None.')
    if not self.max_retention_divergence >= 0:
      raise ValueError(
          f'max_retention_divergence={self.max_retention_divergence} must not '
          'be negative: it is a limit in nats per token.')
    if not self.low_rank_scale > 0:
      raise ValueError(
          f'low_rank_scale={self.low_rank_scale} must be positive.')
    if self.replay and self.source != 'text':
      raise ValueError("replay=True replays texts: set source='text'.")


# What a sleep may train, by name.
ADAPTERS: dict[str, Callable[[SleepConfig], Adapter]] = {
    'slot': lambda s: Slot(-1, s.slot_rank, s.slot_layers, s.slot_from),
    'static_slot': lambda s: StaticSlot(
        -1, s.slot_rank, s.slot_layers, s.slot_from),
    'low_rank': lambda s: LowRank(s.low_rank, s.low_rank_scale * s.low_rank),
    'low_rank_mlp': lambda s: LowRank(
        s.low_rank, s.low_rank_scale * s.low_rank, MLP_MATRICES),
    'all_layers': lambda s: AllLayers()}
