"""Days and nights of a tiny model in a tiny world of made-up people.

Every day it reads facts about people whom it has never heard of, and after
every night it is asked about all days, closed book.
"""

import dataclasses
import logging
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np

from sleepjax import seeds
from sleepjax.data import world
from sleepjax.data.documents import Question
from sleepjax.errors import UserError, check_least
from sleepjax.evals import forgetting, sleep_scores
from sleepjax.evals import questions as questions_lib
from sleepjax.evals.questions import AnswerConfig
from sleepjax.growth import slots
from sleepjax.growth.adapters import check_growth
from sleepjax.lifecycle.config import SleepConfig
from sleepjax.lifecycle.cycle import SleepReport
from sleepjax.lifecycle.written import Day
from sleepjax.memory import continuum
from sleepjax.memory import day as day_memory
from sleepjax.model import Model
from sleepjax.models import export
from sleepjax.runs.nights import remembered
from sleepjax.runs.task import Progress
from sleepjax.training.observer import Observer

_log = logging.getLogger(__name__)
_REHEARSAL_SEED = 1_000_000  # Of days that are nobody's exam.
_KNOWN = 128  # Long-known facts that are asked about.
# What is asked in the morning, as form and wording. Only the last is in the
# wording in which the night asks.
_COLUMNS = {**{form: (form, 'exam') for form in world.FORMS},
            'trained': ('direct', 'asked')}


@dataclasses.dataclass(frozen=True)
class DaysConfig:
  """What happens while awake.

  days: days and nights.
  facts, people: told each day, and whom they are about.
  rehearsal_texts: other days, for the rehearsal term; other ones every night.
  remembered: at most so many prompts of earlier nights are retained by each
    night, drawn anew.
  base: whether it is the pretrained model whose answers are rehearsed, and
    whose memories are retained, on every night; else it is the previous one of
    each night, which is no longer quite what it was.
  level_dim: hidden width of a fast MLP level that the model is given for
    `sleep.level` to write to; 0 for none.
  """

  days: int = 10
  facts: int = 8
  people: int = 5
  rehearsal_texts: int = 8
  remembered: int = 256
  base: bool = True
  level_dim: int = 0

  def __post_init__(self):
    if not 1 <= self.people <= len(world.NEW_NAMES):
      raise ValueError(f'people={self.people} must be from 1 to '
                       f'{len(world.NEW_NAMES)}.')
    if not 1 <= self.days <= world.number_of_days(self.people):
      raise ValueError(
          f'days={self.days} must be from 1 to '
          f'{world.number_of_days(self.people)} with people={self.people}.')
    check_least(self, rehearsal_texts=0, remembered=0, facts=1)


def known_questions() -> list[Question]:
  """Direct questions about some of the long-known facts, always the same."""
  every = world.known_facts()
  chosen = np.random.default_rng(0).choice(
      len(every), min(_KNOWN, len(every)), replace=False)
  return world.questions([every[i] for i in sorted(chosen)], 'direct')


def rehearsal_texts(night: int, number: int, facts: int = 8, people: int = 5
                    ) -> list[str]:
  """Days that are nobody's exam, other ones every night.

  Args:
    night: which.
    number: of texts.
    facts, people: of each, as of `world.day`.
  """
  return [world.day(_REHEARSAL_SEED + night * number + i, 0, facts, people).text
          for i in range(number)]


class Exam:
  """Asks a model about all days of a seed, in the wording of exams."""

  def __init__(self, days, settings):
    self.days, self.settings = days, settings
    self.answers = AnswerConfig(
        settings.answer_prompt, max_new_tokens=4, batch_rows=64)
    self.known_questions = known_questions()

  def right(self, model, form, wording='exam') -> list[list[bool]]:
    """Of each day, which questions are answered right, closed book."""
    asked = [day.questions(form, wording) for day in self.days]
    right = iter(self._answered(model, sum(asked, [])))
    return [[next(right) for _ in questions] for questions in asked]

  def known(self, model) -> float:
    return float(np.mean(self._answered(model, self.known_questions)))

  def awake(self, canonical, ready, day) -> tuple[float, float]:
    """(accuracy, loss) on a day's direct questions after reading its text.

    Args:
      canonical, ready: the same model, canonical and in compute layout.
      day: what is read.
    """
    asked = day.questions('direct')
    reading = day_memory.read(
        canonical, ready, day.text, self.settings.level,
        self.settings.for_compute)
    segment = reading.segments[0] if reading.segments else None
    right = self._answered(reading.model, asked, segment)
    return float(np.mean(right)), questions_lib.answer_nll(
        reading.model, asked, self.answers, segment)

  def nll(self, model, day) -> float:
    return questions_lib.answer_nll(
        model, day.questions('direct'), self.answers)

  def _answered(self, model, asked, segment=None) -> list[bool]:
    return questions_lib.answered_right(
        model, asked, self.answers, segment)


