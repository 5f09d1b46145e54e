"""Few-shot tasks: a model learns from a handful of grids, then is asked.

The examples stay in view for every arm. What differs is what the weights learn
from them first: nothing, fine-tuning on augmentations of the examples
(test-time training), or a night, in which a new slot is seeded with them. How
either is done is a self-edit (`sleepjax.data.self_edits`).
"""

import dataclasses
import functools
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from sleepjax import seeds
from sleepjax.data import grid_augmentations, grid_prompts, grids, self_edits
from sleepjax.data.grids import COLOURS, Grid, GridConfig, Pair, Task
from sleepjax.data.self_edits import SelfEdit
from sleepjax.errors import UserError, check_least
from sleepjax.evals.questions import greedy_texts
from sleepjax.growth.learner import Learner
from sleepjax.lifecycle import phases
from sleepjax.lifecycle.config import SleepConfig
from sleepjax.model import Model
from sleepjax.pretraining import grid_batches, next_token
from sleepjax.pretraining.next_token import PretrainingConfig
from sleepjax.pretraining.packed import PackedRows
from sleepjax.sampling import rows as rows_lib
from sleepjax.sampling.rows import Rows
from sleepjax.seeding import update
from sleepjax.seeding.examples import Examples
from sleepjax.seeding.loop import Seeder, Terms

# (part, how many, seed) -> tasks.
Tasks = Callable[[str, int, int], list[Task]]


@dataclasses.dataclass(frozen=True)
class FewShotConfig:
  """Which tasks there are, and how they are learnt.

  grids: what generated tasks are like.
  tasks, train, choice: tasks of the exam; those on which a writer of self-edits
    is trained; those of the stop rule, by which rates are chosen too.
  votes: augmentations of a task whose answers vote.
  colours: that augmentations may exchange, the background included.
  prompt_tokens, reply_tokens: of the longest prompt and reply.
  conversation_tokens: of all shown pairs.
  batch_rows: replies that are written at once.
  rows: augmented tasks in every update.
  rates, slot_rates: learning rates that a self-edit calls slow, middle and
    fast, of fine-tuning and of a slot.
  updates: that it calls short and long.
  most_in_context, least_oracle: right answers in context above which, and of
    the best self-edit for each task below which, a bed has no room.
  """

  grids: GridConfig = GridConfig()
  tasks: int = 50
  train: int = 11
  choice: int = 13
  votes: int = 5
  colours: int = COLOURS
  prompt_tokens: int = 144
  reply_tokens: int = 24
  conversation_tokens: int = 120
  batch_rows: int = 20
  rows: int = 8
  rates: tuple[float, ...] = (1e-3, 3e-3, 1e-2)
  slot_rates: tuple[float, ...] = (3e-3, 1e-2, 3e-2)
  updates: tuple[int, ...] = (20, 80)
  most_in_context: float = 0.2
  least_oracle: float = 0.8

  def __post_init__(self):
    check_least(self, tasks=1, train=1, choice=1, votes=1, colours=2,
                prompt_tokens=1, reply_tokens=1, conversation_tokens=1,
                batch_rows=1, rows=1)
    for name, words in (('rates', self_edits.RATES),
                        ('slot_rates', self_edits.RATES),
                        ('updates', self_edits.LENGTHS)):
      if len(getattr(self, name)) != len(words):
        raise ValueError(f'{name}={getattr(self, name)} must have one value '
                         f'for each of {", ".join(words)}.')

  def rate_of(self, edit: SelfEdit, slot: bool) -> float:
    rates = self.slot_rates if slot else self.rates
    return rates[self_edits.RATES.index(edit.rate)]

  def updates_of(self, edit: SelfEdit) -> int:
    return self.updates[self_edits.LENGTHS.index(edit.length)]


class Learnt(NamedTuple):
  """A model that has learnt a task, in compute layout, and tokens it read."""

  model: Model
  tokens: int


class Answers(NamedTuple):
  """What a model answers to the asked pairs of a task.

  voted: whether the answer that most votes are for is right.
  alone: whether that to the task as it is is.
  readable: share of all replies that are grids.
  """

  voted: list[bool]
  alone: list[bool]
  readable: float


def as_grid(text: str) -> Grid | None:
  """The grid of a reply, or None if it is none."""
  try:
    grid = grids.read_grid(text)
  except ValueError:
    return None
  return grid if grid.ndim == 2 and grid.size else None


