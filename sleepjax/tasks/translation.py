"""Languages that are learnt one after another, and translated from.

A book about a language is in view, with pairs of a day; the model sleeps on
them, for some days, then comes the next language. After every night it is
asked, closed book, to translate other sentences of all languages, and scored
by chrF. All arms that learn have the same pairs, and the same stored ones of
earlier nights. An arm of `UNTAUGHT` changes no weight.
"""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from sleepjax.data import ciphers
from sleepjax.data.ciphers import Course, Pair
from sleepjax.data.documents import Document
from sleepjax.errors import UserError, check_least
from sleepjax.evals.chrf import corpus_chrf
from sleepjax.evals.questions import greedy_texts
from sleepjax.growth import slots
from sleepjax.growth.adapters import check_growth
from sleepjax.lifecycle.config import SleepConfig
from sleepjax.lifecycle.cycle import SleepReport
from sleepjax.lifecycle.written import Day, Words
from sleepjax.model import Model
from sleepjax.models.transformer import Segment
from sleepjax.runs.task import Progress
from sleepjax.sampling import context
from sleepjax.tasks import pairs
from sleepjax.tasks.pairs import InView, Told
from sleepjax.training.observer import Observer

UNTAUGHT = 'in_context', 'base'
_REHEARSAL_SEED = 1_000_000  # Of languages that are in nobody's exam.


@dataclasses.dataclass(frozen=True)
class TranslationConfig:
  """Which languages come, and how they are asked.

  languages, days, pairs: languages, days of each, pairs of each day.
  stored: pairs of a day that later nights may have.
  exam: pairs that are asked of each language.
  rehearsed, rehearsed_pairs: other languages, and pairs of each, with whose
    books in view every night rehearses to translate.
  reply_tokens: of the longest translation.
  batch_rows: sentences translated at once.
  least_gap: chrF with the book in view less that without, below which a bed has
    no room.
  """

  languages: int = 2
  days: int = 2
  pairs: int = 24
  stored: int = 8
  exam: int = 40
  rehearsed: int = 4
  rehearsed_pairs: int = 4
  reply_tokens: int = 8
  batch_rows: int = 40
  least_gap: float = 20.0

  def __post_init__(self):
    check_least(self, languages=1, days=1, pairs=1, stored=0, exam=1,
                rehearsed=0, rehearsed_pairs=1, reply_tokens=1, batch_rows=1)


class Score(NamedTuple):
  """chrF of some translations, and which of them are right to the letter."""

  chrf: float
  right: list[bool]


@dataclasses.dataclass(frozen=True)
class Bed:
  """Languages, and how their sentences are asked.

  courses: in the order in which they are learnt.
  config: of the exam.
  prompt: the user's message, with {question} for a sentence.
  elsewhere: a score of what else the model can do, of a model in compute
    layout.
  others: number of a night -> what it rehearses with a book in view.
  """

  courses: Sequence[Course]
  config: TranslationConfig
  prompt: str
  elsewhere: Callable[[Model], float]
  others: Callable[[int], Sequence[InView]] = lambda night: ()

  def told(self, some: Sequence[Pair]) -> list[Told]:
    """Pairs as messages and replies."""
    return [Told(self.prompt.format(question=pair.said), pair.meaning)
            for pair in some]

  def read(self, model: Model, number: int) -> Segment:
    """The book of a language in view."""
    return context.read_document(model.config, model.params, model.chat,
                                 self.courses[number].book)

  def score(self, model: Model, asked: Sequence[Pair],
            segment: Segment | None = None) -> Score:
    """How well a model translates.

    Args:
      model: in compute layout.
      asked: what.
      segment: a book in view; None asks closed book.
    """
    chat, c = model.chat, self.config
    encode = chat.closed_book if segment is None else chat.after_document
    texts = greedy_texts(
        model, [encode(row.message) for row in self.told(asked)],
        c.reply_tokens, c.batch_rows, () if segment is None else (segment,))
    meant = [pair.meaning for pair in asked]
    return Score(corpus_chrf(texts, meant),
                 [text == gold for text, gold in zip(texts, meant)])

  def ask(self, model: Model, view: Callable[[int], Segment | None] = (
      lambda number: None)) -> list[Score]:
    """Of each language, how well its exam is translated.

    Args:
      model: in compute layout.
      view: number of a language -> the book in view when it is asked.
    """
    return [self.score(model, course.exam, view(number))
            for number, course in enumerate(self.courses)]

  def gap(self, model: Model) -> dict[str, Any]:
    """chrF without and with the own book in view, a mean over languages.

    Returns:
      closed_book, in_view; right_in_view, the share of translations that are
      right to the letter; by_language, both for each; enough, whether they are
      as far apart as `least_gap`; sentences, how many were asked.
    """
    closed = self.ask(model)
    seen = self.ask(model, lambda number: self.read(model, number))
    mean = lambda scores: float(np.mean([score.chrf for score in scores]))
    return {
        'closed_book': mean(closed), 'in_view': mean(seen),
        'right_in_view': float(np.mean([score.right for score in seen])),
        'by_language': [[one.chrf, other.chrf]
                        for one, other in zip(closed, seen)],
        'enough': mean(seen) - mean(closed) >= self.config.least_gap,
        'sentences': sum(len(course.exam) for course in self.courses)}

  def untaught(self, arm: str, model: Model) -> dict[str, Any]:
    """The row of an arm that changes no weight.

    Args:
      arm: 'in_context', which has one book in view, in the end that of the last
        language; or 'base', which has none.
      model: in compute layout.
    """
    days, last = self.config.days, len(self.courses) - 1
    if arm == 'base':
      scores = self.ask(model)
      single, matrix = scores, [scores] * (last + 1) * days
    else:
      books = [self.read(model, number) for number in range(last + 1)]
      single = self.ask(model, books.__getitem__)
      matrix = [scores for book in books for scores in [self.ask(
          model, lambda number, book=book: book)] * days]
    known = self.elsewhere(model)
    return {**row_of(matrix, [score.chrf for score in single], [known, known]),
            'tokens_a_question': 0 if arm == 'base' else self.book_tokens(
                model)}

  def book_tokens(self, model: Model) -> float:
    """Tokens of a book in view, a mean over languages."""
    return float(np.mean([len(model.chat.document(course.book))
                          for course in self.courses]))


