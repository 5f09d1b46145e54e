"""Joining what was learnt apart: what is asked, kept and learnt."""

import dataclasses

import jax
import numpy as np
import pytest

from sleepjax.data import world
from sleepjax.dreaming import joining
from sleepjax.dreaming.joining import Recalled, counted, learnt_answers
from sleepjax.dreaming.settings import JoiningConfig
from sleepjax.dreaming.tasks import Memory, make_task
from sleepjax.errors import UserError
from sleepjax.growth import slots
from sleepjax.growth.learner import Learner
from sleepjax.model import load_pretrained
from sleepjax.seeding import loop
from sleepjax.seeding.consolidation import Guard
from sleepjax.seeding.examples import joined, paired_examples
from sleepjax.seeding.settings import SeedingConfig
from sleepjax.training.observer import Watched
from sleepjax.writing.dreamer import DreamConfig, Dreamer

SETTINGS = JoiningConfig(
    prompt_tokens=20, dream_tokens=16, questions=4, write_back_steps=2)
KNOWN = world.KNOWN_NAMES[:6]


SENTENCES = ['Bokar learns from Lobor.', 'The home of Lobor is in Oslo.',
             'Mador lives in Riga.', 'Dodor lives in Lima.']


@pytest.mark.parametrize('reply, end', [
    ('The mentor of Bokar is Lobor. Lobor lives in Oslo.', 'Oslo'),
    (' The mentor of Bokar is Lobor. Lobor lives in Oslo. The mentor', 'Oslo'),
    ('The mentor of Bokar is Lobor. Lobor lives in', None),  # Was cut.
    ('Lobor lives in Oslo.', None), ('Oslo', None), ('..', None), ('', None)])
def test_the_end_of_the_second_step_is_the_answer(reply, end):
  assert joining.final_answer(reply, SENTENCES) == end


@pytest.mark.parametrize('reply', [
    'The mentor of Bokar is Mador. Mador lives in Riga.',  # A wrong mentor.
    'The mentor of Dodor is Lobor. Lobor lives in Oslo.',  # Nobody said who.
    'The mentor of Bokar is Lobor. Lobor lives in Riga.',  # A wrong home.
    'The mentor of Bokar is Lobor. Mador lives in Riga.',  # Of somebody else.
    'The mentor of Bokar is Lobor. He lives in Oslo.'])
def test_what_was_not_recalled_is_no_step(reply):
  """A wrong recall is not kept, however many replies agree on it."""
  assert joining.final_answer(reply, SENTENCES) is None
  assert counted('?', [reply] * 4, SENTENCES)[2:] == (None, 0)


def test_replies_are_counted_by_their_end():
  right = 'The mentor of Bokar is Lobor. Lobor lives in Oslo.'
  other = 'The mentor of Bokar is Dodor. Dodor lives in Lima.'
  said = counted('?', [other, right, 'Oslo', right], [
      *SENTENCES, 'The mentor of Bokar is Dodor.'])
  assert (said.answer, said.agreeing) == ('Oslo', 2)
  assert said.replies == [other, right, 'Oslo', right]


def recalled_of(*answers):
  """Questions with an answer and how many replies agree."""
  return [Recalled(f'Question {i}?', [], answer, agreeing)
          for i, (answer, agreeing) in enumerate(answers)]


def test_what_is_not_agreed_on_is_not_kept():
  """Of four replies three have to end alike."""
  recalled = recalled_of(('Oslo', 3), ('Lima', 2), ('Riga', 4), (None, 0))
  rng = np.random.default_rng(0)
  assert learnt_answers(recalled, SETTINGS, rng) == ['Oslo', None, 'Riga', None]
  all_agree = dataclasses.replace(SETTINGS, agreeing=4)
  assert learnt_answers(recalled, all_agree, rng) == [None, None, 'Riga', None]


def test_shuffled_answers_are_those_of_others():
  recalled = recalled_of(
      ('Oslo', 3), ('Lima', 2), ('Riga', 4), ('Paris', 4), ('Cairo', 3))
  shuffled = dataclasses.replace(SETTINGS, shuffled=True)
  for seed in range(20):
    learnt = learnt_answers(recalled, shuffled, np.random.default_rng(seed))
    assert learnt[1] is None
    assert all(answer != r.answer for answer, r in zip(learnt, recalled))
    assert {*learnt} - {None} == {'Oslo', 'Riga', 'Paris', 'Cairo'}
  alone = learnt_answers(recalled[:2], shuffled, np.random.default_rng(0))
  assert alone == [None, None]


@pytest.fixture(scope='module')
def tiny():
  return load_pretrained('tiny-world').for_compute('float32', False)


@pytest.fixture(scope='module')
def dreamer(tiny):
  return Dreamer(tiny, DreamConfig(
      prompt_tokens=20, completion_tokens=16, batch_rows=32))


MENTORS = {fact.person: fact.value for fact in world.known_facts()
           if fact.attribute == 'mentor'}


def memory_of(names, homes=True):
  starts = [f'The mentor of {name} is' for name in names]
  if homes:
    starts += [f'{MENTORS[name]} lives in' for name in names]
  return Memory(0, (('Who is the mentor of Bokar?', ''), *(
      (world.RECALL, start) for start in starts)),
                (('Who is the mentor of Bakar?', 'Bokar'),), 0)


