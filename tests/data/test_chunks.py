"""How a document is cut: exactly, in time linear in its length."""

import random

import pytest

from sleepjax.data import chunks, words
from sleepjax.data.documents import Document
from sleepjax.data.prompts import ChatPrompts

TABLE = '| tower | height |\n|---|---|\n' + ''.join(
    f'| Skarrow {i} | {i} m |\n' for i in range(90))
CODE = ''.join(
    f'def area_{i}(width):\n\n    return  width * {i}\t# squared\n'
    for i in range(40))


@pytest.fixture(scope='module')
def chat(byte_tokenizer):
  return ChatPrompts(byte_tokenizer)


@pytest.mark.parametrize('text', [
    TABLE, CODE, 'So long lives this,\n  and this gives life to thee;\n' * 40,
    'lighthouse ' * 300, 'x' * 2000, '灯塔建于一九一一年' * 90,
    'a \n\n\t b ' * 300, 'ประภาคารสร้าง ' * 60])
def test_every_character_is_kept(chat, text):
  found = chunks.wake_chunks(chat, Document('T', text), 256, 1000)
  assert ''.join(chunk.text for chunk in found) == text
  sizes = [len(chat.document(chunk.text)) for chunk in found]
  assert max(sizes) <= 256 and min(sizes[:-1]) > 40
  assert {chunk.title for chunk in found} == {'T'}


def test_rows_and_lines_stay_whole(chat):
  for chunk in chunks.wake_chunks(chat, Document('', TABLE), 256, 1000):
    assert all(line.count('|') in (3, 4) and line.startswith('|')
               for line in chunk.text.strip().split('\n'))


def by_hand(text, starts, fits):
  """The furthest end that fits, found by trying all."""
  ends, at, parts = [s for s in starts if s] + [len(text)], 0, []
  while at < len(text):
    following = min(e for e in ends if e > at)
    for places in (ends, [at + e for e in words.word_ends(text[at:following])],
                   range(at + 1, following)):
      fitting = [e for e in places if e > at and fits(text[at:e])]
      if fitting:
        break
    parts.append(text[at:max(fitting, default=at + 1)])
    at += len(parts[-1])
  return parts


def test_stretches_are_as_long_as_can_be():
  draw = random.Random(0)
  for _ in range(300):
    text = ''.join(draw.choices('ab  灯\n', k=draw.randint(1, 80)))
    starts = sorted(draw.sample(range(len(text)), min(len(text), 6)))
    longest = draw.randint(1, 20)
    fits = lambda part, longest=longest: len(part.strip()) <= longest
    assert chunks.fitting_parts(text, starts, fits, 1000) == by_hand(
        text, starts, fits)


@pytest.mark.parametrize('unit', [
    'One sentence of the sea. ', 'word ', 'x', '灯', 'a\n'])
def test_work_grows_as_the_text(unit):
  """Characters that are encoded, of a text and of one four times as long."""
  def work(number):
    seen = 0
    def fits(part):
      nonlocal seen
      seen += len(part)
      return len(part) <= 400
    text = unit * number
    starts = range(0, len(text), 25) if '.' in unit else (0,)
    chunks.fitting_parts(text, starts, fits, 6400)
    return seen
  assert work(64_000) < 5 * work(16_000)
