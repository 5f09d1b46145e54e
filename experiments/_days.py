"""Days and nights of a tiny model: what experiments in its world share."""

import dataclasses
import functools
import pathlib

import jax
import numpy as np

from experiments import _document, _workdir
from sleepjax.data import world
from sleepjax.dreaming.tasks import Memory
from sleepjax.errors import UserError
from sleepjax.evals import forgetting
from sleepjax.evals import questions as questions_lib
from sleepjax.evals import report as report_lib
from sleepjax.evals.questions import AnswerConfig
from sleepjax.growth import slots
from sleepjax.lifecycle import cycle
from sleepjax.memory import continuum
from sleepjax.memory import day as day_memory
from sleepjax.mesh import sharding
from sleepjax.model import Model
from sleepjax.models import transformer
from sleepjax.training import background, checkpoints, kept, preemption
from sleepjax.training.metrics import MetricsWriter
from sleepjax.training.observer import Observer
from sleepjax.training.phase_saves import PhaseSaves
from sleepjax.training.progress import Display

_REHEARSAL_SEED = 1_000_000  # Of days that are nobody's exam.
_KNOWN = 128  # Long-known facts that are asked about.


@dataclasses.dataclass(frozen=True)
class DaysConfig:
  """What happens while awake.

  days: days and nights.
  facts, people: told each day, and whom they are about.
  rehearsal_texts: other days, for the rehearsal term; other ones every night.
  remembered: at most so many prompts of earlier nights are retained by each
    night, drawn anew.
  base: whether it is the pretrained model whose answers are rehearsed, and
    whose memories are retained, on every night; else it is the previous one of
    each night, which is no longer quite what it was.
  level_dim: hidden width of a fast MLP level that the model is given for
    `sleep.level` to write to; 0 for none.
  """

  days: int = 10
  facts: int = 8
  people: int = 5
  rehearsal_texts: int = 8
  remembered: int = 256
  base: bool = True
  level_dim: int = 0

  def __post_init__(self):
    if not 1 <= self.people <= len(world.NEW_NAMES):
      raise ValueError(f'people={self.people} must be from 1 to '
                       f'{len(world.NEW_NAMES)}.')
    if not 1 <= self.days <= world.number_of_days(self.people):
      raise ValueError(
          f'days={self.days} must be from 1 to '
          f'{world.number_of_days(self.people)} with people={self.people}.')
    if self.rehearsal_texts < 0 or self.remembered < 0:
      raise ValueError(
          f'rehearsal_texts={self.rehearsal_texts} and remembered='
          f'{self.remembered} must not be negative.')


@dataclasses.dataclass
class Progress:
  """All that a run has found out; saved after every night.

  accuracy: form of the question -> [nights][days] after that night.
  nll: on each day's direct questions, nats per token: 'before' and 'in_context'
    of the pretrained model, so that they are the same whatever sleep does;
    'after' the day's own night.
  in_context: accuracy of the pretrained model on each day's direct questions,
    text in view (or in its fast level, where that is the day's memory).
  in_context_after: the same after the day's night.
  known: accuracy on long-known facts, before all nights and after each.
  dreams: of each night, as `lifecycle.SleepReport` has them.
  first_day: [nights][questions], whether the first day's are answered right.
  dreaming: of each night, as `lifecycle.SleepReport` has it.
  memories: what may be dreamt about, `dreaming.tasks.Memory` as dictionaries.
  hand_overs: of each night, `consolidation.HandOver` as a dictionary.
  """

  accuracy: dict
  nll: dict
  in_context: list
  in_context_after: list
  known: list
  dreams: list
  first_day: list
  dreaming: list = dataclasses.field(default_factory=list)
  memories: list = dataclasses.field(default_factory=list)
  hand_overs: list = dataclasses.field(default_factory=list)


class Exam:
  """Asks a model about all days of a seed."""

  def __init__(self, days, settings):
    self.days, self.settings = days, settings
    self.answers = AnswerConfig(
        settings.answer_prompt, max_new_tokens=4, batch_rows=64)
    every = world.known_facts()
    chosen = np.random.default_rng(0).choice(
        len(every), min(_KNOWN, len(every)), replace=False)
    self.known_questions = world.questions(
        [every[i] for i in sorted(chosen)], 'direct')

  def right(self, model, form) -> list[list[bool]]:
    """Of each day, which questions are answered right, closed book."""
    asked = [day.questions(form) for day in self.days]
    right = iter(self._answered(model, sum(asked, [])))
    return [[next(right) for _ in questions] for questions in asked]

  def known(self, model) -> float:
    return float(np.mean(self._answered(model, self.known_questions)))

  def awake(self, canonical, ready, day) -> tuple[float, float]:
    """(accuracy, loss) on a day's direct questions after reading its text.

    Args:
      canonical, ready: the same model, canonical and in compute layout.
      day: what is read.
    """
    asked = day.questions('direct')
    reading = day_memory.read(
        canonical, ready, day.text, self.settings.level,
        self.settings.for_compute)
    segment = reading.segments[0] if reading.segments else None
    right = self._answered(reading.model, asked, segment)
    return float(np.mean(right)), questions_lib.answer_nll(
        reading.model.config, reading.model.params, reading.model.chat, asked,
        self.answers, segment)

  def nll(self, model, day) -> float:
    return questions_lib.answer_nll(
        model.config, model.params, model.chat, day.questions('direct'),
        self.answers)

  def _answered(self, model, asked, segment=None) -> list[bool]:
    return questions_lib.answered_right(
        model.config, model.params, model.chat, asked, self.answers, segment)


