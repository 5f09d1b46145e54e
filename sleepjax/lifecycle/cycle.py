"""Wake and sleep: read, grow, seed, dream; once (`sleep`), or over a stream
(`live`).

A cycle works on a canonical model and returns it with one more slot in use.
Everything random follows from one key and the number of the cycle. Settings are
built once, by who calls; nothing here reads a configuration file.
"""

import dataclasses
from collections.abc import Iterable, Iterator

import jax

from sleepjax.dreaming import round as round_lib
from sleepjax.dreaming.tasks import Memory
from sleepjax.lifecycle import phases
from sleepjax.lifecycle.config import SleepConfig
from sleepjax.lifecycle.written import Day, Words, write_words
from sleepjax.model import Model
from sleepjax.seeding.consolidation import HandOver
from sleepjax.training.observer import Observer, silent


@dataclasses.dataclass(frozen=True)
class SleepReport:
  """What one sleep did; plain Python values.

  growth_shapes: table path / before / after of the leaves that grew.
  dreams: how many were written for seeding.
  texts: those dreams.
  held_out_questions: (question, answer) that seeding did not learn from.
  agreements: of every question that might have been held in, dropped or not,
    see `sleepjax.writing.agreement`.
  hand_over: what seeding closed of the divergence, and what it moved.
  dreaming: `stage.DreamReport` as a dictionary, dreams as text; empty if there
    was no second stage.
  memory: what later nights may dream about; None if there was no question.
  coverage: `coverage.Coverage` as a dictionary; empty of dreams that are not
    written.
  facts: what the text says, and what was asked about it, where the source is
    'facts'; see `facts.Facts.report`.
  """

  growth_max_abs_logit_change: float
  growth_shapes: str
  dreams: int
  held_out_questions: tuple[tuple[str, str], ...]
  agreements: list[float]
  hand_over: HandOver
  dreaming: dict
  texts: list[dict]
  memory: Memory | None
  coverage: dict[str, int]
  facts: dict


@dataclasses.dataclass(frozen=True)
class Life:
  """A model between two cycles.

  model: canonical.
  cycle: number of the next one.
  memories: of earlier cycles, which may be dreamt about.
  base: the model before all sleeps in compute layout (`settings.for_compute`),
    if rehearsal and memories are to be that one's, so that many small losses do
    not add up; the previous one's, if None.
  """

  model: Model
  cycle: int = 0
  memories: tuple[Memory, ...] = ()
  base: Model | None = None


def sleep(life: Life, day: Day, settings: SleepConfig, *, key,
          observer: Observer | None = None) -> tuple[Model, SleepReport]:
  """Reads one stretch of text, then sleeps on it.

  Args:
    life: who sleeps, and what it may dream about.
    day: what it reads, and what may be used beside it.
    settings: every choice.
    key: typed PRNG key of this cycle.
    observer: is shown phases grow, wake, write, seed, dream; gets a line per
      step of seeding and part of dreaming; keeps what is unfinished.

  Returns:
    The model, canonical, and what the sleep did. Nothing but the new slot
    differs from what came in, or what `settings.trained` names, and if its
    generator is merged the matrices of the layers.
  """
  observer, text = observer or silent(), day.document.text
  grow_key, write_key, rehearsal_key, seed_key, dream_key = _keys(key)
  student = phases.new_student(life.model, text, settings, grow_key, observer)
  teachers = phases.wake(student, text, settings, life.base, observer)
  earlier = _with_tasks(life, settings)
  written = phases.write(
      student, teachers, day, settings, (write_key, rehearsal_key),
      [prompt for _, task in earlier for prompt in task.prompts], observer)
  seeded = phases.seed(
      student, teachers, written, settings, seed_key, life.cycle, observer)
  memory = _memory_of(written.words, life.cycle, seeded.hand_over)
  task = memory and settings.dreaming and phases.task_of(
      memory, life.model, settings)
  dreamt = phases.dream(
      student, seeded, written, (memory, task) if task else None, earlier,
      settings, (life.cycle, dream_key), observer)
  model = student.with_value(dreamt.value)
  if dreamt.generator is not None:
    model = model.with_params(
        model.config, round_lib.generator_part(settings.dreaming).insert(
            model.config, model.params, dreamt.generator))
  return model, _report(student, written.words, seeded.hand_over, dreamt,
                        earlier, memory)


