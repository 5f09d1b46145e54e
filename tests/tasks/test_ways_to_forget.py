"""Weights that learn answers or forget them; the model here is random."""

import itertools

import jax
import numpy as np
import pytest

from sleepjax.data import world
from sleepjax.evals.questions import completion_log_probs
from sleepjax.growth.adapters import AllLayers
from sleepjax.tasks.unlearning import Moving, answer_rows, moved
from sleepjax.tasks.ways_to_forget import ForgettingConfig
from tests.world_runs import random_model

PART = AllLayers(('gate', 'down'))


@pytest.fixture(scope='module')
def model():
  return random_model().for_compute('float32', False, 'float32')


@pytest.fixture(scope='module')
def rows(model):
  """Of two days."""
  return [answer_rows(model, world.day(0, number).questions('direct', 'asked'),
                      '{question}') for number in (0, 1)]


def values(model, rows, loss, updates, **others):
  return [*itertools.islice(moved(
      model, PART, rows, Moving(loss, 3e-3), **others), updates)]


def likelihood(model, rows, value):
  return float(completion_log_probs(model.config, PART.insert(
      model.config, model.params, value), rows).sum())


@pytest.mark.slow
def test_answers_are_learnt_or_forgotten(model, rows):
  newborn = PART.init(model.config)
  before = likelihood(model, rows[0], newborn)
  after = {loss: likelihood(model, rows[0], values(
      model, rows[0], loss, 4)[-1]) for loss in ('descent', 'ascent', 'npo')}
  assert after['ascent'] < after['npo'] < before < after['descent']


def test_the_first_update_of_npo_is_that_of_ascent(model, rows):
  first, second = (values(model, rows[0], loss, 1)[0]
                   for loss in ('ascent', 'npo'))
  for a, b in zip(*map(jax.tree.leaves, (first, second)), strict=True):
    np.testing.assert_allclose(a, b, atol=3e-5)
    assert np.abs(a).max() > 1e-3


def test_what_is_retained_is_learnt_beside(model, rows):
  forgotten, other = rows
  alone = values(model, forgotten, 'npo', 4)[-1]
  beside = values(model, forgotten, 'npo', 4, retained=other)[-1]
  assert likelihood(model, other, beside) > likelihood(model, other, alone)
  assert (likelihood(model, forgotten, beside) < likelihood(
      model, forgotten, PART.init(model.config)))


@pytest.mark.parametrize('made, message', [
    (lambda: Moving('sideways'), "loss='sideways' must be one of descent"),
    (lambda: Moving(rate=0.0), 'rate=0.0 must be positive'),
    (lambda: ForgettingConfig('hope'), "method='hope' must be one of close"),
    (lambda: ForgettingConfig(most=0), 'most=0 must be at least 1')])
def test_bad_settings(made, message):
  with pytest.raises(ValueError, match=message):
    made()