def bed_of(config: TranslationConfig, seed: int, prompt: str) -> Bed:
  """Cipher languages of a seed; `elsewhere` is chrF of the long-known one.

  Args:
    config: of its languages.
    seed: of all that is drawn.
    prompt: how sentences are put.

  Raises:
    UserError: there are not so many words or sentences.
  """
  c = config
  courses = ciphers.courses(seed, c.languages, c.days, c.pairs, c.exam)
  rng = np.random.default_rng((seed, 13))
  known = ciphers.pairs_of(ciphers.known(), ciphers.sentences(rng)[:c.exam])

  def others(night):
    count = c.languages * c.days
    drawn = [ciphers.drawn((_REHEARSAL_SEED + seed * count + night, i), 1)[0]
             for i in range(c.rehearsed)]
    said = np.random.default_rng((seed, 14, night))
    return [InView(spoken.book(), bed.told(ciphers.pairs_of(
        spoken, ciphers.sentences(said)[:c.rehearsed_pairs])))
            for spoken in drawn]

  bed = Bed(courses, c, prompt,
            lambda model: bed.score(model, known).chrf, others)
  return bed


class TranslationTask:
  """The nights of an arm; see `sleepjax.runs.task.Task`.

  Its progress has `matrix`, [nights][languages] of scores; `elsewhere`, before
  and after every night; `teacher`, chrF with a night's book in view, before it;
  and `hand_overs`.
  """

  retains_base = True  # Its reading is rehearsed, not that of a tired self.

  def __init__(self, model: Model, settings: SleepConfig, bed: Bed,
               learnt: Sequence[int]):
    """Checks that everything fits.

    Args:
      model: for its tokens.
      settings: of the arm's nights.
      bed: what is told and asked.
      learnt: numbers of the languages that are learnt, in their order.

    Raises:
      UserError: a book with a sentence and its translation does not fit.
    """
    self.settings, self.bed, self.learnt = settings, bed, tuple(learnt)
    self.nights = len(self.learnt) * bed.config.days
    self._chat = chat = model.chat
    for number, course in enumerate(bed.courses):
      every = bed.told([*course.exam, *sum(course.days, ())])
      room = len(chat.document(course.book))
      most = bed.config.reply_tokens + max(
          len(chat.after_document(row.message)) for row in every)
      if room + most > model.config.max_context:
        raise UserError(
            f'the book of language {number} takes {room} tokens, and a '
            f'sentence with its translation up to {most}: more than the '
            f'context of {model.config.max_context}.')
      longest = 1 + max(
          len(chat.tokenizer.encode(row.reply)) for row in every)
      for name, limit in (
          ('bed.reply_tokens', bed.config.reply_tokens),
          ('sleep.dreams.completion_tokens',
           settings.dreams.completion_tokens)):
        if longest > limit:
          raise UserError(
              f'{name}={limit}: language {number} has a translation of '
              f'{longest} tokens with its end. Raise it.')

  def identity(self) -> dict[str, Any]:
    return {'learnt': list(self.learnt)}

  def prepare(self, model: Model) -> Model:
    s = self.settings
    # As many as a life of all languages needs: all lives share programs.
    nights = len(self.bed.courses) * self.bed.config.days
    config, params = slots.allocate_pool(
        model.config, model.params, s.adapter.slots_in(
            nights, model.config.num_slots), s.slot_rank)
    check_growth(s.adapter, config, params)
    return model.with_params(config, params)

  def with_room(self, model: Model, night: int) -> Model:
    return model  # It has all of its pool from the beginning.

  def before(self, model: Model, ready: Model, observer: Observer) -> Progress:
    return {'matrix': [], 'elsewhere': [self.bed.elsewhere(ready)],
            'teacher': [self._teacher(ready, 0)], 'hand_overs': []}

  def day(self, night: int, progress: Progress) -> Day:
    number, _ = self._place(night)
    return Day(Document(f'language {number}', self.bed.courses[number].book),
               words=self.words(night))

  def words(self, night: int) -> Words:
    """The rows of a night, see `pairs.words_of`."""
    bed, (number, day) = self.bed, self._place(night)
    earlier = [bed.courses[language].days[at][:bed.config.stored]
               for language, at in map(self._place, range(night))]
    return pairs.words_of(
        f'language {number}, day {day}', self._chat, self.settings,
        bed.told(bed.courses[number].days[day]),
        bed.told(sum(earlier, ())), bed.others(night))

  def morning(self, night: int, model: Model, ready: Model,
              report: SleepReport, progress: Progress, observer: Observer
              ) -> float:
    with observer.phase('ask in the morning', total=1) as phase:
      scores = self.bed.ask(ready)
      progress['matrix'].append([list(score) for score in scores])
      progress['elsewhere'].append(self.bed.elsewhere(ready))
      progress['hand_overs'].append(dataclasses.asdict(report.hand_over))
      if night + 1 < self.nights:
        progress['teacher'].append(self._teacher(ready, night + 1))
      so_far = {self._place(n)[0] for n in range(night + 1)}
      found = float(np.mean([scores[number].chrf for number in so_far]))
      phase.advance(night=night, chrf=found)
    return found

  def summary(self, progress: Progress, ready: Model, observer: Observer
              ) -> dict[str, Any]:
    moved = progress['hand_overs']
    return {**{name: progress[name] for name in (
        'matrix', 'elsewhere', 'teacher', 'hand_overs')},
            'undone': sum(h['rolled_back'] for h in moved)}

  def files(self, progress: Progress) -> dict[str, Any]:
    return {}

  def _place(self, night: int) -> tuple[int, int]:
    """(number of the language, day of it) of a night."""
    at, day = divmod(night, self.bed.config.days)
    return self.learnt[at], day

  def _teacher(self, ready: Model, night: int) -> float:
    number, _ = self._place(night)
    return self.bed.score(ready, self.bed.courses[number].exam,
                          self.bed.read(ready, number)).chrf


def row_of(matrix: Sequence[Sequence[Sequence]], single: Sequence[float],
           elsewhere: Sequence[float]) -> dict[str, Any]:
  """What is kept of learning all languages one after another.

  Args:
    matrix: [nights][languages] of `Score`.
    single: chrF of each language where it is the only one.
    elsewhere: a score of other abilities, before and after.

  Returns:
    matrix and single, chrF; sequential, that of each language in the end;
    single_mean, sequential_mean; kept, the second less the first; first_kept,
    the same of the first language; right, which translations are right in the
    end.
  """
  found = [[score[0] for score in night] for night in matrix]
  lost = np.subtract(found[-1], single)
  return {
      'matrix': found, 'single': list(single), 'sequential': found[-1],
      'single_mean': float(np.mean(single)),
      'sequential_mean': float(np.mean(found[-1])),
      'kept': float(lost.mean()), 'first_kept': float(lost[0]),
      'right': [answer for score in matrix[-1] for answer in score[1]],
      'elsewhere_before': elsewhere[0], 'elsewhere': elsewhere[-1]}
