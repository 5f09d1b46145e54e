"""Rows of languages are books and translations by them."""

import numpy as np
import pytest

from sleepjax.data import cipher_tokenizer, ciphers
from sleepjax.data.ciphers import NOUNS, VERBS
from sleepjax.data.prompts import ChatPrompts
from sleepjax.pretraining import cipher_batches
from sleepjax.pretraining.cipher_batches import CipherRows

ROWS = CipherRows(rows=30, turns=6, known_share=0.3, word_share=0.3)


def read(row):
  """(context, turns) of a row as texts, its turns in order."""
  tokens, turn, weight = row
  backend = cipher_tokenizer.build_tokenizer().backend
  parts = [' '.join(backend.id_to_token(i) for i in tokens[turn == number])
           for number in range(int(turn.max()) + 1)]
  for number, part in enumerate(parts):
    learnt = weight[turn == number]
    reply = len(part.split(' <assistant> ')[1].split()) if number else 0
    assert learnt.tolist() == [0.0] * (len(learnt) - reply) + [1.0] * reply
  return parts[0], parts[1:]


def test_every_translation_follows_from_the_book():
  made = cipher_batches.sample_rows(ROWS, 5)
  assert made.tokens.shape == (30, ROWS.length)
  known, sizes, single = 0, set(), 0
  for row in zip(*made, strict=True):
    assert (row[1] == -1).argmax() and not row[2][row[1] == -1].any()
    context, turns = read(row)
    if context == '<user>':
      words = {own: ours for ours, own in ciphers.known().words.items()}
      order, known = ciphers.known().order, known + 1
    else:
      entries, order = context.removeprefix('<user> ').split(
          'order of words : ')
      words = dict(entry.split(' means ')
                   for entry in entries.strip().removesuffix(' .').split(' . '))
      order = order.removesuffix(' .').split()
      assert not set(words) & set(ciphers.known().words.values())
      assert set(words.values()) & {*VERBS}
      assert len(set(words.values()) & {*NOUNS}) >= 2
      sizes.add(len(words))
    assert len(turns) == 6
    for turn in turns:
      said, meaning = turn.removesuffix(' <end>').split(' <assistant> ')
      meant = [words[word] for word in said.split()]
      if len(meant) == 1:
        assert meaning == meant[0]
        single += 1
      else:
        by_role = dict(zip(order, meant, strict=True))
        assert meaning == ' '.join(by_role[role] for role in ciphers.ROLES)
  assert 3 < known < 16 and 20 < single < 90
  assert min(sizes) < 6 and max(sizes) > 12


def test_a_row_is_what_is_asked_later():
  """Context and turn are the tokens of a prompt with the book in view."""
  chat = ChatPrompts(cipher_tokenizer.build_tokenizer())
  made = cipher_batches.sample_rows(ROWS, 5)
  for tokens, turn, _ in zip(*made, strict=True):
    context, turns = read((tokens, turn, _))
    said, meaning = turns[0].split(' <assistant> ')
    book = context.removeprefix('<user>').strip()
    prompt = chat.document(book) + chat.after_document(said) if book else (
        chat.closed_book(said))
    assert prompt + chat.tokenizer.encode(meaning) == tokens[
        turn <= 1][:len(prompt) + len(meaning.split())].tolist()


def test_rows_are_of_their_seed_alone():
  one, again, other = (cipher_batches.sample_rows(ROWS, seed)
                       for seed in ((0, 1), (0, 1), (0, 2)))
  for part, same in zip(one, again, strict=True):
    np.testing.assert_array_equal(part, same)
  assert (one.tokens != other.tokens).any()


def test_short_rows_have_the_length_that_is_asked_for():
  made = cipher_batches.sample_rows(CipherRows(rows=2, known_share=1.0), 0)
  assert made.tokens.shape == (2, 130)
  cut = cipher_batches.sample_rows(CipherRows(rows=2, length=40), 0)
  assert cut.weight.shape == (2, 40)


def test_bad_settings():
  with pytest.raises(ValueError, match='fewest=15 must be at most 14'):
    CipherRows(fewest=15)
  with pytest.raises(ValueError, match='word_share=2 must lie between'):
    CipherRows(word_share=2)