def recall(dreamer, memory, avoid=()):
  return joining.recall(dreamer, [memory], SETTINGS, jax.random.key(3), avoid)


@pytest.fixture(scope='module')
def recalled(dreamer):
  return recall(dreamer, memory_of(KNOWN))


def kept_of(recalled):
  return [r for r in recalled if r.agreeing >= SETTINGS.agreeing]


def test_the_pretrained_model_joins_what_it_has_long_known(recalled):
  """It asks as a night asks, about those whom its own sentences name."""
  assert {len(r.replies) for r in recalled} == {SETTINGS.samples}
  kept = kept_of(recalled)
  assert {world.wording_of(r.question) for r in kept} == {'asked'}
  assert len(kept) >= 4
  assert [r.answer for r in kept] == [
      world.answer_to(r.question, world.known_facts()) for r in kept]


def test_a_second_step_that_it_has_not_recalled_is_not_kept(dreamer):
  """The same mentors, whose homes it would know."""
  assert not kept_of(recall(dreamer, memory_of(KNOWN, homes=False)))


def test_what_must_not_be_asked_is_not_asked(dreamer, recalled):
  again = recall(dreamer, memory_of(KNOWN), [recalled[0].question])
  assert [r.question for r in again] == [r.question for r in recalled[1:]]


def test_what_a_night_has_learnt_is_not_asked_again(dreamer, recalled):
  memory = memory_of(KNOWN)
  memory = dataclasses.replace(memory, prompts=(
      *memory.prompts, (recalled[1].question, '')))
  assert [r.question for r in recall(dreamer, memory)] == [
      r.question for r in recalled if r != recalled[1]]


def seeder_of(model):
  config, params = slots.allocate_pool(model.config, model.params, 1, 2)
  learner = Learner(config, params, index=0)
  learner = learner.with_value(slots.new_slot(config, jax.random.key(0), 2))
  examples = paired_examples(config, params, [([3, 4, 5], [7, 8])] * 12, 16)
  return loop.Seeder(learner, SeedingConfig(
      steps=4, rows=4, on_policy=0.25), loop.Terms(examples))


@pytest.mark.parametrize('shuffled', [False, True])
def test_what_is_learnt_is_the_question_with_the_kept_answer(
    shuffled, tiny, dreamer, recalled, monkeypatch):
  """Of the control, the same questions with one another's answers.

  Of a night of 12 rows as many; τ is over both.
  """
  written, chat = [], tiny.chat
  monkeypatch.setattr(joining.write_back_lib, 'write_back', lambda *given: (
      written.append(given) or ('slot', None)))
  monkeypatch.setattr(joining, 'recall', lambda *given: recalled)
  seeder = seeder_of(load_pretrained('tiny-world'))
  settings = dataclasses.replace(SETTINGS, shuffled=shuffled)
  task = make_task(memory_of(KNOWN), chat, 20, 16)
  slot, generator, report = joining.dream(
      seeder.learner, dreamer, seeder, settings, joining.Recollections(
          task, [memory_of(KNOWN)]), Guard(), jax.random.key(0),
      Watched(lambda *heard: None))
  (words, _, dreams, held_in, *_), = written
  assert (slot, generator) == ('slot', None)
  assert (words.settings.target, words.settings.on_policy,
          words.settings.steps) == ('tokens', 0, 2)
  assert dreams.hidden is None
  learnt = [(chat.tokenizer.decode(prompt[mask].tolist()),
             chat.tokenizer.decode(answer[real].tolist()).strip())
            for prompt, mask, answer, real in zip(*dreams.student)]
  kept = kept_of(recalled)
  assert len(kept) == sum(r['learnt'] is not None for r in report.recalled)
  assert len(kept) >= 4
  assert learnt == learnt[:len(kept)] * round(12 / len(kept))
  assert held_in.completion_mask.any(1).sum() == 1 + len(kept)
  for (prompt, answer), r in zip(learnt, kept):
    assert r.question in prompt.replace(' ?', '?')
    assert (answer == r.answer) is not shuffled


def test_examples_without_a_teacher_are_joined_with_others(tiny):
  pairs = [([3, 4, 5], [7, 8])], [([6, 7], [1])]
  examples = [paired_examples(tiny.config, tiny.params, pair, 4, taught=taught)
              for pair, taught in zip(pairs, (True, False))]
  both = joined(*examples)
  assert both.hidden is None and len(both) == 2
  assert both.student.completion[:, :2].tolist() == [[7, 8], [1, 0]]
  assert joined(examples[0]).hidden is not None


@pytest.mark.parametrize('changes, message', [
    ({'ask_prompt': 'Ask.'}, "ask_prompt='Ask.' must contain {sentence}"),
    ({'stepwise_prompt': ''}, "stepwise_prompt='' must contain {question}"),
    ({'agreeing': 5}, 'agreeing=5 must be from 1 to samples=4'),
    ({'rounds': 1}, 'rounds=1 must be 0')])
def test_joining_that_cannot_be(changes, message):
  with pytest.raises(UserError, match=message):
    JoiningConfig(**changes)
