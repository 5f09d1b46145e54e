"""Kinds of answers and what stands beside them, by hand."""

import pytest

from sleepjax.data import documents
from sleepjax.data.documents import Question
from sleepjax.evals import distractors


@pytest.mark.parametrize('answer, kind', [
    ('1986', 'date'), ('9 March 1871', 'date'), ('in the 1990s', 'date'),
    ('Sunday', 'date'), ('August 15, 1999', 'date'), ('19th century', 'date'),
    ('95–55 BC', 'date'), ('around 1831 to 1925', 'date'),
    ('1911年', 'date'), ('12/05/1987', 'date'),
    ('38 metres', 'number'), ('1204 feet', 'number'), ('12.5', 'number'),
    ('$5 million', 'number'), ('forty-three people', 'number'),
    ('more than 300', 'number'), ('66%', 'number'),
    ('Ottilie Vance', 'name'), ('the Loomhouse', 'name'),
    ('Super Bowl 50', 'name'), ('U.S. Olympic Committee', 'name'),
    ('whale oil', 'phrase'), ('the kings of Armenia', 'phrase'),
    ('上海', 'phrase'), ('the', 'phrase'),
])
def test_kinds(answer, kind):
  assert distractors.kind_of(answer) == kind


def test_distractors_of_the_lighthouse():
  """Other gold answers first, then the text's own."""
  asked = documents.bundled_questions('lighthouse')
  text = documents.bundled_document('lighthouse').text
  found = dict(zip((q.answer for q in asked), distractors.choices(text, asked)))
  choice = distractors.Choice
  assert found['Ottilie Vance'] == choice(
      'name', ('Brannock Island', 'Corrigan Maid', 'Hethermoor'))
  assert found['38 metres'] == choice(
      'number', ('164 steps', 'eleven years', 'forty-three people'))
  assert found['1986'] == choice('date', ('1904', '1993', '9 March 1871'))
  assert found['whale oil'] == choice(
      'phrase', ('paper lanterns', 'basalt headland', 'northern tip'))


def test_what_is_no_distractor():
  text = ('After the storm Ann Lee met Bo Lee in Ulm. Kim Roe of Ulm\'s choir '
          'saw Cora Moss on 3 May 1870 with 12 boats. It rained.')
  asked = [
      Question('Who met Bo Lee?', 'Ann Lee'),  # Asked about, or half of it.
      Question('Who sang?', 'Kim Roe of Ulm'),
      Question('When?', '1870'),  # Around it: the only other date.
      Question('How many boats?', '12'),
      Question('Which Ann?', 'Ann Lee')]
  found = distractors.choices(text, asked)
  assert found[0].distractors == ('Kim Roe of Ulm', 'Cora Moss')
  assert found[1].distractors == ('Ann Lee', 'Bo Lee', 'Cora Moss')
  assert found[2] == distractors.Choice('date', ())
  assert found[3] == distractors.Choice('number', ())
  assert found[4].distractors == ('Kim Roe of Ulm', 'Cora Moss')


def test_scripts_without_spaces_have_numbers_and_other_gold_answers():
  text = '灯塔建于1911年，高38米。守塔人住在上海，船在北京。1920年重建。'
  found = distractors.choices(text, [
      Question('哪里?', '上海'), Question('船在哪里?', '北京'),
      Question('哪年?', '1911年')])
  assert found[0] == distractors.Choice('phrase', ('北京',))
  assert found[2] == distractors.Choice('date', ('1920年',))


def test_hash_names_every_choice_and_their_order():
  one, other = (distractors.Choice('name', d) for d in (('a', 'b'), ('b', 'a')))
  assert distractors.choices_sha256([one]) == distractors.choices_sha256([one])
  assert distractors.choices_sha256([one]) != distractors.choices_sha256(
      [other])


def test_nested_answers():
  assert distractors.nested('Denver', 'the Denver Broncos')
  assert distractors.nested('Denver Broncos', 'Broncos')
  assert not distractors.nested('Denver Broncos', 'Denver Nuggets')
