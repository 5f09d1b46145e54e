"""The phases of one cycle: grow, wake, write, seed, dream.

Each is a function from what stands before it to what it adds; `cycle` puts them
together. What a phase shows, writes and saves is its observer's.
"""

import dataclasses
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from sleepjax.data.words import content_free_tokens
from sleepjax.dreaming import joining, stage
from sleepjax.dreaming.settings import JoiningConfig
from sleepjax.dreaming.stage import DreamReport
from sleepjax.dreaming.tasks import Memory, Task, make_task
from sleepjax.evals import judge_by_name
from sleepjax.evals.judges import Judge
from sleepjax.growth import grow as growth
from sleepjax.growth import slots
from sleepjax.growth.adapters import Adapter
from sleepjax.growth.expansion import shape_table
from sleepjax.growth.learner import Learner
from sleepjax.lifecycle.config import SleepConfig
from sleepjax.lifecycle.written import (
    Day,
    Night,
    Teachers,
    Words,
    read_words,
    write_words,
)
from sleepjax.memory import day as day_memory
from sleepjax.model import Model
from sleepjax.models import finite
from sleepjax.sampling import rows as rows_lib
from sleepjax.sampling.rows import Rows
from sleepjax.seeding import ewc
from sleepjax.seeding.consolidation import Guard, HandOver, consolidate
from sleepjax.seeding.loop import Seeder, Terms
from sleepjax.seeding.roles import Imitation, Privilege
from sleepjax.training.observer import Observer, Watched
from sleepjax.writing.dreamer import Dreamer
from sleepjax.writing.teacher import Teacher

_RETENTION_ROWS = 8  # Of each kind, that dreaming must leave as they are.
_PROBE_TOKENS = 128  # On which growth is seen to change nothing.


class Growth(NamedTuple):
  """What growing did.

  model: canonical.
  index: place of the newborn slot in its pool.
  max_abs_logit_change: of the function; zero.
  shapes: table path / before / after of the leaves that grew.
  """

  model: Model
  index: int = 0
  max_abs_logit_change: float = 0.0
  shapes: str = ''


@dataclasses.dataclass(frozen=True)
class Student:
  """Who learns: a grown model, and what of it is trained.

  growth: how it grew, with its canonical model.
  ready: the same model in compute layout, whose parameters are frozen.
  part, newborn: what is trained, and its value before.
  first_layer: the first in which something is.
  judge: of the semantic reward; None is the stand-in.
  """

  growth: Growth
  ready: Model
  part: Adapter
  newborn: Any
  first_layer: int
  judge: Judge | None

  def with_value(self, value) -> Model:
    """The canonical model with what has been learnt."""
    model, index = self.growth.model, self.growth.index
    return model.with_params(model.config, self.part.insert(
        model.config, model.params, value, index))


def grow(model: Model, adapter: Adapter, key, probe: Sequence[int]) -> Growth:
  """A model with room for what it is about to learn.

  Args:
    model: canonical.
    adapter: says what grows, which may be nothing.
    key: typed PRNG key of new input weights.
    probe: token ids [T] on which both models are compared.

  Returns:
    The grown model; it computes exactly what it did, in float32.
  """
  config, params = model.config, model.params
  plan, index = adapter.growth(
      config, np.asarray(slots.is_open(config, params)).tolist())
  if not plan:
    return Growth(model, index)
  before = growth.ModelState(params, None, config)
  after = growth.grow(plan)(before, key)
  return Growth(model.with_params(after.config, after.params), index,
                growth.max_logit_change(before, after, probe),
                shape_table(params, after.params))


def new_student(model: Model, document: str, settings: SleepConfig, key,
                observer: Observer) -> Student:
  """Phase grow: the model with room for what it is about to learn."""
  with observer.phase('grow', total=1) as phase:
    probe = model.chat.document(document)[:_PROBE_TOKENS]
    adapter = settings.adapter
    grown = grow(model, adapter, key, probe)
    newborn, first = adapter.newborn(
        grown.model.config, grown.model.params, key, grown.index)
    ready = settings.for_compute(grown.model)
    # Before anything is written: it may need what is not installed.
    judge = None if settings.judge == 'stand_in' else judge_by_name.make_judge(
        settings.judge, ready)
    phase.advance(max_abs_logit_change=grown.max_abs_logit_change,
                  tokens=2 * len(probe))
  return Student(grown, ready, adapter, newborn, first, judge)


