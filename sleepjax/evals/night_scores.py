"""What several models know of several nights, closed book, side by side.

Every night comes with the questions of its exam. An answer is right if
`knows.is_right` says so, among the gold answers of its own night.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from sleepjax.data.documents import Question
from sleepjax.evals import answers, knows, paired
from sleepjax.evals import questions as questions_lib
from sleepjax.evals.questions import AnswerConfig
from sleepjax.model import Model
from sleepjax.models.night_records import NightRecord


def asked(model: Model, night: NightRecord, max_new_tokens: int = 32,
          batch_rows: int = 8) -> list[dict[str, Any]]:
  """What a model answers to the questions of a night, without any text.

  Args:
    model: in compute layout.
    night: with its questions, and how they are put.
    max_new_tokens, batch_rows: see `AnswerConfig`.

  Returns:
    question, gold, answer and knows of every question whose gold answer has
    words.
  """
  questions = [Question(*pair) for pair in night.questions
               if answers.match_words(pair[1])]
  if not questions:
    return []
  golds = [q.answer for q in questions]
  said = questions_lib.greedy_answers(
      model, questions, AnswerConfig(
          night.answer_prompt, max_new_tokens, batch_rows))
  return [{'question': q.question, 'gold': q.answer, 'answer': answer,
           'knows': knows.is_right(answer, q.answer, golds, q.question)}
          for q, answer in zip(questions, said, strict=True)]


def entry(night: NightRecord, said: Mapping[str, Sequence[Mapping[str, Any]]],
          between: tuple[str, str]) -> dict[str, Any]:
  """Of one night, right answers of every model, and what two of them differ in.

  Args:
    night: that was asked about.
    said: name of a model -> what it `asked`.
    between: names of two of these, the earlier one first.

  Returns:
    night, title, questions; knows, the share of each model, None without
    questions; gained, lost and p of McNemar's test from the first of the two to
    the second; answers, a row for each question.
  """
  right = {name: [row['knows'] for row in rows] for name, rows in said.items()}
  first, second = (right[name] for name in between)
  return {
      'night': night.number, 'title': night.title, 'questions': len(first),
      'knows': {name: float(np.mean(each)) if each else None
                for name, each in right.items()},
      **(paired.mcnemar(first, second) if first else {
          'gained': 0, 'lost': 0, 'p': None}),
      'answers': [
          {'question': rows[0]['question'], 'gold': rows[0]['gold'],
           **{name: row['answer'] for name, row in zip(said, rows)},
           **{f'knows_{name}': row['knows'] for name, row in zip(said, rows)}}
          for rows in zip(*said.values(), strict=True)]}
