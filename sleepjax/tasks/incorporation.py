"""Knowledge incorporation: a passage, a fresh model, several ways to learn it.

An arm is one of `UNTAUGHT`, in which nobody learns anything, or a night with
settings of its own. What arms share is made once for each passage and kept: the
scores of the untouched model, and the words that a night learns from, so that
arms differ in how they learn and not in what. Scores of controls and drift
before a night are the same for all passages.
"""

import dataclasses
import shutil
import time
from collections.abc import Mapping, Sequence
from typing import Any

from sleepjax import seeds
from sleepjax.data.chunks import wake_chunks
from sleepjax.data.documents import Document
from sleepjax.errors import UserError
from sleepjax.evals import cost, knowledge, retrieval, sleep_scores
from sleepjax.evals import report as report_lib
from sleepjax.lifecycle import cycle
from sleepjax.lifecycle.config import SleepConfig
from sleepjax.lifecycle.cycle import Life
from sleepjax.lifecycle.written import Day, Words
from sleepjax.mesh import distributed, sharding
from sleepjax.model import Model
from sleepjax.runs import nights
from sleepjax.runs.rows import Cell, Rows
from sleepjax.runs.task import Progress
from sleepjax.tasks.document import DocumentTask, ExamConfig, Reading
from sleepjax.training.observer import Observer
from sleepjax.training.progress import Display

UNTAUGHT = 'base', 'in_view', 'bm25'
SHARED = 'elsewhere', 'first', 'words'  # Names of rows that arms share.


class PassageTask(DocumentTask):
  """One passage, one night, from words that may be there already."""

  words: Words | None = None

  def day(self, night: int, progress: Progress) -> Day:
    return super().day(night, progress)._replace(words=self.words)


@dataclasses.dataclass(frozen=True)
class Bed:
  """Passages, and all that their arms share.

  model: canonical; every arm begins with it.
  readings: item, a number, -> a passage with its questions and the controls.
  library: the documents among which BM25 looks.
  settings: of the night that writes for all.
  exam: of the scores.
  shared: rows that arms share, of the arms `SHARED`.
  place: where unfinished nights live; the seed of an item is its own plus the
    item's number.
  """

  model: Model
  readings: Mapping[str, Reading]
  library: Sequence[Document]
  settings: SleepConfig
  exam: ExamConfig
  shared: Rows
  place: nights.Run

  def task(self, item: str, settings: SleepConfig, **known) -> PassageTask:
    """The exam of a passage, and its night.

    Raises:
      UserError: the passage is too long for one night, or cannot be read or
        scored.
    """
    task = PassageTask(self.model, self.readings[item], settings, self.exam,
                       self.place.seed + int(item), **known)
    check_one_night(task.reading.where, task.nights, settings)
    return task

  def row(self, cell: Cell, settings: SleepConfig,
          config: Mapping[str, Any]) -> dict[str, Any]:
    """The row of an arm and a passage.

    Args:
      cell: which.
      settings: of the arm's night.
      config: the arm's resolved configuration, by which an unfinished night is
        known again.
    """
    first = self.first(cell)
    if cell.arm in UNTAUGHT:
      return row_of(self._untaught(cell, first))
    written = self.words(cell) if settings.source == 'facts' else None
    task = self.task(cell.item, settings, first=first)
    if written:
      task.words = without_unused(Words.from_json(written['words']), settings)
    place = dataclasses.replace(
        self.place, workdir=self.place.workdir / f'{cell.arm}_{cell.item}',
        config=config, seed=task.seed)
    report_lib.forget_peak_memory()
    report = nights.run(task, self.model, settings, place)
    if distributed.is_first():
      shutil.rmtree(place.workdir)
    return row_of(report, written)

  def first(self, cell: Cell) -> Progress:
    """Scores of the untouched model, see `DocumentTask`."""
    return self._shared('first', cell, self._first)

  def words(self, cell: Cell, display: Display | None = None
            ) -> dict[str, Any]:
    """What a night learns from, as JSON, and what writing it has cost.

    Args:
      cell: of the passage.
      display: shows the writing, if it is not there yet; one of its own by
        default.
    """
    return self._shared(
        'words', cell, lambda missing: self._write(missing, display))

  def _shared(self, name, cell, make):
    (_, row), = self.shared.fill([cell._replace(arm=name)], make)
    return row

  def fresh(self, task: DocumentTask) -> Model:
    """The untouched model on the mesh, with room for what a task grows."""
    fresh = task.prepare(self.model)
    return fresh.with_params(fresh.config, sharding.on_mesh(fresh.params))

  def _first(self, cell):
    everywhere = Cell('elsewhere', cell.seed)
    elsewhere = self.shared.get(everywhere)
    task = self.task(cell.item, self.settings, elsewhere=elsewhere)
    fresh = self.fresh(task)
    with Display(after_phase=self.place.after_phase) as display:
      first = task.before(
          fresh, self.settings.for_compute(fresh), Observer(display))
    if elsewhere is None:
      self.shared.put(everywhere, {
          'before': {n: first['before'][n] for n in sleep_scores.ELSEWHERE},
          'known': {'controls': first['known']['controls']},
          'outside': first['outside']})
    return first

  def _write(self, cell, display):
    """The words, and what they cost."""
    task = self.task(cell.item, self.settings)
    day = task.day(0, {'questions': [], 'source': 'file', 'sleeps': []})
    with display or Display(after_phase=self.place.after_phase) as display:
      words = cycle.write_ahead(
          Life(self.fresh(task)), day, self.settings,
          key=seeds.key_of(task.seed), observer=Observer(display))
    return {'words': words._asdict(),
            **{unit: {'write': value['write']}
               for unit, value in display.totals().items()}}

  def _untaught(self, cell, first):
    """A report as of a night, of the untouched model."""
    task, known = self.task(cell.item, self.settings), first['known']
    rows, views, more = known['closed_book'], None, {}
    if cell.arm == 'in_view':
      rows = known['in_view']
    elif cell.arm == 'bm25':
      rows, views, more = self._looked_up(task, first)
    cost_of = task.question_cost(self.model, rows, views)
    return {
        'document': task.reading.document.title,
        **sleep_scores.compare(first['before'], first['before']),
        **knowledge.compare(known, {
            **known, 'closed_book': rows, 'in_view': []}),
        'answers': knowledge.side_by_side(known, {'closed_book': rows}),
        'topic_recovered_net': None, 'seconds': {}, 'tokens': {}, **more,
        'question_cost': {
            'after': cost_of['after' if cell.arm == 'base' else 'in_view']},
        'peak_memory_bytes': report_lib.peak_memory_bytes()}

  def _looked_up(self, task, first):
    """(rows, what was in view of each, how the search did) by BM25."""
    s, chat, own = self.settings, self.model.chat, task.chunks[0].text
    texts = [chunk.text for document in self.library for chunk in wake_chunks(
        chat, document, s.context_tokens,
        self.model.config.max_context - s.reply_tokens)]
    viewed = first['known']['in_view']
    search, start = retrieval.Retriever(texts), time.perf_counter()
    views = [texts[search.best(row['question'])[0]] for row in viewed]
    seconds = (time.perf_counter() - start) / len(views)
    others = {n: text for n, text in enumerate(views) if text != own}
    if others:
      ready = s.for_compute(self.fresh(task))
      others = knowledge.score_beside(
          ready, task.sheet(first), task.answers, others)
    return [others.get(n, row) for n, row in enumerate(viewed)], views, {
        'lookup_seconds': seconds, 'library': len(texts),
        'looked_up_right': sum(t == own for t in views)}


