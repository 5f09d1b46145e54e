"""What is found worth knowing, in several languages and layouts."""

import numpy as np
import pytest

from sleepjax.data import documents
from sleepjax.evals import answers
from sleepjax.writing import spans
from sleepjax.writing.spans import Span


def found(sentence, **how):
  return {(s.text, s.kind) for s in spans.candidates(sentence, **how)}


@pytest.mark.parametrize('sentence, expected', [
    ('It was lit on 9 March 1871 and again in June 1902.',
     {('9 March 1871', 'date'), ('June 1902', 'date')}),
    ('Signed on April 4, 1949, it ended on 2001-05-06.',
     {('April 4, 1949', 'date'), ('2001-05-06', 'date')}),
    ('From the 7th and 6th centuries BC to the 1960s.',
     {('7th and 6th centuries BC', 'date'), ('1960s', 'date')}),
    ('Fisheries in 2000–01 and 1914-1918.',
     {('2000–01', 'date'), ('1914-1918', 'date')}),
    ('The tower is 38 metres tall and has 164 steps.',
     {('38 metres', 'number'), ('164 steps', 'number')}),
    ('It cost $4.50 or 12% of 112,934 tonnes.',
     {('$4.50', 'number'), ('12%', 'number'), ('112,934 tonnes', 'number')}),
    ('Eleven years later forty-three people were aboard.',
     {('forty-three people', 'number')}),
    ('He met King Otto of Greece and Simón de Vega in London.',
     {('King Otto of Greece', 'name'), ('Simón de Vega', 'name'),
      ('London', 'name')}),
    ('Its dean is Edward F. Lawlor, of U.S. descent.',
     {('Edward F. Lawlor', 'name')}),
    ('It has 12 research centers and 4 doors.',
     {('12 research centers', 'number'), ('4 doors', 'number')}),
    ("At Ida Roe's kitchen, McDonald's opened.",
     {('Ida Roe', 'name'), ("McDonald's", 'name')}),
    ('The pump by plot 37 cannot run.', {('37', 'number')}),
    ('The Mundaka attacks it.', {('Mundaka', 'name')}),
    ('The lamp burned whale oil.', {('whale oil', 'phrase')}),
    ('Islanders carry paper lanterns in memory of it.',
     {('memory', 'phrase')}),
])
def test_spans_of_english_prose(sentence, expected):
  assert expected <= found(sentence)


@pytest.mark.parametrize('sentence, wrong', [
    ('It is one of them.', 'one'), ('When he came, they left.', 'When'),
    ('The tower is tall.', 'The'), ('It was designed in haste.', 'designed'),
    ('It has 12 and more.', '12 and'), ('3. The hives of Ida Roe.', '3'),
    ('(12) The hives of Ida Roe.', '12')])
def test_what_is_no_span(sentence, wrong):
  assert wrong not in {text for text, _ in found(sentence)}


@pytest.mark.parametrize('sentence, expected', [
    ('灯塔由工程师王小明设计，于1871年3月9日首次点亮，高38米。',
     {('1871年3月9日', 'date'), ('38米', 'number')}),
    ('प्रकाशस्तंभ का डिज़ाइन राम वर्मा ने १८७१ में किया था।',
     {('राम वर्मा', 'phrase'), ('१८७१ में', 'number')}),
    ('ประภาคารสูง 38 เมตร', {('38 เมตร', 'number')}),
    ('Der Turm wurde von Otto Braun entworfen und ist 38 Meter hoch.',
     {('Otto Braun', 'name'), ('38', 'number')}),
    ('Маяк построил Иван Петров в 1871 году.', {('Иван Петров', 'name')}),
])
def test_spans_of_other_languages(sentence, expected):
  assert expected <= found(sentence, english=spans.is_english(sentence))


