"""What is known, chosen and told apart, by hand and with small models."""

import dataclasses
import json

import jax
import numpy as np
import pytest

from sleepjax.data.documents import Document, Question
from sleepjax.errors import UserError
from sleepjax.evals import knowledge
from sleepjax.evals.questions import AnswerConfig
from sleepjax.evals.sleep_scores import Exam
from sleepjax.model import Model

TEXT = Document('', 'Ann Lee met Bo Roe in Ulm in 1870 with old maps.')
ASKED = (Question('Who came?', 'Ann Lee'), Question('Whom?', 'Bo Roe'),
         Question('Where?', 'Ulm'), Question('What year?', '1870'))
CONTROL = (Document('', 'Cy Fox saw Di Orr.'),
           (Question('Who saw?', 'Cy Fox'), Question('Whom did he?', 'Di Orr')))
EXAM = Exam([TEXT], ASKED, [CONTROL], [])
UNCONTROLLED = Exam([TEXT], ASKED, [], [])
SETTINGS = AnswerConfig(max_new_tokens=4, batch_rows=3)
MODEL = Model(None, None, None)  # What it says is made up.
NOTHING_SAID = {'said_closed_book': [''] * 4, 'said_in_view': [''] * 4}


@pytest.fixture
def student(monkeypatch):
  """Makes scores of a made-up model.

  nats: of (question, answer, in view), two tokens each.
  says: the answer to (question, in view).
  """
  def scores(nats, says, exam=EXAM, **options):
    monkeypatch.setattr(
        knowledge.questions_lib, 'answer_nats',
        lambda model, asked, settings, segment=None: (
            np.array([nats(q.question, q.answer, segment is not None)
                      for q in asked]), np.full(len(asked), 2)))
    monkeypatch.setattr(
        knowledge.questions_lib, 'greedy_answers',
        lambda model, asked, settings: [
            says(q.question, False) for q in asked])
    monkeypatch.setattr(
        knowledge.sleep_scores, 'read_document', lambda *_: 'a segment')
    said = {f'said_{where}': [says(q.question, where == 'in_view')
                              for q in exam.questions]
            for where in ('closed_book', 'in_view')}
    return knowledge.score(MODEL, exam, SETTINGS, said, **options)
  return scores


RIGHT = {q.question: q.answer for q in (*ASKED, *CONTROL[1])}


def untaught(question, answer, viewed):
  """Six nats; in view two, or three of a wrong answer."""
  return (2 if RIGHT.get(question) == answer else 3) if viewed else 6


def reads(question, viewed):
  return RIGHT[question] if viewed else 'I cannot say.'


def test_a_student_of_the_passages_words_knows_nothing(student):
  """Its losses are as low as the text makes them, for wrong answers, too."""
  every = ', '.join(q.answer for q in ASKED)
  own = {q.answer for q in ASKED}
  after = student(lambda q, a, viewed: 2 if a in own else 6,
                  lambda *_: every)
  report = knowledge.compare(student(untaught, reads), after)
  assert report['knows_before'] == report['knows_after'] == 0
  assert report['knowledge_recovered'] == 0
  # Three names with two or three others each; the year stands alone.
  assert report['choice_after'] == pytest.approx(report['choice_chance'])
  assert report['margin_after'] == report['margin_change'] == 0
  assert report['knows_in_view'] == report['choice_in_view'] == 1


def test_a_model_that_says_every_answer_is_wrong(student):
  """All that is said lies within fifteen words, the right answer first."""
  lists = lambda question, viewed: ' and '.join(
      sorted((q.answer for q in ASKED), key=RIGHT[question].__ne__))
  rows = student(untaught, lists, UNCONTROLLED)['closed_book']
  assert all(row['answer'].startswith(row['gold']) for row in rows)
  assert not any(row['knows'] for row in rows)


def test_a_model_without_preferences_is_at_chance(talker, byte_tokenizer):
  """All tokens are equally likely, so all gains are nothing."""
  config, params = talker
  params = {**params, 'final_norm': jax.tree.map(
      np.zeros_like, params['final_norm'])}
  model = Model(
      dataclasses.replace(config, max_context=512), params, byte_tokenizer)
  rows = knowledge.score(
      model, UNCONTROLLED, SETTINGS, NOTHING_SAID, False)['closed_book']
  assert not any(row['knows'] for row in rows)
  assert [row['choice'] for row in rows] == pytest.approx(
      [1 / 3, 1 / 3, 1 / 3, None])
  assert [row['margin'] for row in rows] == pytest.approx([0] * 4, abs=1e-4)


