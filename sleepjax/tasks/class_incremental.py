"""Class-incremental classification: increments of classes, a night after each.

Labelled examples of an increment's classes are in view; the model sleeps on
them and is then asked, closed book, for the class of other utterances of all
classes so far, by constrained decoding over the labels known so far. All arms
that learn have the same rows, and the same stored ones of earlier nights. An
arm of `UNTAUGHT` changes no weight.
"""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from sleepjax.data import documents, intents
from sleepjax.data.documents import Document
from sleepjax.data.intents import Increment, Labelled
from sleepjax.errors import UserError, check_least
from sleepjax.evals import forgetting, label_choice, questions
from sleepjax.evals.gaussian_classes import Gaussians
from sleepjax.evals.label_choice import LabelChoice
from sleepjax.evals.questions import AnswerConfig
from sleepjax.growth import slots
from sleepjax.growth.adapters import check_growth
from sleepjax.lifecycle.config import SleepConfig
from sleepjax.lifecycle.cycle import SleepReport
from sleepjax.lifecycle.written import Day, Words
from sleepjax.model import Model
from sleepjax.models.transformer import Segment
from sleepjax.runs.task import Progress
from sleepjax.sampling import context
from sleepjax.tasks.world import known_questions
from sleepjax.training.observer import Observer
from sleepjax.writing.dreamer import Dream

INVENTED = 'invented'
_REHEARSAL_SEED = 1_000_000  # Of intents that are nobody's exam.
UNTAUGHT = 'in_context', 'in_view', 'gaussian'


@dataclasses.dataclass(frozen=True)
class ClassConfig:
  """Which classes come, and how they are asked.

  increments, classes: increments, and classes of each.
  values: of an invented class, see `intents.invented`.
  learnt, shown, stored, exam: utterances of a class that are learnt from, in
    view, kept for later nights, and asked. Of invented ones only `stored`
    counts: they have 2 · `values` to learn, `values` in view and 2 · `values`
    in the exam.
  rehearsed: other texts of the tiny world, as long as an increment and with
    other intents, with which every night rehearses to read labels off examples
    in view. Of a data set, these are the stored utterances of each earlier
    increment.
  batch_rows: utterances, or labels, read at once.
  shrinkage: of the covariance of `gaussian`.
  least_gap: right answers with the increment in view less those without, below
    which a bed has no room.
  """

  increments: int = 10
  classes: int = 5
  values: int = 3
  learnt: int = 20
  shown: int = 4
  stored: int = 2
  exam: int = 10
  rehearsed: int = 3
  batch_rows: int = 64
  shrinkage: float = 0.1
  least_gap: float = 0.2

  def __post_init__(self):
    check_least(self, increments=1, classes=1, values=1, learnt=1, shown=1,
                stored=0, exam=1, rehearsed=0, batch_rows=1, shrinkage=0)


