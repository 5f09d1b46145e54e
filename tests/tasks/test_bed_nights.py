"""Nights of the test beds: who is asked what and when, and what is counted."""

import dataclasses

import numpy as np
import pytest

from configs.beds import growth
from experiments import _config
from sleepjax.data import world, world_beds
from sleepjax.data.documents import Question
from sleepjax.dreaming.settings import JoiningConfig
from sleepjax.errors import UserError
from sleepjax.lifecycle.config import SleepConfig
from sleepjax.model import load_pretrained
from sleepjax.runs import nights
from sleepjax.tasks import bed
from sleepjax.tasks.bed import BedConfig, BedTask
from sleepjax.training.observer import silent
from tests.world_runs import random_model


@pytest.fixture(scope='module')
def small():
  return random_model()


def settings_of(**changes):
  sleep = growth.get_config().sleep
  sleep.dreams.questions_per_opening = 1
  sleep.dreams.open_prompts = ('Tell me about Bokar.',)
  sleep.seeding.update(steps=2, rows=4, retention_rows=4, warmup_steps=1)
  sleep.update_from_flattened_dict({'rehearsal_per_text': 0, **changes})
  return _config.to_dataclass(SleepConfig, sleep)


@pytest.fixture(scope='module')
def relational(small):
  task = BedTask(settings_of(), BedConfig(
      'relational', days=3, pairs=2, room=5, rehearsal_texts=0,
      remembered=4), 0)
  return nights.lived(task, small, task.settings)


@pytest.mark.slow
def test_after_every_night_all_is_asked_that_can_be_known(relational):
  """Of 2 pairs a day: links on days 0 and 1, homes on days 1 and 2."""
  model, report = relational
  assert model.config.num_slots == 5 and report['units'] == [2, 4, 6]
  asked = {exam: entry['asked_by_night']
           for exam, entry in report['exams'].items()}
  assert asked == {'one hop': [2, 6, 8], 'composite': [0, 2, 4],
                   'stepwise': [0, 2, 4]}


def test_what_is_counted_by_hand():
  """Two facts a night: the second night loses one of the first."""
  report = bed.summary({
      'right': {'direct': [[True, True], [True, False, True, False]],
                'composite': [[], [False, True]]},
      'in_view': [1.0, 0.5], 'known': [0.9, 0.8, 0.7], 'units': [2, 4],
      'dreaming': [{}, {}],
      'hand_overs': [{'rolled_back': False}, {'rolled_back': True}],
      'dreams': [[{'kind': 'question', 'prompt': 'Where does Bokar live?'}], [
          {'kind': 'question', 'prompt': 'What city does Bokar live in?'}]]})
  assert report['exams'] == {
      'direct': {'right': [True, False, True, False], 'asked_by_night': [2, 4],
                 'known_by_night': [2, 2], 'learnt': [1.0, 0.5],
                 'first_told': [1.0, 0.5]},
      'composite': {'right': [False, True], 'asked_by_night': [0, 2],
                    'known_by_night': [0, 1], 'learnt': [0.5],
                    'first_told': [None, 0.5]}}
  assert report['in_view_accuracy'] == 0.75
  assert report['sleeps_rolled_back'] == 1
  assert report['dreamt_in_exam_wording'] == 1


def test_the_second_step_of_a_stepwise_reply_is_its_answer(monkeypatch):
  """The pretrained model goes step by step among those whom it knows."""
  model = load_pretrained('tiny-world')
  settings = settings_of()
  task = BedTask(settings, BedConfig('relational', days=2, pairs=1), 0)
  asked = [Question(world.STEPWISE.format(question=q.question), q.answer)
           for q in world.composites(world.known_facts())[:40]]
  ready = settings.for_compute(model)
  assert np.mean(task.right(ready, 'stepwise', asked)) >= 0.9
  wrong = [dataclasses.replace(q, answer='nowhere') for q in asked]
  assert not any(task.right(ready, 'stepwise', wrong))
  replies = ['The mentor of Bokar is Dosol. Dosol lives in Oslo. Dosol is',
             'Dosol lives in Oslo.', 'Oslo', '']
  monkeypatch.setattr(
      bed.questions_lib, 'greedy_answers', lambda *args: replies)
  assert task.right(ready, 'stepwise', [Question('?', 'Oslo')] * 4) == [
      True, False, False, False]


def test_no_dream_may_ask_a_question_of_the_exam():
  task = BedTask(settings_of(), BedConfig(facts=20), 3)
  avoid = task.day(0, {'dreams': []}).avoid
  assert len(avoid) == 40
  assert {world.wording_of(question) for question in avoid} == {'exam'}