@pytest.mark.slow
def test_scores_do_not_depend_on_the_rows_beside_them(talker, byte_tokenizer):
  """Padded prompts, answers of any length and rows that only fill a batch."""
  config, params = talker
  model = Model(
      dataclasses.replace(config, max_context=512), params, byte_tokenizer)
  at_once, apart = (knowledge.score(
      model, UNCONTROLLED, AnswerConfig(
          max_new_tokens=4, batch_rows=rows), NOTHING_SAID)
                     for rows in (16, 3))
  for name in ('closed_book', 'in_view'):
    assert len(at_once[name]) == len(apart[name]) > 0
    for row, other in zip(at_once[name], apart[name]):
      for key in ('margin', 'choice'):
        expected = row[key]
        assert other[key] == (
            None if expected is None else pytest.approx(expected, 1e-3))
  # Against the losses of one answer at a time.
  nats = lambda q, a: knowledge.questions_lib.answer_nats(
      model, [Question(q, a)], SETTINGS)[0][0]
  row = at_once['closed_book'][2]
  gain = {q.answer: (nats('', q.answer) - nats('Where?', q.answer)) / len(
      q.answer) for q in ASKED}
  assert row['margin'] == pytest.approx(
      gain['Ulm'] - np.mean([gain[a] for a in ('Ann Lee', 'Bo Roe', '1870')]),
      abs=1e-4)


def test_gains_are_what_the_question_adds(student):
  """`Ulm` is likely anyhow; after `Where?` only `Bo Roe` is more so."""
  def nats(question, answer, viewed):
    return (1 if answer == 'Ulm' else 8) - (
        3 if (question, answer) == ('Where?', 'Bo Roe') else 0)
  rows = student(nats, reads)['closed_book']
  where = rows[2]
  assert where['distractors'] == ['Ann Lee', 'Bo Roe']
  assert where['choice'] == 0
  # Three nats over two tokens for one of three others.
  assert where['margin'] == pytest.approx(-3 / 2 / 3)
  assert rows[0]['choice'] == pytest.approx(1 / 3) and rows[0]['margin'] == 0
  assert rows[3]['choice'] is None and rows[3]['kind'] == 'date'


@pytest.mark.parametrize('gold, others, chosen', [
    (2.0, (1.0, 1.5), 1), (1.0, (2.0, 0.0), 0), (1.0, (1.0, 0.0), 1 / 2),
    (1.0, (1.0 + 1e-6, 1.0 - 1e-6, 0.0), 1 / 3), (1.0, (2.0, 1.0), 0)])
def test_choice_and_its_ties(gold, others, chosen):
  assert knowledge.choose(gold, others) == pytest.approx(chosen)


def test_compare(student):
  """One of four questions is learnt, all are in view; a control is lost."""
  before = student(untaught, lambda question, viewed: (
      RIGHT[question] if viewed or question == 'Who saw?' else 'No.'))
  after = student(
      lambda question, answer, viewed: untaught(question, answer, viewed) - (
          2 if (question, answer) == ('Where?', 'Ulm') else 0),
      lambda question, viewed: 'In Ulm.' if question == 'Where?' else reads(
          question, viewed))
  report = knowledge.compare(before, after)
  expected = {
      'knows_before': 0, 'knows_after': 1 / 4, 'knows_in_view': 1,
      'knows_in_view_after': 1, 'knowledge_recovered': 1 / 4,
      'knows_gained': 1, 'knows_lost': 0, 'knows_p': 1,
      'exact_after': 0, 'exact_in_view': 1,
      'f1_after': (2 / 3) / 4,  # Two words against one.
      'controls_knows_before': 1 / 2, 'controls_knows_after': 0,
      'choice_before': 1 / 3, 'choice_after': (1 / 3 + 1 / 3 + 1) / 3,
      'choice_in_view': 1, 'choice_chance': 1 / 3,
      'choice_change': 2 / 9, 'choice_questions': 3, 'choice_left_out': 1,
      'margin_before': 0, 'margin_after': 1 / 4, 'margin_change': 1 / 4,
      'margin_in_view': 1 / 2, 'margin_questions': 4, 'margin_left_out': 0,
      # t of three degrees of freedom times 1/2 / sqrt(4).
      'margin_change_half_width': 3.182446 / 4,
      'knows_questions': 4, 'knows_left_out': 0}
  assert {name: report[name] for name in expected} == pytest.approx(expected)
  assert report['choice_left_out_kinds'] == {'date': 1}
  json.dumps([report, before], allow_nan=False)


