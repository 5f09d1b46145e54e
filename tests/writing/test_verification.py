"""Which questions can be asked, and which are verified."""

import numpy as np
import pytest

from sleepjax.writing import asking, verification
from sleepjax.writing.spans import Span
from sleepjax.writing.verification import Evidence, VerifyConfig

TEXT = ('The ferry Alma crossed the strait in 1911. Its captain, Ida Roe, '
        'had been a whaler. She kept 12 hens.')
IDA = Span('Ida Roe', 'name', 1, 13)
YEAR = Span('1911', 'date', 0, 37)
HENS = Span('12 hens', 'number', 2, 9)


@pytest.mark.parametrize('reply, question', [
    (' who was the captain? She', 'Who was the captain?'),
    ('Who was it', None), ('', None), ('\nWho was it?', 'Who was it?'),
    ('谁是船长？是', '谁是船长？'), ('ใครเป็นกัปตันของเรือ', 'ใครเป็นกัปตันของเรือ'),
    ('जहाज़ का कप्तान कौन था?', 'जहाज़ का कप्तान कौन था?')])
def test_first_question(reply, question):
  assert asking.first_question(reply) == question


@pytest.mark.parametrize('span, question, why', [
    (IDA, 'Who was the captain of the ferry Alma?', ''),
    (IDA, 'Who was captain Ida Roe of the Alma?', 'says its answer'),
    (IDA, 'Who was the captain of the ferry Berta?',
     'names what the text does not: Berta'),
    (IDA, 'Who was captain of the Alma in 1915?',
     'names what the text does not: 1915'),
    (IDA, 'Who was it?', 'too short'),
    (IDA, 'Who is named in the text about Alma?',
     'is about the text, not about what it says'),
    (IDA, 'Who invented modern whaling ships?',
     'says too little of the text'),
    (IDA, 'Who was the captain of it?',
     'does not say who or what it is about'),
    (YEAR, 'In what year did the ferry Alma cross the strait?', ''),
    (IDA, 'What is the name of the captain?',
     'says too little of the text'),
    (HENS, 'How many hens did Ida Roe keep?', ''),
    (HENS, 'Who kept 12 animals on the Alma?', 'says its answer')])
def test_what_is_wrong_with_a_question(span, question, why):
  assert asking.why_unusable(
      question, span, 'Alma', TEXT, ('text', 'sentence')) == why


def test_questions_without_spaces_are_judged_too():
  span = Span('王小明', 'phrase', 0, 2)
  why = lambda q: asking.why_unusable(q, span, '灯塔', '灯塔由王小明建。')
  assert why('灯塔是由谁建的？') == ''
  assert why('王小明建了什么？') == 'says its answer'


@pytest.mark.parametrize('answer, span, right', [
    ('Ida Roe', 'Ida Roe', True), ('captain ida roe.', 'Ida Roe', True),
    ('Ida', 'Ida Roe', False), ('', 'Ida Roe', False),
    ('It was the captain of the ferry, Ida Roe', 'Ida Roe', False),
    ('Ida Roe\nText: more', 'Ida Roe', True), ('in 1911', '1911', True),
    ('19112', '1911', False), ('是王小明。', '王小明', True),
    ('王小', '王小明', False)])
def test_a_short_answer_that_contains_the_span(answer, span, right):
  assert verification.is_answer(answer, span, 3) is right


@pytest.mark.parametrize('evidence, why', [
    (Evidence('Ida Roe', -1.0, -9.0, -4.0), ''),
    (Evidence('Otto', -1.0, -9.0, -4.0), 'answered: Otto'),
    (Evidence('', -1.0, -9.0, -4.0), 'answered: nothing'),
    (Evidence('Ida Roe', -1.0, -1.5, -4.0), 'needs no text: 0.50 nats'),
    (Evidence('Ida Roe', -1.0, -2.0, -np.inf), ''),
    (Evidence('Ida Roe', -4.0, -9.0, -1.0),
     'asks for another span as much: -3.00 nats'),
    (Evidence('Ida Roe', -4.0, -9.0, -4.0),
     'asks for another span as much: 0.00 nats'),
    (Evidence('Ida Roe', np.nan, np.nan, np.nan), 'needs no text: nan nats')])
