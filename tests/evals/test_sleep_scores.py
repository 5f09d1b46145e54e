"""Shares of the loss recovered, by hand."""

import pytest

from sleepjax.data.documents import Document, Question
from sleepjax.evals import sleep_scores
from sleepjax.evals.questions import AnswerConfig
from sleepjax.evals.sleep_scores import Exam
from sleepjax.model import Model

MODEL = Model(None, None, None)  # What it says is made up.


@pytest.mark.parametrize('control_after, net', [
    (5.0, 0.5),  # Nothing happened to controls.
    (4.5, 0.25),  # Half a nat was answer style.
    (6.0, 0.5)])  # Controls were harmed: that is no gain.
def test_what_controls_gain_is_subtracted_and_what_they_lose_is_not(
    control_after, net):
  assert sleep_scores.recovered(4.0, 3.0, 2.0, 5.0, control_after) == (0.5, net)


def test_a_text_that_does_not_help_has_no_share():
  for in_context in (4.0, 3.995, 3.71, 4.5, float('nan')):
    assert sleep_scores.recovered(4.0, 3.0, in_context, 5.0, 5.0) == (
        None, None)


def test_the_least_gap_has_a_share():
  assert sleep_scores.recovered(4.0, 3.8, 3.6, 5.0, 5.0)[0] == pytest.approx(
      0.5)


def test_questions_in_scripts_without_spaces_find_their_chunk():
  chunks = [Document('', text) for text in (
      '灯塔建于一九一一年。', '船长在岛上住了三十年。', 'A red house.')]
  asked = [Question('船长在哪里住？', '岛上'), Question('谁建了灯塔？', '他'),
           Question('Which house?', 'red')]
  assert sleep_scores.chunk_of(asked, chunks) == [1, 0, 2]


def test_an_answer_decides_between_chunks_that_a_question_fits_as_well():
  chunks = [Document('', 'A house of one garden.'), Document('', 'A red gate.'),
            Document('', 'The house is red, and so is all.')]
  ask = lambda question, answer: sleep_scores.chunk_of(
      [Question(question, answer)], chunks)[0]
  assert ask('Who is it?', 'a gate') == 1  # No word of the question is there.
  assert ask('Which house?', 'one red') == 0
  assert ask('Which house?', 'red all') == 2
  # However much of an answer is elsewhere, the question comes first.
  assert ask('Which garden?', 'red all, red gate') == 0
  assert ask('Which sea?', 'blue') == 0


def test_losses_are_pooled_over_tokens_with_and_without_chunks(monkeypatch):
  """8 nats on 2 tokens, twice 3 on 6 each: 1 nat a token, however asked."""
  chunks = [Document('', 'A red house.'), Document('', 'A blue garden.')]
  asked = (Question('Which house?', 'red'), Question('Which garden?', 'blue'),
           Question('What garden?', 'blue'))
  nats, tokens = {'red': 8.0, 'blue': 3.0}, {'red': 2, 'blue': 6}
  monkeypatch.setattr(
      sleep_scores.questions_lib, 'answer_loss', lambda *args: (
          sum(nats[q.answer] for q in args[1]),
          sum(tokens[q.answer] for q in args[1])))
  monkeypatch.setattr(
      sleep_scores.questions_lib, 'greedy_answers',
      lambda *args: ['A red' if args[3] is None else q.answer
                     for q in args[1]])
  monkeypatch.setattr(
      sleep_scores.questions_lib, 'perplexity', lambda *_: 2.0)
  monkeypatch.setattr(sleep_scores, 'read_document', lambda *_: 'a segment')
  exam = Exam(chunks, asked, [(chunks[0], asked[:1]), (chunks[1], asked[1:])],
              [])
  scores = sleep_scores.score_model(MODEL, exam, AnswerConfig())
  elsewhere = {'control_nll': 5.0, 'in_context_other_nll': 6.0,
               'drift_ppl': 7.0}
  assert sleep_scores.score_model(
      MODEL, exam, AnswerConfig(), elsewhere) == {
          **scores, **elsewhere}
  for name in ('closed_book_nll', 'in_context_nll', 'control_nll',
               'in_context_other_nll'):
    assert scores[name] == 1.0, name
  assert scores['closed_book_accuracy']['exact'] == pytest.approx(1 / 3)
  assert scores['in_context_accuracy'] == {'exact': 1, 'contains': 1, 'f1': 1}
  assert scores['said_closed_book'] == ['A red'] * 3
  assert scores['said_in_view'] == ['red', 'blue', 'blue']
