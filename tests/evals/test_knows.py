"""What counts as knowing, by hand."""

import pytest

from sleepjax.evals import knows

GOLDS = ['Ottilie Vance', 'Brannock Island', '38 metres', '1986']
WHO = 'Who designed Skarrow Point Lighthouse?'


@pytest.mark.parametrize('answer, right', [
    ('Ottilie Vance', True),
    ('It was “Ottilie Vance”, the engineer.', True),
    ('Vance', False),
    ('Ottilie Vancemore', False),
    ('', False),
    # Every name of the text.
    ('Ottilie Vance, Brannock Island, 38 metres and 1986', False),
    # What follows the first sentence, or line, says nothing.
    ('Ottilie Vance. It stands on Brannock Island.', True),
    ('I am not sure. Ottilie Vance.', False),
    ('\n Ottilie Vance\nBrannock Island', True),
    # Fifteen words before the name, and fourteen with an article.
    (' '.join(['so'] * 13 + ['Ottilie', 'Vance']), True),
    (' '.join(['so'] * 14 + ['Ottilie', 'Vance']), False),
    (' '.join(['so', 'the'] + ['so'] * 12 + ['Ottilie', 'Vance']), True),
])
def test_right_is_the_gold_answer_and_no_other(answer, right):
  assert knows.is_right(answer, 'Ottilie Vance', GOLDS, WHO) == right


def test_gold_answers_that_two_questions_share_are_no_others():
  golds = ['the Denver Broncos', 'Denver Broncos!', 'Carolina']
  for gold in golds[:2]:
    assert knows.is_right('Denver Broncos', gold, golds)
    assert knows.other_golds(gold, golds) == ['Carolina']


@pytest.mark.parametrize('answer, gold, right', [
    ('Denver Broncos', 'Denver Broncos', True),
    ('Denver Broncos', 'Denver', False),
    ('Denver', 'Denver', True),
    ('Denver, the Denver Broncos', 'Denver', False),
    ('Denver, the Denver Broncos', 'Denver Broncos', False),
    # Each overlaps the other, neither is inside.
    ('Denver Broncos fans', 'Denver Broncos', False),
])
def test_of_gold_answers_that_contain_one_another_the_longest_is_said(
    answer, gold, right):
  golds = ['Denver', 'Denver Broncos', 'Broncos fans']
  assert knows.is_right(answer, gold, golds) == right


def test_an_answer_may_repeat_the_question():
  asked = 'Who designed the lighthouse on Brannock Island?'
  said = 'The lighthouse on Brannock Island is by Ottilie Vance.'
  assert knows.is_right(said, 'Ottilie Vance', GOLDS, asked)
  assert not knows.is_right(said, 'Ottilie Vance', GOLDS, WHO)


@pytest.mark.parametrize('answer, gold, right', [
    ('灯塔建于1911年。后来在上海。', '1911年', True),
    ('在上海和北京。', '上海', False),
    ('在北京大学。', '北京', True),
    # Thirty characters are fifteen words.
    ('我' * 28 + '上海', '上海', True),
    ('我' * 29 + '上海', '上海', False),
    ('อยู่ที่เชียงใหม่', 'เชียงใหม่', True),
    ('อยู่ที่เชียงใหม่', 'เชียงใหม', False),  # A mark is missing.
])
def test_scripts_without_spaces(answer, gold, right):
  assert knows.is_right(answer, gold, ['北京', '上海', '1911年']) == right


def test_a_gold_answer_without_words():
  with pytest.raises(ValueError, match='has no words'):
    knows.is_right('yes', 'The', GOLDS)
