"""SEAL's sequence: passages one after another, a night after each.

After every night all passages are asked closed book, those to come included.
Every arm learns from the same words, which the untouched model has written
about each passage (`sleepjax.tasks.incorporation`), and stores the same of them
for later nights: some of the prompts that were learnt from, with their answers.
On these a night stays what the model before it was (`seeding.retention`).
"""

import copy
import dataclasses
import functools
import shutil
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from sleepjax.data.documents import Question
from sleepjax.errors import UserError
from sleepjax.evals import answers as answers_lib
from sleepjax.evals import cost, forgetting, knows, questions
from sleepjax.lifecycle.config import SleepConfig
from sleepjax.lifecycle.cycle import SleepReport
from sleepjax.lifecycle.written import Day, Words
from sleepjax.mesh import distributed
from sleepjax.model import Model
from sleepjax.runs import nights
from sleepjax.runs.rows import Cell
from sleepjax.runs.task import Progress
from sleepjax.sampling.context import read_document
from sleepjax.tasks import incorporation
from sleepjax.tasks.document import DocumentTask, ExamConfig, Reading
from sleepjax.training.observer import Observer
from sleepjax.training.progress import Display

SHARED = 'untrained', 'words'  # Names of rows that arms share.
_STORED = 64  # Prompts of earlier passages that a night retains.


class SequenceTask(DocumentTask):
  """The nights of an arm; see `sleepjax.runs.task.Task`.

  Its progress has `right`, [1 + nights][passages][questions] whether they were
  answered right, of the untouched model first; `in_view`, the same of that
  model with the own passage in view; `elsewhere`, [1 + nights] scores of other
  texts; `said`, what was answered before, in view, and last; and `hand_overs`.
  """

  retains_base = True  # Who wrote the words also says how likely they are.

  def __init__(self, model: Model, readings: Sequence[Reading],
               settings: SleepConfig, exam: ExamConfig, seed: int = 0,
               words: Callable[[int], Words] | None = None,
               first: Progress | None = None):
    """Checks that everything fits.

    Args:
      model: who will read.
      readings: passages in their order, each with its questions; the controls
        are those of the first.
      settings: of every night.
      exam: of the scores.
      seed: of which prompts are stored.
      words: number of a night -> what it learns from; only exams need none.
      first: what `before` returned of these passages and this model.

    Raises:
      UserError: a passage takes more than a night, cannot be read or asked, or
        there are no controls.
    """
    asked = [[q for q in reading.questions
              if answers_lib.match_words(q.answer)] for reading in readings]
    for reading, own in zip(readings, asked, strict=True):
      if not own:
        raise UserError(
            f'{reading.where}: no question has an answer with words in it, so '
            'there is nothing to ask after its night. Choose another.')
    super().__init__(
        model, Reading([r.document for r in readings], sum(asked, []),
                       readings[0].controls,
                       f'{readings[0].where} to {readings[-1].where}'),
        settings, exam, seed, first)
    for reading, number in zip(readings, self.sleeps_of, strict=True):
      incorporation.check_one_night(reading.where, number, settings)
    if not self.reading.controls:
      raise UserError('exam.controls=0: ask at least 1 other text, or nobody '
                      'knows what a night has cost.')
    self.asked, self.words, self._chat = asked, words, model.chat

  def before(self, model: Model, ready: Model, observer: Observer) -> Progress:
    if self.first is not None:
      return copy.deepcopy(self.first)
    with observer.phase('evaluate before', total=1) as phase:
      progress = {'right': [], 'elsewhere': [], 'said': {}, 'hand_overs': []}
      self._ask(ready, progress)
      viewed = [questions.greedy_answers(
          ready, own, self.answers, read_document(
              ready.config, ready.params, ready.chat, chunk.text))
                for own, chunk in zip(self.asked, self.chunks, strict=True)]
      progress['in_view'] = self._right(viewed)
      progress['said'] |= {'before': progress['said']['after'],
                           'in_view': sum(viewed, [])}
      phase.advance(knows=_share(progress['right'][0]),
                    knows_in_view=_share(progress['in_view']))
    return progress

  def day(self, night: int, progress: Progress) -> Day:
    return Day(self.chunks[night], exam=self.asked[night],
               words=self.words_of(night))

  def words_of(self, night: int) -> Words:
    """The words of a night, with what is stored of earlier ones."""
    *earlier, own = map(self.words, range(night + 1))
    kept = [(dream.student_ids(self._chat), list(dream.completion))
            for dream in stored(earlier, (self.seed, night))]
    return incorporation.without_unused(
        own._replace(kept=kept), self.settings)

  def morning(self, night: int, model: Model, ready: Model,
              report: SleepReport, progress: Progress, observer: Observer
              ) -> float:
    with observer.phase('ask in the morning', total=1) as phase:
      progress['hand_overs'].append(dataclasses.asdict(report.hand_over))
      self._ask(ready, progress)
      share = _share(progress['right'][-1][:night + 1])
      phase.advance(night=night, knows=share,
                    drift_ppl=progress['elsewhere'][-1]['drift_ppl'])
    return share

  def summary(self, progress: Progress, ready: Model, observer: Observer
              ) -> dict[str, Any]:
    moved, said = progress['hand_overs'], progress['said']
    return {
        'life': row_of(progress['right'], progress['in_view'],
                       progress['elsewhere']),
        'answers': [
            {'question': q.question, 'gold': q.answer, 'before': first,
             'after': last, 'in_view': viewed}
            for q, first, last, viewed in zip(sum(self.asked, []), *(
                said[when] for when in ('before', 'after', 'in_view')),
                                              strict=True)],
        'hand_overs': moved, 'undone': sum(h['rolled_back'] for h in moved)}

  def files(self, progress: Progress) -> dict[str, Any]:
    return {}

  def _ask(self, ready, progress):
    """Adds what is right now, closed book, and the scores of other texts."""
    flat = questions.greedy_answers(ready, sum(self.asked, []), self.answers)
    ends = np.cumsum([len(own) for own in self.asked])[:-1]
    said = [list(part) for part in np.split(np.array(flat, object), ends)]
    progress['right'].append(self._right(said))
    progress['said']['after'] = flat
    progress['elsewhere'].append(self._elsewhere(ready))

  def _right(self, said):
    return [_are_right(own, replies)
            for own, replies in zip(self.asked, said, strict=True)]

  def _elsewhere(self, ready):
    """Loss of the control questions, how many are right, and perplexity."""
    texts = [about for _, about in self.reading.controls]
    right = [_are_right(about, questions.greedy_answers(
        ready, about, self.answers)) for about in texts]
    return {
        'control_nll': questions.answer_nll(
            ready, [q for about in texts for q in about], self.answers),
        'controls_know': _share(right),
        'drift_ppl': questions.perplexity(
            ready.config, ready.params, self.drift)}


