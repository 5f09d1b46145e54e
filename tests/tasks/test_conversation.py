"""A conversation, its nights, and what is kept of it, in the tiny world."""

import json

import jax
import numpy as np
import pytest

from sleepjax.data import world
from sleepjax.data.documents import Document
from sleepjax.errors import UserError
from sleepjax.growth import nights
from sleepjax.model import load_pretrained
from sleepjax.tasks.conversation import Conversation
from tests.docs.test_readme import SETTINGS

DAY = world.day(0, 0)


@pytest.fixture(scope='module')
def model():
  return load_pretrained('tiny-world')


@pytest.fixture
def talk(model):
  return Conversation(model, SETTINGS)


def test_what_was_read_and_said_is_in_context(talk):
  talk.read(DAY.document)
  for question in DAY.questions('direct')[:2]:
    assert talk.say(question.question).lower() == question.answer.lower()
  # A question about what was told comes to the same as one about a text.
  assert [turn['role'] for turn in talk.turns] == 2 * ['user', 'assistant']
  assert talk._encoded(talk.turns[:1]) == talk.model.tokenizer.encode(
      talk.model.tokenizer.render_chat([{'role': 'user', 'content': (
          f'{DAY.text.strip()}\n\n{talk.turns[0]["content"]}')}]))


def test_what_is_told_is_what_is_slept_on(talk):
  assert talk.day() == []
  talk.turns = [{'role': 'user', 'content': 'Ann lives in Oslo.'},
                {'role': 'assistant', 'content': 'Secret.'},
                {'role': 'user', 'content': 'Where does Ann live?'},
                {'role': 'assistant', 'content': 'Oslo.'}]
  told = Document('Conversation', 'Ann lives in Oslo.')
  assert talk.day() == [told]
  talk.read(DAY.document)
  assert talk.day() == [DAY.document, told]


def test_what_was_said_first_is_left_out_where_it_is_too_long(
    talk, monkeypatch):
  long = ' '.join(['Bokar lives in Oslo.'] * 90)
  talk.turns = [{'role': 'user', 'content': long},
                {'role': 'assistant', 'content': 'Yes.'}]
  seen = []
  encoded = talk._encoded
  monkeypatch.setattr(
      talk, '_encoded', lambda turns: seen.append(len(turns)) or encoded(turns))
  talk.say('Where does Bokar live?')
  assert seen == [3, 1] and len(talk.turns) == 4  # Only from the context.
  for _ in range(2):
    talk.read(Document('', long))
  with pytest.raises(UserError, match='Let it sleep on them, or say less'):
    talk.say('Where does Bokar live?')


def test_nothing_to_sleep_on(talk):
  talk.turns = [{'role': 'user', 'content': 'Who?'}]
  with pytest.raises(UserError, match='questions teach nothing'):
    talk.sleep()


@pytest.mark.slow
def test_nights_and_forgetting(model, talk):
  talk.read(DAY.document)
  first, = talk.sleep()
  assert (first.number, first.title) == (1, DAY.document.title)
  assert talk.turns == [] and talk.texts == []
  talk.turns = [{'role': 'user', 'content': world.day(0, 1).text}]
  second, = talk.sleep()
  assert second.title == 'Conversation' and second.learnt_on == (first.sha256,)
  assert set(talk.to_json()['learnt']) == {'1', '2'}
  # What is left of it after a break is all that there is.
  again = Conversation(talk.model, SETTINGS, saved=json.loads(
      json.dumps(talk.to_json())))
  assert again.to_json() == talk.to_json()
  closed = nights.forget(again.model, 1)
  exact, reseeded = again.forget(1, updates=2)
  assert not exact and set(reseeded) == {2}
  assert again.model.nights()[0].settings['reseeded.updates'] == 2
  assert again.model.nights()[0].sha256 != closed.nights()[0].sha256
  assert set(again.to_json()['learnt']) == {'2'}
  for number in (2, 1):  # No other night has leant on it.
    assert talk.forget(number, updates=2) == (True, {})
  assert talk.to_json()['learnt'] == {}
  pool = talk.model.params['layers']['slots']
  assert not np.asarray(pool['open']).any()
  assert all(not np.asarray(leaf).any() for leaf in jax.tree.leaves(pool))
