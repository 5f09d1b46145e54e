"""Ways to forget a night: its slot is closed, or weights are moved."""

import dataclasses
import itertools
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np

from sleepjax.data.documents import Question
from sleepjax.errors import check_least
from sleepjax.evals import questions as questions_lib
from sleepjax.evals.questions import AnswerConfig
from sleepjax.growth import nights
from sleepjax.growth.adapters import MLP_MATRICES, AllLayers, LowRank
from sleepjax.lifecycle import reseeding
from sleepjax.lifecycle.config import SleepConfig
from sleepjax.lifecycle.reseeding import Reseeding
from sleepjax.model import Model
from sleepjax.sampling.rows import Rows
from sleepjax.tasks.unlearning import Moving, answer_rows, moved

METHODS = ('close', 'reseed', 'keep', 'without', 'without_again', 'ascent',
           'npo', 'npo_retained', 'lora')
_SCALES = np.arange(0.1, 3.01, 0.1)  # Of what is subtracted.


@dataclasses.dataclass(frozen=True)
class ForgettingConfig:
  """How one night is forgotten, and learnt again.

  method: 'close', its slot; 'reseed', after which the nights that were learnt
    on it learn their own answers once more; 'keep', nothing is forgotten;
    'without', the model that has lived the same days without it, and
    'without_again', once more with other random numbers; 'ascent' and 'npo', of
    all layers, on the answers to its questions; 'npo_retained', which also
    learns the answers to questions about other nights and what is long known;
    'lora', in which they are learnt by the model before all nights, subtracted,
    more and more of it.
  rate: of Adam, where weights are moved, or of re-seeding.
  beta: of NPO.
  most: updates until it is forgotten, or a LoRA learnt, at most; of each night
    that is re-seeded, all of them.
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


class TwoLives(Protocol):
  """A life of several nights, and the same without one of them.

  settings, seed: of every sleep.
  before, slept: canonical, before all nights and after.
  prompts: number of a night, from 1 -> what it has learnt to answer.
  """

  settings: SleepConfig
  seed: int

  @property
  def before(self) -> Model: ...

  @property
  def slept(self) -> Model: ...

  @property
  def prompts(self) -> Mapping[int, Sequence[str]]: ...

  def without(self, number: int, again: bool = False) -> Model: ...


class Told(NamedTuple):
  """Questions with their answers about a night, and about all else.

  asked: as the night has asked them; on these weights are moved.
  retained: what should stay known.
  checked: the night is forgotten once no more of these are answered right than
    before all nights.
  """

  asked: Sequence[Question]
  retained: Sequence[Question]
  checked: Sequence[Question]


class Ways:
  """Every way to forget one night of a life."""

  def __init__(self, lives: TwoLives, number: int, told: Told,
               answers: AnswerConfig):
    """Says which.

    Args:
      lives: with it and without.
      number: of the day before the night, from 0.
      told: what is to be forgotten, and what is not.
      answers: how it is asked.
    """
    self._lives, self._number, self.told = lives, number, told
    self._answers = answers

  def forgotten(self, config: ForgettingConfig) -> tuple[Model, int, bool]:
    """A model after one way of forgetting.

    Returns:
      (the model in compute layout; updates that it took, of nights that were
      re-seeded, if that was not undone; whether it forgot).
    """
    lives, slept = self._lives, self.ready(self._lives.slept)
    if config.method == 'keep':
      return slept, 0, False
    if config.method in ('close', 'reseed'):
      return self._closed(config)
    if config.method in ('without', 'without_again'):
      return self.ready(lives.without(
          self._number, config.method == 'without_again')), 0, True
    if config.method == 'lora':
      return self._subtracted(slept, config)
    part, retained = AllLayers(), None
    if config.method == 'npo_retained':
      retained = self.rows(self.told.retained)
    values = moved(
        slept, part, self.rows(self.told.asked), Moving(
            config.method.removesuffix('_retained'), config.rate, config.beta),
        retained=retained, key=lives.seed)
    return self._until_forgotten(
        (with_value(slept, part, value) for value in values), config.most)

  def _closed(self, config):
    """Without the slot, and its neighbours re-seeded if that is wanted."""
    lives = self._lives
    closed, updates = nights.forget(lives.slept, self._number + 1), 0
    if config.method == 'reseed':
      closed, done = reseeding.reseeded(lives.slept, closed, Reseeding(
          config.most, lives.prompts, config.rate, lives.settings, lives.seed))
      updates = config.most * sum(
          not hand_over.rolled_back for hand_over in done.values())
    return self.ready(closed), updates, True

  def _subtracted(self, slept, config):
    """Without what a LoRA learns of the night, as much as it takes."""
    part = LowRank(config.low_rank, config.low_rank, MLP_MATRICES)
    before, told = self.ready(self._lives.before), self.told
    values = moved(before, part, self.rows(told.asked), Moving(
        'descent', config.rate), key=self._lives.seed)
    updates, value, _ = first(
        values, lambda value: all(self.right(
            with_value(before, part, value), told.checked)), config.most)
    model, _, done = self._until_forgotten((with_value(slept, part, {
        name: {**pair, 'b': -scale * pair['b']} for name, pair in value.items()
    }) for scale in _SCALES), len(_SCALES))
    return model, updates, done

  def _until_forgotten(self, models, most):
    """The first model that knows no more than that before all nights."""
    checked = self.told.checked
    guessed = sum(self.right(self.ready(self._lives.before), checked))
    updates, model, done = first(
        models, lambda model: sum(self.right(model, checked)) <= guessed, most)
    return model, updates, done

  def ready(self, model: Model) -> Model:
    """A canonical model in compute layout, its weights in float32."""
    settings = self._lives.settings
    return model.for_compute(
        settings.matmul_dtype, settings.unroll, 'float32')

  def rows(self, asked: Sequence[Question]) -> Rows:
    """Questions, closed book, with their answers to complete."""
    return answer_rows(self._lives.slept, asked, self._answers.prompt)

  def right(self, model: Model, asked: Sequence[Question]) -> list[bool]:
    """Which questions a model in compute layout answers right."""
    return questions_lib.answered_right(model, asked, self._answers)


def with_value(model: Model, part, value) -> Model:
  """A model in compute layout with a value of an adapter put in."""
  return model.with_params(
      model.config, part.insert(model.config, model.params, value))


def first(values: Iterable, wanted: Callable[[Any], bool], most: int):
  """(number, value, True) of the first wanted one, from 1; else the last."""
  for number, value in enumerate(itertools.islice(values, most), 1):
    if wanted(value):
      return number, value, True
  return number, value, False
