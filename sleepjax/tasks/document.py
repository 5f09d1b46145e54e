"""Documents: read in chunks, a sleep after each, and an exam about them."""

import copy
import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np

from sleepjax import seeds
from sleepjax.data import benchmarks, documents, sources
from sleepjax.data.documents import Document, Question
from sleepjax.errors import UserError, check_least
from sleepjax.evals import cost, knowledge, outside, sleep_scores
from sleepjax.evals import report as report_lib
from sleepjax.evals.questions import AnswerConfig, check_scorable
from sleepjax.lifecycle.config import SleepConfig
from sleepjax.lifecycle.cycle import SleepReport
from sleepjax.lifecycle.written import Day
from sleepjax.model import Model
from sleepjax.runs import nights
from sleepjax.runs.nights import remembered
from sleepjax.runs.task import Progress
from sleepjax.sampling import context
from sleepjax.tasks.reading import (
    Reading,
    chunks_of,
    is_prompt,
    summary_of,
    usable_prompts,
    with_room,
)
from sleepjax.training.observer import Observer
from sleepjax.writing import dreams
from sleepjax.writing.dreamer import Dreamer

_GENERATED_QUESTIONS = 12  # Written per chunk where the user gives none.
_REMEMBERED = 64  # Prompts about earlier chunks that each sleep retains.
_BEGINNING = 1000  # Characters of a text, of which one has a token.
_QUESTIONS_KEY = 2 ** 20  # Folded in: no cycle has so high a number.


@dataclasses.dataclass(frozen=True)
class ExamConfig:
  """What a run is scored on besides its own questions.

  drift: 'wikitext2' (validation text) or 'bundled'.
  drift_tokens: how much of it.
  controls: of the texts that are not read the first so many are asked about.
  max_new_tokens, batch_rows: of greedy answers.
  outside: public tests that have nothing to do with the text, for what is
    forgotten (`sleepjax.data.benchmarks`): any of 'hellaswag', 'piqa',
    'lambada' and 'gsm8k'.
  outside_items: of each of these, drawn once for all models.
  """

  drift: str = 'bundled'
  drift_tokens: int = 2048
  controls: int = 5
  max_new_tokens: int = 32
  batch_rows: int = 8
  outside: tuple[str, ...] = ()
  outside_items: int = 100

  def __post_init__(self):
    if self.drift not in ('wikitext2', 'bundled'):
      raise ValueError(
          f"drift={self.drift!r} must be 'wikitext2' or 'bundled'.")
    unknown = [name for name in self.outside if name not in benchmarks.NAMES]
    if unknown:
      raise ValueError(f'outside={unknown[0]!r} must be one of '
                       f'{", ".join(benchmarks.NAMES)}.')
    # A token is predicted from those before it.
    check_least(self, drift_tokens=2, controls=0, max_new_tokens=1,
                batch_rows=1, outside_items=1)


def bundled_controls() -> list[tuple[Document, tuple[Question, ...]]]:
  """Documents about invented things, with questions: nobody has read them."""
  return [(documents.bundled_document(name), documents.bundled_questions(name))
          for name in documents.bundled_names('control_')]


def slept_on(task: 'DocumentTask', model: Model, place: nights.Run
             ) -> tuple[dict[str, Any], bool]:
  """The report of a document, from an earlier run where that has ended.

  Returns:
    (report, whether it stood there already). `report.png` lies beside it.
  """
  found = nights.finished(place.workdir, place.config, task.identity())
  report = found or nights.run(task, model, task.settings, place)
  if not found or not (place.workdir / 'report.png').exists():
    report_lib.draw_run(place.workdir, report)
  return report, found is not None


