"""Cipher languages by hand: words, orders, and what courses share."""

import numpy as np
import pytest

from sleepjax.data import cipher_tokenizer, ciphers
from sleepjax.data.ciphers import ENGLISH, ORDERS, ROLES, Language, Sentence
from sleepjax.data.prompts import ChatPrompts
from sleepjax.errors import UserError


def test_a_language_by_hand():
  spoken = Language({'dog': 'mo', 'sees': 'ka', 'cat': 'bu'},
                    ('object', 'verb', 'subject'))
  assert spoken.say(Sentence('dog', 'sees', 'cat')) == 'bu ka mo'
  assert spoken.say(Sentence('cat', 'sees', 'dog')) == 'mo ka bu'
  assert spoken.book() == (
      'bu means cat . ka means sees . mo means dog . '
      'order of words : object verb subject .')


def test_languages_share_no_word():
  known, new = ciphers.words()
  assert len({*known, *new, *ENGLISH, *ROLES}) == (
      len(known) + len(new) + len(ENGLISH) + len(ROLES))
  made = ciphers.drawn(0, 6)
  every = [word for spoken in made for word in spoken.words.values()]
  assert len(set(every)) == len(every) == 84 and set(every) == set(new)
  assert set(ciphers.known().words.values()) == set(known)
  assert all(tuple(spoken.words) == ENGLISH for spoken in made)
  orders = {ciphers.drawn(seed, 1)[0].order for seed in range(60)}
  assert orders == {*ORDERS} - {ROLES}
  assert ciphers.drawn(0, 6) == made != ciphers.drawn(1, 6)
  with pytest.raises(UserError, match='7 languages: expected 1 to 6'):
    ciphers.drawn(0, 7)


def test_no_sentence_of_the_exam_is_learnt():
  made = ciphers.courses(3, 2, days=3, pairs=20, exam=30)
  asked = [[pair.meaning for pair in course.exam] for course in made]
  assert asked[0] == asked[1] and len(set(asked[0])) == 30
  for course, spoken in zip(made, ciphers.drawn((3, 12), 2), strict=True):
    learnt = [pair for day in course.days for pair in day]
    assert len({pair.meaning for pair in learnt}) == 60
    assert not {pair.meaning for pair in learnt} & set(asked[0])
    assert course.book == spoken.book()
    for pair in (*learnt, *course.exam):
      sentence = Sentence(*pair.meaning.split())
      assert pair.said == spoken.say(sentence)
      assert sentence.subject != sentence.object
  assert made[0].days != made[1].days
  with pytest.raises(UserError, match='336 sentences in all at most'):
    ciphers.courses(0, 2, days=11, pairs=30, exam=7)


def test_every_sentence_comes_once():
  every = ciphers.sentences(np.random.default_rng(0))
  assert len(set(every)) == len(every) == 8 * 6 * 7


def test_every_word_is_a_token():
  tokenizer = cipher_tokenizer.build_tokenizer()
  chat, spoken = ChatPrompts(tokenizer), ciphers.drawn(0, 1)[0]
  assert sorted(cipher_tokenizer.VOCABULARY.values()) == list(
      range(tokenizer.vocab_size))
  names = lambda ids: [tokenizer.backend.id_to_token(i) for i in ids]
  document = names(chat.document(spoken.book()))
  assert document == ['<user>', *spoken.book().split()]
  assert names(chat.after_document('zula fuli')) == [
      'zula', 'fuli', '<assistant>']
  assert names(chat.closed_book('zula fuli')) == [
      '<user>', 'zula', 'fuli', '<assistant>']
  assert tokenizer.decode(tokenizer.encode('dog sees cat')) == 'dog sees cat'
  content = cipher_tokenizer.is_content(200)
  assert names(np.flatnonzero(content).tolist()) == [
      *ENGLISH, *ciphers.words()[0], *ciphers.words()[1]]