@dataclasses.dataclass(frozen=True)
class Bed:
  """A model and tasks; every task is learnt by a fresh copy.

  model: canonical.
  settings: of a night.
  tasks: where they come from.
  config: which, and how they are learnt.
  """

  model: Model
  settings: SleepConfig
  tasks: Tasks
  config: FewShotConfig

  @functools.cached_property
  def ready(self) -> Model:
    """The model that has learnt nothing, in compute layout."""
    return self.settings.for_compute(self.model)

  @functools.cached_property
  def learner(self) -> Learner:
    """The grown model as one that learns, with its newborn slot."""
    s, key = self.settings, jax.random.key(0)
    grown = phases.grow(self.model, s.adapter, key, [0, 1])
    newborn, first = s.adapter.newborn(
        grown.model.config, grown.model.params, key, grown.index)
    ready = s.for_compute(grown.model)
    return Learner(ready.config, ready.params, s.adapter, grown.index, first,
                   newborn)

  def augmented(self, task: Task, edit: SelfEdit, count: int, seed: int):
    """The shown pairs, augmented as a self-edit says, each in its own order.

    Args:
      task: whose.
      edit: which augmentations it has.
      count: how many times.
      seed: of what is drawn.
    """
    rng, shown = np.random.default_rng([seed, 1]), task.shown
    for _ in range(count):
      change = grid_augmentations.draw(
          rng, edit.turned, edit.coloured, self.config.colours)
      yield [change.of_pair(shown[i]) for i in rng.permutation(len(shown))]

  def fine_tuned(self, task: Task, edit: SelfEdit, seed: int) -> Learnt:
    """Test-time training: all weights learn every output of the augmented
    pairs, from those before it in view."""
    c, tokenizer, updates = (
        self.config, self.model.tokenizer, self.config.updates_of(edit))
    made = self.augmented(task, edit, c.rows * updates, seed)
    every = [grid_batches.packed_rows(
        [grid_prompts.conversation(tokenizer, next(made))
         for _ in range(c.rows)], c.conversation_tokens)
             for _ in range(updates)]
    return Learnt(self.trained(c.rate_of(edit, False), every),
                  sum(int((rows.turn >= 0).sum()) for rows in every))

  def trained(self, rate: float, every: Iterable[PackedRows]) -> Model:
    """The model after an update of all weights on each of some batches.

    Args:
      rate: of AdamW, without weight decay.
      every: the batches.

    Returns:
      It, in compute layout.
    """
    settings = PretrainingConfig(
        learning_rate=rate, warmup_steps=3, weight_decay=0.0)
    params = jax.tree.map(jnp.asarray, self.model.params)
    state: Any = params, next_token.make_optimizer(settings).init(params)
    for rows in every:
      *state, _ = next_token.packed_step(
          self.model.config, settings, *state, rows)
    return self.settings.for_compute(self.model.with_params(
        self.model.config, state[0]))

  def slept(self, task: Task, edit: SelfEdit, seed: int) -> Learnt:
    """A night: a new slot is seeded with dreams of the task.

    A dream is an augmentation of the shown pairs of which the last one is
    asked with the others in view. Its output is known, so nothing is dreamt
    that is wrong.
    """
    c, learner, read = self.config, self.learner, []
    settings = dataclasses.replace(
        self.settings.seeding, steps=c.updates_of(edit), rows=c.rows,
        learning_rate=c.rate_of(edit, True))
    rows = self.dreamt(list(
        self.augmented(task, edit, c.rows * settings.steps, seed)))
    seeder = Seeder(learner.with_value(None), settings, Terms(
        Examples(rows, rows.prompt, rows.prompt_mask, None)))
    state = seeder.run(
        update.init_state(settings, jax.tree.map(jnp.copy, learner.value)),
        seeds.key_of(seed), lambda step, metrics, tokens: read.append(tokens))
    return Learnt(self.model.with_params(
        learner.config, learner.with_value(state.slot).params), sum(read))

  def dreamt(self, dreams: Sequence[Sequence[Pair]]) -> Rows:
    """Rows that ask the last pair of each with the others in view."""
    c, tokenizer = self.config, self.model.tokenizer
    return Rows(
        *rows_lib.pad_left(
            [grid_prompts.prompt(tokenizer, others, last.input)
             for *others, last in dreams], c.prompt_tokens),
        *rows_lib.pad_right(
            [grid_prompts.reply(tokenizer, dream[-1].output)
             for dream in dreams], c.reply_tokens))

  def answers(self, model: Model, task: Task, seed: int) -> Answers:
    """What a model answers with the shown pairs in view.

    Args:
      model: in compute layout.
      task: what is shown and asked.
      seed: of the augmentations that vote.
    """
    c, tokenizer = self.config, self.model.tokenizer
    views = grid_augmentations.drawn(
        c.votes, np.random.default_rng([seed, 2]), True, True, c.colours)
    prompts = [
        grid_prompts.prompt(tokenizer, list(map(view.of_pair, task.shown)),
                            view(pair.input))
        for pair in task.asked for view in views]
    replies = map(as_grid, self._greedy(model, prompts))
    voted, alone, readable = [], [], 0
    for pair in task.asked:
      votes = [None if (grid := next(replies)) is None else view.undo(grid)
               for view in views]
      readable += sum(vote is not None for vote in votes)
      for found, vote in ((voted, grid_augmentations.majority(votes)),
                          (alone, votes[0])):
        found.append(vote is not None and np.array_equal(vote, pair.output))
    return Answers(voted, alone, readable / len(prompts))

  def gap(self, edits: Sequence[SelfEdit], seed: int) -> dict[str, Any]:
    """Right answers in context, and after the best self-edit of each task.

    Args:
      edits: that are tried on every task.
      seed: of the tasks and augmentations.

    Returns:
      in_context, without_votes, readable: shares, of a model that has learnt
      nothing; oracle, the mean over tasks of the best share after any of
      `edits`, which looks at the answers; by_edit, the share after each; tasks,
      the share of each task in context and after each; enough, whether there
      is room, see `FewShotConfig`; asked, how many grids.
    """
    c, tasks = self.config, self.tasks('choice', self.config.choice, seed)
    before = [self.answers(self.ready, task, seed) for task in tasks]
    after = {edit.text: [float(np.mean(self.answers(
        self.fine_tuned(task, edit, seed).model, task, seed).voted))
                         for task in tasks] for edit in edits}
    right = [float(np.mean(answers.voted)) for answers in before]
    found = {'in_context': float(np.mean(right)), 'oracle': float(np.mean(
        np.max(list(after.values()), axis=0)))}
    return {
        **found,
        'without_votes': float(np.mean([a.alone for a in before])),
        'readable': float(np.mean([a.readable for a in before])),
        'by_edit': {edit: float(np.mean(share))
                    for edit, share in after.items()},
        'tasks': {task.name: [right[i], *(share[i] for share in after.values())]
                  for i, task in enumerate(tasks)},
        'enough': (found['in_context'] <= c.most_in_context
                   and found['oracle'] >= c.least_oracle),
        'asked': sum(len(task.asked) for task in tasks)}

  def exam(self, learn: Callable[[Task, int], Learnt], seed: int
           ) -> dict[str, Any]:
    """What is answered of every task after it has been learnt, JSON types.

    Args:
      learn: (task, number) -> a fresh copy that has learnt it.
      seed: of the tasks and of the augmentations that vote.

    Returns:
      right and alone, an answer for each asked grid; task, the number of the
      task of each; names of the tasks; readable; tokens, read for a task.
    """
    tasks = self.tasks('exam', self.config.tasks, seed)
    tokens, found = [], []
    for number, task in enumerate(tasks):
      learnt = learn(task, number)
      tokens.append(learnt.tokens)
      found.append(self.answers(learnt.model, task, seed))
    return {
        'right': [right for answers in found for right in answers.voted],
        'alone': [right for answers in found for right in answers.alone],
        'task': [number for number, answers in enumerate(found)
                 for _ in answers.voted],
        'names': [task.name for task in tasks],
        'readable': float(np.mean([a.readable for a in found])),
        'tokens': float(np.mean(tokens))}

  def _greedy(self, model: Model, prompts: Sequence[Sequence[int]]
              ) -> list[str]:
    """The likeliest replies."""
    c, longest = self.config, max(map(len, prompts))
    if longest > c.prompt_tokens or (
        longest + c.reply_tokens > model.config.max_context):
      raise UserError(
          f'a task takes up to {longest} tokens: more than prompt_tokens='
          f'{c.prompt_tokens}, or with reply_tokens={c.reply_tokens} more than '
          f"the model's context of {model.config.max_context}. Raise "
          'bed.prompt_tokens, or show fewer or smaller grids.')
    return greedy_texts(model, prompts, c.reply_tokens, c.batch_rows,
                        multiple=c.prompt_tokens)