class DocumentTask:
  """Chunks of documents as days; see `sleepjax.runs.task.Task`.

  Its progress has
    questions, source: what is asked, and whether a 'file' gave it.
    before, known, outside: scores of the model before all sleeps, of
      `sleep_scores.score_model`, `knowledge.score` and `outside.score`.
    sleeps: `SleepReport` of each, as dictionaries.
  """

  retains_base = False

  def __init__(self, model: Model, reading: Reading, settings: SleepConfig,
               exam: ExamConfig, seed: int = 0, first: Progress | None = None,
               elsewhere: Progress | None = None):
    """Checks all that a run is given, before its first slow step.

    Args:
      model: who will read.
      reading: what is read and asked.
      settings: of every sleep.
      exam: of the scores.
      seed: of the questions that the model writes.
      first: what `before` returned of this text and model, which is not asked
        again then.
      elsewhere: what it returned of this model and another text, from which
        controls and drift are taken.

    Raises:
      UserError: something cannot be read, asked or scored; the message names
        it.
    """
    self.reading = dataclasses.replace(
        reading, controls=reading.controls[:exam.controls])
    self.settings, self.exam, self.seed = settings, exam, seed
    self.first, self.elsewhere = first, elsewhere
    self.answers = AnswerConfig(
        settings.answer_prompt, exam.max_new_tokens, exam.batch_rows)
    self._rehearsal = [documents.bundled_document(name).text
                       for name in documents.bundled_names('rehearsal_')]
    self.documents, skipped = usable_prompts(
        model, reading.documents, settings, reading.questions or ())
    self.skipped = [*reading.skipped, *skipped]
    parts, self.drift = self._checked(model)
    self.chunks = [chunk for chunks in parts for chunk in chunks]
    self.sleeps_of = [len(chunks) for chunks in parts]
    self.outside = {name: benchmarks.read(name, exam.outside_items)
                    for name in exam.outside}
    for name, items in self.outside.items():
      outside.check(name, items, model.tokenizer, model.config.max_context)
    self.nights = len(self.chunks)

  def identity(self) -> dict[str, Any]:
    return {'document_sha256': self.reading.sha256}

  def prepare(self, model: Model) -> Model:
    # With room for its slots the model is the same, and so are the programs
    # that score it afterwards.
    return self.with_room(model, 0)

  def with_room(self, model: Model, night: int) -> Model:
    return with_room(model, self.settings, self.nights - night)

  def before(self, model: Model, ready: Model, observer: Observer) -> Progress:
    if self.first is not None:
      return copy.deepcopy(self.first)
    with observer.phase('evaluate before', total=1) as phase:
      asked, source = self.reading.questions, 'file'
      if asked is None:
        asked, source = self._written_questions(ready), 'generated'
      progress = {'questions': [dataclasses.asdict(q) for q in asked],
                  'source': source, 'sleeps': []}
      progress['before'], progress['known'] = self._scores(
          ready, progress, True, self.elsewhere)
      progress['outside'] = (self.elsewhere['outside'] if self.elsewhere else
                             self._forgets(ready))
      phase.advance(closed_book_nll=progress['before']['closed_book_nll'])
    return progress

  def day(self, night: int, progress: Progress) -> Day:
    avoid = ([q['question'] for q in progress['questions']]
             if progress['source'] == 'generated' else ())
    asked = [Question(**q) for q in progress['questions']]
    return Day(
        self.chunks[night], self._rehearsal, avoid, remembered(
            [sleep['texts'] for sleep in progress['sleeps']], _REMEMBERED,
            self.seed, night), self.chunks[:night], [
                q for q, place in zip(asked, sleep_scores.chunk_of(
                    asked, self.chunks), strict=True) if place == night])

  def morning(self, night: int, model: Model, ready: Model,
              report: SleepReport, progress: Progress, observer: Observer
              ) -> None:
    progress['sleeps'].append(dataclasses.asdict(report))

  def summary(self, progress: Progress, ready: Model, observer: Observer
              ) -> dict[str, Any]:
    with observer.phase('evaluate after', total=1) as phase:
      after, known = self._scores(ready, progress, in_view=False)
      elsewhere = self._forgets(ready)
      phase.advance(closed_book_nll=after['closed_book_nll'])
    sleeps = progress['sleeps']
    hand_overs = [sleep['hand_over'] for sleep in sleeps]
    return {
        'document': self.reading.title,
        'documents': summary_of(self.documents, self.sleeps_of),
        'skipped': [entry._asdict() for entry in self.skipped],
        'questions': len(progress['questions']),
        'questions_source': progress['source'], 'sleeps': len(sleeps),
        **sleep_scores.compare(progress['before'], after),
        **knowledge.compare(progress['known'], known),
        **outside.compare(progress['outside'], elsewhere),
        'answers': knowledge.side_by_side(progress['known'], known),
        'question_cost': self.question_cost(ready, known['closed_book']),
        'growth_max_abs_logit_change': max(
            sleep['growth_max_abs_logit_change'] for sleep in sleeps),
        'growth_shapes': [
            sleep['growth_shapes'].splitlines() for sleep in sleeps],
        'dreams': sum(sleep['dreams'] for sleep in sleeps),
        **_coverage([sleep['coverage'] for sleep in sleeps]),
        'hand_overs': hand_overs,
        'retention_divergence': [h['retention_divergence'] for h in hand_overs],
        'sleeps_rolled_back': sum(h['rolled_back'] for h in hand_overs),
        **_dreaming([sleep['dreaming'] for sleep in sleeps])}

  def files(self, progress: Progress) -> dict[str, Any]:
    return {'dreams.json': {'sleeps': progress['sleeps'],
                            'questions': progress['questions']}}

  def sheet(self, progress: Progress) -> sleep_scores.Exam:
    """What every model is asked."""
    return sleep_scores.Exam(
        self.chunks, [Question(**q) for q in progress['questions']],
        self.reading.controls, self.drift)

  def question_cost(self, model: Model, rows: Sequence[Mapping[str, Any]],
                    views: Sequence[str] | None = None
                    ) -> dict[str, dict[str, float]]:
    """What a question takes, with a text in view and after the nights.

    Args:
      model: who answers, in either layout.
      rows: `knowledge.score`'s, with question and answer.
      views: what is in view of each; by default the chunk that it is about.

    Returns:
      See `cost.of_questions`.
    """
    asked, chat = [Question(row['question'], row['gold']) for row in rows], (
        model.chat)
    views = views or [self.chunks[i].text for i in sleep_scores.chunk_of(
        asked, self.chunks)]
    return cost.of_questions(
        model.config,
        [len(chat.closed_book(self.answers.prompt.format(question=q.question)))
         for q in asked],
        [len(model.tokenizer.encode(row['answer'])) for row in rows],
        [len(chat.document(text)) for text in views])

  def _scores(self, ready, progress, in_view, elsewhere=None):
    """Of `sleep_scores.score_model` and of `knowledge.score`."""
    known = elsewhere or {'before': None, 'known': {'controls': None}}
    asked = ready, self.sheet(progress), self.answers
    scores = sleep_scores.score_model(*asked, known['before'])
    return scores, knowledge.score(
        *asked, scores, in_view, known['known']['controls'])

  def _forgets(self, ready):
    return {name: outside.score(ready, name, items, self.exam.batch_rows)
            for name, items in self.outside.items()}

  def _written_questions(self, ready):
    """Questions that the model writes about each chunk while it has it."""
    s, key = self.settings, jax.random.fold_in(
        seeds.key_of(self.seed), _QUESTIONS_KEY)
    dreamer = Dreamer(ready, s.dreams)
    questions = []
    for i, chunk in enumerate(self.chunks):
      segment = context.read_document(
          ready.config, ready.params, ready.chat, chunk.text)
      questions += [Question(q, a) for q, a in dreams.write_exam(
          dreamer, chunk.text, (segment,), jax.random.fold_in(key, i),
          s.answer_prompt, _GENERATED_QUESTIONS)
                    if not is_prompt(q, self.documents)]
    if not questions:
      raise UserError(
          'the model could not write questions about the text: give some '
          'with --questions=FILE.json.')
    return questions

  def _checked(self, model):
    """(the chunks of each document, tokens of the unrelated text)."""
    r, chat = self.reading, model.chat
    if not self.documents:
      raise UserError(
          f'{len(r.questions or ())} questions and no text to read: they are '
          'for scoring only. Give the text that they are about, too.')
    chunks = [chunks_of(model, document, self.settings)
              for document in self.documents]
    for text in (*self.documents, *(control for control, _ in r.controls)):
      if len(chat.document(text.text[:_BEGINNING])) <= len(chat.document('')):
        raise UserError(
            f'the text {text.title!r} begins with nothing that has a token in '
            "the model's vocabulary, so there is nothing to read.")
    longest = lambda texts: max(len(chat.document(t.text)) for t in texts)
    exams = [(sum(chunks, []), r.questions or (), r.where), *(
        ([control], asked, f'control questions on {control.title!r}')
        for control, asked in r.controls)]
    for texts, asked, place in exams:
      check_scorable(chat, asked, place, self.answers,
                     model.config.max_context - longest(texts))
    drift = model.tokenizer.encode_stream(
        _drift_text(self.exam))[:self.exam.drift_tokens]
    if len(drift) < 2:
      raise UserError(
          f'exam.drift={self.exam.drift!r}: its text has {len(drift)} tokens '
          "in the model's vocabulary; perplexity needs two.")
    return chunks, drift


