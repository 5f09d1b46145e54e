"""From a text to verified facts and to the rows that teach them."""

import dataclasses
import json
import re

import jax
import numpy as np
import pytest

from sleepjax.data.documents import Document
from sleepjax.data.prompts import ChatPrompts
from sleepjax.errors import UserError
from sleepjax.model import Model
from sleepjax.sampling import context
from sleepjax.seeding.examples import dream_examples
from sleepjax.writing import asking, facts, gain, lines, rows, verification
from sleepjax.writing.asking import AskConfig, Openings
from sleepjax.writing.coverage import Coverage
from sleepjax.writing.dreamer import Dream, DreamConfig, Dreamer
from sleepjax.writing.facts import Asked, Fact, Facts, WritingConfig
from sleepjax.writing.spans import Span
from sleepjax.writing.teacher import Teacher
from tests.conftest import CONFIG

TEXT = ('The ferry Alma was built by Ida Roe in 1911. It carried 12 hens '
        'over the Bay of Sund.')
ALMA = Document('The ferry Alma', TEXT)
BY_RULE = 'The ferry Alma was built by Ida Roe in what year?'
# What the scripted model asks about an answer, and answers to a question.
ASKS = {'Ida Roe': 'Who built the ferry Alma?', '1911': 'When was it 1911?',
        '12 hens': 'How many hens did the ferry Alma carry?',
        'Bay of Sund': 'Where did the ferry Alma carry hens?'}
ANSWERS = {'Who built the ferry Alma?': 'Ida Roe',
           'How many hens did the ferry Alma carry?': '12 hens',
           'Where did the ferry Alma carry hens?': 'Norway'}


def write_lines(dreamer, prompts, *_):
  """What `ASKS` and `ANSWERS` say."""
  def reply(prompt):
    if prompt.endswith('Answer:'):
      return ANSWERS.get(re.findall(r'Question: (.*)', prompt)[-1], 'nothing')
    return ASKS.get(re.findall(r'___: (.*)', prompt)[-1], 'No')

  return [f' {reply(prompt)}\n' for prompt in prompts]


def settings(**changes):
  return DreamConfig(
      question_prompt='{sentence}', openings=('',), recall_prompt='',
      open_prompts=(), topic_prompt='', batch_rows=8, **changes)


def short(**changes):
  """A config whose prompts fit a model of bytes."""
  ask = AskConfig(examples=(), openings=Openings((), (), (), ()), samples=1,
                  tokens=4, statement_tokens=99)
  return WritingConfig(ask, verification.VerifyConfig(tokens=4),
                       **{'keyword_questions': 0, **changes})


def by_rule():
  """The same without questions of the model's own."""
  config = short(by_gain=False)
  return dataclasses.replace(
      config, ask=dataclasses.replace(config.ask, rounds=0))


@pytest.fixture
def scripted(monkeypatch, byte_tokenizer):
  """A dreamer to whom every right answer is as likely as it should be."""
  def log_probs(dreamer, prompts, completions, segments=()):
    texts = [dreamer.chat.tokenizer.decode(p) for p in prompts]
    said = [dreamer.chat.tokenizer.decode(c).strip() for c in completions]
    asked = [re.findall(r'Question: (.*)', t)[-1] for t in texts]
    in_view = [TEXT in t for t in texts]
    return [np.array([-1.0 if see and ANSWERS.get(q) == a else -9.0])
            for q, a, see in zip(asked, said, in_view)]

  monkeypatch.setattr(verification, 'log_probs', log_probs)
  for module in (asking, verification):
    monkeypatch.setattr(module, 'write_lines', write_lines)
  # Nothing but its context length is asked of this model.
  return Dreamer(
      Model(dataclasses.replace(CONFIG, max_context=4096), None,
            byte_tokenizer), settings())


@pytest.fixture
def told(scripted, monkeypatch):
  """The facts of the ferry."""
  return facts.write_facts(scripted, ALMA, (), jax.random.key(0), short(
      by_gain=False, spans_per_sentence=6))