@dataclasses.dataclass(frozen=True)
class Bed:
  """Increments, and how their utterances are asked.

  increments: in their order.
  choice: how labels are compared.
  elsewhere: a score of what else the model can do, of a model in compute
    layout.
  others: number of a night -> increments of which it rehearses to read labels
    off their text in view, for their stored utterances.
  """

  increments: Sequence[Increment]
  choice: LabelChoice
  elsewhere: Callable[[Model], float]
  others: Callable[[int], Sequence[Increment]] = lambda night: ()

  def message(self, utterance: str) -> str:
    """What the user says."""
    return self.choice.prompt.format(question=utterance)

  def known(self, night: int) -> list[str]:
    """The labels after a night."""
    return [label for increment in self.increments[:night + 1]
            for label in increment.labels]

  def ask(self, model: Model, night: int,
          view: Callable[[int], Segment | None] = lambda number: None
          ) -> list[list[bool]]:
    """Of each increment so far, which utterances get their class.

    Args:
      model: in compute layout.
      night: how many nights have passed, less one.
      view: number of an increment -> what is in view when it is asked.
    """
    labels, found = self.known(night), []
    for number, increment in enumerate(self.increments[:night + 1]):
      utterances, gold = zip(*increment.exam, strict=True)
      scores = self.choice.scores(model, utterances, labels, view(number))
      found.append(label_choice.right(scores, labels, gold))
    return found

  def read(self, model: Model, number: int) -> Segment:
    """An increment's labelled examples in view."""
    return context.read_document(model.config, model.params, model.chat,
                                 self.increments[number].text)

  def teacher(self, model: Model, number: int) -> float:
    """Right answers about an increment with it in view, as a night's teacher
    has it, among the labels known then."""
    utterances, gold = zip(*self.increments[number].exam, strict=True)
    labels = self.known(number)
    return float(np.mean(label_choice.right(self.choice.scores(
        model, utterances, labels, self.read(model, number)), labels, gold)))

  def gap(self, model: Model, least: float) -> dict[str, Any]:
    """Right answers without and with the own increment in view, among all
    labels, calibrated and not.

    Returns:
      closed_book, in_view, of the kind that is better in view; calibrated,
      whether that is the one; otherwise, the same of the other; enough, whether
      they are as far apart as `least`; utterances, how many were asked.
    """
    last, found = len(self.increments) - 1, {}
    segments = [self.read(model, i) for i in range(last + 1)]
    share = lambda right: float(np.mean(sum(right, [])))
    for calibrated in (False, True):
      bed = dataclasses.replace(self, choice=dataclasses.replace(
          self.choice, calibrated=calibrated))
      found[calibrated] = {
          'closed_book': share(bed.ask(model, last)),
          'in_view': share(bed.ask(model, last, segments.__getitem__))}
    better = found[True]['in_view'] > found[False]['in_view']
    best = found[better]
    return {**best, 'calibrated': better, 'otherwise': found[not better],
            'enough': best['in_view'] - best['closed_book'] >= least,
            'utterances': sum(len(i.exam) for i in self.increments)}

  def untaught(self, arm: str, model: Model, shrinkage: float
               ) -> dict[str, Any]:
    """The row of an arm that changes no weight.

    Args:
      arm: 'in_context', which has the last increment in view; 'in_view', the
        own one of every question, a ceiling; 'gaussian'.
      model: in compute layout.
      shrinkage: of 'gaussian'.
    """
    nights, known = range(len(self.increments)), self.elsewhere(model)
    if arm == 'gaussian':
      right = self._gaussian(model, shrinkage)
    else:
      segments = [self.read(model, night) for night in nights]
      right = [self.ask(model, night, segments.__getitem__ if arm == 'in_view'
                        else lambda number, night=night: segments[night])
               for night in nights]
    return row_of(right, [known, known])

  def _gaussian(self, model, shrinkage):
    learner, right, asked = Gaussians(shrinkage), [], []
    for increment in self.increments:
      utterances, labels = zip(*increment.learnt, strict=True)
      learner.learn(self.choice.features(model, utterances), labels)
      utterances, gold = zip(*increment.exam, strict=True)
      asked.append((self.choice.features(model, utterances), gold))
      right.append([label_choice.right(
          learner.scores(features), learner.labels, gold)
                    for features, gold in asked])
    return right


def bed_of(data: str, config: ClassConfig, seed: int, choice: LabelChoice
           ) -> Bed:
  """The bed of a seed.

  Args:
    data: `INVENTED`, or a name in `intents.BENCHMARKS`.
    config: of its classes.
    seed: of all that is drawn.
    choice: how labels are compared.

  Raises:
    UserError: the data have fewer classes, or cannot be read.
  """
  c = config
  if data == INVENTED:
    return Bed(
        intents.invented(seed, c.increments, c.classes, c.values, c.stored),
        choice, long_known, lambda night: c.rehearsed and intents.invented(
            _REHEARSAL_SEED + seed * c.increments + night, c.rehearsed,
            c.classes, c.values, stored=2) or ())
  made = intents.drawn(
      *intents.benchmark(data), seed, (c.increments, c.classes),
      {name: getattr(c, name) for name in (
          'learnt', 'shown', 'stored', 'exam')})
  return Bed(made, choice, drift, lambda night: [
      one._replace(text=intents.as_examples(one.stored))
      for one in made[:night] if one.stored])


def long_known(model: Model) -> float:
  """Share of long-known facts of the tiny world that are known."""
  return float(np.mean(questions.answered_right(
      model, known_questions(), AnswerConfig(max_new_tokens=4,
                                             batch_rows=64))))


def drift(model: Model) -> float:
  """Perplexity of a text about something else."""
  text = documents.bundled_document('drift').text
  return questions.perplexity(
      model.config, model.params, model.tokenizer.encode(text))


