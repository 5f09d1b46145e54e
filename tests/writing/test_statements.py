"""Statements with a gap, and the questions that they are."""

import pytest

from sleepjax.writing import statements
from sleepjax.writing.spans import Span

LAMP = 'In 1904, the lamp, which was old, was replaced; nobody wept.'


def span_of(text, sentence, kind='name'):
  return Span(text, kind, 0, sentence.index(text))


@pytest.mark.parametrize('most, expected', [
    (99, LAMP), (40, 'In 1904, the lamp, which was old'), (12, 'the lamp'),
    (5, '')])
def test_a_long_sentence_gives_way_to_its_clauses(most, expected):
  assert statements.short_sentence(
      LAMP, span_of('lamp', LAMP), lambda text: len(text) < most) == expected


@pytest.mark.parametrize('sentence, span, expected', [
    ('It was built by Ida Roe.', 'Ida Roe', 'Alma was built by ___.'),
    ('Its captain was Ida Roe.', 'Ida Roe', "Alma's captain was ___."),
    ('This ferry was slow.', 'slow', 'This ferry was ___.'),
    ('They carried hens.', 'hens', 'Alma carried ___.'),
    ('3. Otto saw it.', 'Otto', '___ saw it.'),
    ('- It was built by Ida Roe.', 'Ida Roe', 'Alma was built by ___.')])
def test_a_pronoun_that_begins_gives_way_to_the_topic(
    sentence, span, expected):
  assert statements.gapped(
      sentence, span_of(span, sentence), 'Alma') == expected
  assert statements.gapped(sentence, span_of(span, sentence), '') == (
      sentence.removeprefix('3. ').removeprefix('- ').replace(span, '___'))
  assert not statements.gapped(
      sentence, span_of(span, sentence), 'Alma', lambda text: False)


@pytest.mark.parametrize('statement, span, kind, expected', [
    ('It was lit in ___.', '1871', 'date', 'It was lit in what year?'),
    ('It was lit on ___, at night.', '9 March 1871', 'date',
     'It was lit on what date, at night?'),
    ('It fell in ___.', '2000–01', 'date', 'It fell in what years?'),
    ('It fell in the ___.', '1960s', 'date', 'It fell in what years?'),
    ('___ was a dry year.', '1911', 'date', ''),
    ('The ___ treaty ended it.', '1911', 'date', ''),
    ('Since ___ it is a school.', '1911', 'date',
     'Since what year it is a school?'),
    ('The tower is ___ tall.', '38 metres', 'number',
     'The tower is how many metres tall?'),
    ('It cost ___.', '$4.50', 'number', 'It cost how much?'),
    ('It was built by ___ alone.', 'Ida Roe', 'name',
     'It was built by whom alone?'),
    ('It stands in the ___.', 'Tessel Sea', 'name',
     'It stands in which place?'),
    ("It stands in ___'s garden.", 'Ida Roe', 'name',
     'It stands in whose garden?'),
    ('The lamp burned ___.', 'whale oil', 'phrase',
     'The lamp burned what?')])
def test_a_statement_is_a_question_with_a_word_in_its_gap(
    statement, span, kind, expected):
  assert statements.echo_question(
      statement, Span(span, kind, 0, 0)) == expected
