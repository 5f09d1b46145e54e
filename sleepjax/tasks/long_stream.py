"""A life that reads a stream and is asked, by how far back a fact was told.

The stream is `sleepjax.data.world_beds.stream`: windows of what is long known,
with few new facts. After every window the model is asked, in the wording of
exams and with an empty context, the facts that were told so many windows
before, and at the end all of them. The rivals read nothing into their weights:
they have the last window in view, as many of the last as fit into the context,
or the one that BM25 finds for the question.
"""

import dataclasses
import functools
import itertools
import re
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from sleepjax.data import world, world_beds
from sleepjax.data.documents import Question
from sleepjax.errors import UserError, check_least
from sleepjax.evals import answers
from sleepjax.evals import questions as questions_lib
from sleepjax.evals.retrieval import Retriever
from sleepjax.memory import continuum
from sleepjax.memory.continuum import ContinuumConfig
from sleepjax.memory.material import Asking
from sleepjax.memory.questions import StreamPrompts
from sleepjax.model import Model
from sleepjax.models.transformer import Segment
from sleepjax.sampling import context
from sleepjax.tasks.world import known_questions

RIVALS = 'nothing', 'window', 'truncated', 'bm25'
FAR = 4  # Windows: what is told before them is far back.
_ANSWER_TOKENS = 4
_ROWS = 16
_QUESTION_TOKENS = 32  # Of the longest question and its answer, and more.


@dataclasses.dataclass(frozen=True)
class StreamConfig:
  """What is read, and when what was told is asked.

  windows, window, facts, alike: as of `world_beds.stream`.
  distances: in windows, at which every fact is asked; 1 is after its own.
  """

  windows: int = 128
  window: int = 128
  facts: int = 8
  alike: int = 2
  distances: tuple[int, ...] = (1, 2, 4, 8, 16, 32, 64)

  def __post_init__(self):
    check_least(self, windows=1, window=1, facts=1, alike=1)
    if not self.distances or min(self.distances) < 1:
      raise ValueError(
          f'distances={self.distances} must be positive, at least one.')


class Asked(NamedTuple):
  """A fact that was asked for.

  fact: its number in the stream.
  windows, tokens: read since it began to be told.
  end: whether this was after the whole stream.
  right: of its questions.
  """

  fact: int
  windows: int
  tokens: int
  end: bool
  right: tuple[bool, ...]


def exam(fact: world.Fact) -> list[Question]:
  """What is asked of a fact: directly and in other words, as exams do."""
  return [question for form in ('direct', 'paraphrase')
          for question in world.questions([fact], form)]