def wake(student: Student, document: str, settings: SleepConfig,
         base: Model | None, observer: Observer) -> Teachers:
  """Phase wake: the document is read, by the model as it was.

  The newborn slot changes nothing, so the grown model is the teacher too.

  Args:
    student: who will learn.
    document: the text.
    settings: whether it goes into the context or into fast levels.
    base: who writes rehearsal and memories, in compute layout; None for the
      model as it is.
    observer: is shown the phase.
  """
  with observer.phase('wake', total=1) as phase:
    reading = day_memory.read(
        student.growth.model, student.ready, document, settings.level,
        settings.for_compute)
    jax.block_until_ready(reading.segments)
    phase.advance(tokens=len(student.ready.chat.document(document)))
  asleep = Teacher(student.ready)
  return Teachers(reading, asleep, Teacher(base) if base else asleep)


class Written(NamedTuple):
  """What was written.

  document: the text that it is about.
  words: as text.
  night: as examples.
  importance: of every parameter, for elastic weight consolidation, or None.
  avoid: questions that nothing may ask.
  """

  document: str
  words: Words
  night: Night
  importance: Any
  avoid: Sequence[str] = ()


def write(student: Student, teachers: Teachers, day: Day,
          settings: SleepConfig, keys, later: Sequence[Sequence[int]],
          observer: Observer) -> Written:
  """Phase write: all that the night learns from.

  Args:
    student: who will learn.
    teachers: who write.
    day: what was read, and what may be used beside it.
    settings: every choice.
    keys: typed PRNG keys of the dreams, and of all else.
    later: token ids of other prompts that are learnt from tonight.
    observer: is shown the phase, and keeps the words.
  """
  with observer.phase('write') as phase:
    report = lambda tokens: phase.advance(tokens=tokens)
    saved = observer.saves.restored('write')
    words = (Words.from_json(saved.metadata['words']) if saved else
             day.words or write_words(settings, teachers, day, keys, report))
    if not saved:
      observer.saves.save_if_due('write', 0, {}, {'words': words._asdict()})
    night = read_words(settings, words, teachers, report, later)
    importance = None
    if settings.seeding.ewc:
      importance = _importance(student, words)
  if left_out := sum(words.facts.get('left_out', {}).values()):
    observer.say(
        f'{words.topic!r}: {left_out} rows about it are left out, whose prompt '
        'takes more than sleep.dreams.prompt_tokens='
        f'{settings.dreams.prompt_tokens} or whose answer more than '
        f'completion_tokens={settings.dreams.completion_tokens}')
  if words.facts.get('note'):
    observer.say(f'{words.topic!r}: {words.facts["note"]}')
  return Written(day.document.text, words, night, importance, day.avoid)


def _importance(student, words):
  """The Fisher diagonal on what elastic weight consolidation protects."""
  chat = student.ready.chat
  protected = words.rehearsed + [
      (d.student_ids(chat), d.completion) for d in words.again]
  if not protected:
    return jax.tree.map(jnp.zeros_like, student.newborn)
  return ewc.fisher_diagonal(
      student.ready.config, student.part, student.ready.params,
      student.newborn, rows_lib.rows_of(*zip(*protected, strict=True)))


class Seeded(NamedTuple):
  """What seeding leaves.

  seeder: with every term of the objective, for what dreaming writes back.
  value: of what is trained.
  hand_over: what it did.
  retention: rows on which the model should stay what it was, or None.
  """

  seeder: Seeder
  value: Any
  hand_over: HandOver
  retention: Rows | None