def test_texts_together(student):
  one = student(untaught, reads)
  both = knowledge.together([one, one])
  report = knowledge.compare(both, both)
  assert report['knows_questions'] == 8 and report['knows_in_view'] == 1
  assert report['choice_left_out'] == 2


def test_equal_nested_and_wordless_gold_answers(student):
  """They are no other answers, and one without words cannot be said."""
  asked = (Question('Who?', 'Ann Lee'), Question('Who came?', 'the Ann Lee'),
           Question('Which Lee?', 'Ann'), Question('Which mark?', '?!'))
  scores = student(untaught, lambda question, viewed: 'Ann Lee',
                   Exam([TEXT], asked, [], []), in_view=False)
  rows = scores['closed_book']
  assert [row['knows'] for row in rows] == [True, True, False]
  assert [row['margin'] for row in rows] == [None] * 3
  assert scores['left_out'] == 1 and scores['in_view'] == []
  with pytest.raises(ValueError, match='the same questions'):
    knowledge.compare(scores, scores)  # Nothing is known in view.
  viewed = student(untaught, lambda question, viewed: 'Ann Lee',
                   Exam([TEXT], asked, [], []))
  report = knowledge.compare(viewed, scores)
  assert report['margin_after'] is report['margin_change'] is None
  assert report['margin_left_out'] == 3 and report['knows_left_out'] == 1
  assert report['controls_knows_after'] is None
  assert 'knows_in_view_after' not in report


def test_a_question_is_asked_in_view_of_its_own_chunk(student, monkeypatch):
  """Rows come back in the order of the questions."""
  seen = []
  chunks = [Document('', 'Ann Lee was a sailor.'), Document('', 'Ulm is old.')]
  asked = (Question('Is Ulm old?', 'old'), Question('Who is a sailor?', 'Ann'))
  exam = Exam(chunks, asked, [], [])
  rows = student(untaught, lambda question, viewed: 'old', exam)['in_view']
  assert [row['gold'] for row in rows] == ['old', 'Ann']
  monkeypatch.setattr(
      knowledge.sleep_scores, 'read_document',
      lambda *args: seen.append(args[3]))
  knowledge.score(MODEL, exam, SETTINGS, NOTHING_SAID)
  assert seen == [chunk.text for chunk in chunks]


def test_each_question_beside_a_text_of_its_own(student, monkeypatch):
  """Beside the text itself a row is the one in view."""
  viewed = student(untaught, reads, UNCONTROLLED)['in_view']
  other, seen = 'Nobody came.', []
  monkeypatch.setattr(
      knowledge, 'read_document',
      lambda *args: seen.append(args[3]) or args[3])
  monkeypatch.setattr(
      knowledge.questions_lib, 'greedy_answers',
      lambda model, asked, settings, segment: [
          reads(q.question, segment == TEXT.text) for q in asked])
  rows = knowledge.score_beside(
      MODEL, UNCONTROLLED, SETTINGS,
      {1: TEXT.text, 2: other, 3: TEXT.text})
  assert seen == [TEXT.text, other]
  assert rows[1] == viewed[1] and rows[3] == viewed[3]
  assert rows[2]['answer'] == 'I cannot say.' and not rows[2]['knows']


def test_known_answers_to_controls_are_not_asked_for(student):
  known = [{'question': 'Who saw?', 'gold': 'Cy Fox', 'knows': True}]
  assert student(untaught, reads, controls=known)['controls'] == known
  assert len(student(untaught, reads)['controls']) == 2


def test_the_work_grows_as_the_number_of_questions(student):
  """Of twenty questions, each is held against the next twelve."""
  seen = []
  student(lambda q, a, viewed: seen.append((q, a)) or 1, lambda *_: '', Exam(
      [TEXT], [Question(f'{n}?', f'word{n}x') for n in range(20)], [], []))
  others = {a for q, a in seen if q == '15?'}
  assert others == {f'word{n}x' for n in (*range(15, 20), *range(8))}
  assert sum(q == '15?' for q, _ in seen) == 2 * 13  # With and without text.


@pytest.mark.parametrize('asked', [(), (Question('Which mark?', '?!'),)])
def test_nothing_to_score(student, asked):
  with pytest.raises(UserError, match='nothing to score'):
    student(untaught, lambda *_: 'Yes.', Exam([TEXT], asked, [], []))


def test_shares_of_next_to_nothing():
  assert knowledge.recovered(0.2, 0.3, 0.6) == pytest.approx(0.25)
  assert knowledge.recovered(0.2, 0.1, 0.6) == pytest.approx(-0.25)
  assert knowledge.recovered(0.2, 0.3, 0.25) is None
  assert knowledge.recovered(0.2, 0.3, 0.2) is None