def test_what_does_not_fit_into_a_reply_is_said(scripted):
  dreamer = dataclasses.replace(
      scripted, settings=settings(completion_tokens=8))
  told = facts.write_facts(dreamer, ALMA, (), jax.random.key(0), short(
      by_gain=False, spans_per_sentence=6))
  by_span = {f.span.text: f for f in told.facts}
  assert [a.question for a in by_span['Ida Roe'].asked]  # Seven bytes, a stop.
  for span, fact in by_span.items():
    if len(span) >= 8:
      assert fact.asked == (facts.Asked(
          '', 'as an answer longer than dreams.completion_tokens=8'),)
  assert 'Bay of Sund' in by_span
  assert told.counts.answers_too_long == sum(
      len(span) >= 8 for span in by_span)


def test_every_sentence_says_what_was_asked_verified_and_given_up(told):
  assert told.coverage == 1.0 and not told.note
  assert [(f.span.text, f.questions) for f in told.verified] == [
      ('Ida Roe', ['Who built the ferry Alma?']),
      ('12 hens', ['How many hens did the ferry Alma carry?'])]
  report = json.loads(json.dumps(told.report()))
  assert report['verified'] == 2 and len(report['sentences']) == 2
  entries = {e['span']: e for s in report['sentences'] for e in s['spans']}
  assert entries['Ida Roe'] == {
      'span': 'Ida Roe', 'kind': 'name', 'given_up': False, 'refused': [],
      'by_rule': ['The ferry Alma was built by whom in 1911?',
                  'What was the ferry Alma built by in 1911?'],
      'verified': ['Who built the ferry Alma?']}
  assert entries['1911']['given_up']
  assert entries['1911']['by_rule'] == [
      BY_RULE, 'When was the ferry Alma built by Ida Roe?']
  assert entries['1911']['refused'] == [
      ['When was it 1911?', 'says its answer']]
  assert entries['Bay of Sund']['refused'] == [
      ['Where did the ferry Alma carry hens?', 'answered: Norway']]
  assert entries['Bay of Sund']['by_rule'] == [
      'The ferry Alma carried 12 hens over what?']
  assert told.coverage_by_rule == 1.0
  assert told.counts == Coverage(sentences=2, too_long=0, without_question=0,
                                 verified=2)


def test_some_questions_are_held_out_of_facts_that_are_asked_otherwise():
  asked = lambda *names: tuple(Asked(q, '', by_rule=True) for q in names)
  span = lambda n: Span(f'answer {n}', 'phrase', n, 0)
  told = Facts('', ('',) * 3, (
      Fact(span(0), asked('a', 'b', 'c', 'd')), Fact(span(1), asked('e', 'f')),
      Fact(span(2), (Asked('g', ''), *asked('h', 'i', 'j')))))
  learnt, held = told.split(5)
  assert held == [('d', 'answer 0'), ('j', 'answer 2')]
  assert [f.by_rule for f in learnt.facts] == [
      ['a', 'b', 'c'], ['e', 'f'], ['h', 'i']]
  assert told.split(1)[1] == [('d', 'answer 0')]
  assert told.split(0) == (told, []) and not Facts('', (), ()).split(3)[1]


def test_short_questions_are_learnt_and_not_held_out(scripted, byte_tokenizer):
  told = facts.write_facts(scripted, ALMA, (), jax.random.key(0), short(
      by_gain=False, spans_per_sentence=6, short_questions=4))
  plain = facts.write_facts(scripted, ALMA, (), jax.random.key(0), short(
      by_gain=False, spans_per_sentence=6))
  for fact, before in zip(told.facts, plain.facts, strict=True):
    assert 1 <= len(fact.short) <= 4
    assert fact.by_rule == [*before.by_rule, *fact.short]
  learnt, held = told.split(8)
  short_ones = {q for fact in told.facts for q in fact.short}
  assert held and not short_ones & {question for question, _ in held}
  said = {kind: {row.prompt.removesuffix(' Answer briefly.') for row in rows_of(
      learnt, ChatPrompts(byte_tokenizer)) if row.kind == kind}
          for kind in ('short', 'question')}
  assert said['short'] == short_ones
  assert said['question'] == {
      q for f in learnt.facts for q in (*f.questions, *f.by_rule)} - short_ones


