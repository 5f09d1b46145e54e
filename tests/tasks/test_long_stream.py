"""A life that reads a stream and is asked by distance."""

import dataclasses

import jax
import numpy as np
import pytest

from sleepjax.data import world, world_beds
from sleepjax.data.documents import Question
from sleepjax.errors import UserError
from sleepjax.memory.continuum import ContinuumConfig
from sleepjax.memory.wake import WakeConfig
from sleepjax.model import load_pretrained
from sleepjax.tasks import long_stream, world_stream
from sleepjax.tasks.long_stream import Asked, Bed, Life, Reader
from sleepjax.tasks.world_stream import StreamConfig
from tests.world_runs import random_model

SMALL = StreamConfig(windows=12, window=64, facts=3, distances=(1, 2, 4))


@pytest.fixture(scope='module')
def reader():
  model = load_pretrained('tiny-world')
  bed, = SMALL.beds(model, 1)
  return Reader(model, bed)


def test_windows_are_those_of_the_stream(reader):
  """Their tokens, and the text of these."""
  stream = world_beds.stream(1, 12, 64, 3)
  decode = reader.model.tokenizer.decode
  assert [decode(ids) for ids in reader.bed.windows] == list(stream.windows)
  assert all(ids.shape == (64,) for ids in reader.bed.windows)
  assert [told[2:] for told in reader.bed.told] == [
      told[1:] for told in stream.told]


def test_facts_are_asked_at_their_distances_and_at_the_end(reader):
  told = reader.bed.told
  asked = {n: reader.due(n) for n in range(12)}
  assert asked.pop(11) == [0, 1, 2]
  for i, place in enumerate(told):
    assert [n for n, due in asked.items() if i in due] == [
        n for n in (place.window, place.window + 1, place.window + 3)
        if n < 11]


def test_facts_that_prompts_name(reader):
  encode = reader.model.tokenizer.encode
  (first,), (last,) = (reader.bed.told[i].words for i in (0, 2))
  prompts = [encode(f'<user> Where does {last} live?'),
             encode('<user> Ask a question.')]
  assert reader.named(prompts) == [2]
  assert reader.named([*prompts, encode(f'{first} lives in Oslo.')]) == [0, 2]
  assert reader.named(prompts[1:]) == reader.named(()) == []


@pytest.mark.slow
def test_a_context_forgets_and_bm25_finds(reader):
  nothing, window, truncated, bm25 = (
      long_stream.row_of([reader.rival(kind)]) for kind in long_stream.RIVALS)
  for row in (nothing, window, truncated, bm25):
    assert len(row['far']) == 2 * sum(
        12 - told.window > 4 for told in reader.bed.told)
    assert len(row['at_1']) == 6 and row['hand_overs'] == []
  assert np.mean(nothing['at_1'] + nothing['far']) <= 0.2
  assert np.mean(window['at_1']) >= 0.8 and np.mean(window['far']) <= 0.2
  # Six windows of 64 tokens and a question are less than 512 tokens.
  assert reader.in_view == 6
  near = [a for a in truncated['asked'] if a['windows'] <= 4]
  assert np.mean([a['right'] for a in near]) > np.mean(
      [a['right'] for a in window['asked'] if a['windows'] <= 4])
  assert np.mean(bm25['far']) >= 0.8
  assert bm25['known_after'] >= 0.95


@pytest.mark.slow
def test_levels_that_do_not_learn_are_as_good_as_nothing(reader):
  settings = ContinuumConfig(WakeConfig((64, 128), (0.0,)), None, slot_rank=2)
  heard = []
  life = reader.live(settings, lambda grown: 1 / 0, jax.random.key(0),
                     heard=lambda number, metrics: heard.append(number))
  assert heard == list(range(12))
  assert life.asked == reader.rival('nothing').asked
  assert long_stream.row_of([life])['closed'] is None


def test_a_row_by_hand():
  asked = [Asked(0, 1, 100, False, (True, False)),
           Asked(1, 1, 90, False, (True, True)),
           Asked(0, 8, 1000, True, (False, True)),
           Asked(1, 4, 500, True, (True, True))]
  handed = lambda before, after, undone=False: {
      'sender': 'context', 'receiver': 'mlp 0', 'rolled_back': undone,
      'divergence_before': before, 'divergence_after': after}
  lives = [
      Life(asked, [handed(2.0, 0.5), handed(None, None)], (0.9, 0.8)),
      Life([], [handed(4.0, 0.4, True), handed(1.0, 0.9)], (None, 0.6))]
  row = long_stream.row_of(lives)
  assert row['at_1'] == [True, False, True, True]
  assert row['far'] == [False, True] and row['far_tokens'] == [1000]
  assert row['at_end'] == [False, True, True, True]
  assert row['known_before'] == 0.9
  assert row['known_after'] == pytest.approx(0.7)
  assert [h['text'] for h in row['hand_overs']] == [0, 1, 1]
  assert row['closed'] == pytest.approx(0.75)
  assert row['undone'] == 1 and row['nothing_to_hand_over'] == 1
  assert [(h['sender'], h['receiver']) for h in row['hand_overs']] == [
      (0, 1)] * 3


def test_a_reply_names_the_answer_and_no_other():
  bed = Bed((), (), None, candidates=('attic', 'hall', 'barn'))
  asked = Question('Where is Ann?', 'hall')
  replies = {'hall': True, 'She is in the hall.': True, 'Hall': True,
             'the hall or the barn': False, 'hallway': False, '': False}
  assert {reply: bed.is_right(reply, asked) for reply in replies} == replies
  exact = dataclasses.replace(bed, candidates=())
  assert exact.is_right('The hall.', asked)
  assert not exact.is_right('in the hall', asked)


def test_an_exam_is_in_its_own_wording():
  fact = world.Fact('Bokar', 'pet', 'lynx')
  for question in world_stream.exam(fact):
    assert question.answer == 'lynx'
    assert world.wording_of(question.question) == 'exam'


def test_other_tokens_are_refused(byte_tokenizer):
  other = dataclasses.replace(random_model(), tokenizer=byte_tokenizer)
  with pytest.raises(UserError, match='words of the tiny world'):
    SMALL.beds(other, 0)


def test_distances_are_checked():
  with pytest.raises(ValueError, match='distances'):
    StreamConfig(distances=(0, 1))
