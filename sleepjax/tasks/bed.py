"""Days and nights of a test bed: a small world in which one part can matter.

What is told and asked is `sleepjax.data.world_beds`. After every night the
model is asked, closed book, all that it can know by then.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from sleepjax.data import world, world_beds
from sleepjax.data.documents import Question
from sleepjax.errors import UserError, check_least
from sleepjax.evals import answers
from sleepjax.evals import questions as questions_lib
from sleepjax.evals.questions import AnswerConfig
from sleepjax.growth import slots
from sleepjax.growth.adapters import check_growth
from sleepjax.lifecycle.config import SleepConfig
from sleepjax.lifecycle.cycle import SleepReport
from sleepjax.lifecycle.written import Day
from sleepjax.model import Model
from sleepjax.runs.nights import remembered
from sleepjax.runs.task import Progress
from sleepjax.sampling import context
from sleepjax.tasks.world import (
    in_exam_wording,
    known_questions,
    rehearsal_texts,
)
from sleepjax.training.observer import Observer

_KINDS = 'capacity', 'relational'
_BATCH_ROWS = 64
_ANSWER_TOKENS = 4
_STEPWISE_TOKENS = 20  # Both facts of a composite question.


@dataclasses.dataclass(frozen=True)
class BedConfig:
  """What is told, and what a night may use beside it.

  kind: 'capacity' or 'relational', see `sleepjax.data.world_beds`.
  facts, facts_a_day: of capacity.
  days, pairs: of the relational bed.
  two_days: whether the text of the day before is in view as well.
  given: whether a night dreams of all composite questions, right answers with
    them, that its text and that of the day before answer; an upper bound.
  room: slots for which the model has room before the first night, or more where
    nights open more. Runs with as much room share their compiled programs.
  rehearsal_texts, remembered, base: as of `sleepjax.tasks.world.DaysConfig`.
  """

  kind: str = 'capacity'
  facts: int = 80
  facts_a_day: int = 10
  days: int = 8
  pairs: int = 4
  two_days: bool = False
  given: bool = False
  room: int = 0
  rehearsal_texts: int = 8
  remembered: int = 256
  base: bool = True

  def __post_init__(self):
    if self.kind not in _KINDS:
      raise ValueError(
          f'kind={self.kind!r} must be one of {", ".join(_KINDS)}.')
    check_least(self, rehearsal_texts=0, remembered=0, room=0)

  def make(self, seed: int) -> world_beds.Bed:
    """The bed of a seed.

    Raises:
      UserError: the world is too small for it.
    """
    if self.kind == 'capacity':
      return world_beds.capacity(seed, self.facts, self.facts_a_day)
    return world_beds.relational(seed, self.days, self.pairs)


class BedTask:
  """The days of one seed of a bed; see `sleepjax.runs.task.Task`.

  Its progress has
    right: exam -> [nights][questions], whether each question that can be
      answered after that night is; the earliest told come first.
    in_view: [days], accuracy of the pretrained model on each day's direct
      questions with its text in view.
    known: accuracy on long-known facts, before all nights and after each.
    units: hidden units of a layer's open slots, after each night.
    dreams, hand_overs, dreaming: of each night, as its `SleepReport` has them.
  """

  def __init__(self, settings: SleepConfig, config: BedConfig, seed: int):
    """Says which days.

    Args:
      settings: of every sleep.
      config: of the bed.
      seed: of its facts.
    """
    self.settings, self.config, self.seed = settings, config, seed
    self.bed = config.make(seed)
    self.nights, self.retains_base = len(self.bed.days), config.base
    self.answers = AnswerConfig(
        settings.answer_prompt, _ANSWER_TOKENS, _BATCH_ROWS)

  def identity(self) -> dict[str, Any]:
    return {}  # All of it stands in the configuration.

  def prepare(self, model: Model) -> Model:
    s = self.settings
    for day in self.bed.days:
      room = len(model.chat.document(day.text))
      if room > s.context_tokens:
        raise UserError(
            f'day {day.number} has {room} tokens, more than '
            f'sleep.context_tokens={s.context_tokens}: raise it, or tell '
            'fewer facts a day.')
    room = max(self.config.room, s.adapter.slots_in(
        self.nights, model.config.num_slots))
    config, params = slots.allocate_pool(
        model.config, model.params, room, s.slot_rank)
    check_growth(s.adapter, config, params)
    return model.with_params(config, params)

  def with_room(self, model: Model, night: int) -> Model:
    return model  # It has all of its pool from the beginning.

  def before(self, model: Model, ready: Model, observer: Observer) -> Progress:
    in_view = []
    with observer.phase('ask before', total=self.nights) as phase:
      known = self._known(ready)
      for day in self.bed.days:
        segment = context.read_document(
            ready.config, ready.params, ready.chat, day.text)
        right = questions_lib.answered_right(
            ready, day.questions('direct'), self.answers, segment)
        in_view.append(float(np.mean(right)))
        phase.advance(in_context_accuracy=in_view[-1])
    return {'right': {exam: [] for exam in self.bed.exams},
            'in_view': in_view, 'known': [known], 'units': [], 'dreams': [],
            'hand_overs': [], 'dreaming': []}

  def day(self, night: int, progress: Progress) -> Day:
    c = self.config
    both = self.bed.days[max(night - 1, 0):night + 1]
    document = self.bed.days[night].document
    if c.kind == 'relational':  # What is recalled step by step are sentences.
      document = dataclasses.replace(document, prompts=tuple(dict.fromkeys(
          world.TELL.format(name=fact.person)
          for fact in self.bed.days[night].facts)))
    if c.two_days:
      document = dataclasses.replace(
          document, text=' '.join(day.text for day in both))
    return Day(
        document,
        rehearsal_texts(night, c.rehearsal_texts),
        avoid=[asked.question.question for exam in self.bed.exams.values()
               for asked in exam.values()],
        remembered=(*remembered(
            progress['dreams'], c.remembered, self.seed, night),
                    *self._step_by_step(night)),
        earlier=[day.document for day in self.bed.days[:night]],
        given=world.composites(
            [fact for day in both for fact in day.facts], 'asked')
        if c.given else ())

  def morning(self, night: int, model: Model, ready: Model,
              report: SleepReport, progress: Progress, observer: Observer
              ) -> float:
    p = progress
    p['dreams'].append(report.texts)
    p['dreaming'].append(report.dreaming)
    p['hand_overs'].append(dataclasses.asdict(report.hand_over))
    in_use = np.asarray(slots.is_open(model.config, model.params)).sum()
    p['units'].append(int(in_use) * model.config.slot_rank)
    with observer.phase('ask in the morning', total=1) as phase:
      for exam, every in self.bed.exams.items():
        p['right'][exam].append(self.right(ready, exam, [
            a.question for a in every.values() if a.day <= night]))
      p['known'].append(self._known(ready))
      first = next(iter(self.bed.exams))
      accuracy = float(np.mean(p['right'][first][night] or [0]))
      phase.advance(night=night, accuracy=accuracy)
    return accuracy

  def summary(self, progress: Progress, ready: Model, observer: Observer
              ) -> dict[str, Any]:
    return {**summary(progress), **joined(progress['dreaming'], self.bed),
            'days': [day.text for day in self.bed.days],
            'exam_questions': {
                exam: [a.question.question for a in asked.values()]
                for exam, asked in self.bed.exams.items()}}

  def files(self, progress: Progress) -> dict[str, Any]:
    files = {'dreams.json': progress['dreams']}
    if any(progress['dreaming']):
      files['dreaming.json'] = progress['dreaming']
    return files

  def right(self, model: Model, exam: str, asked: list[Question]
            ) -> list[bool]:
    """Which questions are answered right, closed book.

    Args:
      model: in compute layout.
      exam: of a stepwise reply the last word of the second sentence is the
        answer, whatever comes after it.
      asked: questions with their answers.
    """
    if not asked:
      return []
    if exam != 'stepwise':
      return questions_lib.answered_right(model, asked, self.answers)
    texts = questions_lib.greedy_answers(model, asked, dataclasses.replace(
        self.answers, max_new_tokens=_STEPWISE_TOKENS))
    second = [' '.join(text.split('.')[1:2]).split()[-1:] for text in texts]
    return [answers.exact_match(' '.join(word), q.answer) == 1
            for word, q in zip(second, asked, strict=True)]

  def _step_by_step(self, night) -> list[str]:
    """What two earlier days answer together, as a night may ask it.

    Questions do not keep what is said in sentences: of one-hop questions alone
    the answers stay, and the way over the mentor goes.
    """
    told = [fact for day in self.bed.days[:night] for fact in day.facts]
    return [world.STEPWISE.format(question=asked.question)
            for asked in world.composites(told, 'asked')]

  def _known(self, model) -> float:
    return float(np.mean(self.right(model, 'direct', known_questions())))


def summary(progress: Progress) -> dict[str, Any]:
  """The report's entries.

  Args:
    progress: of at least one night.

  Returns:
    `exams`, by name: `right`, answers after the last night; how many were asked
    and right after each; `learnt`, the share of each night's new questions, and
    `first_told`, of the first night's questions after every night. And all
    else that is known of the nights.
  """
  right, entries = progress['right'], {}
  for exam, nights in right.items():
    first = next((len(night) for night in nights if night), 0)
    entries[exam] = {
        'right': nights[-1],
        'asked_by_night': [len(night) for night in nights],
        'known_by_night': [sum(night) for night in nights],
        'learnt': [float(np.mean(night[before:])) for before, night in zip(
            [0, *map(len, nights)], nights) if len(night) > before],
        'first_told': [float(np.mean(night[:first])) if night else None
                       for night in nights]}
  overs = progress['hand_overs']
  return {
      'exams': entries, 'in_view_accuracy': float(np.mean(progress['in_view'])),
      'known_accuracy': progress['known'], 'units': progress['units'],
      'hand_overs': overs,
      'sleeps_rolled_back': sum(over['rolled_back'] for over in overs),
      'dreamt_in_exam_wording': in_exam_wording(progress['dreams'])}


def joined(nights: Sequence[Mapping[str, Any]], bed: world_beds.Bed
           ) -> dict[str, Any]:
  """What dreams have joined, by night; empty if none did.

  Args:
    nights: `SleepReport.dreaming` of each.
    bed: says what is right.

  Returns:
    `joined`: lists over nights, each of questions: `recalled` that facts told
    so far answer, `kept` of all, `kept_right` and `learnt_right`, kept with the
    right answer and learnt with it; `in_exam_wording`, of all, should be zero.
  """
  if not any('recalled' in night for night in nights):
    return {}
  counts: dict[str, list[int]] = {name: [] for name in (
      'recalled', 'kept', 'kept_right', 'learnt_right', 'in_exam_wording')}
  for number, night in enumerate(nights):
    told = [fact for day in bed.days[:number + 1] for fact in day.facts]
    asked = [(r, world.answer_to(r['question'], told))
             for r in night.get('recalled', ())]
    kept = [(r, gold) for r, gold in asked if r['learnt'] is not None]
    for name, right in (
        ('recalled', [gold is not None for _, gold in asked]),
        ('kept', [True for _ in kept]),
        ('kept_right', [r['answer'] == gold for r, gold in kept]),
        ('learnt_right', [r['learnt'] == gold for r, gold in kept]),
        ('in_exam_wording', [world.wording_of(r['question']) == 'exam'
                             for r, _ in asked])):
      counts[name].append(sum(right))
  return {'joined': counts}
