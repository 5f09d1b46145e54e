"""What a model knows of a text, told apart from how the text speaks.

With a text in view the loss of a wrong answer from it falls as much as that of
the right one, so a share of the loss measures the text's words. Three measures
ask for the facts. For a question q with gold answer a:

  knows    the greedy answer is right (`knows.is_right`): the headline
  choice   a has a greater gain than three distractors of its own kind from the
           text (`distractors`); a tie with k of them counts 1 / (1 + k)
  margin   gain(a) / tokens(a) − mean of gain(a⁻) / tokens(a⁻), nats a token,
           over the other gold answers a⁻ of the text, those of the next
           twelve questions if there are more

where gain(a) = log p(a | q) − log p(a | an empty question), both with the text
in view or both without it: what the question adds, so that neither a likely
answer nor a text's vocabulary counts. Left out are, from choice, questions with
fewer than two distractors; from margin, those without another gold answer
(equal ones and those that contain one another are none); from all, those whose
gold answer has no words. The report counts them.

A model that has not read the text already chooses better than chance, and its
margin can exceed the one in view: read both as changes from before.
"""

import collections
import itertools
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from sleepjax.data.documents import Question
from sleepjax.errors import UserError
from sleepjax.evals import answers, distractors, knows, paired, sleep_scores
from sleepjax.evals import questions as questions_lib
from sleepjax.evals.questions import AnswerConfig
from sleepjax.model import Model
from sleepjax.sampling.context import read_document

LEAST_GAP = 0.1  # Of `knows` in view over before, for a share of it.
_SAME = 1e-4  # Nats: gains that differ by rounding are a tie.
_MOST_CONTRASTS = 12  # Or the work would grow as the questions' square.
_MEASURES = ('knows', 'choice', 'margin', 'exact', 'f1')


def score(model: Model, exam: sleep_scores.Exam, settings: AnswerConfig,
          said: Mapping[str, Any], in_view: bool = True,
          controls: list[dict] | None = None) -> dict:
  """All measures of one model, question by question.

  Args:
    model: in compute layout.
    exam: the chunks, their questions, and controls about other texts; a
      question is asked in view of the chunk that it is about.
    settings: how questions are put, always the same way.
    said: of `sleep_scores.score_model`, what this model answers; with the text
      in view only if that is asked for.
    in_view: whether to ask with the text in view, too.
    controls: what this very model says to the controls, if it is known.

  Returns:
    'closed_book', 'in_view' (empty unless asked for): a row for each question,
    plain values for JSON: question, gold, answer, knows, exact, f1, kind,
    distractors, and choice and margin, None where left out; 'controls': the
    first six of these, closed book; 'left_out': how many questions have a gold
    answer without words.

  Raises:
    UserError: no question is left to score.
  """
  sheet = _sheet(exam)
  viewed = {}
  for numbers, segment in sleep_scores.in_view(
      model, sheet.asked, exam.chunks) if in_view else ():
    viewed.update(zip(numbers, _rows(
        model, sheet, numbers, sheet.of(said['said_in_view']), settings,
        segment)))
  known, controls = controls is not None, controls or []
  for _, about in () if known else exam.controls:
    if about := [about[n] for n in _with_words(about)]:
      told = questions_lib.greedy_answers(model, about, settings)
      controls += [_row(q, answer, [q.answer for q in about])
                   for q, answer in zip(about, told)]
  return {
      'closed_book': _rows(
          model, sheet, range(len(sheet.asked)),
          sheet.of(said['said_closed_book']), settings, None),
      'in_view': [viewed[n] for n in sorted(viewed)], 'controls': controls,
      'left_out': len(exam.questions) - len(sheet.asked)}


def score_beside(model: Model, exam: sleep_scores.Exam,
                 settings: AnswerConfig, texts: Mapping[int, str]
                 ) -> dict[int, dict]:
  """All measures of some questions, each asked with a text of its own in view.

  Args:
    model, exam, settings: as of `score`.
    texts: number of a question, of those that have an answer with words -> what
      is in view, such as a text that was looked up.

  Returns:
    number -> its row, as `score` has them.
  """
  sheet, found = _sheet(exam), {}
  for text in dict.fromkeys(texts.values()):
    numbers = [n for n, own in texts.items() if own == text]
    segment = read_document(model.config, model.params, model.chat, text)
    said = questions_lib.greedy_answers(
        model, [sheet.asked[n] for n in numbers], settings, segment)
    found.update(zip(numbers, _rows(
        model, sheet, numbers, dict(zip(numbers, said)), settings, segment)))
  return found


