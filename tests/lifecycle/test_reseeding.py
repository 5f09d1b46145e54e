"""Nights that leant on a forgotten one, trained on their own answers."""

import dataclasses

import jax
import numpy as np
import pytest

from sleepjax import library
from sleepjax.data import world
from sleepjax.data.documents import Question
from sleepjax.errors import UserError
from sleepjax.growth import nights
from sleepjax.lifecycle import reseeding
from sleepjax.lifecycle.config import SleepConfig
from sleepjax.lifecycle.reseeding import Reseeding
from sleepjax.model import load_pretrained
from sleepjax.models.hashes import base_sha256
from sleepjax.seeding.settings import SeedingConfig
from sleepjax.writing.dreamer import DreamConfig, Dreamer
from tests.some_nights import slept

QUESTIONS = world.questions(world.known_facts()[:32], 'direct')
PROMPTS = {number: [q.question for q in QUESTIONS[start:start + 8]]
           for number, start in ((1, 0), (2, 8), (3, 16))}
SETTINGS = SleepConfig(
    answer_prompt='{question}', unroll=False, matmul_dtype='float32',
    dreaming=None, memories=0, max_retention_divergence=10.0,
    dreams=DreamConfig(prompt_tokens=16, completion_tokens=8, batch_rows=16),
    seeding=SeedingConfig(rows=8, retention_rows=8))
PLAN = Reseeding(40, PROMPTS, 1e-2, SETTINGS)


@pytest.fixture(scope='module')
def three():
  """Nights of which the second and third were learnt on the first."""
  model = load_pretrained('tiny-world')
  for seed, scale in ((1, 3.0), (2, 0.5), (3, 0.5)):
    model = slept(model, seed, (0, 1, 2), exam=[], scale=scale)
  return model


@pytest.fixture(scope='module')
def reseeded(three):
  closed = nights.forget(three, 1)
  return closed, *reseeding.reseeded(three, closed, PLAN)


def answers(model, prompts):
  ready = SETTINGS.for_compute(model)
  dreamer = Dreamer(ready, SETTINGS.dreams)
  return dreamer.texts(dreamer.write(
      [*map(ready.chat.closed_book, prompts)], jax.random.key(0),
      temperature=0.0))


@pytest.mark.slow
def test_they_say_what_they_said(three, reseeded):
  closed, model, done = reseeded
  assert set(done) == {2, 3}
  assert not any(hand_over.rolled_back for hand_over in done.values())
  own = PROMPTS[2] + PROMPTS[3]
  before, between, after = (
      answers(one, own) for one in (three, closed, model))
  same = lambda said: sum(a == b for a, b in zip(said, before))
  # Without the first night they say something else.
  assert same(between) <= 8 and same(after) >= 13, (
      same(between), same(after))


@pytest.mark.slow
def test_nothing_else_is_touched(three, reseeded):
  closed, model, _ = reseeded
  assert base_sha256(model.config, model.params) == base_sha256(
      closed.config, closed.params)
  pool = model.params['layers']['slots']
  gone = three.nights()[0].slot
  for leaf in jax.tree.leaves(pool):
    assert not np.asarray(leaf)[:, gone].any()
  assert np.array_equal(pool['open'], closed.params['layers']['slots']['open'])


@pytest.mark.slow
def test_records_say_who_leans_on_whom(reseeded):
  closed, model, _ = reseeded
  second, third = model.nights()
  assert (second.number, third.number) == (2, 3)
  assert second.learnt_on == (third.sha256,)
  assert third.learnt_on == (second.sha256,)
  assert second.settings['reseeded.updates'] == 40
  for old, new in zip(closed.nights(), model.nights()):
    assert old.sha256 != new.sha256
    nights.take_out(model, new.number)  # It is what its record says.
    assert not nights.forgets_exactly(model, new.number)
  assert model.lineage['forgotten'] == [{'number': 1, 'exact': False}]


@pytest.mark.slow
def test_only_what_leant_on_it_is_trained(three):
  closed = nights.forget(three, 2)
  plan = dataclasses.replace(PLAN, updates=1)
  model, done = reseeding.reseeded(three, closed, plan)
  assert set(done) == {3}
  first, third = model.nights()
  assert first == closed.nights()[0]
  assert third.learnt_on == (first.sha256,)
  assert reseeding.reseeded(three, nights.forget(three, 3), plan)[1] == {}
  assert reseeding.reseeded(three, closed, dataclasses.replace(
      plan, updates=0)) == (closed, {})


def test_what_the_forgotten_was_asked_is_asked_of_nobody(three):
  shared = {**PROMPTS, 3: PROMPTS[2]}
  with pytest.raises(UserError, match='night 3 .Day 3. was learnt while'):
    reseeding.reseeded(three, nights.forget(three, 2), dataclasses.replace(
        PLAN, prompts=shared))


def test_exams_stay_exams(three):
  asked = slept(three, 4, exam=[
      Question(prompt, 'x') for prompt in PROMPTS[3]])
  with pytest.raises(UserError, match='night 3 .Day 3. .*of an exam'):
    reseeding.reseeded(asked, nights.forget(asked, 1), PLAN)


def test_what_a_run_has_saved(three):
  dream = lambda prompt, kind='question': {'kind': kind, 'prompt': prompt}
  written = [[dream('b'), dream('a'), dream('c', 'recall'), dream('a')],
             [dream('d')]]
  for progress in ({'dreams': written},
                   {'sleeps': [{'texts': texts} for texts in written]}):
    run = dataclasses.replace(three, lineage={
        **three.lineage, 'progress': progress})
    # The first night was there before the run.
    assert reseeding.saved_prompts(run) == {2: ['a', 'b'], 3: ['d']}
    assert reseeding.saved_prompts(nights.forget(run, 1)) == {}
  with pytest.raises(UserError, match='nothing is saved of what it was asked'):
    library.forget(three, 1, reseed=Reseeding(settings=SETTINGS))


@pytest.mark.slow
def test_the_report_says_what_it_did(three):
  less, report = library.forget(three, 2, reseed=dataclasses.replace(
      PLAN, updates=1))
  assert not report['exact'] and len(less.nights()) == 2
  entry, = report['reseeded']
  assert entry['night'] == 3 and not entry['rolled_back']
  assert all(set(night['knows']) == {'before', 'closed', 'after'}
             for night in report['nights'])