class WorldTask:
  """The days of one seed; see `sleepjax.runs.task.Task`.

  Its progress has
    accuracy: form of the exam's questions -> [nights][days] after that night;
      'trained' are direct questions as the night may ask them itself.
    nll: on each day's direct questions, nats per token: 'before' and
      'in_context' of the pretrained model, so that they are the same whatever
      sleep does; 'after' the day's own night.
    in_context: accuracy of the pretrained model on each day's direct questions,
      text in view (or in its fast level, where that is the day's memory).
    in_context_after: the same after the day's night.
    known: accuracy on long-known facts, before all nights and after each.
    first_day: [nights][questions], whether the first day's are answered right.
    dreams, dreaming, hand_overs: of each night, as its `SleepReport` has them.
  """

  def __init__(self, settings: SleepConfig, world_config: DaysConfig,
               seed: int):
    """Says which days.

    Args:
      settings: of every sleep.
      world_config: of the days.
      seed: of the days, and of a newborn level.
    """
    c, self.settings, self.config, self.seed = (
        world_config, settings, world_config, seed)
    self.nights, self.retains_base = c.days, c.base
    self.days = [world.day(seed, n, c.facts, c.people) for n in range(c.days)]
    self.exam = Exam(self.days, settings)

  def identity(self) -> dict[str, Any]:
    return {}  # All of it stands in the configuration.

  def prepare(self, model: Model) -> Model:
    c, s, chat = self.config, self.settings, model.chat
    for day in self.days:
      room = len(chat.document(day.text))
      if room > s.context_tokens:
        raise UserError(
            f'day {day.number} has {room} tokens, more than '
            f'sleep.context_tokens={s.context_tokens}: raise it, or tell fewer '
            'facts.')
    config, params = model.config, model.params
    if c.level_dim:
      config, params = continuum.newborn_levels(
          config, params, (c.level_dim,),
          jax.random.fold_in(seeds.key_of(self.seed), c.days))
      try:
        export.check_exportable(config)
      except UserError as error:
        _log.warning('note: the slept model cannot be exported. %s', error)
    config, params = slots.allocate_pool(
        config, params, s.adapter.slots_in(c.days, config.num_slots),
        s.slot_rank)
    check_growth(s.adapter, config, params)
    _check_levels(s, config, c)
    return model.with_params(config, params)

  def with_room(self, model: Model, night: int) -> Model:
    return model  # It has all of its pool from the beginning.

  def before(self, model: Model, ready: Model, observer: Observer) -> Progress:
    progress = {
        'accuracy': {name: [] for name in _COLUMNS},
        'nll': {'before': [], 'after': [], 'in_context': []},
        **{name: [] for name in (
            'in_context', 'in_context_after', 'known', 'first_day', 'dreams',
            'dreaming', 'hand_overs')}}
    with observer.phase('ask before', total=self.nights) as phase:
      progress['known'].append(self.exam.known(ready))
      for day in self.days:
        accuracy, nll = self.exam.awake(model, ready, day)
        progress['in_context'].append(accuracy)
        progress['nll']['in_context'].append(nll)
        progress['nll']['before'].append(self.exam.nll(ready, day))
        phase.advance(in_context_accuracy=accuracy)
    return progress

  def day(self, night: int, progress: Progress) -> Day:
    c = self.config
    return Day(
        self.days[night].document,
        rehearsal_texts(night, c.rehearsal_texts, c.facts, c.people),
        # The model is asked for another wording; this is for the times when it
        # does not write as it is asked to.
        avoid=[q.question for day in self.days for form in world.FORMS
               for turn in (0, 1)
               for q in world.questions(day.facts, form, 'exam', turn)],
        remembered=remembered(
            progress['dreams'], c.remembered, self.seed, night),
        earlier=[day.document for day in self.days[:night]],
        exam=self.days[night].questions('paraphrase'))

  def morning(self, night: int, model: Model, ready: Model,
              report: SleepReport, progress: Progress, observer: Observer
              ) -> float:
    p, exam = progress, self.exam
    p['dreams'].append(report.texts)
    p['dreaming'].append(report.dreaming)
    p['hand_overs'].append(dataclasses.asdict(report.hand_over))
    with observer.phase('ask in the morning', total=1) as phase:
      for name, kind in _COLUMNS.items():
        right = exam.right(ready, *kind)
        p['accuracy'][name].append([float(np.mean(r)) for r in right])
        if name == 'direct':
          p['first_day'].append(right[0])
      p['nll']['after'].append(exam.nll(ready, self.days[night]))
      p['in_context_after'].append(
          exam.awake(model, ready, self.days[night])[0])
      p['known'].append(exam.known(ready))
      direct = p['accuracy']['direct'][night]
      phase.advance(night=night, accuracy=direct[night], first_day=direct[0])
    return float(np.mean(direct))

  def summary(self, progress: Progress, ready: Model, observer: Observer
              ) -> dict[str, Any]:
    return {**summary(progress), 'days': [day.text for day in self.days],
            'exam_questions': [
                [q.question for form in world.FORMS
                 for q in day.questions(form)] for day in self.days]}

  def files(self, progress: Progress) -> dict[str, Any]:
    files = {'dreams.json': progress['dreams']}
    if any(progress['dreaming']):
      files['dreaming.json'] = progress['dreaming']
    return files