def run(model: Model, config: dict, settings: cycle.SleepConfig,
        days_config: DaysConfig, seed: int, workdir: pathlib.Path) -> dict:
  """Days and nights of one seed.

  Args:
    model: the pretrained model of the world.
    config: the resolved configuration, kept in the report.
    settings: of every sleep.
    days_config: of the days.
    seed: of the days and of everything random.
    workdir: where results go; finished nights found there are not repeated.

  Returns:
    The report, also written to `workdir`.
  """
  _claim = _workdir.claim(workdir)
  d, chat, key = days_config, model.chat, jax.random.key(seed)
  days = [world.day(seed, n, d.facts, d.people) for n in range(d.days)]
  for day in days:
    room = len(chat.document(day.text))
    if room > settings.context_tokens:
      raise UserError(
          f'day {day.number} has {room} tokens, more than sleep.context_tokens='
          f'{settings.context_tokens}: raise it, or tell fewer facts.')
  exam = Exam(days, settings)
  current, params = model.config, model.params
  if d.level_dim:
    current, params = continuum.newborn_levels(
        current, params, (d.level_dim,), jax.random.fold_in(key, d.days))
  if settings.trained == 'slot':
    current, params = slots.allocate_pool(
        current, params, d.days, settings.slot_rank)
  slots.layer_mask(current, settings.slot_layers)  # Refused before any night.
  _check_levels(settings, current, d)
  current = model.with_params(current, sharding.on_mesh(params))
  untouched = settings.for_compute(current)
  lineage = {'base': model.name, 'config': config, 'answer_prompt':
             settings.answer_prompt, 'nights': 0, 'seconds': {}, 'tokens': {}}
  same = 'base', 'config'
  saved = _workdir.resumed_model(workdir / 'model', lineage, same)
  progress = Progress({form: [] for form in world.FORMS},
                      {'before': [], 'after': [], 'in_context': []},
                      [], [], [], [], [])
  if saved is not None:
    lineage = {**lineage, **saved.lineage}
    current = saved.with_params(saved.config, sharding.on_mesh(saved.params))
    progress = Progress(**lineage['progress'])
  with (Display() as display, MetricsWriter(workdir / 'metrics.jsonl') as
        metrics, preemption.listen() as notice):
    display.restore(lineage)
    if saved is not None:
      _keeper(workdir, progress, settings)()
    else:
      with display.phase('ask before', total=d.days) as phase:
        progress.known.append(exam.known(untouched))
        for day in days:
          accuracy, nll = exam.awake(current, untouched, day)
          progress.in_context.append(accuracy)
          progress.nll['in_context'].append(nll)
          progress.nll['before'].append(exam.nll(untouched, day))
          phase.advance(in_context_accuracy=progress.in_context[-1])
    def wake(n):
      texts = [world.day(_REHEARSAL_SEED + n * d.rehearsal_texts + i, 0,
                         d.facts, d.people).text
               for i in range(d.rehearsal_texts)]
      return cycle.Day(
          days[n].document, texts,
          # Paraphrases are for the exam: no night may learn their wording.
          avoid=[q.question for day in days
                 for q in day.questions('paraphrase')],
          remembered=_document.remembered(
              progress.dreams, d.remembered, seed, n),
          earlier=[day.document for day in days[:n]])

    start = cycle.Life(current, lineage['nights'], tuple(
        Memory.from_json(m) for m in progress.memories),
                       untouched if d.base else None)
    saves = PhaseSaves(workdir, _workdir.identity(lineage, same),
                       display, notice, settings.save_seconds)
    for life, report in cycle.live(
        start, map(wake, range(start.cycle, d.days)), settings, key=key,
        observer=Observer(display, metrics, saves)):
      n, current = life.cycle - 1, life.model
      progress.dreams.append(report.texts)
      progress.dreaming.append(report.dreaming)
      progress.hand_overs.append(dataclasses.asdict(report.hand_over))
      progress.memories = [dataclasses.asdict(m) for m in life.memories]
      slept = settings.for_compute(current)
      with display.phase('ask in the morning', total=1) as phase:
        for form in world.FORMS:
          right = exam.right(slept, form)
          progress.accuracy[form].append([float(np.mean(r)) for r in right])
          if form == 'direct':
            progress.first_day.append(right[0])
        progress.nll['after'].append(exam.nll(slept, days[n]))
        progress.in_context_after.append(
            exam.awake(current, slept, days[n])[0])
        progress.known.append(exam.known(slept))
        phase.advance(night=n, accuracy=progress.accuracy['direct'][n][n],
                      first_day=progress.accuracy['direct'][n][0])
      lineage = {**lineage, 'nights': n + 1, 'seconds': display.seconds,
                 'tokens': display.tokens,
                 'progress': dataclasses.asdict(progress)}
      with notice.held():
        keep = _keeper(workdir, progress, settings)
        checkpoints.save_model(
            workdir / 'model', current.config, current.params,
            current.tokenizer, lineage,
            then=lambda keep=keep: (keep(), saves.clear()))
      notice.check()
    background.finish()
  report = {
      **summary(progress), 'days': [day.text for day in days],
      'params_before': transformer.parameter_count(model.params),
      'params_after': transformer.parameter_count(current.params),
      'params_sha256': _document.params_sha256(current.params),
      'seed_tokens': display.tokens.get('seed', 0),
      'seconds': display.seconds, 'tokens_per_second':
      display.tokens_per_second, 'peak_memory_bytes':
      report_lib.peak_memory_bytes(), 'seed': seed, 'config': config}
  report_lib.write_report(workdir, report)
  report_lib.write_json(workdir / 'dreams.json', progress.dreams)
  if any(progress.dreaming):
    report_lib.write_json(workdir / 'dreaming.json', progress.dreaming)
  return report


