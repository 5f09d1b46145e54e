"""Nights of the tiny world of which one is forgotten, in several ways.

What each leaves is compared with a model that lived the same days without it.
"""

import dataclasses
import itertools
import time
from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np

from sleepjax import seeds
from sleepjax.data import world
from sleepjax.data.documents import Question
from sleepjax.evals.questions import AnswerConfig
from sleepjax.growth.adapters import AllLayers
from sleepjax.lifecycle import cycle
from sleepjax.lifecycle.config import SleepConfig
from sleepjax.lifecycle.cycle import Life
from sleepjax.lifecycle.reseeding import prompts_in
from sleepjax.model import Model
from sleepjax.runs.recording import NightBook
from sleepjax.seeding.consolidation import retention_divergence
from sleepjax.tasks.unlearning import Moving, moved
from sleepjax.tasks.ways_to_forget import (
    ForgettingConfig,
    Told,
    Ways,
    first,
    with_value,
)
from sleepjax.tasks.world import DaysConfig, WorldTask

NIGHTS = 'middle', 'last'  # That are forgotten.
_EXAM = 'direct', 'paraphrase'
_AGAIN = 1_000  # Added to the seed of a life that is lived once more.


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

  @property
  def prompts(self) -> dict[int, list[str]]:
    """Number of each night, from 1 -> what it has learnt to answer."""
    return {number: prompts_in(texts)
            for number, texts in enumerate(self._lived[-1].dreams, 1)}

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
    self._ways = Ways(lives, self.number, Told(
        _all_asked(self.day),
        [*(q for day in self.others for q in _all_asked(day)),
         *world.questions(world.known_facts(), 'direct', 'asked')],
        self.day.questions('direct', 'asked')), AnswerConfig(
            lives.settings.answer_prompt, max_new_tokens=4, batch_rows=8))

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
    ways, began = self._ways, time.perf_counter()
    model, updates, done = ways.forgotten(config)
    row = {'updates': updates, 'was_forgotten': done,
           'seconds': time.perf_counter() - began}
    never = ways.ready(self.lives.without(self.number))
    for name, days in (('forgotten', [self.day]), ('others', self.others)):
      asked = {form: [q for day in days for q in day.questions(form)]
               for form in _EXAM}
      for form, questions in asked.items():
        row[f'{name}_{form}'] = ways.right(model, questions)
      row[f'divergence_{name}'] = float(retention_divergence(
          never.config, never.params, model.params,
          ways.rows(sum(asked.values(), []))))
    row |= {'known': self.lives.task.exam.known(model),
            **self._learnt_again(model, config)}
    share = lambda *names: float(np.mean(sum((row[n] for n in names), [])))
    return {**row, 'others_share': share('others_direct'),
            'forgotten_share': share('forgotten_direct',
                                     'forgotten_paraphrase'),
            'comes_back_share': share('comes_back')}

  def _learnt_again(self, model, config):
    ways, part = self._ways, AllLayers()
    settings = Moving(rate=config.relearning_rate)
    exam, facts = self.day.questions('direct'), self.day.facts
    learn = lambda rows: (with_value(model, part, value) for value in moved(
        model, part, rows, settings))
    updates, _, done = first(
        learn(ways.rows(_all_asked(self.day))),
        lambda model: sum(ways.right(model, exam)) >= len(exam) - 1,
        config.relearning)
    half = len(facts) // 2
    again = next(itertools.islice(learn(ways.rows(_all_asked(
        dataclasses.replace(self.day, facts=facts[:half])))),
                                  config.relearnt - 1, None))
    return {'relearning': updates if done else config.relearning + 1,
            'comes_back': ways.right(again, exam[half:])}


def _all_asked(day: world.Day) -> list[Question]:
  """All questions about a day as the night may ask them."""
  return [q for form in world.FORMS for q in day.questions(form, 'asked')]
