"""Languages and their matrices by hand; what each night learns from."""

import dataclasses

import jax
import pytest

from configs.translation import arms, small
from experiments import _config
from sleepjax.data import cipher_tokenizer, ciphers
from sleepjax.errors import UserError
from sleepjax.evals import questions
from sleepjax.lifecycle.config import SleepConfig
from sleepjax.model import Model
from sleepjax.models import transformer
from sleepjax.models.config import ModelConfig
from sleepjax.runs.rows import Cell
from sleepjax.tasks import translation, translation_table
from sleepjax.tasks.translation import (
    Score,
    TranslationConfig,
    TranslationTask,
)

ASKED = TranslationConfig(days=2, pairs=6, stored=3, exam=5, rehearsed=2,
                          rehearsed_pairs=2, batch_rows=8)
DICTIONARY = {own: ours for language in (
    *ciphers.drawn((0, 12), 2), ciphers.known())
              for ours, own in language.words.items()}


@pytest.fixture(scope='module')
def model():
  config = ModelConfig(
      vocab_size=128, num_layers=2, embed_dim=16, mlp_dim=16, num_heads=2,
      num_kv_heads=2, head_dim=8, max_context=256)
  return Model(config, transformer.init(config, jax.random.key(0)),
               cipher_tokenizer.build_tokenizer())


@pytest.fixture
def bed():
  return translation.bed_of(ASKED, 0, '{question}')


def task(model, bed, arm='sleep', learnt=(0, 1), **bed_changes):
  config = small.get_config()
  sleep = arms.with_arm(config.sleep, arm, config.chosen)
  bed = dataclasses.replace(bed, config=dataclasses.replace(
      bed.config, **bed_changes))
  return TranslationTask(
      model, _config.to_dataclass(SleepConfig, sleep), bed, learnt)


def test_what_the_numbers_of_a_life_are():
  """Two languages, a night each, then as each is alone."""
  row = translation.row_of(
      [[Score(80.0, [True, True]), Score(20.0, [False, False])],
       [Score(50.0, [True, False]), Score(70.0, [True, True])]],
      [80.0, 76.0], [90.0, 85.0, 60.0])
  assert row['matrix'] == [[80, 20], [50, 70]]
  assert row['sequential'] == [50, 70] and row['single'] == [80, 76]
  assert (row['single_mean'], row['sequential_mean']) == (78, 60)
  assert (row['kept'], row['first_kept']) == (-18, -30)
  assert row['right'] == [True, False, True, True]
  assert (row['elsewhere_before'], row['elsewhere']) == (90, 60)


def test_nights_are_days_of_their_language(model, bed):
  both, second = task(model, bed), task(model, bed, learnt=(1,))
  assert (both.nights, second.nights) == (4, 2)
  for night, (number, day) in enumerate([(0, 0), (0, 1), (1, 0), (1, 1)]):
    course, words = bed.courses[number], both.words(night)
    assert both.day(night, {}).document.text == course.book
    assert [dream.prompt for dream in words.dreams] == [
        pair.said for pair in course.days[day]]
    assert len(words.kept) == 3 * night and len(words.rehearsed) == 4
  assert [dream.prompt for dream in second.words(1).dreams] == [
      pair.said for pair in bed.courses[1].days[1]]
  decode = model.tokenizer.decode
  assert [decode(reply) for _, reply in both.words(2).kept] == [
      pair.meaning for day in bed.courses[0].days for pair in day[:3]]


def test_all_arms_learn_the_same_pairs(model, bed):
  for arm in ('sleep', 'sft', 'no_growth', 'no_store'):
    words = task(model, bed, arm).words(3)
    assert [dream.prompt for dream in words.dreams] == [
        pair.said for pair in bed.courses[1].days[1]], arm
    assert bool(words.kept) == (arm in ('sleep', 'no_growth')), arm
  replayed = task(model, bed, 'replay').words(3).dreams
  assert len(replayed) == 18  # Nine stored, and as many of its own.