def _drift_text(settings):
  if settings.drift == 'wikitext2':
    return sources.wikitext2('valid')
  return documents.bundled_document('drift').text


def _coverage(coverages: Sequence[Mapping[str, int]]) -> dict[str, Any]:
  """Of how many sentences something was asked, or why not, over all sleeps."""
  coverages = [c for c in coverages if c]
  if not coverages:
    return {}
  total = lambda name: sum(c[name] for c in coverages)
  share = lambda count: count / max(1, total('sentences'))
  return {
      'sentences': total('sentences'),
      'coverage': share(total('sentences') - total('too_long')
                        - total('without_question')),
      'verified': share(total('verified')),
      'sentences_without_question': {
          'too_long': total('too_long'),
          'no_usable_question': total('without_question')},
      'recollections_left_out': total('beginnings_too_long'),
      'answers_too_long': total('answers_too_long')}


def _dreaming(nights: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
  """Of the second stage: how its dreams did, first and last, and its end."""
  nights = [night for night in nights if night]
  rounds = [r for night in nights for r in night['rounds']]
  if not rounds:
    return {'dream_rounds': 0}
  written = [night['write_back'] for night in nights if night['write_back']]
  return {
      'dream_rounds': len(rounds),
      'dream_success_rate': float(np.mean([r['success_rate'] for r in rounds])),
      'dream_success_rates': [[r['success_rate'] for r in night['rounds']]
                              for night in nights],
      'dream_tau_before': [r['tau_before'][0] for r in rounds],
      'dream_tau_after': [w['tau_after'] for w in written],
      'dream_rolled_back': sum(w['rolled_back'] for w in written)}