def together(scores: Sequence[dict]) -> dict:
  """The scores of several texts as those of one, for `compare`."""
  return {name: sum((s[name] for s in scores), [])
          for name in ('closed_book', 'in_view', 'controls')} | {
              'left_out': sum(s['left_out'] for s in scores)}


def recovered(before: float, after: float, in_view: float) -> float | None:
  """(after − before) / (in view − before) of the share of known answers.

  None where the text in view brings less than `LEAST_GAP`: a share of next to
  nothing is noise.
  """
  gap = in_view - before
  return (after - before) / gap if gap >= LEAST_GAP else None


def compare(before: dict, after: dict) -> dict:
  """The report's flat entries, from `score` before and after a sleep.

  Returns:
    knows, choice, margin, exact and f1, each with _before, _after and _in_view
    (the model before, with the text); knows_in_view_after, if it was asked;
    controls_knows_before and _after; knowledge_recovered (`recovered`);
    knows_gained, knows_lost and knows_p of McNemar's test; choice_change and
    margin_change with _half_width, of 95 % intervals; choice_chance; how many
    questions each is of; choices_sha256. A measure without questions is None.

  Raises:
    ValueError: the two are not of the same questions, or `before` was not asked
      in view.
  """
  first, last, viewed = (before['closed_book'], after['closed_book'],
                         before['in_view'])
  if not _asked(first) == _asked(last) == _asked(viewed) or (
      _asked(before['controls']) != _asked(after['controls'])):
    raise ValueError('before, after and in view must be rows of the same '
                     'questions and distractors, in the same order.')
  report = {f'{name}_{when}': _mean(rows, name) for name in _MEASURES
            for when, rows in (('before', first), ('after', last),
                               ('in_view', viewed))}
  if after['in_view']:
    report['knows_in_view_after'] = _mean(after['in_view'], 'knows')
  for when, scores in (('before', before), ('after', after)):
    report[f'controls_knows_{when}'] = _mean(scores['controls'], 'knows')
  changed = paired.mcnemar(_values(first, 'knows'), _values(last, 'knows'))
  report |= {f'knows_{name}': value for name, value in changed.items()}
  report |= {
      'knowledge_recovered': recovered(*(
          report[f'knows_{w}'] for w in ('before', 'after', 'in_view'))),
      'knows_questions': len(first), 'knows_left_out': before['left_out'],
      'controls_questions': len(before['controls'])}
  for name in ('choice', 'margin'):
    values = _values(first, name), _values(last, name)
    change = paired.paired_t(*values) if values[0] else {
        'mean': None, 'half_width': None}
    report |= {f'{name}_change': change['mean'],
               f'{name}_change_half_width': change['half_width'],
               f'{name}_questions': len(values[0]),
               f'{name}_left_out': len(first) - len(values[0])}
  chosen = [row for row in first if row['choice'] is not None]
  return report | {
      'choice_left_out_kinds': dict(collections.Counter(
          row['kind'] for row in first if row['choice'] is None)),
      'choice_chance': float(np.mean([
          1 / (1 + len(row['distractors'])) for row in chosen]))
                       if chosen else None,
      'choices_sha256': distractors.choices_sha256([
          distractors.Choice(row['kind'], tuple(row['distractors']))
          for row in first])}


def side_by_side(before: dict, after: dict) -> list[dict]:
  """Every question with its gold answer and what was said to it.

  Returns:
    rows of question, gold, before, after and in_view, and whether each of the
    three is right: knows_before, knows_after, knows_in_view.
  """
  rows = zip(before['closed_book'], after['closed_book'], before['in_view'],
             strict=True)
  return [{'question': first['question'], 'gold': first['gold'],
           **{name: row['answer'] for name, row in zip(
               ('before', 'after', 'in_view'), each)},
           **{f'knows_{name}': row['knows'] for name, row in zip(
               ('before', 'after', 'in_view'), each)}}
          for each in rows for first in each[:1]]