def _check_levels(settings, model, days_config):
  """A day that is read into levels needs a model that has them."""
  if settings.level is None:
    return
  chunks = settings.level.wake.chunks
  if len(chunks) != model.num_levels + 1:
    raise UserError(
        f'sleep.level.wake.chunks={chunks} are those of the context and of '
        f'{len(chunks) - 1} MLP levels, and with days.level_dim='
        f'{days_config.level_dim} the model has {model.num_levels}. Set '
        'days.level_dim to the width of a fast level, or use a configuration '
        'with both, such as configs/quickstart_level.py.')


def summary(progress: Progress) -> dict[str, Any]:
  """The report's entries: matrices, and what they come down to."""
  p, accuracy, nll = progress, progress['accuracy'], progress['nll']
  hand_overs = p['hand_overs']
  direct = np.asarray(accuracy['direct'])
  before, after, inside = (np.mean(nll[name]) for name in (
      'before', 'after', 'in_context'))
  measures = {name: getattr(forgetting, name)(direct) for name in (
      'average_accuracy', 'learnt', 'backward_transfer', 'forgetting',
      'forward_transfer')}
  return {
      **_dreaming(p['dreaming']),
      'accuracy_matrix': accuracy['direct'],
      'paraphrase_matrix': accuracy['paraphrase'],
      'reversed_matrix': accuracy['reversed'],
      'trained_templates_matrix': accuracy['trained'],
      'in_context_accuracy': p['in_context'],
      'in_context_accuracy_after': p['in_context_after'],
      'known_accuracy': p['known'],
      'hand_overs': hand_overs,
      'retention_divergence': [h['retention_divergence'] for h in hand_overs],
      'sleeps_rolled_back': sum(h['rolled_back'] for h in hand_overs),
      'context_gap': float(before - inside),
      'topic_recovered': sleep_scores.recovered(
          float(before), float(after), float(inside), 0.0, 0.0)[0],
      'first_day_in_the_end': float(direct[-1, 0]),
      'first_day_retained': _retained(p['first_day']),
      'paraphrase_accuracy': forgetting.average_accuracy(
          accuracy['paraphrase']),
      'reversed_accuracy': forgetting.average_accuracy(accuracy['reversed']),
      'trained_templates_accuracy': forgetting.average_accuracy(
          accuracy['trained']),
      'dreamt_in_exam_wording': in_exam_wording(p['dreams']),
      **measures, **{f'nll_{name}': values for name, values in nll.items()}}


def in_exam_wording(nights: Sequence[Sequence[Mapping[str, Any]]]) -> int:
  """How many questions among the dreams of nights have an exam's template."""
  return sum(world.wording_of(dream['prompt']) == 'exam'
             for night in nights for dream in night
             if dream['kind'] == 'question')


def _dreaming(nights):
  """Means over nights; empty if there was no second stage."""
  nights = [night for night in nights if night]
  if not nights:
    return {}
  rounds = [r for night in nights for r in night['rounds']]
  mean = lambda values: float(np.mean(list(values)))
  entries = {f'dream_{name}': mean(r[name] for r in rounds) for name in (
      'success_rate', 'distinct_2', 'similarity', 'constant_groups')
             } if rounds else {}
  for name in ('influence', 'norm'):
    known = [r[f'{name}_rank_correlation'] for r in rounds
             if r[f'{name}_rank_correlation'] is not None]
    if known:
      entries[f'dream_{name}_rank_correlation'] = mean(known)
  written = [night['write_back'] for night in nights if night['write_back']]
  return {**entries, 'dream_rolled_back': sum(
      w['rolled_back'] for w in written)}


def _retained(first_day):
  """Of what was right after the first night, the share still right at the end.

  None if nothing was.
  """
  once, last = np.asarray(first_day[0]), np.asarray(first_day[-1])
  return float(last[once].mean()) if once.any() else None
