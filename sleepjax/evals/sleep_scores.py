"""What one sleep changed: the numbers of a run's report.

A model is scored before and after on its own text's questions (closed book and
with the text in context), on control questions about texts it never read, and
on unrelated text. What falls on the control questions too is answer style, not
knowledge; the net figure subtracts it.
"""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from sleepjax.data.documents import Document, Question
from sleepjax.data.words import content_words
from sleepjax.evals import answers
from sleepjax.evals import questions as questions_lib
from sleepjax.evals.questions import AnswerConfig
from sleepjax.model import Model
from sleepjax.models.transformer import Segment
from sleepjax.sampling.context import read_document

# Nats a token that a text in context must help by before a share of it means
# anything: below, the share is noise over noise.
LEAST_GAP = 0.3


@dataclasses.dataclass(frozen=True)
class Exam:
  """Everything a model is scored on; never seen by training or selection.

  chunks: the document as it was read, in order.
  questions: about it.
  controls: other texts with their questions.
  drift_tokens: an unrelated text.
  """

  chunks: Sequence[Document]
  questions: Sequence[Question]
  controls: Sequence[tuple[Document, Sequence[Question]]]
  drift_tokens: Sequence[int]


def chunk_of(questions: Sequence[Question], chunks: Sequence[Document]
             ) -> list[int]:
  """Of each question, the chunk that shares most content words with it.

  Of several that share as many, the one that shares most with its answer.
  """
  places = {}  # Word -> the chunks that have it.
  for i, chunk in enumerate(chunks):
    for word in content_words(chunk.text):
      places.setdefault(word, []).append(i)
  found = []
  for question in questions:
    shared = np.zeros((2, len(chunks)), int)
    for row, text in zip(shared, (question.question, question.answer)):
      for word in content_words(text):
        row[places.get(word, [])] += 1
    asked, answered = shared
    found.append(int((asked * (1 + answered.max()) + answered).argmax()))
  return found


def in_view(model: Model, questions: Sequence[Question],
            chunks: Sequence[Document]
            ) -> Iterator[tuple[list[int], Segment]]:
  """(numbers of its questions, the text as it is read) of chunks with any."""
  places = chunk_of(questions, chunks)
  for i, chunk in enumerate(chunks):
    numbers = [n for n, place in enumerate(places) if place == i]
    if numbers:
      yield numbers, read_document(
          model.config, model.params, model.chat, chunk.text)


def _per_token(losses):
  """Of (nats, tokens) of chunks: pooled over tokens, as closed book."""
  nats, tokens = zip(*losses, strict=True)
  return sum(nats) / sum(tokens)


ELSEWHERE = 'control_nll', 'in_context_other_nll', 'drift_ppl'


def score_model(model: Model, exam: Exam, settings: AnswerConfig,
                elsewhere: Mapping[str, float] | None = None) -> dict:
  """All scores of one model: losses in nats per token, accuracies, perplexity.

  Args:
    model: in compute layout.
    exam: what it is asked.
    settings: how.
    elsewhere: scores of this very model that do not depend on the document,
      `ELSEWHERE`, if they are known.

  Returns:
    closed_book_nll, in_context_nll, control_nll, in_context_other_nll,
    closed_book_accuracy, in_context_accuracy, drift_ppl, and said_closed_book
    and said_in_view, the greedy answer to each question.
  """
  loss = lambda asked, segment=None: questions_lib.answer_loss(
      model, asked, settings, segment)
  say = lambda asked, segment=None: questions_lib.greedy_answers(
      model, asked, settings, segment)
  golds, losses, viewed = [q.answer for q in exam.questions], [], {}
  for numbers, segment in in_view(model, exam.questions, exam.chunks):
    asked = [exam.questions[n] for n in numbers]
    losses.append(loss(asked, segment))
    viewed.update(zip(numbers, say(asked, segment)))
  if elsewhere is None:
    other = [loss([asked[n] for n in numbers], segment)
             for document, asked in exam.controls
             for numbers, segment in in_view(model, asked, [document])]
    elsewhere = dict(zip(ELSEWHERE, (
        _per_token([loss([q for _, asked in exam.controls for q in asked])]),
        _per_token(other),
        questions_lib.perplexity(
            model.config, model.params, exam.drift_tokens))))
  closed_book, viewed = say(exam.questions), [
      viewed[n] for n in range(len(golds))]
  return {
      'closed_book_nll': _per_token([loss(exam.questions)]),
      'in_context_nll': _per_token(losses),
      **{name: elsewhere[name] for name in ELSEWHERE},
      'closed_book_accuracy': answers.summarise(closed_book, golds),
      'in_context_accuracy': answers.summarise(viewed, golds),
      'said_closed_book': closed_book, 'said_in_view': viewed}


def gained_net(before: float, after: float, control_before: float,
               control_after: float) -> float:
  """before − after − max(control before − control after, 0), nats per token."""
  return before - after - max(control_before - control_after, 0.0)


def recovered(before: float, after: float, in_context: float,
              control_before: float, control_after: float
              ) -> tuple[float | None, float | None]:
  """Shares of what a text in context would save, in nats per token.

    gross = (before − after) / (before − in context)
    net   = (before − after − max(control before − control after, 0))
            / (before − in context)

  What control questions gain is answer style, not the text. What they lose is
  harm, which is reported for itself and is nobody's gain.

  Returns:
    (gross, net); None where the text in context helps by less than `LEAST_GAP`.
  """
  gap = before - in_context
  if not gap >= LEAST_GAP:
    return None, None
  return (before - after) / gap, gained_net(
      before, after, control_before, control_after) / gap


def compare(before: dict, after: dict) -> dict:
  """The report's entries: before, after, and the shares `recovered`."""
  gross, net = recovered(
      before['closed_book_nll'], after['closed_book_nll'],
      before['in_context_nll'], before['control_nll'], after['control_nll'])
  report = {
      'context_gap': before['closed_book_nll'] - before['in_context_nll'],
      'topic_recovered': gross,
      'topic_recovered_net': net,
      'in_context_nll': before['in_context_nll'],
      'in_context_accuracy': before['in_context_accuracy'],
      'in_context_nll_after': after['in_context_nll'],
      'in_context_accuracy_after': after['in_context_accuracy'],
  }
  for name in ('closed_book_nll', 'control_nll', 'in_context_other_nll',
               'closed_book_accuracy', 'drift_ppl'):
    report[f'{name}_before'] = before[name]
    report[f'{name}_after'] = after[name]
  return report
