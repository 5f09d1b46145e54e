"""Rows of a night of messages and replies, by hand."""

import dataclasses

import pytest

from sleepjax.data.cipher_tokenizer import build_tokenizer
from sleepjax.data.prompts import ChatPrompts
from sleepjax.lifecycle.config import SleepConfig
from sleepjax.tasks import pairs
from sleepjax.tasks.pairs import InView, Told

CHAT = ChatPrompts(build_tokenizer())
ROWS = [Told('dog', 'cat'), Told('king', 'farmer'), Told('hears', 'bird')]
STORED = [Told('woman', 'finds'), Told('snake', 'horse')]
OTHERS = [InView('dog means king .', [Told('dog', 'king')])]


@pytest.fixture
def settings():
  base = SleepConfig(dreaming=None, source='text', trained='all_layers')
  return lambda **seeding: dataclasses.replace(
      base, replay=seeding.pop('replay', False),
      dreams=dataclasses.replace(base.dreams, completion_tokens=2),
      seeding=dataclasses.replace(base.seeding, **{
          'rehearsal': 0.0, 'retention': 0.0, **seeding}))


def words(settings, stored=STORED):
  return pairs.words_of('t', CHAT, settings, ROWS, stored, iter(OTHERS))


def test_replies_end_and_are_cut(settings):
  found = words(settings())
  assert [dream.prompt for dream in found.dreams] == ['dog', 'king', 'hears']
  assert [CHAT.tokenizer.backend.id_to_token(i)
          for i in found.dreams[1].completion] == ['farmer', '<end>']
  cut = dataclasses.replace(settings(), dreams=dataclasses.replace(
      settings().dreams, completion_tokens=1))
  assert len(words(cut).dreams[0].completion) == 1
  assert not (found.kept or found.again or found.rehearsed)


def test_stored_rows_are_used_as_the_settings_say(settings):
  prompts = lambda some: [dream.prompt for dream in some]
  assert prompts(words(settings(replay=True)).dreams) == [
      'dog', 'king', 'hears', 'woman', 'snake', 'woman']
  assert prompts(words(settings(replay=True), ()).dreams) == [
      'dog', 'king', 'hears']
  assert prompts(words(settings(ewc=1.0)).again) == ['woman', 'snake']
  kept = words(settings(retention=1.0)).kept
  assert [CHAT.tokenizer.decode(ids) for _, ids in kept] == ['finds', 'horse']
  assert kept[0][0] == CHAT.closed_book('woman')


def test_others_are_rehearsed_with_their_text_in_view(settings):
  (prompt, reply), = words(settings(rehearsal=1.0)).rehearsed
  assert [CHAT.tokenizer.backend.id_to_token(i) for i in prompt] == [
      '<user>', 'dog', 'means', 'king', '.', 'dog', '<assistant>']
  assert CHAT.tokenizer.decode(reply) == 'king'