def test_what_may_not_be_asked_is_not(scripted):
  left = facts.write_facts(
      scripted, ALMA, (), jax.random.key(0), short(by_gain=False),
      ('who built the ferry alma',))
  assert 'Ida Roe' not in [f.span.text for f in left.verified]


def test_a_text_beside_its_examples_must_fit(scripted):
  scripted = dataclasses.replace(scripted, model=scripted.model.with_params(
      dataclasses.replace(CONFIG, max_context=40), None))
  with pytest.raises(UserError, match=(
      r"the text takes \d+ tokens .* than the model's context of 40: read it "
      'in shorter chunks')):
    facts.write_facts(scripted, ALMA, (), jax.random.key(0), short(
        by_gain=False))


@pytest.mark.parametrize('text, note', [
    ('...', 'nothing in the text is worth a question'),
    ('', 'nothing in the text is worth a question'),
    ('Of it.', 'nothing in the text is worth a question'),
    pytest.param(
        '灯塔由工程师王小明设计，于1871年首次点亮。',
        'It is not English: the model may not write its language.',
        marks=pytest.mark.slow)])
def test_a_text_that_cannot_be_asked_about_is_said_so(
    talker, byte_tokenizer, text, note):
  dreamer = Dreamer(Model(*talker, byte_tokenizer), settings())
  found = facts.write_facts(
      dreamer, Document('T', text), (), jax.random.key(0), short())
  assert found.coverage == 0 and not found.verified
  assert note in found.note and found.report()['note'] == found.note


def test_where_rules_cannot_ask_the_model_does(scripted):
  asked = {}
  for text in ('Ida Roe built the ferry Alma in 1911.',
               'Die Fähre Alma wurde 1911 von Ida Roe gebaut.'):
    found = facts.write_facts(
        scripted, Document('the ferry Alma', text), (), jax.random.key(0),
        by_rule())
    asked[text] = {a.by_rule for f in found.facts for a in f.asked}
  assert list(asked.values()) == [{True}, {False}]


def test_all_values_of_a_table_are_asked_for_by_rule(scripted):
  text = ('march: Lantern March; leader: Ada Quill; year: 1881\n'
          'march: Borrow Ice Survey; leader: Tobias Wren; year: 1874')
  found = facts.write_facts(
      scripted, Document('marches', text), (), jax.random.key(0), by_rule())
  assert found.coverage_by_rule == 1 and not found.note
  assert len(found.facts) == 6 and all(f.by_rule for f in found.facts)
  assert found.facts[5].by_rule == [
      'What is the year of Borrow Ice Survey?',
      'Borrow Ice Survey: what is its year?']


def test_a_heading_is_in_no_question_about_what_stands_below_it(scripted):
  text = ('Berth fees\nIda Roe proposed raising the fee to 40 crowns.\n'
          'Present: Pell Oduya (treasurer), Imke Sandoval and Rufus Thackeray')
  found = facts.write_facts(
      scripted, Document('the board', text), (), jax.random.key(0), by_rule())
  asked = {f.span.text: [a.question for a in f.asked] for f in found.facts}
  assert any('40' in span for span in asked) and asked['Ida Roe']
  assert not any('\n' in q or 'Berth' in q for q in asked['Ida Roe'])
  assert not any('\n' in span for span in asked)