def write_ahead(life: Life, day: Day, settings: SleepConfig, *, key,
                observer: Observer | None = None) -> Words:
  """Writes what the next cycle of `live` would learn from, and learns nothing.

  Nights that differ in how they learn can be given the same words, as
  `Day.words`.

  Args:
    life, day, settings: as of `sleep`.
    key: typed PRNG key of the whole life.
    observer: is shown phases grow, wake and write.
  """
  observer = observer or silent()
  grow_key, *keys, _, _ = _keys(jax.random.fold_in(key, life.cycle))
  student = phases.new_student(
      life.model, day.document.text, settings, grow_key, observer)
  teachers = phases.wake(
      student, day.document.text, settings, life.base, observer)
  with observer.phase('write') as phase:
    return write_words(settings, teachers, day, keys,
                       lambda tokens: phase.advance(tokens=tokens))


def live(life: Life, stream: Iterable[Day], settings: SleepConfig, *, key,
         observer: Observer | None = None
         ) -> Iterator[tuple[Life, SleepReport]]:
  """Wakes to each day of a stream and sleeps on it.

  Each cycle is as long as `settings` and its budgets allow and draws all that
  is random from `key` and its number: a life that is taken up again goes on as
  it would have. The stream is read lazily, so that a day may depend on what
  came before.

  Args:
    life: where to start.
    stream: the days from `life.cycle` on.
    settings: every choice.
    key: typed PRNG key of the whole life.
    observer: see `sleep`.

  Yields:
    (Life, SleepReport) after every cycle.
  """
  observer = observer or silent()
  for day in stream:
    cycle = life.cycle
    observer.saves.begin(cycle)
    model, report = sleep(life, day, settings, key=jax.random.fold_in(
        key, cycle), observer=observer)
    dreamt_about = report.dreaming.get('rehearsed', ())
    memories = [dataclasses.replace(m, rehearsed=cycle)
                if m.cycle in dreamt_about else m for m in life.memories]
    if report.memory is not None:
      memories.append(report.memory)
    life = dataclasses.replace(
        life, model=model, cycle=cycle + 1, memories=tuple(memories))
    yield life, report


def _keys(key):
  """Of a cycle's phases: grow, write (dreams, all else), seed, dream."""
  return jax.random.split(key, 5)


def _with_tasks(life, settings):
  """Earlier memories of which something fits, with their tasks."""
  if not settings.dreaming:
    return []
  tasks = [(m, phases.task_of(m, life.model, settings)) for m in life.memories]
  return [(memory, task) for memory, task in tasks if task]


def _memory_of(words, cycle, hand_over):
  """What later nights may dream about: nothing of a sleep that was undone."""
  if hand_over.rolled_back or not words.held_in:
    return None
  # (message, first words of the reply): what reminds of a text without it.
  reminders = tuple(dict.fromkeys((d.prompt, d.start) for d in words.dreams))
  return Memory(cycle, reminders, tuple(words.held_in), cycle)


def _report(student, words, hand_over, dreamt, earlier, memory):
  decode, grown = student.ready.tokenizer.decode, student.growth
  show = [{'kind': d.kind, 'prompt': d.prompt, 'start': d.start,
           'completion': decode(d.completion)} for d in words.dreams]
  return SleepReport(
      grown.max_abs_logit_change, grown.shapes, len(words.dreams),
      tuple(words.held_out), words.agreements, hand_over,
      _readable(dreamt.report, decode, [memory.cycle for memory, _ in earlier]),
      show, memory, words.coverage, words.facts)


def _readable(outcome, decode, cycles):
  """The report of dreaming with dreams as text and memories by their cycle."""
  if outcome is None:
    return {}
  report = dataclasses.asdict(outcome)
  report['rehearsed'] = [cycles[i] for i in outcome.rehearsed]
  for dreamt in report['rounds']:
    dreamt['dreams'] = [decode(dream).strip() for dream in dreamt['dreams']]
  return report