@dataclasses.dataclass(frozen=True)
class Sequences:
  """Sequences of passages, and what their arms share.

  passages: single ones, of which the words are written. Its shared rows also
    keep the exams of the untouched model, of the arm 'untrained'.
  length: passages of a sequence; number i begins with passage i · length.
  """

  passages: incorporation.Bed
  length: int

  def task(self, item: str, settings: SleepConfig, **known) -> SequenceTask:
    """The nights of a sequence, whose seed is that of all plus its number."""
    bed = self.passages
    return SequenceTask(
        bed.model, [bed.readings[number] for number in self._numbers(item)],
        settings, bed.exam, bed.place.seed + int(item), **known)

  def first(self, cell: Cell) -> Progress:
    """The exam of the untouched model, see `SequenceTask`."""
    (_, row), = self.passages.shared.fill(
        [cell._replace(arm='untrained')], self._first)
    return row

  def row(self, cell: Cell, settings: SleepConfig,
          config: Mapping[str, Any]) -> dict[str, Any]:
    """The row of an arm and a sequence: a life of all of its nights.

    Args:
      cell: which.
      settings: of the arm's nights.
      config: the arm's resolved configuration, by which an unfinished life is
        known again.
    """
    bed, numbers = self.passages, self._numbers(cell.item)

    @functools.cache
    def written(night):
      """Written when its night comes; the life has the display meanwhile."""
      return bed.words(cell._replace(item=numbers[night]), Observer().display)

    task = self.task(
        cell.item, settings, first=self.first(cell),
        words=lambda night: Words.from_json(written(night)['words']))
    place = dataclasses.replace(
        bed.place, workdir=bed.place.workdir / f'{cell.arm}_{cell.item}',
        config=config, seed=task.seed)
    report = nights.run(task, bed.model, settings, place)
    if distributed.is_first():
      shutil.rmtree(place.workdir)
    return {**report['life'], **{name: report[name] for name in (
        'answers', 'hand_overs', 'undone', 'peak_memory_bytes')},
            **_cost(report, [written(n) for n in range(task.nights)])}

  def _numbers(self, item):
    begin = int(item) * self.length
    return [f'{n:03d}' for n in range(begin, begin + self.length)]

  def _first(self, cell):
    task = self.task(cell.item, self.passages.settings)
    fresh = self.passages.fresh(task)
    with Display(after_phase=self.passages.place.after_phase) as display:
      return task.before(fresh, self.passages.settings.for_compute(fresh),
                         Observer(display))