def test_upper_bounds_see_both_days_and_are_given_the_questions():
  """Composite ones in the wording that nights ask in, with right answers."""
  config = BedConfig('relational', days=3, pairs=2, two_days=True, given=True)
  task = BedTask(settings_of(), config, 0)
  first, second, third = task.bed.days
  days = [task.day(night, {'dreams': []}) for night in range(3)]
  assert [day.document.text for day in days] == [
      first.text, f'{first.text} {second.text}', f'{second.text} {third.text}']
  assert [len(day.given) for day in days] == [0, 2, 2]
  for question in days[2].given:
    assert world.wording_of(question.question) == 'asked'
    assert world.answer_to(
        question.question, second.facts + third.facts) == question.answer
  alone = BedTask(settings_of(), BedConfig(
      'relational', days=3, pairs=2), 0).day(
      1, {'dreams': []})
  assert not alone.given and alone.document.text == second.text


@pytest.mark.parametrize('changes, message', [
    ({'kind': 'moon'}, "kind='moon' must be one of capacity, relational"),
    ({'remembered': -1}, 'remembered=-1')])
def test_beds_that_cannot_be(changes, message):
  with pytest.raises(ValueError, match=message):
    BedConfig(**changes)


def test_a_day_that_is_too_long_is_refused(small):
  task = BedTask(settings_of(context_tokens=32), BedConfig(facts=20), 0)
  with pytest.raises(UserError, match='tell fewer facts a day'):
    task.prepare(small)


def test_what_days_answer_together_is_retained_step_by_step():
  """Of the days before: nothing on the first two nights, then a pair a day."""
  task = BedTask(settings_of(), BedConfig(
      'relational', days=4, pairs=1), 0)
  kept = [task.day(night, {'dreams': []}).remembered for night in range(4)]
  assert [len(prompts) for prompts in kept] == [0, 0, 1, 2]
  exam = {asked.question.question
          for asked in task.bed.exams['stepwise'].values()}
  for prompt in kept[3]:
    assert prompt.endswith(' Step by step.') and prompt not in exam
    assert world.wording_of(prompt.removesuffix(' Step by step.')) == 'asked'


def test_a_relational_day_is_told_about_person_by_person():
  task = BedTask(settings_of(), BedConfig('relational', days=3, pairs=2), 0)
  asked = task.day(1, {'dreams': []}).document.prompts
  assert asked == tuple(f'Tell me about {fact.person}.'
                        for fact in task.bed.days[1].facts)
  assert len(asked) == 4
  assert not BedTask(settings_of(), BedConfig(facts=20), 0).day(
      1, {'dreams': []}).document.prompts


def test_what_was_joined_is_counted_by_hand():
  """Bokar's mentor lives in Oslo, which is known from the second night on."""
  first = world.Fact('Bokar', 'mentor', 'Lobor')
  second = world.Fact('Lobor', 'city', 'Oslo')
  days = tuple(world.Day(n, (fact,), fact.statement())
               for n, fact in enumerate((first, second)))
  asked = 'Where does the mentor of Bokar live?'
  said = lambda question, answer, learnt: {
      'question': question, 'answer': answer, 'learnt': learnt}
  counts = bed.joined([
      {'recalled': [said(asked, 'Lima', 'Lima')]},
      {'recalled': [said(asked, 'Oslo', 'Riga'),
                    said('Where does the mentor of Lobor live?', 'Riga', None),
                    said('What city is home to the mentor of Bokar?', 'Oslo',
                         'Oslo')]}], world_beds.Bed(days, {}))
  assert counts == {'joined': {
      'recalled': [0, 2], 'kept': [1, 2], 'kept_right': [0, 2],
      'learnt_right': [0, 1], 'in_exam_wording': [0, 1]}}
  assert bed.joined([{}, {}], world_beds.Bed(days, {})) == {}


@pytest.mark.slow
def test_nights_that_join_go_on_as_long_as_others():
  """Two updates of seeding and three more, whether or not something is kept."""
  joining = JoiningConfig(
      prompt_tokens=20, dream_tokens=12, questions=2, write_back_steps=3)
  task = BedTask(
      dataclasses.replace(settings_of(), dreaming=joining), BedConfig(
          'relational', days=2, pairs=1, room=2, rehearsal_texts=0), 0)
  steps, observer = [], silent()
  observer.wrote = lambda phase, step, values: steps.append((
      phase, 'divergence' in values))
  _, report = nights.lived(
      task, load_pretrained('tiny-world'), task.settings, observer=observer)
  assert [steps.count((phase, True)) for phase in ('seed', 'dream')] == [4, 6]
  assert len(report['joined']['kept']) == 2