class Reader:
  """Reads the stream of a seed and asks for its facts."""

  def __init__(self, model: Model, config: StreamConfig, seed: int):
    """Says which stream.

    Args:
      model: before the stream, canonical.
      config: of the stream.
      seed: of its facts.
    """
    self.model, self.config = model, config
    self.stream = world_beds.stream(
        seed, config.windows, config.window, config.facts, config.alike)
    self.chat = StreamPrompts(model.tokenizer)
    self.windows = [np.asarray(self.chat.document(text), np.int32)
                    for text in self.stream.windows]
    if any(len(ids) != config.window for ids in self.windows):
      raise UserError(f'{model.name or "the model"} has other tokens than the '
                      "words of the tiny world: use 'tiny-world' or a model "
                      'that experiments.pretrain has made.')

  @property
  def in_view(self) -> int:
    """How many windows fit into the model's context with a question."""
    room = self.model.config.max_context - _QUESTION_TOKENS
    return max(room // self.config.window, 1)

  def due(self, number: int) -> list[int]:
    """Numbers of the facts that are asked after window `number`."""
    end = number + 1 == len(self.windows)
    return [i for i, told in enumerate(self.stream.told)
            if told.window <= number and (
                end or number + 1 - told.window in self.config.distances)]

  def named(self, prompts: Iterable[Sequence[int]]) -> list[int]:
    """Numbers of the facts whose person some prompts name."""
    words = {word for prompt in prompts for word in re.findall(
        r'\w+', self.model.tokenizer.decode(prompt))}
    return [i for i, told in enumerate(self.stream.told)
            if told.fact.person in words]

  def ask(self, model: Model, number: int,
          view: Callable[[Question], Segment] | None = None) -> list[Asked]:
    """Asks what is due after a window; `view` gives a question its text."""
    due, read = self.due(number), (number + 1) * self.config.window
    every = [exam(self.stream.told[i].fact) for i in due]
    asked = sum(every, [])
    if view is None:
      right = iter(answered(model, asked))
    else:
      right = iter([answered(model, [q], (view(q),))[0] for q in asked])
    end = number + 1 == len(self.windows)
    return [Asked(i, number + 1 - self.stream.told[i].window,
                  read - self.stream.told[i].token, end,
                  tuple(next(right) for _ in questions))
            for i, questions in zip(due, every, strict=True)]

  def rival(self, kind: str) -> dict[str, Any]:
    """The row of one of `RIVALS`, which only has texts in view."""
    model, asked = self.model.ready, []

    @functools.lru_cache(1)
    def read(first, end):
      return context.read_prefix(model.config, model.params, np.concatenate(
          self.windows[first:end]).tolist())

    for number in range(len(self.windows)):
      if not self.due(number):
        continue
      last = self.in_view if kind == 'truncated' else 1
      index = Retriever(self.stream.windows[:number + 1]) if (
          kind == 'bm25') else None

      def view(question, end=number + 1, last=last, index=index):
        if index is None:
          return read(max(end - last, 0), end)
        best, = index.best(question.question)
        return read(best, best + 1)

      asked += self.ask(model, number, None if kind == 'nothing' else view)
    return row_of(asked, [], [known(model)] * 2)

  def live(self, settings: ContinuumConfig, asking: Callable[[Model], Asking],
           key, newborn: Callable[[Model], Model] = lambda model: model,
           heard: Callable[[int, dict], None] = lambda number, metrics: None
           ) -> dict[str, Any]:
    """The row of a model whose levels read the stream.

    Args:
      settings: of its levels.
      asking: how its levels are asked before they forget.
      key: typed PRNG key.
      newborn: the model with its new levels -> the same with other weights.
      heard: gets the number of every window and the metrics of reading it.
    """
    level_key, ask_key, read_key = jax.random.split(key, 3)
    grown = newborn(self.model.with_params(*continuum.add_levels(
        self.model.config, jax.tree.map(jnp.asarray, self.model.params),
        settings, level_key)))
    how = asking(grown) if settings.sleep else None
    state = continuum.init_state(grown.config, grown.params, settings)
    now = lambda: grown.with_params(grown.config, state.params)
    asked, handed, before = [], [], known(grown)
    for number, window in enumerate(self.windows):
      metrics, earlier = [], len(state.earlier())
      state = continuum.read(grown.config, settings, state, window, read_key,
                             metrics.append, how)
      prompts = iter(state.earlier()[earlier:])
      handed += [{**h, 'window': number, 'facts': self.named(
          itertools.islice(prompts, h['asked']))}
                 for h in metrics[0]['hand_overs']]
      heard(number, metrics[0])
      if self.due(number):
        asked += self.ask(now(), number)
    return row_of(asked, handed, [before, known(now())])


def answered(model: Model, asked: Sequence[Question],
             segments: tuple[Segment, ...] = ()) -> list[bool]:
  """Which questions get exactly their answer, after what is in view."""
  chat = StreamPrompts(model.tokenizer)
  texts = questions_lib.greedy_texts(
      model, [chat.closed_book(q.question) for q in asked], _ANSWER_TOKENS,
      _ROWS, segments)
  return [answers.exact_match(text, q.answer) == 1
          for text, q in zip(texts, asked, strict=True)]


def known(model: Model) -> float:
  """Accuracy on long-known facts."""
  return float(np.mean(answered(model, known_questions())))


def row_of(asked: Sequence[Asked], handed: Sequence[dict],
           known_accuracy: Sequence[float]) -> dict[str, Any]:
  """What is kept of a life.

  Args:
    asked: in order.
    handed: hand-overs, as `continuum.read` reports them.
    known_accuracy: before and after.

  Returns:
    at_N: answers N windows after a fact, those at the end left out; far: those
      at the end to facts told more than `FAR` windows before; hand_overs: those
      that handed something over, levels as numbers, with the `facts` that their
      prompts named; closed: of them the median share of D.
  """
  by_distance: dict[int, list[bool]] = {}
  for a in asked:
    if not a.end:
      by_distance.setdefault(a.windows, []).extend(a.right)
  told = [hand_over_of(h) for h in handed
          if h['divergence_before'] is not None]
  closed = [1 - h['divergence_after'] / h['divergence_before'] for h in told
            if h['divergence_before']]
  return {
      'asked': [a._asdict() for a in asked],
      **{f'at_{n}': by_distance[n] for n in sorted(by_distance)},
      'far': [right for a in asked if a.end and a.windows > FAR
              for right in a.right],
      'far_tokens': [a.tokens for a in asked if a.end and a.windows > FAR],
      'hand_overs': told, 'nothing_to_hand_over': len(handed) - len(told),
      'undone': sum(h['rolled_back'] for h in told),
      'closed': float(np.median(closed)) if closed else None,
      'known_before': known_accuracy[0], 'known_after': known_accuracy[1]}


def hand_over_of(hand_over: dict[str, Any]) -> dict[str, Any]:
  """A hand-over whose sender and receiver are memory levels, 0 the context."""
  number = lambda name: int(name.split()[1]) + 1 if ' ' in name else 0
  return {**hand_over, 'sender': number(hand_over['sender']),
          'receiver': number(hand_over['receiver'])}