def test_gain_is_the_difference_of_two_readings(talker, byte_tokenizer):
  config, params = talker
  chat = ChatPrompts(byte_tokenizer)
  dreamer = Dreamer(Model(config, params, byte_tokenizer), settings())
  sentences = ['Ida saw é.', 'Otto did.']
  view = (context.read_document(config, params, chat, ' '.join(sentences)),)
  gains = gain.information_gain(dreamer, sentences, 'Tell.', view)
  assert [g.shape for g in gains] == [(10,), (9,)]
  ids = byte_tokenizer.encode(' Otto did.')
  before = byte_tokenizer.encode(sentences[0])
  seen, = gain.log_probs(
      dreamer, [chat.after_document('Tell.') + before], [ids], view)
  alone, = gain.log_probs(
      dreamer, [chat.closed_book('Tell.') + before], [ids])
  np.testing.assert_allclose(gains[1], (seen - alone)[1:], atol=2e-4)
  # Both bytes of é belong to it.
  first = gain.information_gain(dreamer, sentences[:1], 'Tell.', view)[0]
  ids = byte_tokenizer.encode(sentences[0])
  assert len(ids) == 11
  seen, alone = (gain.log_probs(dreamer, [start], [ids], v)[0] for start, v in (
      (chat.after_document('Tell.'), view), (chat.closed_book('Tell.'), ())))
  np.testing.assert_allclose(
      first[8], (seen - alone)[8:10].sum(), atol=2e-4)
  none = gain.information_gain(dreamer, sentences, 'Tell.', ())
  assert max(abs(g).max() for g in none) > 0  # Other prompts, no text.


