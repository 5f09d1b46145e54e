"""Books as streams: what is hidden is where it is said to be, and looked up."""

import dataclasses
import re

import jax
import numpy as np
import pytest

from sleepjax.data import babi, haystack
from sleepjax.errors import UserError
from sleepjax.evals import answers
from sleepjax.memory.continuum import ContinuumConfig
from sleepjax.memory.wake import WakeConfig
from sleepjax.sampling import context
from sleepjax.tasks import long_stream
from sleepjax.tasks.haystack import HaystackConfig, whole_windows
from sleepjax.tasks.long_stream import Reader
from tests.world_runs import random_model

NEEDLES = HaystackConfig('needles', tokens=768, window=96, texts=2, needles=3,
                         answer_tokens=2)
STORY = ('1 Ann got the milk there.\n2 Ann went to the hall.\n'
         '3 Where is the milk? \thall\t1 2\n4 Ann went to the barn.\n'
         '5 Where was the milk before the barn? \thall\t1 2 4\n')


@pytest.fixture(scope='module')
def model(byte_tokenizer):
  return dataclasses.replace(random_model(), tokenizer=byte_tokenizer)


@pytest.fixture
def book(tmp_path, monkeypatch):
  """A book that says what each of its sentences is."""
  monkeypatch.setenv('SLEEPJAX_DATA_DIR', str(tmp_path))
  path = tmp_path / 'book.txt'
  path.write_text('\n'.join(
      f'This is the sentence of number {n} in it.' for n in range(9000)))
  return str(path)


def text_of(bed, tokenizer):
  return tokenizer.decode(np.concatenate(bed.windows))


def test_needles_stand_where_they_are_said_to(model, book):
  config = dataclasses.replace(NEEDLES, book=book)
  beds = config.beds(model, 1)
  assert len(beds) == 2
  for bed in beds:
    text = text_of(bed, model.tokenizer)
    assert [len(ids) for ids in bed.windows] == [96] * 8 and len(text) == 768
    assert len(bed.told) == 3
    for told in bed.told:
      (question,) = told.questions
      assert question.question.startswith('What is the number on the ')
      assert question.question.endswith('? Answer with one word.')
      sentence = (f'The number on the {" ".join(told.words)} is '
                  f'{question.answer}.')
      assert text[told.token:].lstrip().startswith(sentence)
      assert told.window == told.token // 96
      assert question.answer in bed.candidates and len(bed.candidates) == 3
  # Each text goes on in the book where the one before it stopped.
  numbers = [int(n) for bed in beds for n in re.findall(
      r'number (\d+) in', text_of(bed, model.tokenizer))]
  assert len(set(numbers)) == len(numbers) and min(numbers) >= 2000
  again, other = config.beds(model, 1), config.beds(model, 2)
  assert text_of(again[0], model.tokenizer) == text_of(beds[0], model.tokenizer)
  assert text_of(other[0], model.tokenizer) != text_of(beds[0], model.tokenizer)


def test_depths_are_kept_to(model, book):
  deep = dataclasses.replace(NEEDLES, book=book, depths=(0.8, 1.0))
  for bed in deep.beds(model, 0):
    assert min(told.token for told in bed.told) > 0.6 * 768
  shallow = dataclasses.replace(NEEDLES, book=book, depths=(0.1, 0.2))
  for bed in shallow.beds(model, 0):
    assert max(told.token for told in bed.told) < 0.5 * 768


def test_stories_of_babi(model, book, monkeypatch):
  monkeypatch.setattr(babi, 'read', lambda task, split: babi.parse(
      STORY, f'{task} {split}')[task - 2:task - 1])
  for kind, first in (('qa2', 'Ann got the milk'), ('qa3', 'Ann got the milk')):
    config = dataclasses.replace(NEEDLES, kind=kind, book=book, texts=1)
    bed, = config.beds(model, 0)
    text, (told,) = text_of(bed, model.tokenizer), bed.told
    assert told.words == ('milk',) and bed.candidates == ('hall',)
    assert told.questions[0].answer == 'hall'
    # All that its story says, in order; the first that is needed says how far.
    hidden = re.findall(r'Ann [\w ]+\.', text)
    assert hidden == ['Ann got the milk there.', 'Ann went to the hall.',
                      'Ann went to the barn.'][:2 + (kind == 'qa3')]
    assert text[told.token:].lstrip().startswith(first)


@pytest.mark.slow
def test_bm25_puts_the_window_of_a_needle_in_view(model, book, monkeypatch):
  """And `truncated` what fits of the end, where there is none."""
  config = dataclasses.replace(
      NEEDLES, book=book, texts=1, window=192, needles=2, depths=(0.1, 0.4))
  bed, = config.beds(model, 3)
  seen, read = [], context.read_prefix
  monkeypatch.setattr(long_stream.context, 'read_prefix', lambda *args: (
      seen.append(model.tokenizer.decode(args[2])), read(*args))[1])
  life = Reader(model, bed).rival('truncated')
  assert [text.count('sentence') for text in seen] == [
      text_of(bed, model.tokenizer)[-2 * 192:].count('sentence')]
  assert [a.end for a in life.asked] == [True] * 2
  assert life.known == (None, None)
  seen.clear()
  Reader(model, bed).rival('bm25')
  whole = [told for told in bed.told if (told.token + 50) // 192 == told.window]
  assert whole
  assert all(any(answers.contains(text, told.questions[0].answer)
                 for text in seen) for told in whole)
  assert max(map(len, seen)) < 2 * 192


@pytest.mark.slow
def test_levels_read_a_book(model, book):
  """Of a model whose levels do not learn nothing changes."""
  config = dataclasses.replace(NEEDLES, book=book, texts=1)
  bed, = config.beds(model, 3)
  life = Reader(model, bed).live(
      ContinuumConfig(WakeConfig((96, 192), (0.0,)), None, slot_rank=2),
      lambda grown: 1 / 0, jax.random.key(0))
  assert life.asked == Reader(model, bed).rival('nothing').asked
  row = long_stream.row_of([life])
  assert row['known_after'] is None and len(row['at_end']) == 3


def test_the_end_of_a_book(byte_tokenizer):
  made = haystack.Haystack(('Bo sat.', 'Ann ran.'), (1,))
  encode = byte_tokenizer.encode
  ids, starts = whole_windows(encode, made, iter(['Before.', 'More.']), 28)
  assert byte_tokenizer.decode(ids) == 'fore. More. Bo sat. Ann ran.'
  assert starts == [len('fore. More. Bo sat.')]
  with pytest.raises(UserError, match='tokens=40: the book ends before'):
    whole_windows(encode, made, iter(['Before.']), 40)
  with pytest.raises(UserError, match='what is hidden begins 1 tokens before'):
    whole_windows(encode, made, iter([]), 8)


@pytest.mark.parametrize('fields, message', [
    (dict(kind='qa4'), "kind='qa4' must be one of qa1, qa2"),
    (dict(tokens=700), 'tokens=700 must be whole windows of 512'),
    (dict(tokens=256), 'one at least'),
    (dict(depths=(0.5, 0.2)), 'must be two shares'),
    (dict(prompt='Where?'), "prompt='Where.' must contain {question}"),
    (dict(texts=0), 'texts=0 must be at least 1')])
def test_settings_are_checked(fields, message):
  with pytest.raises(ValueError, match=message):
    HaystackConfig(**fields)
