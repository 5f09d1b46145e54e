"""Nights of the tiny world of which one is forgotten, in several ways.

What each leaves is compared with a model that lived the same days without it.
"""

import dataclasses
import itertools
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np

from sleepjax import seeds
from sleepjax.data import world
from sleepjax.data.documents import Question
from sleepjax.errors import check_least
from sleepjax.evals import questions as questions_lib
from sleepjax.evals.questions import AnswerConfig
from sleepjax.growth import nights
from sleepjax.growth.adapters import MLP_MATRICES, AllLayers, LowRank
from sleepjax.lifecycle import cycle
from sleepjax.lifecycle.config import SleepConfig
from sleepjax.lifecycle.cycle import Life
from sleepjax.model import Model
from sleepjax.runs.recording import NightBook
from sleepjax.seeding.consolidation import retention_divergence
from sleepjax.tasks.unlearning import Moving, answer_rows, moved
from sleepjax.tasks.world import DaysConfig, WorldTask

METHODS = ('close', 'keep', 'without', 'without_again', 'ascent', 'npo',
           'npo_retained', 'lora')
NIGHTS = 'middle', 'last'  # That are forgotten.
_EXAM = 'direct', 'paraphrase'
_AGAIN = 1_000  # Added to the seed of a life that is lived once more.
_SCALES = np.arange(0.1, 3.01, 0.1)  # Of what is subtracted.


@dataclasses.dataclass(frozen=True)
class ForgettingConfig:
  """How one night is forgotten, and learnt again.

  method: 'close', its slot; 'keep', nothing is forgotten; 'without', the model
    that has lived the same days without it, and 'without_again', once more
    with other random numbers; 'ascent' and 'npo', of all layers, on the
    answers to its questions; 'npo_retained', which also learns the answers to
    questions about other nights and what is long known; 'lora', in which they
    are learnt by the model before all nights, subtracted, more and more of it.
  rate: of Adam, where weights are moved.
  beta: of NPO.
  most: updates until it is forgotten, or a LoRA learnt, at most.
  low_rank: of the LoRA.
  relearning_rate, relearning: rate and updates at most of learning it again.
  relearnt: updates of learning one half of it again.
  """

  method: str = 'close'
  rate: float = 1e-3
  beta: float = 0.1
  most: int = 100
  low_rank: int = 3
  relearning_rate: float = 3e-4
  relearning: int = 60
  relearnt: int = 20

  def __post_init__(self):
    if self.method not in METHODS:
      raise ValueError(f'method={self.method!r} must be one of '
                       f'{", ".join(METHODS)}.')
    check_least(self, most=1, low_rank=1, relearning=1, relearnt=1)


class Lived(NamedTuple):
  """A life between two nights; dreams: of each night before."""

  life: Life
  dreams: tuple = ()


class Lives:
  """The lives of one seed: of all days, and of all but one."""

  def __init__(self, model: Model, settings: SleepConfig, days: DaysConfig,
               seed: int):
    """Lives all days.

    Args:
      model: canonical, before all nights.
      settings: of every sleep.
      days: at least two.
      seed: of the days, and of all randomness.
    """
    self.settings, self.seed = settings, seed
    self.task = WorldTask(settings, days, seed)
    fresh = self.task.prepare(model)
    lived = [Lived(Life(fresh, base=settings.for_compute(fresh)))]
    for number in range(days.days):
      lived.append(self._live(lived[-1], [number], seed))
    self._lived = lived
    self._without = {}

  @property
  def before(self) -> Model:
    """The model before all nights, with room for them."""
    return self._lived[0].life.model

  @property
  def slept(self) -> Model:
    """The model after all nights."""
    return self._lived[-1].life.model

  def number_of(self, night: str) -> int:
    """The number of the day before a night of `NIGHTS`."""
    last = len(self._lived) - 2
    return last if night == 'last' else last // 2

  def without(self, number: int, again: bool = False) -> Model:
    """The model that has lived all days but one.

    The nights before it are the same, and later ones draw the same random
    numbers, or others (`again`).
    """
    if (number, again) not in self._without:
      self._without[number, again] = self._live(
          self._lived[number], range(number + 1, len(self._lived) - 1),
          self.seed + again * _AGAIN).life.model
    return self._without[number, again]

  def _live(self, lived: Lived, days: Iterable[int], seed: int) -> Lived:
    book = NightBook(self.settings)
    for number in days:
      day = self.task.day(number, {'dreams': list(lived.dreams)})
      evening = dataclasses.replace(lived.life, cycle=number)
      life, report = next(cycle.live(
          evening, [day], self.settings, key=seeds.key_of(seed)))
      model = book.written(evening.model, life.model, day, report)
      lived = Lived(dataclasses.replace(life, model=model),
                    (*lived.dreams, report.texts))
    return lived


