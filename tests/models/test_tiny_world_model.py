"""The bundled model of the tiny world can what experiments need of it."""

import pathlib

import jax
import pytest

from sleepjax import model as load_lib
from sleepjax.data import world, world_beds
from sleepjax.evals import world_scores
from sleepjax.models import transformer

_DAYS = [world.day(2_000_000 + i, 0) for i in range(32)]  # Not of training.


@pytest.fixture(scope='module')
def exam():
  return load_lib.load_pretrained('tiny-world')


def every(scores):
  """All shares of form -> wording -> share."""
  return [share for of_form in scores.values() for share in of_form.values()]


def test_it_is_small(exam):
  assert transformer.parameter_count(exam.params) < 400_000
  files = list(pathlib.Path(load_lib.BUNDLED['tiny-world']).iterdir())
  assert sum(file.stat().st_size for file in files) < 2_000_000


@pytest.mark.slow
def test_it_looks_up_what_it_has_never_heard_of(exam):
  scores = world_scores.in_context_accuracy(exam, _DAYS)
  assert set(scores) == set(world.FORMS)
  assert all(set(of_form) == set(world.WORDINGS)
             for of_form in scores.values())
  assert min(every(scores)) >= 0.95, scores


@pytest.mark.slow
def test_it_looks_up_what_stands_between_other_sentences(exam):
  scores = world_scores.in_context_accuracy(exam, [
      world_beds.stretch(2_000_000 + i, 0, sentences=12) for i in range(16)])
  assert min(every(scores)) >= 0.9, scores


def test_closed_book_it_cannot_know_what_is_new(exam):
  asked = sum((day.questions('direct') for day in _DAYS[:8]), [])
  assert world_scores.accuracy(exam, asked) < 0.2


@pytest.mark.slow
def test_it_knows_what_is_long_known(exam):
  scores = world_scores.known_accuracy(exam)
  assert set(scores) == {'direct', 'paraphrase', 'composite'}
  assert min(every(scores)) >= 0.95, scores


@pytest.mark.slow
@pytest.mark.parametrize('wording', world.WORDINGS)
def test_it_goes_step_by_step(exam, wording):
  assert world_scores.stepwise_accuracy(
      exam, world.known_facts(), wording) >= 0.95
  shares = []
  for seed in range(8):
    one, two = world_beds.relational(2_000_000 + seed, days=2).days
    shares.append(world_scores.stepwise_accuracy(
        exam, one.facts + two.facts, wording, f'{one.text} {two.text}'))
  assert sum(shares) / len(shares) >= 0.9


@pytest.mark.slow
@pytest.mark.parametrize('wording', world.WORDINGS)
def test_its_questions_are_valid_and_in_the_wording_asked_for(exam, wording):
  scores = world_scores.question_validity(
      exam, _DAYS[:8], jax.random.key(3), wording)
  assert scores['in_context'] >= 0.9 and scores['closed_book'] >= 0.9, scores
  assert scores['in_wording'] >= 0.97, scores
