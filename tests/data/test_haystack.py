"""Sentences hidden in a book, at depths and lengths worked out by hand."""

import doctest

import pytest

from sleepjax.data import haystack
from sleepjax.data.haystack import Haystack
from sleepjax.errors import UserError

WORDS = lambda sentence: len(sentence.split())


def hay(number=9):
  return iter([f'Hay {n}.' for n in range(number)])


def test_example():
  assert doctest.testmod(haystack).failed == 0


def test_depths_are_shares_of_the_book():
  # 3 + 1 + 4 · 2 = 12 words; a fifth sentence would make 14.
  book = hay()
  made = haystack.hide(['Ann has milk.', 'Bo.'], book, (0.25, 1.0), 13, WORDS)
  assert made == Haystack(('Hay 0.', 'Ann has milk.', 'Hay 1.', 'Hay 2.',
                           'Hay 3.', 'Bo.'), (1, 5))
  assert made.text == 'Hay 0. Ann has milk. Hay 1. Hay 2. Hay 3. Bo.'
  # The next text goes on in the book behind what did not fit.
  assert next(book) == 'Hay 5.'
  # In order at one place; before all else; in between.
  for depths, places in (((0.5, 0.5), (2, 3)), ((0, 0), (0, 1)),
                         ((0, 0.75), (0, 4)), ((1, 1), (4, 5))):
    made = haystack.hide(['Ann has milk.', 'Bo.'], hay(), depths, 13, WORDS)
    assert made.places == places
    assert [made.sentences[i] for i in places] == ['Ann has milk.', 'Bo.']
    assert [s for s in made.sentences if s[0] == 'H'] == [*hay(4)]


@pytest.mark.parametrize('tokens, depths, message', [
    (13, (0.5,), 'of 2 sentences: expected one of each'),
    (13, (0.5, 0.2), 'none before the one before it'),
    (13, (0.5, 1.2), 'from 0 to 1'),
    (3, (0.1, 0.2), 'tokens=3: the 2 sentences to hide have 4; allow more'),
    (29, (0.1, 0.2), 'tokens=29: the book ends 7 tokens before')])
def test_what_does_not_fit_is_refused(tokens, depths, message):
  with pytest.raises(UserError, match=message):
    haystack.hide(['Ann has milk.', 'Bo.'], hay(), depths, tokens, WORDS)


def test_sentences_of_a_book_in_pieces(tmp_path, monkeypatch):
  """No sentence is cut where a piece ends, and lines are unwrapped."""
  path = tmp_path / 'book.txt'
  path.write_text(
      'It was a long night\nin the old town of K. Nobody came to see them.\n\n'
      'Then the lamps went out, one\nafter another! Who had done this, and'
      ' when?\n')
  want = ['It was a long night in the old town of K. Nobody came to see them.',
          'Then the lamps went out, one after another!',
          'Who had done this, and when?']
  whole = list(haystack.book_sentences(path))
  assert ' '.join(whole) == ' '.join(want) and whole[-2:] == want[-2:]
  monkeypatch.setattr(haystack.text_stream, '_PIECE', 30)
  assert list(haystack.book_sentences(path)) == whole
  assert list(haystack.book_sentences(path, first=1)) == whole[1:]
  with pytest.raises(UserError, match='no such file'):
    haystack.book_sentences(tmp_path / 'none.txt')


def test_needles_differ_in_their_keys_alone():
  made = haystack.needles(3, 8)
  assert made == haystack.needles(3, 8) != haystack.needles(4, 8)
  keys = []
  for needle in made:
    key = needle.sentence.removeprefix('The number on the ').partition(' is ')
    assert key[0] == needle.key and key[2] == f'{needle.question.answer}.'
    assert needle.question.question == f'What is the number on the {key[0]}?'
    keys.append(key[0].split())
  assert len({n.question.answer for n in made}) == len(made) == 8
  assert len({' '.join(key) for key in keys}) == 8
  # Three kinds and three things: none says alone which needle is meant.
  assert {len({key[side] for key in keys}) for side in (0, 1)} == {3}
  assert len(haystack.needles(0, 144)) == 144
  for wrong in (0, 145):
    with pytest.raises(UserError, match='expected from 1 to 144 needles'):
      haystack.needles(0, wrong)