@pytest.mark.parametrize('text, expected', [
    ('- Price: $4.50\n- Size: 12 cm', {'$4.50', '12 cm'}),
    ('| Name | Height |\n|---|---|\n| Otto Braun | 38 m |', {
        'Otto Braun', '38 m'}),
    ('"Where were you?" asked Tom.\n"At the mill," said Anna.', {
        'Tom', 'Anna'}),
    ('# Retries before a request fails.\nmax_retries = 5', {'5'}),
])
def test_lists_tables_dialogue_and_code(text, expected):
  chosen = spans.worth_knowing(documents.split_sentences(text), None, 6)
  assert expected <= {s.text for s in chosen}


def test_a_word_without_spaces_begins_where_the_gain_rises():
  sentence = '塔由王小明建。'
  gain = np.array([5, 1, 6, 4, 3, 2, 0.0])
  words = {s.text for s in spans.candidates(
      sentence, english=False, gain=gain)}
  assert '王小明建' in words and '塔由' in words and '由王' not in words
  best = spans.worth_knowing([sentence], [gain], 1)
  assert [s.text for s in best] == ['王小明建']


def test_every_sentence_is_covered_and_no_span_lies_over_another():
  text = documents.bundled_document('lighthouse').text
  sentences = documents.split_sentences(text)
  chosen = spans.worth_knowing(sentences)
  assert {s.sentence for s in chosen} == set(range(len(sentences)))
  for a, b in zip(chosen, chosen[1:]):
    assert a.sentence < b.sentence or a.end <= b.start
  for s in chosen:
    assert sentences[s.sentence][s.start:s.end] == s.text
  golds = [q.answer for q in documents.bundled_questions('lighthouse')]
  hits = [any(answers.f1(s.text, gold) >= 0.5 for s in chosen)
          for gold in golds]
  assert sum(hits) >= 8


def test_gain_decides_between_phrases_and_repeats_give_way():
  sentence = 'The lamp burned whale oil.'
  at = lambda word: sentence.index(word)
  gain = np.zeros(len(sentence))
  gain[at('lamp'):at('lamp') + 4] = 1
  assert [s.text for s in spans.worth_knowing([sentence], [gain], 1)] == [
      'lamp']
  gain[at('whale'):] = 1
  assert [s.text for s in spans.worth_knowing([sentence], [gain], 1)] == [
      'whale oil']
  twice = ['Anna saw Rome.', 'There Anna met Otto.']
  assert [s.text for s in spans.worth_knowing(twice, None, 1)][1] == 'Otto'


@pytest.mark.parametrize('text', ['', '...', '!!! ---', 'of the and it'])
def test_nothing_worth_knowing(text):
  assert spans.worth_knowing([text] if text else []) == []


def test_a_span_ends_where_its_text_ends():
  assert Span('1871', 'date', 0, 14).end == 18


@pytest.mark.parametrize('sentence, want', [
    ('London was the most populous city from around 1831 to 1925.',
     [('around 1831 to 1925', 'date')]),
    ('It took place from 23 to 26 October 1944.',
     [('23 to 26 October 1944', 'date')]),
    ('The zone is 100 to 300 mi wide.', [('100 to 300 mi', 'number')]),
    ('It held 200,000–400,000 books.', [('200,000–400,000 books', 'number')]),
    ('From the mid-2000s, it grew, and by late 1999 it had shrunk.',
     [('mid-2000s', 'date'), ('late 1999', 'date')]),
    ('It will cost around $200 million.', [('around $200 million', 'number')]),
    ('It has more than 300 rooms and at least two towers.',
     [('more than 300 rooms', 'number'), ('at least two towers', 'number')]),
    ('It came after 1587.', [('after 1587', 'date')]),
    ('The Roundabout 12 was built in 1986.',
     [('12', 'number'), ('1986', 'date')]),
    ('Dated to 900 BCE or to AD 79, not to 31 BC.', [
        ('900 BCE', 'date'), ('AD 79', 'date'), ('31 BC', 'date')])])
def test_hedges_and_ranges_are_part_of_the_answer(sentence, want):
  assert [(s.text, s.kind) for s in spans.candidates(sentence)
          if s.kind in ('date', 'number')] == want