def seed(student: Student, teachers: Teachers, written: Written,
         settings: SleepConfig, key, cycle: int, observer: Observer) -> Seeded:
  """Phase seed: the old self's knowledge goes into the slot."""
  ready, night, reading = student.ready, written.night, teachers.reading
  chat = ready.chat
  seeder = Seeder(
      Learner(ready.config, ready.params, student.part, student.growth.index,
              student.first_layer),
      settings.seeding,
      Terms(night.examples, night.rehearsal, night.retention,
            written.importance, night.shared_prefix),
      Privilege(reading.segments, tuple(chat.document(written.document)),
                reading.model.params),
      Imitation(chat.tokenizer.stop_ids, content_free_tokens(chat.tokenizer),
                student.judge, chat.tokenizer))
  retention = _retention_rows(written.words)
  sender = 'context' if settings.level is None else 'fast levels'
  value, hand_over = consolidate(
      seeder, student.newborn, key, between=(sender, 'mlp'),
      guard=Guard(night.questions, retention,
                  settings.max_retention_divergence),
      budget=settings.seeding_budget, observer=observer, note={'cycle': cycle})
  return Seeded(seeder, value, hand_over, retention)


class Dreamt(NamedTuple):
  """What the second stage leaves.

  value: of what is trained.
  generator: to be merged into the layers, or None.
  report: what it did, or None if there was no second stage.
  """

  value: Any
  generator: Any = None
  report: DreamReport | None = None


def dream(student: Student, seeded: Seeded, written: Written,
          tonight: tuple[Memory, Task] | None,
          earlier: Sequence[tuple[Memory, Task]], settings: SleepConfig,
          cycle: tuple[int, Any], observer: Observer) -> Dreamt:
  """Phase dream: the model writes its own data, and what helps is seeded.

  Args:
    student: who dreams.
    seeded: what it has learnt tonight.
    written: with the held-out questions for the write-back, and those that no
      dream may ask.
    tonight: the memory of tonight's text, with its task; None leaves the phase
      out.
    earlier: memories of earlier cycles, with their tasks.
    settings: every choice.
    cycle: its number, and a typed PRNG key.
    observer: is shown the phase, and keeps the generator.
  """
  if tonight is None:
    return Dreamt(seeded.value)
  number, key = cycle
  with observer.phase('dream') as phase:
    def report(step, values, tokens):
      observer.wrote('dream', step, {'cycle': number, **values})
      phase.advance(tokens=tokens, **{
          name: value for name, value in values.items() if name in (
              'dream_success_rate', 'divergence', 'dream_tau_after')})
    d, sleeper = settings.dreaming, seeded.seeder.learner.with_value(
        seeded.value)
    guarded = (Guard(written.night.questions, seeded.retention,
                     d.max_retention_divergence), key, Watched(
                         report, observer.meter(settings.dreaming_budget),
                         observer.saves))
    if isinstance(d, JoiningConfig):
      asleep = student.ready.with_params(sleeper.config, sleeper.params)
      dreamt = Dreamt(*joining.dream(
          sleeper, Dreamer(asleep, settings.dreams), seeded.seeder, d,
          joining.Recollections(tonight[1], [
              memory for memory, _ in (*earlier, tonight)],
                                settings.answer_prompt, written.avoid),
          *guarded))
    else:
      dreamt = Dreamt(*stage.dream(
          sleeper, seeded.seeder, d, stage.Memories(
              tonight[1], [task for _, task in earlier],
              [number - memory.rehearsed for memory, _ in earlier]),
          *guarded))
    finite.check_state('dream', f'of night {number}', {
        'slot': dreamt.value, 'generator': dreamt.generator},
                       'Lower the learning rates of dreaming.')
  return dreamt


def task_of(memory: Memory, model: Model, settings: SleepConfig
            ) -> Task | None:
  """What a memory asks for as token ids; None if nothing of it fits."""
  d = settings.dreaming
  return make_task(memory, model.chat, d.prompt_tokens, d.dream_tokens)


def _retention_rows(words):
  """Some of what the old self says of other things, evenly chosen."""
  chosen = [pair for pairs in (words.rehearsed, words.retained)
            for pair in pairs[::max(1, len(pairs) // _RETENTION_ROWS)][
                :_RETENTION_ROWS]]
  return rows_lib.rows_of(*zip(*chosen, strict=True)) if chosen else None
