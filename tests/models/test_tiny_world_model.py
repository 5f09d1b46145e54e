"""The bundled model of the tiny world can what experiments need of it."""

import pathlib

import jax
import pytest

from sleepjax import model as load_lib
from sleepjax.data import world
from sleepjax.data.prompts import ChatPrompts
from sleepjax.evals import world_scores
from sleepjax.models import transformer

_DAYS = [world.day(2_000_000 + i, 0) for i in range(32)]  # Not of training.


@pytest.fixture(scope='module')
def exam():
  model = load_lib.load_pretrained('tiny-world')
  return model.config, model.params, ChatPrompts(model.tokenizer)


def test_it_is_small(exam):
  assert transformer.parameter_count(exam[1]) < 400_000
  files = list(pathlib.Path(load_lib.BUNDLED['tiny-world']).iterdir())
  assert sum(file.stat().st_size for file in files) < 2_000_000


def test_it_looks_up_what_it_has_never_heard_of(exam):
  scores = world_scores.in_context_accuracy(*exam, _DAYS)
  assert set(scores) == set(world.FORMS)
  assert all(score >= 0.95 for score in scores.values()), scores


def test_closed_book_it_cannot_know_what_is_new(exam):
  asked = sum((day.questions('direct') for day in _DAYS[:8]), [])
  assert world_scores.accuracy(*exam, asked) < 0.2


def test_it_knows_what_is_long_known(exam):
  scores = world_scores.known_accuracy(*exam)
  assert all(score >= 0.95 for score in scores.values()), scores


def test_its_questions_are_valid(exam):
  scores = world_scores.question_validity(*exam, _DAYS[:8], jax.random.key(3))
  assert scores['in_context'] >= 0.9 and scores['closed_book'] >= 0.9, scores
