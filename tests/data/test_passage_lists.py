"""The frozen lists of passages share none and stay what they are."""

import json
import os

import numpy as np
import pytest

from experiments.squad_passages import shuffled_passages
from sleepjax.data import passage_lists, sources
from sleepjax.data.sources import Passage
from sleepjax.errors import UserError

LISTS_SHA256 = (
    'a1ecedc96608c82fd58ad01a3ac666699027ce4bcab0e3d8b555526287648164')


def made_up(number):
  """Passages of ten titles, each fifth with too few questions."""
  return [Passage(f'T{i % 10}', f'Text {i}.', ((f'{i}?', 'a'),) * (
      3 if i % 5 == 0 else 4)) for i in range(number)]


def test_committed_lists_share_no_passage_and_never_change():
  lists = passage_lists.ids()
  assert {name: len(listed) for name, listed in lists.items()} == {
      'know': 20, 'parts': 12, 'inc': 175, 'seq': 24, 'spent': 48}
  every = [i for listed in lists.values() for i in listed]
  assert len(set(every)) == len(every)
  assert passage_lists.lists_sha256() == LISTS_SHA256


def test_split_does_not_depend_on_the_order_of_the_file():
  passages = made_up(200)
  ids = [passage_lists.passage_id(p) for p in passages]
  spent, edited = {ids[1], ids[2]}, set(ids[:60])
  lists = passage_lists.split(passages, spent, edited)
  shuffled = [passages[i] for i in np.random.default_rng(1).permutation(200)]
  assert passage_lists.split(shuffled, spent, edited) == lists
  assert passage_lists.split(passages, spent, edited, seed=1) != lists
  every = [i for listed in lists.values() for i in listed]
  assert len(set(every)) == len(every)
  assert not {ids[0], ids[5]} & set(every)  # Too few questions.
  assert len(lists['inc']) == 60 - 12 - 2
  assert set(lists['inc']) < edited and not set(lists['know']) & edited
  titles = {i: p.title for i, p in zip(ids, passages)}
  # Eight titles have passages with four questions; they take turns.
  for name in ('know', 'parts', 'seq'):
    assert len({titles[i] for i in lists[name][:8]}) == 8


def test_too_few_passages_for_the_lists():
  with pytest.raises(ValueError, match='40 passages are left for lists of 56'):
    passage_lists.split(made_up(50), (), ())


@pytest.fixture
def little_squad(tmp_path, monkeypatch):
  """A data folder with 200 passages, and lists of them."""
  passages = made_up(200)
  (tmp_path / 'squad').mkdir()
  (tmp_path / 'squad/squad_val.json').write_text(json.dumps([
      {'title': p.title, 'context': p.context, 'questions': [
          {'question': q, 'answer': a} for q, a in p.questions]}
      for p in passages]))
  monkeypatch.setenv('SLEEPJAX_DATA_DIR', str(tmp_path))
  lists = passage_lists.split(passages, (), ())
  monkeypatch.setattr(passage_lists, 'ids', lambda: lists)
  return passages


def test_reading_a_list(little_squad):
  know = passage_lists.read('know')
  assert [passage_lists.passage_id(p) for p in know] == list(
      passage_lists.ids()['know'])
  assert passage_lists.read('know', 3) == know[:3]
  reserve = passage_lists.read('reserve')
  assert len(reserve) == 160 - 56 and not set(reserve) & set(know)
  for number in (0, 21):
    with pytest.raises(UserError, match="list 'know': it has 20"):
      passage_lists.read('know', number)
  with pytest.raises(UserError, match='expected one of .*know.*reserve'):
    passage_lists.read('knows')


def test_other_data_are_refused(little_squad, monkeypatch):
  monkeypatch.undo()
  monkeypatch.setattr(sources, 'squad_seal', lambda _: little_squad)
  with pytest.raises(UserError, match="'parts': 12 of its passages are not"):
    passage_lists.read('parts')


needs_squad = pytest.mark.skipif(
    not os.environ.get('SLEEPJAX_DATA_DIR'), reason='needs SQuAD')


@needs_squad
def test_committed_lists_follow_from_the_seed():
  lists = passage_lists.ids()
  assert passage_lists.split(
      sources.squad_seal('val'), lists['spent'], lists['inc']) == lists


@needs_squad
def test_what_commands_choose_from_by_themselves_is_spent():
  assert {passage_lists.passage_id(p) for p in shuffled_passages('val')} == set(
      passage_lists.ids()['spent'])