@pytest.mark.slow
def test_lines_are_those_of_their_prompts_alone(talker, byte_tokenizer):
  dreamer = Dreamer(
      Model(*talker, byte_tokenizer), settings(completion_tokens=6))
  head = 'A beginning that all of them have. '
  prompts = [f'{head}{group} and then {n}:' for group in (
      'Ida was here', 'Otto', 'Nobody at all') for n in (1, 22, 333, 4)]
  groups = [i // 4 for i in range(12)]
  got = lines.write_lines(
      dreamer, prompts[::-1], groups[::-1], jax.random.key(0), 0.0, 6)[::-1]
  alone = dreamer.texts(dreamer.write(
      [byte_tokenizer.encode(p) for p in prompts], jax.random.key(0),
      temperature=0.0), strip=False)
  # The one ends at the end of a line, the other does not.
  assert [g.split('\n')[0] for g in got] == [a.split('\n')[0] for a in alone]
  assert len(set(got)) > 3
  assert lines.write_lines(dreamer, [], [], jax.random.key(0), 0.0, 6) == []


def test_log_probs_do_not_depend_on_the_batch(talker, byte_tokenizer):
  dreamer = Dreamer(Model(*talker, byte_tokenizer), settings())
  prompts = [list(range(2, 30)) + [i] for i in range(11)]
  replies = [[5, 6, 7 + i][:1 + i % 3] for i in range(11)]
  together = gain.log_probs(dreamer, prompts, replies)
  for i in (0, 7, 10):
    alone, = gain.log_probs(dreamer, [prompts[i]], [replies[i]])
    assert together[i].shape == (len(replies[i]),)
    np.testing.assert_allclose(together[i], alone, atol=1e-4)
  assert gain.log_probs(dreamer, [], []) == []


def rows_of(told, chat, left_out=False, prompt=400, completion=60, **changes):
  """The rows, or those that were left out."""
  return rows.rows_of(told, chat, rows.RowConfig(**changes), DreamConfig(
      prompt_tokens=prompt, completion_tokens=completion),
                      '{question} Answer briefly.')[left_out]


def test_rows_give_the_answer_and_the_sentence(told, byte_tokenizer):
  chat = ChatPrompts(byte_tokenizer)
  made = rows_of(told, chat, copies=2)
  stop = byte_tokenizer.stop_ids[0]
  said = [(r.kind, r.prompt, r.start, byte_tokenizer.decode(r.completion))
          for r in made]
  assert all(r.completion[-1] == stop for r in made)
  assert said.count(('question', 'Who built the ferry Alma? Answer briefly.',
                     '', 'Ida Roe')) == 2
  assert said.count(('question', 'The ferry Alma was built by whom in 1911? '
                     'Answer briefly.', '', 'Ida Roe')) == 2
  first = 'The ferry Alma was built by Ida Roe in 1911.'
  for expected in (
      ('sentence', 'Who built the ferry Alma? Answer in a sentence.', '',
       first),
      ('reverse', 'What do you know about Ida Roe?', '', first),
      ('cloze', 'Fill the gap: The ferry Alma was built by Ida Roe in ___.',
       '', '1911'),
      ('question', f'{BY_RULE} Answer briefly.', '', '1911'),
      ('recall', 'Tell me about The ferry Alma.', 'The ferry Alma was built '
       'by', ' Ida Roe in 1911.')):
    assert expected in said, expected
  assert {k for k, _, _, a in said if a == 'Bay of Sund'} == {
      'cloze', 'question'}


def test_only_the_teacher_sees_the_hint(told, byte_tokenizer):
  chat = ChatPrompts(byte_tokenizer)
  row = rows_of(told, chat)[0]
  hint = ('The ferry Alma was built by Ida Roe in 1911.\n\nThe right answer '
          f'is: {row.hint.rsplit(": ")[-1]}')
  assert row.hint == hint
  decode = lambda ids: byte_tokenizer.backend.decode(ids)
  assert hint in decode(row.teacher_ids(chat))
  assert hint not in decode(row.student_ids(chat))
  assert row.student_ids(chat) == (
      chat.closed_book(row.prompt) + byte_tokenizer.encode(row.start))
  assert Dream.from_json(json.loads(json.dumps(row))) == row


def test_rows_stand_where_dreams_do(told, talker, byte_tokenizer):
  chat = ChatPrompts(byte_tokenizer)
  made = rows_of(told, chat)
  view = (context.read_document(*talker, chat, TEXT),)
  examples = dream_examples(
      Teacher(Model(*talker, byte_tokenizer), view), made, 60)
  assert len(examples) == len(made)
  assert examples.hidden.shape[:2] == (len(made), 60)


def test_rows_that_do_not_fit_are_left_out_whole(told, byte_tokenizer):
  chat = ChatPrompts(byte_tokenizer)
  made = rows_of(told, chat, completion=12)
  said = {byte_tokenizer.decode(r.completion) for r in made
          if r.kind == 'question'}
  assert {'Ida Roe', '1911', '12 hens', 'Bay of Sund'} <= said
  assert not [r for r in made if r.kind in ('sentence', 'reverse')]
  left = rows_of(told, chat, True, completion=12)
  assert {r.kind for r in left} == {'recall'}
  assert all(len(r.completion) > 12 for r in left)
  assert rows_of(told, chat, prompt=3) == []
  assert len(rows_of(told, chat, True, prompt=3)) > 4


@pytest.mark.slow
def test_evidence_is_of_the_page_of_the_topic_and_of_rivals(
    talker, byte_tokenizer, monkeypatch):
  monkeypatch.setattr(verification, 'is_answer', lambda *_: True)
  dreamer = Dreamer(Model(*talker, byte_tokenizer), settings())
  sentences = ['Ida saw it.', 'Otto did not.']
  spans = [Span('Ida', 'name', 0, 0), Span('Otto', 'name', 1, 0)]
  (span, evidence), = verification.examine(
      dreamer, verification.VerifyConfig(least_gain=-99, tokens=4), (), 'T',
      sentences, [(spans[0], 'Who saw it?')], spans)

  def score(text, answer):
    return gain.log_probs(dreamer, [byte_tokenizer.encode(
        f'Topic: T\nText: {text}\nQuestion: Who saw it?\nAnswer:')],
                          [byte_tokenizer.encode(f' {answer}\n')])[0].sum()

  page = 'Ida saw it. Otto did not.'
  assert span == spans[0]
  np.testing.assert_allclose(evidence[1:], [
      score(page, 'Ida'), score('T', 'Ida'), score(page, 'Otto')], rtol=1e-4)
  assert evidence.gain == evidence.in_view - evidence.closed_book
  assert evidence.margin == evidence.in_view - evidence.best_other