def stored(earlier: Sequence[Words], seed: Sequence[int]) -> list:
  """What is kept of earlier passages: rows of theirs, drawn at random.

  Args:
    earlier: the words of their nights.
    seed: of the draw.

  Returns:
    At most 64 dreams, each with another prompt.
  """
  every = list({dream.prompt: dream for words in earlier
                for dream in words.dreams}.values())
  order = np.random.default_rng(seed).permutation(len(every))
  return [every[n] for n in order[:_STORED]]


def row_of(right: Sequence[Sequence[Sequence[bool]]],
           viewed: Sequence[Sequence[bool]],
           elsewhere: Sequence[Mapping[str, float]]) -> dict[str, Any]:
  """What a life is worth.

  Args:
    right: [1 + nights][passages][questions] answered right, of the untouched
      model first.
    viewed: [passages][questions], of that model with the passage in view.
    elsewhere: [1 + nights] scores of other texts.

  Returns:
    untrained, in_view: [passages] shares of right answers; matrix, [nights]
    [passages]; average_accuracy, learnt, forgetting, which is max − last, and
    backward_transfer of it (`sleepjax.evals.forgetting`); first_less_last;
    forward_transfer, less what the untrained model answers of the same
    passages; so_far, after each night the share of right answers about what has
    been read; untrained_mean and in_view_mean; and of each question, in the
    order of passages: passage_of, right in the end, right_before,
    right_in_view, and forgotten, right on its passage's night or a later one
    and wrong in the end. Of other texts: control_change, nats a token,
    controls_know, drift, a share, and elsewhere as given.
  """
  shares = [[float(np.mean(own)) for own in night] for night in right]
  untrained, *matrix = shares
  last, first, now = right[-1], elsewhere[0], elsewhere[-1]
  transfer = forgetting.backward_transfer(matrix)
  in_view = [float(np.mean(own)) for own in viewed]
  ahead = untrained[1:] or [0.0]  # Nothing lies ahead of a single passage.
  return {
      'untrained': untrained, 'in_view': in_view, 'matrix': matrix,
      **{name: getattr(forgetting, name)(matrix) for name in (
          'average_accuracy', 'learnt', 'forgetting')},
      'backward_transfer': transfer, 'first_less_last': -transfer,
      'forward_transfer': (
          forgetting.forward_transfer(matrix) - float(np.mean(ahead))),
      'so_far': [_share(night[:n]) for n, night in enumerate(right[1:], 1)],
      'untrained_mean': float(np.mean(untrained)),
      'in_view_mean': float(np.mean(in_view)),
      'passage_of': [n for n, own in enumerate(last) for _ in own],
      'right': sum(last, []), 'right_before': sum(right[0], []),
      'right_in_view': sum(viewed, []),
      'forgotten': [not known and any(night[n][q] for night in right[n + 1:])
                    for n, own in enumerate(last)
                    for q, known in enumerate(own)],
      'control_change': now['control_nll'] - first['control_nll'],
      'controls_know': now['controls_know'],
      'drift': now['drift_ppl'] / first['drift_ppl'] - 1,
      'elsewhere': list(elsewhere)}


def _cost(report, written):
  """Parameters grown; seconds and tokens, those of writing included."""
  totals = {unit: {**report[unit], 'write': report[unit].get('write', 0) + sum(
      one[unit]['write'] for one in written)} for unit in ('seconds', 'tokens')}
  return {
      'grown': report['params_after'] - report['params_before'], **totals,
      **{f'night_{unit}': sum(spent.get(phase, 0) for phase in cost.NIGHT)
         for unit, spent in totals.items()}}


def _are_right(asked: Sequence[Question], said: Sequence[str]) -> list[bool]:
  golds = [q.answer for q in asked]
  return [knows.is_right(reply, q.answer, golds, q.question)
          for q, reply in zip(asked, said, strict=True)]


def _share(right: Sequence[Sequence[bool]]) -> float:
  return float(np.mean(sum(right, [])))