def test_rules_of_verification(evidence, why):
  assert verification.why_refused(
      evidence, 'Ida Roe', VerifyConfig(least_margin=0.0)) == why


def test_rivals_are_of_the_sentence_first_then_of_the_kind():
  near, same = Span('whaler', 'phrase', 1, 30), Span('Alma', 'name', 0, 10)
  part, far = Span('Ida', 'name', 2, 0), Span('strait', 'phrase', 0, 27)
  spans = [far, same, near, IDA, part, YEAR]
  assert verification.rivals_of(IDA, spans, 2) == ['whaler', 'Alma']
  assert 'Ida' not in verification.rivals_of(IDA, spans, 9)
  assert verification.rivals_of(IDA, spans, 0) == []


def test_examples_ask_and_answer_in_one_form():
  example = asking.EXAMPLES[0]
  wanted = asking.request(asking.EXAMPLES, 'It is a ___.', 'ferry', 'What')
  assert wanted.startswith('Fact: Elm Street bakery was opened by ___ in 1952')
  assert wanted.endswith('\n\nFact: It is a ___.\n___: ferry\nQuestion: What')
  head = verification.before_answer([example], 'Alma', 'A ferry.')
  assert head.startswith(f'Topic: {example.topic}\n')
  assert head.endswith('Topic: Alma\nText: A ferry.\n')
  for e in asking.EXAMPLES:
    assert e.answer in e.text and e.answer not in e.question
    assert not asking.why_unusable(
        e.question, Span(e.answer, 'name', 0, 0), e.topic, e.text)


@pytest.mark.parametrize('make, name', [
    (lambda: asking.AskConfig(samples=0), 'samples'),
    (lambda: asking.AskConfig(rounds=-1), 'rounds'),
    (lambda: VerifyConfig(rivals=-1), 'rivals')])
def test_numbers_that_cannot_be_are_refused(make, name):
  with pytest.raises(ValueError, match=f'{name}=.* must be at least'):
    make()


@pytest.mark.parametrize('answer, question, right', [
    ('164', 'How many steps are there?', True),
    ('164', 'How high is it?', False), ('163', 'How many steps?', False),
    ('164 steps', 'How high is it?', True)])
def test_what_is_counted_may_stand_in_the_question(answer, question, right):
  assert verification.is_answer(answer, '164 steps', 3, question) is right


@pytest.mark.parametrize('written, expected', [
    ('Who lit Skrow Point Lighthouse?', 'Who lit Skarrow Point Lighthouse?'),
    ('How tall is the Elm Street lighthouse?',
     'How tall is the Skarrow Point Lighthouse?'),
    ('Who lit Berlin?', 'Who lit Berlin?'),
    ('Wha did Skarrow Point do?', 'Wha did Skarrow Point do?')])
def test_misspelt_names_are_those_of_the_text(written, expected):
  topic = 'Skarrow Point Lighthouse'
  assert asking.repaired(
      written, asking.EXAMPLES, topic, f'{topic} was lit by Otto.') == expected


def test_an_answer_may_be_another_span_of_its_sentence():
  ship = Span('whaler', 'phrase', 1, 30)
  spans = [YEAR, IDA, ship, HENS]
  of = lambda answer, q: verification.span_of_answer(answer, q, IDA, spans, 3)
  assert of('Ida Roe', 'Who was the captain?') == IDA
  assert of('a whaler', 'What had the captain been?') == ship
  assert of('a whaler', 'Who had been a whaler?') is None
  assert of('1911', 'When did the ferry cross?') is None
  assert of('nobody', 'Who was it?') is None