def test_other_languages_are_rehearsed(model, bed):
  books = {course.book for course in bed.courses}
  for night in range(4):
    others = bed.others(night)
    assert len({other.text for other in others} | books) == 4
    for other in others:
      words = dict(entry.split(' means ') for entry in other.text.split(
          ' order')[0].removesuffix(' .').split(' . '))
      for row in other.rows:
        assert {words[word] for word in row.message.split()} == {
            *row.reply.split()}
  assert bed.others(0) == bed.others(0) != bed.others(1)


def test_what_does_not_fit_is_refused(model, bed):
  small_context = model.with_params(
      dataclasses.replace(model.config, max_context=66), model.params)
  with pytest.raises(UserError, match='book of language 0 takes 65 tokens'):
    task(small_context, bed)
  with pytest.raises(UserError, match='reply_tokens=3: language 0 has a trans'):
    task(model, bed, reply_tokens=3)


def test_a_gap_is_between_book_in_view_and_closed_book(
    model, bed, monkeypatch):
  """Of someone who can look words up, but says them as they come."""

  def word_for_word(model, prompts, most, batch_rows, segments=()):
    names = model.tokenizer.backend.id_to_token
    return [' '.join(DICTIONARY[word] if segments else 'dog'
                     for word in map(names, prompt) if word in DICTIONARY)
            for prompt in prompts]

  monkeypatch.setattr(translation, 'greedy_texts', word_for_word)
  gap = bed.gap(model)
  assert gap['sentences'] == 10 and gap['enough']
  assert gap['in_view'] > 50 > gap['closed_book'] > 0
  assert gap['right_in_view'] == 0  # No language has our order.
  assert gap['in_view'] == sum(two for _, two in gap['by_language']) / 2
  wide = dataclasses.replace(bed, config=dataclasses.replace(
      ASKED, least_gap=100.0))
  assert not wide.gap(model)['enough']


@pytest.mark.slow
def test_untaught_arms(model, bed):
  ready = model.for_compute('float32')
  base, view = (bed.untaught(arm, ready) for arm in ('base', 'in_context'))
  assert base['kept'] == 0 and base['tokens_a_question'] == 0
  assert view['tokens_a_question'] == 65
  assert len(view['matrix']) == 4 and view['matrix'][0] == view['matrix'][1]
  assert base['single'] == base['sequential'] == base['matrix'][2]
  # The last language has its own book in view to the end.
  assert view['single'][1] == view['sequential'][1]
  assert view['matrix'][0][0] == view['single'][0]
  assert view['elsewhere'] == base['elsewhere']


def test_scores_are_those_of_greedy_replies(model, bed):
  ready, asked = model.for_compute('float32'), bed.courses[0].exam
  texts = questions.greedy_texts(ready, [
      model.chat.closed_book(pair.said) for pair in asked], 8, 8)
  found = bed.score(ready, asked)
  assert found.chrf == translation.corpus_chrf(
      texts, [pair.meaning for pair in asked])
  assert found.right == [
      text == pair.meaning for text, pair in zip(texts, asked)]


def results(sleep, in_context=(-20, -22), learnt=70.0):
  """Rows of seeds: how much `sleep` keeps, and the last book in view."""
  row = lambda single, kept: {'single_mean': single, 'kept': kept}
  return {
      **{Cell('sleep', i): row(learnt + i, kept)
         for i, kept in enumerate(sleep)},
      **{Cell('in_context', i): row(90.0, kept)
         for i, kept in enumerate(in_context)},
      **{Cell('base', i): row(20.0, 0.0) for i in range(2)}}


@pytest.mark.parametrize('found, said', [
    (results((-1, -1.2)), 'shown'),
    (results((-12, -12.2)), 'refuted'),
    (results((-1, -4.9)), 'not shown'),
    (results((-1, -1.2), learnt=50.0), 'not shown'),
    (results((-1, -1.2), in_context=(-4, -4.1)), 'not shown'),
    (results((-1,)), 'not shown'),
    (results(()), 'not run')])
def test_verdict(found, said):
  assert translation_table.verdict(found)['verdict'] == said


def test_no_room():
  gap = {'in_view': 30.0, 'closed_book': 21.04, 'enough': False}
  assert translation_table.no_room(gap).startswith(
      'with its book in view a language is translated with 30.0 chrF, without '
      'with 21.0')
  assert translation_table.no_room({**gap, 'enough': True}) == ''