class Forgetting:
  """One night of a seed's lives that is to be forgotten."""

  def __init__(self, lives: Lives, night: str):
    """Says which.

    Args:
      lives: of the seed.
      night: one of `NIGHTS`.
    """
    self.lives, self.number = lives, lives.number_of(night)
    self.day = lives.task.days[self.number]
    self.others = [day for day in lives.task.days if day is not self.day]
    self.answers = AnswerConfig(
        lives.settings.answer_prompt, max_new_tokens=4, batch_rows=8)

  def row(self, config: ForgettingConfig) -> dict[str, Any]:
    """What a way of forgetting takes and leaves.

    Returns:
      `forgotten_…` and `others_…`, right answers to the exam's questions about
      the night and all other nights by form; `known`, the share of what is long
      known; `divergence_…`, KL from the model that never had the night on those
      questions' answers, nats a token; `updates` until it was forgotten, if it
      `was_forgotten`, and `seconds`; `relearning`, updates until all of the
      night's direct questions but one are answered right again, one more than
      there may be if not; `comes_back`, right answers to one half of them after
      the other half was learnt again; and some `…_share`, of right answers.
    """
    began = time.perf_counter()
    model, updates, done = self._forgotten(config)
    row = {'updates': updates, 'was_forgotten': done,
           'seconds': time.perf_counter() - began}
    never = self._ready(self.lives.without(self.number))
    for name, days in (('forgotten', [self.day]), ('others', self.others)):
      asked = {form: [q for day in days for q in day.questions(form)]
               for form in _EXAM}
      for form, questions in asked.items():
        row[f'{name}_{form}'] = self._right(model, questions)
      row[f'divergence_{name}'] = float(retention_divergence(
          never.config, never.params, model.params,
          self._rows(sum(asked.values(), []))))
    row |= {'known': self.lives.task.exam.known(model),
            **self._learnt_again(model, config)}
    share = lambda *names: float(np.mean(sum((row[n] for n in names), [])))
    return {**row, 'others_share': share('others_direct'),
            'forgotten_share': share('forgotten_direct',
                                     'forgotten_paraphrase'),
            'comes_back_share': share('comes_back')}

  def _forgotten(self, config) -> tuple[Model, int, bool]:
    """(model in compute layout, updates that it took, whether it forgot)."""
    lives, slept = self.lives, self._ready(self.lives.slept)
    if config.method == 'keep':
      return slept, 0, False
    if config.method == 'close':
      return self._ready(nights.forget(lives.slept, self.number + 1)), 0, True
    if config.method in ('without', 'without_again'):
      return self._ready(lives.without(
          self.number, config.method == 'without_again')), 0, True
    if config.method == 'lora':
      return self._subtracted(slept, config)
    part, retained = AllLayers(), None
    if config.method == 'npo_retained':
      retained = self._rows([
          *(q for day in self.others for q in _all_asked(day)),
          *world.questions(world.known_facts(), 'direct', 'asked')])
    values = moved(
        slept, part, self._rows(_all_asked(self.day)), Moving(
            config.method.removesuffix('_retained'), config.rate, config.beta),
        retained=retained, key=lives.seed)
    return self._until_forgotten(
        (_with(slept, part, value) for value in values), config.most)

  def _subtracted(self, slept, config):
    """Without what a LoRA learns of the night, as much as it takes."""
    part = LowRank(config.low_rank, config.low_rank, MLP_MATRICES)
    before = self._ready(self.lives.before)
    values = moved(before, part, self._rows(_all_asked(self.day)), Moving(
        'descent', config.rate), key=self.lives.seed)
    asked = self.day.questions('direct', 'asked')
    updates, value, _ = _first(
        values, lambda value: all(self._right(
            _with(before, part, value), asked)), config.most)
    model, _, done = self._until_forgotten((_with(slept, part, {
        name: {**pair, 'b': -scale * pair['b']} for name, pair in value.items()
    }) for scale in _SCALES), len(_SCALES))
    return model, updates, done

  def _until_forgotten(self, models, most):
    """The first model that knows no more than that before all nights."""
    asked = self.day.questions('direct', 'asked')
    guessed = sum(self._right(self._ready(self.lives.before), asked))
    updates, model, done = _first(
        models, lambda model: sum(self._right(model, asked)) <= guessed, most)
    return model, updates, done

  def _learnt_again(self, model, config):
    part, settings = AllLayers(), Moving(rate=config.relearning_rate)
    exam, facts = self.day.questions('direct'), self.day.facts
    learn = lambda rows: (_with(model, part, value) for value in moved(
        model, part, rows, settings))
    updates, _, done = _first(
        learn(self._rows(_all_asked(self.day))),
        lambda model: sum(self._right(model, exam)) >= len(exam) - 1,
        config.relearning)
    half = len(facts) // 2
    again = next(itertools.islice(learn(self._rows(_all_asked(
        dataclasses.replace(self.day, facts=facts[:half])))),
                                  config.relearnt - 1, None))
    return {'relearning': updates if done else config.relearning + 1,
            'comes_back': self._right(again, exam[half:])}

  def _ready(self, model: Model) -> Model:
    return model.for_compute(
        self.lives.settings.matmul_dtype, self.lives.settings.unroll, 'float32')

  def _rows(self, asked: Sequence[Question]):
    return answer_rows(self.lives.slept, asked, self.answers.prompt)

  def _right(self, model: Model, asked: Sequence[Question]) -> list[bool]:
    return questions_lib.answered_right(model, asked, self.answers)


def _all_asked(day: world.Day) -> list[Question]:
  """All questions about a day as the night may ask them."""
  return [q for form in world.FORMS for q in day.questions(form, 'asked')]


def _with(model: Model, part, value) -> Model:
  return model.with_params(
      model.config, part.insert(model.config, model.params, value))


def _first(values: Iterable, wanted: Callable[[Any], bool], most: int):
  """(number, value, True) of the first wanted one, from 1; else the last."""
  for number, value in enumerate(itertools.islice(values, most), 1):
    if wanted(value):
      return number, value, True
  return number, value, False