def choose(gold: float, others: Sequence[float]) -> float:
  """1 if the gold answer's gain is the greatest, 1 / n of a tie of n, or 0."""
  best = max(gold, *others)
  tied = sum(best - gain <= _SAME for gain in (gold, *others))
  return 1 / tied if best - gold <= _SAME else 0.0


class _Sheet(NamedTuple):
  """What is asked about a text, and what each answer is told apart from.

  asked: the questions whose answer has words.
  worded: their numbers among all.
  choices, contrasts: of each.
  """

  asked: list[Question]
  worded: list[int]
  choices: list[distractors.Choice]
  contrasts: list[list[str]]

  def of(self, every):
    """Of entries of all questions those of the ones asked."""
    return [every[n] for n in self.worded]


def _sheet(exam):
  worded = _with_words(exam.questions)
  if not worded:
    raise UserError(
        f'{len(exam.questions)} questions, of which none has an answer with '
        'words in it: there is nothing to score. Give at least one question '
        'with an answer.')
  asked = [exam.questions[n] for n in worded]
  text = '\n\n'.join(chunk.text for chunk in exam.chunks)
  return _Sheet(asked, worded, distractors.choices(text, asked),
                [_contrasts(n, asked) for n in range(len(asked))])


def _rows(model, sheet, numbers, said, settings, segment):
  """Rows of some of those asked; `said` to each, by its number."""
  golds = [q.answer for q in sheet.asked]
  found = [_row(sheet.asked[n], said[n], golds) for n in numbers]
  _tell_apart(found, [sheet.choices[n] for n in numbers],
              [sheet.contrasts[n] for n in numbers],
              lambda asked: questions_lib.answer_nats(
                  model, asked, settings, segment))
  return found


def _with_words(questions):
  """Numbers of those whose gold answer can be said."""
  return [n for n, q in enumerate(questions) if answers.match_words(q.answer)]


def _row(question, answer, golds):
  """What the model says, and whether it is right."""
  gold = question.answer
  return {'question': question.question, 'gold': gold, 'answer': answer,
          'knows': knows.is_right(answer, gold, golds, question.question),
          'exact': answers.exact_match(answer, gold),
          'f1': answers.f1(answer, gold)}


def _contrasts(number, asked):
  """Other gold answers, at most so many: of the questions that come next."""
  own = asked[number].answer
  following = [q.answer for q in (*asked[number + 1:], *asked[:number])]
  return [gold for gold in knows.other_golds(own, following)
          if not distractors.nested(gold, own)][:_MOST_CONTRASTS]


def _tell_apart(rows, choices, contrasts, nats_of):
  """Adds kind, distractors, choice and margin to rows.

  Args:
    rows: of questions.
    choices, contrasts: of each; its distractors, and other gold answers.
    nats_of: questions -> ([n] nats of their answers, [n] tokens).
  """
  def losses(question, replies):
    """{answer: (nats, tokens)}, each scored once."""
    replies = list(dict.fromkeys(replies))
    return dict(zip(replies, zip(*nats_of(
        [Question(question, reply) for reply in replies]))))

  replies = [(row['gold'], *choice.distractors, *others)
             for row, choice, others in zip(rows, choices, contrasts)]
  of_nothing = losses('', itertools.chain.from_iterable(replies))
  for row, choice, others, named in zip(rows, choices, contrasts, replies):
    of_question = losses(row['question'], named)
    gains = {reply: float(of_nothing[reply][0] - nats)
             for reply, (nats, _) in of_question.items()}
    per_token = {reply: gains[reply] / tokens
                 for reply, (_, tokens) in of_question.items()}
    row.update(kind=choice.kind, distractors=list(choice.distractors),
               choice=None, margin=None)
    if len(choice.distractors) >= distractors.LEAST:
      row['choice'] = choose(
          gains[row['gold']], [gains[a] for a in choice.distractors])
    if others:
      row['margin'] = per_token[row['gold']] - float(
          np.mean([per_token[a] for a in others]))


def _asked(rows):
  return [(row['question'], row['gold'], row.get('distractors'))
          for row in rows]


def _values(rows, name):
  return [row[name] for row in rows if row[name] is not None]


def _mean(rows, name):
  values = _values(rows, name)
  return float(np.mean(values)) if values else None
