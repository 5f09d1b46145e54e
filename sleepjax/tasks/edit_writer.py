"""Who writes self-edits: a model, trained on those that turned out well.

ReST-EM as in SEAL (arXiv 2506.10943): self-edits are sampled, each is tried on
a fresh copy, and the writer is fine-tuned on those after which every asked grid
was right. A sleep writes more of them, dreams, and tries the ones that matter
by their gradient, with some others (section 3.4 of the paper). The writer only
writes: what learns is always the model as it was.
"""

import dataclasses
from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import numpy as np

from sleepjax.data import grid_prompts, self_edits
from sleepjax.data.grids import Task
from sleepjax.data.self_edits import SelfEdit
from sleepjax.dreaming import select
from sleepjax.errors import check_least
from sleepjax.mesh.sharding import to_host
from sleepjax.model import Model
from sleepjax.pretraining import grid_batches
from sleepjax.sampling import rows as rows_lib
from sleepjax.sampling import sampler
from sleepjax.sampling.rows import Rows
from sleepjax.tasks.few_shot import Bed, Learnt


@dataclasses.dataclass(frozen=True)
class WriterConfig:
  """How a writer is trained.

  ask: what it is asked after the shown pairs.
  tried: self-edits of each task that are tried.
  dreams: of a sleep, how many are written, of which `tried` are kept.
  random: of these, how many are drawn among the less important ones.
  temperature: at which they are written.
  updates, rows, rate: of fine-tuning on those that turned out well.
  """

  ask: str = '?'
  tried: int = 15
  dreams: int = 60
  random: int = 3
  temperature: float = 1.0
  updates: int = 40
  rows: int = 8
  rate: float = 1e-3

  def __post_init__(self):
    check_least(self, tried=1, dreams=self.tried, random=0, temperature=0,
                updates=0, rows=1)
    if self.random > self.tried:
      raise ValueError(f'random={self.random} must be at most tried='
                       f'{self.tried}, whose part it is.')


class Trial(NamedTuple):
  """A self-edit that was tried on a task."""

  task: Task
  edit: SelfEdit
  rewarded: bool


@dataclasses.dataclass(frozen=True)
class Writer:
  """A model that writes self-edits.

  model: in compute layout.
  bed: whose tasks they are for.
  config: how it is asked.
  """

  model: Model
  bed: Bed
  config: WriterConfig

  def write(self, task: Task, count: int, seed: int) -> list[SelfEdit]:
    """Self-edits for a task; texts that are none are left out.

    Args:
      task: whose shown pairs are in view.
      count: how many are sampled.
      seed: of the samples.
    """
    model, c = self.model, self.bed.config
    prompt = grid_prompts.prompt(model.tokenizer, task.shown, self.config.ask)
    rollout = sampler.jitted_sample(
        model.config, model.params,
        *rows_lib.pad_left([prompt] * count, c.prompt_tokens),
        jax.random.key(seed),
        sampler.Until(c.reply_tokens, model.tokenizer.stop_ids),
        method=sampler.Sampling(self.config.temperature))
    tokens, mask = map(to_host, (rollout.tokens, rollout.mask))
    texts = [model.tokenizer.decode(row[real].tolist())
             for row, real in zip(tokens, mask, strict=True)]
    return [edit for text in texts
            if (edit := self_edits.read(text)) is not None]

  def first(self, task: Task, seed: int) -> SelfEdit:
    """A self-edit; the first of all there are if none of many can be read."""
    written = self.write(task, self.config.tried, seed)
    return written[0] if written else self_edits.EVERY[0]


def important(bed: Bed, task: Task, dreams: Sequence[SelfEdit],
              config: WriterConfig, seed: int) -> list[SelfEdit]:
  """The dreams that are tried: the most important ones, then some others.

  What a dream would teach is one augmentation of the task, of which the last
  pair is asked. Its importance is the norm of the gradient in a newborn slot.

  Args:
    bed: whose model would learn.
    task: that the dreams are about.
    dreams: at least one.
    config: how many are kept.
    seed: of the augmentations and of the others.
  """
  if len(dreams) <= config.tried:
    return list(dreams)
  rows = bed.dreamt([pairs for number, edit in enumerate(dreams)
                     for pairs in bed.augmented(task, edit, 1, seed + number)])
  every = np.resize(np.arange(len(dreams)), config.dreams)  # One program.
  rows = Rows(*(part[every] for part in rows))
  held_in = Rows(*(part[None, :1] for part in rows))
  scores = select.gradient_scores(
      bed.learner, rows, held_in, np.zeros(len(every), np.int32),
      rows_at_once=min(8, len(every)))
  chosen = select.selected_dreams(
      np.asarray(scores.norm)[None, :len(dreams)], jax.random.key(seed),
      config.tried - config.random, config.random)
  return [dreams[place] for place in np.asarray(chosen[0]).tolist()]


def trials(writer: Writer, tasks: Sequence[Task],
           learn: Callable[[Task, SelfEdit, int], Learnt], dreaming: bool,
           seed: int) -> list[Trial]:
  """Self-edits for tasks, each tried; those that are equal are tried once.

  Args:
    writer: writes them.
    tasks: of which the asked grids are known.
    learn: a fresh copy learns a task by a self-edit.
    dreaming: whether many are written and the important ones tried.
    seed: of all that is drawn.
  """
  c, bed, found = writer.config, writer.bed, []
  for number, task in enumerate(tasks):
    place = seed * len(tasks) + number
    edits = writer.write(task, c.dreams if dreaming else c.tried, place)
    if dreaming and edits:
      edits = important(bed, task, edits, c, place)
    known = {edit: all(bed.answers(
        learn(task, edit, place).model, task, place).voted)
             for edit in dict.fromkeys(edits)}
    found += [Trial(task, edit, known[edit]) for edit in edits]
  return found


def trained(writer: Writer, tried: Sequence[Trial], seed: int) -> Writer:
  """The writer, fine-tuned on rewarded self-edits; itself if there is none."""
  bed, c = writer.bed, writer.config
  tokenizer, rewarded = bed.model.tokenizer, [t for t in tried if t.rewarded]
  if not rewarded:
    return writer
  rng = np.random.default_rng([seed, 3])
  width = bed.config.prompt_tokens + bed.config.reply_tokens

  def batch():
    made = []
    for place in rng.integers(len(rewarded), size=c.rows):
      task, edit, _ = rewarded[place]
      asked = grid_prompts.prompt(tokenizer, task.shown, c.ask)
      reply = grid_prompts.reply(tokenizer, edit.text)
      made.append((asked + reply, [0.0] * len(asked) + [1.0] * len(reply)))
    return grid_batches.packed_rows(made, width)

  return dataclasses.replace(writer, model=bed.trained(
      c.rate, (batch() for _ in range(c.updates))))