def _keeper(workdir, progress, settings):
  """What keeps this night once it is saved, whatever is added to `progress`.

  The best night is that after which most is known of all days.
  """
  matrix = progress.accuracy['direct']
  return functools.partial(
      kept.keep, workdir / 'model', len(matrix) - 1, float(np.mean(matrix[-1])),
      settings.keep)


def _check_levels(settings, model, days_config):
  """A day that is read into levels needs a model that has them."""
  if settings.level is None:
    return
  chunks = settings.level.wake.chunks
  if len(chunks) != model.num_levels + 1:
    raise UserError(
        f'sleep.level.wake.chunks={chunks} are those of the context and of '
        f'{len(chunks) - 1} MLP levels, and with days.level_dim='
        f'{days_config.level_dim} the model has {model.num_levels}. Set '
        'days.level_dim to the width of a fast level, or use a configuration '
        'with both, such as configs/quickstart_level.py.')


def summary(progress: Progress) -> dict:
  """The report's entries: matrices, and what they come down to."""
  p = progress
  direct = np.asarray(p.accuracy['direct'])
  before, after, inside = (np.mean(p.nll[name]) for name in (
      'before', 'after', 'in_context'))
  measures = {name: getattr(forgetting, name)(direct) for name in (
      'average_accuracy', 'learnt', 'backward_transfer', 'forgetting',
      'forward_transfer')}
  return {
      **_dreaming(p.dreaming),
      'accuracy_matrix': p.accuracy['direct'],
      'paraphrase_matrix': p.accuracy['paraphrase'],
      'reversed_matrix': p.accuracy['reversed'],
      'in_context_accuracy': p.in_context,
      'in_context_accuracy_after': p.in_context_after,
      'known_accuracy': p.known,
      'hand_overs': p.hand_overs,
      'retention_divergence': [h['retention_divergence'] for h in p.hand_overs],
      'sleeps_rolled_back': sum(h['rolled_back'] for h in p.hand_overs),
      'context_recovered': float((before - after) / (before - inside)),
      'first_day_in_the_end': float(direct[-1, 0]),
      'first_day_retained': _retained(p.first_day),
      'paraphrase_accuracy': forgetting.average_accuracy(
          p.accuracy['paraphrase']),
      'reversed_accuracy': forgetting.average_accuracy(p.accuracy['reversed']),
      **measures, **{f'nll_{name}': values for name, values in p.nll.items()}}


def _dreaming(nights):
  """Means over nights; empty if there was no second stage."""
  nights = [night for night in nights if night]
  if not nights:
    return {}
  rounds = [r for night in nights for r in night['rounds']]
  mean = lambda values: float(np.mean(list(values)))
  entries = {f'dream_{name}': mean(r[name] for r in rounds) for name in (
      'success_rate', 'distinct_2', 'similarity', 'constant_groups')
             } if rounds else {}
  for name in ('influence', 'norm'):
    known = [r[f'{name}_rank_correlation'] for r in rounds
             if r[f'{name}_rank_correlation'] is not None]
    if known:
      entries[f'dream_{name}_rank_correlation'] = mean(known)
  written = [night['write_back'] for night in nights if night['write_back']]
  return {**entries, 'dream_rolled_back': sum(
      w['rolled_back'] for w in written)}


def _retained(first_day):
  """Of what was right after the first night, the share still right at the end.

  None if nothing was.
  """
  once, last = np.asarray(first_day[0]), np.asarray(first_day[-1])
  return float(last[once].mean()) if once.any() else None