def check_one_night(where: str, nights_of: int, settings: SleepConfig) -> None:
  """Checks that a passage is slept on in one night.

  Raises:
    UserError: it takes several.
  """
  if nights_of > 1:
    raise UserError(
        f'{where} takes {nights_of} nights and should take one: raise '
        f'sleep.context_tokens={settings.context_tokens}.')


def without_unused(words: Words, settings: SleepConfig) -> Words:
  """Words without those of the terms that a night has not."""
  s, dropped = settings.seeding, {}
  if not s.rehearsal:
    dropped['rehearsed'] = []
  if not (s.retention and s.retention_rows):
    dropped |= {'memories': [], 'kept': []}
  return words._replace(**dropped)


def row_of(report: Mapping[str, Any],
           written: Mapping[str, Any] | None = None) -> dict[str, Any]:
  """What a table keeps of a report, some kilobytes.

  Args:
    report: of `nights.run`, or the same entries of an untouched model.
    written: what the words have cost that the night was given: 'seconds' and
      'tokens', by phase.

  Returns:
    answers; right, of each question; choice, margin, with before and in view;
    controls; changes of losses in nats a token, and of perplexity as a share;
    seconds and tokens of every phase, the words' included; night_tokens and
    night_seconds; question_tokens, what a question takes afterwards.
  """
  r, given = report, written or {}
  totals = {unit: {**r[unit], **{
      phase: r[unit].get(phase, 0) + value
      for phase, value in given.get(unit, {}).items()}}
            for unit in ('seconds', 'tokens')}
  rose = lambda name: r[f'{name}_after'] - r[f'{name}_before']
  same = ('document', 'answers', 'coverage', 'verified', 'sentences',
          'hand_overs', 'params_before', 'params_after', 'peak_memory_bytes',
          'lookup_seconds', 'library', 'looked_up_right',
          'controls_questions', 'controls_knows_before',
          *(f'{name}_{when}' for name in ('knows', 'choice', 'margin')
            for when in ('before', 'in_view')))
  return {
      **{name: r[name] for name in same if name in r}, **totals,
      'right': [answer['knows_after'] for answer in r['answers']],
      'choice': r['choice_after'], 'margin': r['margin_after'],
      'topic_recovered': r['topic_recovered_net'],
      'controls_knows': r['controls_knows_after'],
      'control_nll': r['control_nll_after'],
      'control_change': rose('control_nll'),
      'context_lost': rose('in_context_other_nll'),
      'drift': r['drift_ppl_after'] / r['drift_ppl_before'] - 1,
      'rolled_back': r.get('sleeps_rolled_back', 0),
      **{f'night_{unit}': sum(spent.get(phase, 0) for phase in cost.NIGHT)
         for unit, spent in totals.items()},
      'question_tokens': r['question_cost']['after']['tokens']}