class ClassTask:
  """The nights of an arm; see `sleepjax.runs.task.Task`.

  Its progress has `right`, [nights][increments so far] lists of whether an
  utterance got its class; `elsewhere`, before and after every night; `teacher`,
  right answers with a night's increment in view, before it; and `hand_overs`.
  """

  retains_base = True  # Its reading is rehearsed, not that of a tired self.

  def __init__(self, model: Model, settings: SleepConfig, bed: Bed):
    """Checks that everything fits.

    Args:
      model: for its tokens.
      settings: of the arm's nights.
      bed: what is told and asked.

    Raises:
      UserError: an increment with an utterance does not fit into the context.
    """
    self.settings, self.bed = settings, bed
    self.nights = len(bed.increments)
    self._chat = chat = model.chat
    for number, increment in enumerate(bed.increments):
      room = len(chat.document(increment.text))
      most = settings.dreams.completion_tokens + max(
          len(chat.after_document(bed.message(row.utterance)))
          for row in (*increment.learnt, *increment.exam))
      if room + most > model.config.max_context:
        raise UserError(
            f'increment {number} takes {room} tokens in view, and an utterance '
            f'with its label up to {most}: more than the context of '
            f'{model.config.max_context}. Lower bed.shown or bed.classes.')

  def identity(self) -> dict[str, Any]:
    return {}  # All of it stands in the configuration.

  def prepare(self, model: Model) -> Model:
    s = self.settings
    config, params = slots.allocate_pool(
        model.config, model.params, s.adapter.slots_in(
            self.nights, model.config.num_slots), s.slot_rank)
    check_growth(s.adapter, config, params)
    return model.with_params(config, params)

  def with_room(self, model: Model, night: int) -> Model:
    return model  # It has all of its pool from the beginning.

  def before(self, model: Model, ready: Model, observer: Observer) -> Progress:
    return {'right': [], 'elsewhere': [self.bed.elsewhere(ready)],
            'teacher': [self.bed.teacher(ready, 0)], 'hand_overs': []}

  def day(self, night: int, progress: Progress) -> Day:
    return Day(Document(f'increment {night}', self.bed.increments[night].text),
               words=self.words(night))

  def words(self, night: int) -> Words:
    """The rows of a night: its own, and stored ones as the settings use them.

    Stored ones are half of all that is learnt (`replay`), or say which weights
    matter (`seeding.ewc`), or are retained (`seeding.retention`). With
    `seeding.rehearsal` others are rehearsed with their text in view.
    """
    s, rows = self.settings, self._dreams(self.bed.increments[night].learnt)
    stored = self._dreams([row for earlier in self.bed.increments[:night]
                           for row in earlier.stored])
    if s.replay and stored:
      most = max(len(rows), len(stored))
      rows = _up_to(most, rows) + _up_to(most, stored)
    kept = [(row.student_ids(self._chat), list(row.completion))
            for row in stored] if s.seeding.retention else []
    rehearsed = [
        (self._chat.document(other.text) + self._chat.after_document(
            row.prompt), list(row.completion))
        for other in self.bed.others(night)
        for row in self._dreams(other.stored)] if s.seeding.rehearsal else []
    return Words(f'increment {night}', rows, [], [], [],
                 stored if s.seeding.ewc else [], rehearsed, [], kept, {}, {})

  def _dreams(self, rows: Sequence[Labelled]) -> list[Dream]:
    """Utterances with their labels as replies."""
    tokenizer, most = (self._chat.tokenizer,
                       self.settings.dreams.completion_tokens)
    return [Dream('question', self.bed.message(row.utterance), '', tuple(
        [*tokenizer.encode(row.label), *tokenizer.stop_ids[:1]][:most]))
            for row in rows]

  def morning(self, night: int, model: Model, ready: Model,
              report: SleepReport, progress: Progress, observer: Observer
              ) -> float:
    with observer.phase('ask in the morning', total=1) as phase:
      right = self.bed.ask(ready, night)
      progress['right'].append(right)
      progress['elsewhere'].append(self.bed.elsewhere(ready))
      progress['hand_overs'].append(dataclasses.asdict(report.hand_over))
      if night + 1 < self.nights:
        progress['teacher'].append(self.bed.teacher(ready, night + 1))
      share = float(np.mean(sum(right, [])))
      phase.advance(night=night, accuracy=share)
    return share

  def summary(self, progress: Progress, ready: Model, observer: Observer
              ) -> dict[str, Any]:
    moved = progress['hand_overs']
    return {**row_of(progress['right'], progress['elsewhere']),
            'teacher': progress['teacher'], 'hand_overs': moved,
            'taught': float(np.mean(progress['teacher'])),
            'undone': sum(h['rolled_back'] for h in moved)}

  def files(self, progress: Progress) -> dict[str, Any]:
    return {}


def row_of(right: Sequence[Sequence[Sequence[bool]]],
           elsewhere: Sequence[float]) -> dict[str, Any]:
  """What is kept of a life.

  Args:
    right: [nights][increments so far] whether utterances got their class.
    elsewhere: a score of other abilities, before and after every night.

  Returns:
    matrix, an accuracy of each increment after each night, 0 of those to come,
    whose labels are not known; right, of the last night; on_the_way, the mean
    over nights of the share of right answers so far; and the measures of
    `sleepjax.evals.forgetting`: `forgetting` is from the best night on,
    `backward_transfer` from the own one.
  """
  n = len(right)
  matrix = [[float(np.mean(one)) for one in so_far] + [0.0] * (
      n - len(so_far)) for so_far in right]
  return {
      'matrix': matrix, 'right': [answer for one in right[-1]
                                  for answer in one],
      'on_the_way': float(np.mean([np.mean(sum(so_far, []))
                                   for so_far in right])),
      'first': matrix[-1][0],
      **{name: getattr(forgetting, name)(matrix) for name in (
          'average_accuracy', 'learnt', 'forgetting', 'backward_transfer')},
      'elsewhere_before': elsewhere[0], 'elsewhere': elsewhere[-1]}


def _up_to(count, rows):
  """Rows again and again until there are so many."""
  return (rows * -(-count // len(rows)))[:count]
