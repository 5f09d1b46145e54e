"""Increments of invented intents and of data sets."""

import collections

import pytest

from sleepjax.data import intents, world, world_tokenizer
from sleepjax.data.intents import Labelled
from sleepjax.errors import UserError

SOME = {'learnt': 3, 'shown': 1, 'stored': 2, 'exam': 2}


def rows(part, labels='abcd', number=4):
  return [Labelled(f'{part} {label} {i}', label)
          for i in range(number) for label in labels]


def test_no_utterance_of_an_exam_is_learnt_or_in_view():
  made = intents.invented(seed=3)
  learnt = {row.utterance for i in made for row in i.learnt}
  asked = [row.utterance for i in made for row in i.exam]
  assert len(set(asked)) == len(asked) == 300
  assert not learnt & set(asked)
  assert not any(utterance in i.text for i in made for utterance in asked)


def test_an_increment_tells_all_that_its_exam_needs():
  tokenizer, values = world_tokenizer.build_tokenizer(), set()
  unknown = tokenizer.encode(world_tokenizer.UNKNOWN)[0]
  for increment in intents.invented(seed=4, increments=4, classes=3, values=2):
    assert len(increment.labels) == 3
    told = [world.Fact(label, a.name, v) for label in increment.labels
            for a in world.ATTRIBUTES for v in a.values
            if any(world.Fact(label, a.name, v).statement(n) in increment.text
                   for n in range(3))]
    assert len(told) == 6
    values |= {fact.value for fact in told}
    for row in (*increment.learnt, *increment.exam):
      assert world.answer_to(row.utterance, told) == row.label
      assert unknown not in tokenizer.encode(row.utterance)
    assert collections.Counter(row.label for row in increment.stored) == {
        label: 2 for label in increment.labels}
    assert set(increment.stored) <= set(increment.learnt)
  assert len(values) == 24  # No two intents share one.


def test_a_seed_draws_what_an_intent_is_and_the_order():
  one, same, other = (intents.invented(seed) for seed in (0, 0, 1))
  assert one == same and one[0].labels != other[0].labels


@pytest.mark.parametrize('wrong', [
    {'increments': 0}, {'increments': 11, 'classes': 5}])
def test_more_than_the_world_has_is_refused(wrong):
  with pytest.raises(UserError, match='at most 160 values'):
    intents.invented(0, **wrong)


def test_classes_of_a_data_set():
  asked = [*rows('asked'), Labelled('learnt a 1', 'a')]
  made = intents.drawn(rows('learnt'), asked, 0, (2, 2), SOME)
  assert sorted(sum((i.labels for i in made), ())) == list('abcd')
  assert any(intents.drawn(rows('learnt'), asked, s, (2, 2), SOME)[0].labels
             != made[0].labels for s in (1, 2))
  for increment in made:
    for part, count in (('learnt', 3), ('stored', 2), ('exam', 2)):
      found = getattr(increment, part)
      assert collections.Counter(row.label for row in found) == dict.fromkeys(
          increment.labels, count), part
      assert all(f' {row.label} ' in row.utterance for row in found)
    assert {row.utterance.split()[0] for row in increment.exam} == {'asked'}
    shown = [part.split('\nClass: ') for part in increment.text.split('\n\n')]
    assert sorted(label for _, label in shown) == sorted(increment.labels)
    assert {Labelled(*pair) for pair in shown} <= set(increment.learnt)


def test_what_a_data_set_lacks_is_refused():
  with pytest.raises(UserError, match='at most 4 classes'):
    intents.drawn(rows('x'), rows('y'), 0, (2, 3), SOME)
  with pytest.raises(UserError, match='no utterance to ask'):
    intents.drawn(rows('x'), rows('x'), 0, (2, 2), SOME)
  with pytest.raises(UserError, match='must be one of invented, clinc150'):
    intents.benchmark('clinc')
