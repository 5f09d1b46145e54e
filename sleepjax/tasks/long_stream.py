"""A life that reads a stream and is asked, by how far back it was told.

What is read is a `Bed`: windows of text in which few things are new. After
every window the model is asked, with an empty context, what was told so many
windows before, and at the end all of it. The rivals read nothing into their
weights: they have the last window in view, as many of the last as fit into the
context, or those that BM25 finds for the question.
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

from sleepjax.data.documents import Question
from sleepjax.data.prompts import ChatPrompts
from sleepjax.evals import answers
from sleepjax.evals import questions as questions_lib
from sleepjax.evals.retrieval import Retriever
from sleepjax.memory import continuum
from sleepjax.memory.continuum import ContinuumConfig
from sleepjax.memory.material import Asking
from sleepjax.model import Model
from sleepjax.models.transformer import Segment
from sleepjax.sampling import context

RIVALS = 'nothing', 'window', 'truncated', 'bm25'
FAR = 4  # Windows: what is told before them is far back.
_ROWS = 16
_QUESTION_TOKENS = 96  # Of a question, its answer, and a chat template.


class Told(NamedTuple):
  """Something that a stream tells, and what is asked of it.

  questions: each of one answer.
  words: that a prompt about it has.
  window: number of the window, from 0, in which it begins to be told.
  token: number of its first token in the stream.
  """

  questions: tuple[Question, ...]
  words: tuple[str, ...]
  window: int
  token: int


@dataclasses.dataclass(frozen=True)
class Bed:
  """A stream, what is asked of it, and how answers are taken.

  windows: token ids of each, all of one length.
  told: what is asked.
  chat: puts questions, alone and behind a text in view.
  distances: in windows, at which everything is asked; 1 is after its own. What
    was told is asked at the end besides.
  found: windows that BM25 puts in view.
  answer_tokens: of the longest answer.
  candidates: answers that a reply may name, of which the right one alone
    counts; () asks for a reply that is the answer and nothing else.
  known: questions of what is long known, asked before and after; () for none.
  """

  windows: tuple[np.ndarray, ...]
  told: tuple[Told, ...]
  chat: ChatPrompts
  distances: tuple[int, ...] = ()
  found: int = 1
  answer_tokens: int = 4
  candidates: tuple[str, ...] = ()
  known: tuple[Question, ...] = ()

  def is_right(self, reply: str, question: Question) -> bool:
    """Whether a reply is the answer to a question."""
    if not self.candidates:
      return answers.exact_match(reply, question.answer) == 1
    return [name for name in self.candidates
            if answers.contains(reply, name)] == [question.answer]


class Asked(NamedTuple):
  """What was asked of a stream.

  fact: number of what was told.
  windows, tokens: read since it began to be told.
  end: whether this was after the whole stream.
  right: of its questions.
  """

  fact: int
  windows: int
  tokens: int
  end: bool
  right: tuple[bool, ...]


class Life(NamedTuple):
  """What came of reading a stream.

  asked: in order.
  handed: hand-overs, as `continuum.read` reports them, with their `window` and
    the `facts` that their prompts name.
  known: accuracy on what is long known, before and after; None if nothing is.
  """

  asked: list[Asked]
  handed: list[dict[str, Any]]
  known: tuple[float | None, float | None]


class Reader:
  """Reads a stream and asks for what it tells."""

  def __init__(self, model: Model, bed: Bed):
    """Says who reads what.

    Args:
      model: before the stream, canonical.
      bed: the stream.
    """
    self.model, self.bed = model, bed

  @property
  def in_view(self) -> int:
    """How many windows fit into the model's context with a question."""
    room = self.model.config.max_context - _QUESTION_TOKENS
    return max(room // len(self.bed.windows[0]), 1)

  def due(self, number: int) -> list[int]:
    """Numbers of what is asked after window `number`."""
    end = number + 1 == len(self.bed.windows)
    return [i for i, told in enumerate(self.bed.told)
            if told.window <= number and (
                end or number + 1 - told.window in self.bed.distances)]

  def named(self, prompts: Iterable[Sequence[int]]) -> list[int]:
    """Numbers of what some prompts are about, by the words of one."""
    words = [{*re.findall(r'\w+', self.model.tokenizer.decode(prompt))}
             for prompt in prompts]
    return [i for i, told in enumerate(self.bed.told)
            if any({*told.words} <= named for named in words)]

  def ask(self, model: Model, number: int,
          view: Callable[[Question], Segment] | None = None) -> list[Asked]:
    """Asks what is due after a window; `view` gives a question its text."""
    due, bed = self.due(number), self.bed
    read, end = (number + 1) * len(bed.windows[0]), (
        number + 1 == len(bed.windows))
    asked = [question for i in due for question in bed.told[i].questions]
    if view is None:
      right = iter(answered(model, bed, asked))
    else:
      right = iter([
          answered(model, bed, [q], (view(q),))[0] for q in asked])
    return [Asked(i, number + 1 - bed.told[i].window, read - bed.told[i].token,
                  end, tuple(next(right) for _ in bed.told[i].questions))
            for i in due]

  def rival(self, kind: str) -> Life:
    """One of `RIVALS`, which only has texts in view."""
    model, bed, asked = self.model.ready, self.bed, []
    decode = model.tokenizer.decode
    texts = [decode(window) for window in bed.windows]

    @functools.lru_cache(1)
    def read(numbers):
      ids = np.concatenate([bed.windows[number] for number in numbers])
      return context.read_prefix(
          model.config, model.params, bed.chat.document(decode(ids)))

    for number in range(len(bed.windows)):
      if not self.due(number):
        continue
      last = self.in_view if kind == 'truncated' else 1
      index = Retriever(texts[:number + 1]) if kind == 'bm25' else None

      def view(question, end=number + 1, last=last, index=index):
        if index is None:
          return read(tuple(range(max(end - last, 0), end)))
        return read(tuple(sorted(index.best(question.question, bed.found))))

      asked += self.ask(model, number, None if kind == 'nothing' else view)
    before = known(model, bed)
    return Life(asked, [], (before, before))

  def live(self, settings: ContinuumConfig, asking: Callable[[Model], Asking],
           key, newborn: Callable[[Model], Model] = lambda model: model,
           heard: Callable[[int, dict], None] = lambda number, metrics: None
           ) -> Life:
    """A model whose levels read the stream.

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
    asked, handed, before = [], [], known(grown, self.bed)
    for number, window in enumerate(self.bed.windows):
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
    return Life(asked, handed, (before, known(now(), self.bed)))


def answered(model: Model, bed: Bed, asked: Sequence[Question],
             segments: tuple[Segment, ...] = ()) -> list[bool]:
  """Which questions are answered right, after what is in view."""
  put = bed.chat.after_document if segments else bed.chat.closed_book
  texts = questions_lib.greedy_texts(
      model, [put(q.question) for q in asked], bed.answer_tokens, _ROWS,
      segments)
  return [bed.is_right(text, q) for text, q in zip(texts, asked, strict=True)]


def known(model: Model, bed: Bed) -> float | None:
  """Accuracy on what is long known."""
  if not bed.known:
    return None
  return float(np.mean(answered(model, bed, bed.known)))


def row_of(lives: Sequence[Life]) -> dict[str, Any]:
  """What is kept of a life, or of several that read a stream each.

  Returns:
    at_N: answers N windows after something was told, those at the end left out;
      at_end: all at the end, and far: those of them to what was told more than
      `FAR` windows before; hand_overs: those that handed something over, levels
      as numbers; closed: of them the median share of D.
  """
  asked = [(n, a) for n, life in enumerate(lives) for a in life.asked]
  ends = [a for _, a in asked if a.end]
  by_distance: dict[int, list[bool]] = {}
  for _, a in asked:
    if not a.end:
      by_distance.setdefault(a.windows, []).extend(a.right)
  handed = [{**h, 'text': n} for n, life in enumerate(lives)
            for h in life.handed]
  told = [hand_over_of(h) for h in handed
          if h['divergence_before'] is not None]
  closed = [1 - h['divergence_after'] / h['divergence_before'] for h in told
            if h['divergence_before']]
  return {
      'asked': [{**a._asdict(), 'text': n} for n, a in asked],
      **{f'at_{n}': by_distance[n] for n in sorted(by_distance)},
      'at_end': [right for a in ends for right in a.right],
      'far': [right for a in ends if a.windows > FAR for right in a.right],
      'far_tokens': [a.tokens for a in ends if a.windows > FAR],
      'hand_overs': told, 'nothing_to_hand_over': len(handed) - len(told),
      'undone': sum(h['rolled_back'] for h in told),
      'closed': float(np.median(closed)) if closed else None,
      **{f'known_{when}': _mean(life.known[i] for life in lives)
         for i, when in enumerate(('before', 'after'))}}


def _mean(values: Iterable[float | None]) -> float | None:
  real = [value for value in values if value is not None]
  return float(np.mean(real)) if real else None


def hand_over_of(hand_over: dict[str, Any]) -> dict[str, Any]:
  """A hand-over whose sender and receiver are memory levels, 0 the context."""
  number = lambda name: int(name.split()[1]) + 1 if ' ' in name else 0
  return {**hand_over, 'sender': number(hand_over['sender']),
          'receiver': number(hand_over['receiver'])}
