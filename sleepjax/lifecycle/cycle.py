"""Wake and sleep: read, grow, seed, dream; once (`sleep`), or over a stream
(`live`).

A cycle works on canonical parameters (`sleepjax.models.config`) and returns
them with one more slot in use. Everything random follows from one key and the
number of the cycle. `settings` are built once, by the experiment; nothing here
reads a configuration file.
"""

import dataclasses
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from sleepjax.data import documents
from sleepjax.data.prompts import ChatPrompts
from sleepjax.data.words import content_free_tokens
from sleepjax.dreaming import round as round_lib
from sleepjax.dreaming import stage
from sleepjax.dreaming.loss import retention_divergence
from sleepjax.dreaming.tasks import Memory, make_task
from sleepjax.evals import judge_by_name
from sleepjax.growth import adapters, slots
from sleepjax.growth import grow as growth
from sleepjax.growth.expansion import shape_table
from sleepjax.growth.slot_operators import AppendSlot, OpenSlot
from sleepjax.lifecycle.config import SleepConfig
from sleepjax.lifecycle.night import Words, read_night, write_words
from sleepjax.memory import day as day_memory
from sleepjax.models import finite
from sleepjax.models.config import ModelConfig
from sleepjax.sampling import rows as rows_lib
from sleepjax.seeding import ewc, loop, update
from sleepjax.training import phase_saves
from sleepjax.training.budget import Meter
from sleepjax.training.metrics import MetricsWriter
from sleepjax.training.phase_saves import NO_SAVES, PhaseSaves
from sleepjax.training.progress import Display

_RETENTION_ROWS = 8  # Of each kind, that dreaming must leave as they are.


@dataclasses.dataclass(frozen=True)
class SleepReport:
  """What one sleep did; plain Python values.

  growth_shapes: table path / before / after of the leaves that grew.
  dreams: how many were written for seeding.
  texts: those dreams.
  held_out_questions: (question, answer) that seeding did not learn from.
  agreements: of every question that might have been held in, dropped or not,
    see `sleepjax.writing.agreement`.
  retention_divergence: nats per token by which seeding moved the model on the
    retention rows, kept or not; None without rows.
  rolled_back: it was more than allowed, and what was trained is as before.
  dreaming: `stage.DreamReport` as a dictionary, dreams as text; empty if there
    was no second stage.
  memory: what later nights may dream about; None if there was no question.
  """

  growth_max_abs_logit_change: float
  growth_shapes: str
  dreams: int
  held_out_questions: tuple[tuple[str, str], ...]
  agreements: list[float]
  retention_divergence: float | None
  rolled_back: bool
  dreaming: dict
  texts: list[dict]
  memory: Memory | None


def grow(config: ModelConfig, params, settings: SleepConfig, key, probe):
  """A model with a newborn slot.

  Where the pool has a closed one (`slots.allocate_pool`), that is opened and
  nothing is compiled anew; otherwise the pool gains one.

  Args:
    config, params: canonical model.
    settings: which slot.
    key: typed PRNG key of its input weights.
    probe: token ids [T] on which both models are compared.

  Returns:
    (grown model, place of the slot, max |Δlogit|, table of the shapes that
    changed). The change is exactly zero: both are computed in float32.
  """
  before = growth.ModelState(params, None, config)
  used = np.asarray(slots.is_open(config, params))
  index = int(np.argmin([*used, False]))
  after = growth.grow([
      OpenSlot(index, settings.slot_layers) if index < len(used) else
      AppendSlot(settings.slot_rank, settings.slot_layers)])(before, key)
  return (after, index, growth.max_logit_change(before, after, probe),
          shape_table(params, after.params))


def _trained_part(config, params, index, settings, key):
  """(what is trained, its values before)."""
  if settings.trained.endswith('slot'):
    return adapters.OWN_MLP_SLOT, slots.read_slot(config, params, index)
  part = (adapters.LowRank(settings.low_rank, float(settings.low_rank))
          if settings.trained == 'low_rank' else adapters.AllLayers())
  return part, part.init(config, key)


def _reminders(dreams):
  """(message, first words of the reply): what reminds of a text without it."""
  return tuple(dict.fromkeys((d.prompt, d.start) for d in dreams))


def sleep(config: ModelConfig, params, chat: ChatPrompts,
          document: documents.Document, rehearsal_texts: Sequence[str],
          settings: SleepConfig, key, display: Display,
          metrics: MetricsWriter, avoid: Sequence[str] = (),
          remembered: Sequence[str] = (),
          earlier: Sequence[documents.Document] = (), first=None,
          cycle: int = 0, memories: Sequence[Memory] = (),
          saves: PhaseSaves = NO_SAVES):
  """Reads one stretch of text, then sleeps on it.

  Args:
    config, params: canonical model.
    chat: its prompt format.
    document: one chunk, see `sleepjax.data.chunks`.
    rehearsal_texts: other texts, for the rehearsal term.
    settings: every choice.
    key: typed PRNG key of this cycle.
    display: shows phases grow, wake, write, seed, dream.
    metrics: one line per step of seeding and part of dreaming.
    avoid: questions that no dream, rehearsal or memory may ask.
    remembered: prompts about earlier texts. What the old self answers to them,
      closed book, is retained.
    earlier: texts of earlier sleeps, for the baselines that may keep them:
      replayed, or what elastic weight consolidation protects.
    first: (config, params) of the self before all sleeps in compute layout
      (`settings.for_compute`), if rehearsal and memories are to be that one's,
      so that many small losses do not add up. The old self, if None.
    cycle: number of this cycle.
    memories: of earlier cycles, which may be dreamt about.
    saves: where phases are saved, and what an interrupted run has saved.

  Returns:
    (config, params, SleepReport): canonical. Nothing but the new slot differs
    from what came in, or what `settings.trained` names, and if its generator is
    merged the matrices of the layers.
  """
  grow_key, write_key, rehearsal_key, seed_key, dream_key = jax.random.split(
      key, 5)
  with display.phase('grow', total=1) as phase:
    probe = chat.document(document.text)[:128]
    grown_config, grown, index = config, params, 0
    change, shapes = 0.0, ''
    if settings.trained == 'slot' or (
        settings.trained == 'static_slot'
        and not slots.is_open(config, params).any()):
      after, index, change, shapes = grow(
          config, params, settings, grow_key, probe)
      grown_config, grown = after.config, after.params
    part, slot = _trained_part(grown_config, grown, index, settings, grow_key)
    compute, frozen = settings.for_compute(grown_config, grown)
    # Before anything is written: it may need what is not installed.
    judge = None if settings.judge == 'stand_in' else judge_by_name.make_judge(
        settings.judge, compute, frozen, chat)
    phase.advance(max_abs_logit_change=change, tokens=2 * len(probe))

  with display.phase('wake', total=1) as phase:
    awake = jax.block_until_ready(day_memory.read(
        (grown_config, grown), (compute, frozen), chat, document.text,
        settings.level, settings.for_compute))
    phase.advance(tokens=len(chat.document(document.text)))

  earlier_tasks = [_task(m, chat, settings) for m in memories
                   ] if settings.dreaming else []
  with display.phase('write') as phase:
    report = lambda tokens: phase.advance(tokens=tokens)
    saved = saves.restored('write')
    words = Words.from_json(saved.metadata['words']) if saved else write_words(
        settings, awake, (compute, frozen), first, chat, document,
        rehearsal_texts, remembered, earlier, avoid,
        (write_key, rehearsal_key), report)
    if not saved:
      saves.offer('write', 0, {}, {'words': words._asdict()})
    night = read_night(
        settings, words, awake, (compute, frozen), first, chat, report,
        [prompt for task in earlier_tasks if task for prompt in task.prompts])
    importance = None
    if settings.seeding.ewc:
      protected = words.rehearsed + [
          (d.student_ids(chat), d.completion) for d in words.again]
      importance = ewc.fisher_diagonal(
          compute, part, frozen, slot, rows_lib.rows_of(
              *zip(*protected, strict=True))) if protected else (
                  jax.tree.map(jnp.zeros_like, slot))

  seeder = loop.Seeder(
      compute, frozen, index, settings.seeding, night.examples, awake.segments,
      night.rehearsal, chat.tokenizer.stop_ids,
      content_free_tokens(chat.tokenizer),
      head=night.head, judge=judge, tokenizer=chat.tokenizer, part=part,
      importance=importance, teacher=awake.params, retention=night.retention,
      document=tuple(chat.document(document.text)))
  with display.phase('seed', total=settings.seeding.steps) as phase:
    def report_seeding(step, values, tokens):
      metrics.write('seed', step, {'cycle': cycle, **values})
      phase.advance(tokens=tokens, divergence=values['divergence'])
    before, retention = slot, _retention_rows(words)
    state = update.init_state(
        settings.seeding, jax.tree.map(jnp.copy, slot))
    meter, saved = Meter(settings.seeding_budget), saves.restored('seed')
    if saved:
      state = phase_saves.in_place_of(state, saved, 'the unfinished seeding')
      meter.restore(saved.metadata['spent'])
      phase.advance(saved.step)
    with saves.held():
      slot = seeder.run(
          state, seed_key, report_seeding, meter, lambda state: saves.offer(
              'seed', int(state.step), state, {'spent': meter.spent()})).slot
    moved, undone = None, False
    if retention is not None:
      moved = float(retention_divergence(compute, *(
          part.insert(compute, frozen, value, index)
          for value in (before, slot)), retention))
      # Written so that a divergence that is not a number is undone, too.
      undone = not moved <= settings.max_retention_divergence
      phase.advance(0, retention_divergence=moved, rolled_back=float(undone))
    if undone:
      slot = before

  memory = None if undone or not words.held_in else Memory(
      cycle, _reminders(words.dreams), tuple(words.held_in), cycle)
  tonight = memory and settings.dreaming and _task(memory, chat, settings)
  dreaming, merged = {}, None
  if tonight:
    with display.phase('dream') as phase:
      def report_dreaming(step, values, tokens):
        metrics.write('dream', step, {'cycle': cycle, **values})
        phase.advance(tokens=tokens, **{
            name: value for name, value in values.items() if name in (
                'dream_success_rate', 'divergence', 'dream_tau_after')})
      possible = [i for i, task in enumerate(earlier_tasks) if task]
      slot, merged, outcome = stage.dream(
          round_lib.Sleeper(compute, frozen, slot, jnp.int32(index)), seeder,
          settings.dreaming, tonight, [earlier_tasks[i] for i in possible],
          [cycle - memories[i].rehearsed for i in possible], night.questions,
          retention, chat.tokenizer.stop_ids, dream_key,
          report_dreaming, Meter(settings.dreaming_budget), saves)
      finite.check_state('dream', f'of night {cycle}', {
          'slot': slot, 'generator': merged},
                         'Lower the learning rates of dreaming.')
      dreaming = _readable(outcome, chat, [memories[i].cycle for i in possible])
  grown = part.insert(grown_config, grown, slot, index)
  if merged is not None:
    grown = round_lib.generator_part(settings.dreaming).insert(
        grown_config, grown, merged)
  show = [{'kind': d.kind, 'prompt': d.prompt, 'start': d.start,
           'completion': chat.tokenizer.decode(d.completion)}
          for d in words.dreams]
  return grown_config, grown, SleepReport(
      change, shapes, len(words.dreams), tuple(words.held_out),
      words.agreements, moved, undone, dreaming, show, memory)


def _task(memory, chat, settings):
  d = settings.dreaming
  return make_task(memory, chat, d.prompt_tokens, d.dream_tokens)


def _retention_rows(words):
  """Some of what the old self says of other things, evenly chosen."""
  chosen = [pair for pairs in (words.rehearsed, words.retained)
            for pair in pairs[::max(1, len(pairs) // _RETENTION_ROWS)][
                :_RETENTION_ROWS]]
  return rows_lib.rows_of(*zip(*chosen, strict=True)) if chosen else None


def _readable(outcome, chat, cycles):
  """The report of dreaming with dreams as text and memories by their cycle."""
  report = dataclasses.asdict(outcome)
  report['rehearsed'] = [cycles[i] for i in outcome.rehearsed]
  for dreamt in report['rounds']:
    dreamt['dreams'] = [
        chat.tokenizer.decode(dream).strip() for dream in dreamt['dreams']]
  return report


class Day(NamedTuple):
  """What a cycle wakes to; see `sleep` for each."""

  document: documents.Document
  rehearsal_texts: Sequence[str] = ()
  avoid: Sequence[str] = ()
  remembered: Sequence[str] = ()
  earlier: Sequence[documents.Document] = ()


class Life(NamedTuple):
  """A model between two cycles.

  config, params: canonical.
  cycle: number of the next one.
  memories: what may be dreamt about.
  """

  config: ModelConfig
  params: Any
  cycle: int = 0
  memories: tuple[Memory, ...] = ()


def live(life: Life, chat: ChatPrompts, stream: Iterable[Day],
         settings: SleepConfig, key, display: Display, metrics: MetricsWriter,
         first=None, saves: PhaseSaves = NO_SAVES
         ) -> Iterator[tuple[Life, SleepReport]]:
  """Wakes to each day of a stream and sleeps on it.

  Each cycle is as long as `settings` and its budgets allow and draws all that
  is random from `key` and its number: a life that is taken up again goes on as
  it would have. The stream is read lazily, so that a day may depend on what
  came before.

  Args:
    life: where to start.
    chat: prompt format of the model.
    stream: the days from `life.cycle` on.
    settings: every choice.
    key: typed PRNG key of the whole life.
    display, metrics, first, saves: see `sleep`.

  Yields:
    (Life, SleepReport) after every cycle.
  """
  for day in stream:
    cycle = life.cycle
    saves.begin(cycle)
    config, params, report = sleep(
        life.config, life.params, chat, day.document, day.rehearsal_texts,
        settings, jax.random.fold_in(key, cycle), display, metrics, day.avoid,
        day.remembered, day.earlier, first, cycle, life.memories, saves)
    dreamt_about = report.dreaming.get('rehearsed', ())
    memories = [dataclasses.replace(m, rehearsed=cycle)
                if m.cycle in dreamt_about else m for m in life.memories]
    if report.memory is not None:
      memories.append(report.memory)
    life = Life(config, params, cycle + 1, tuple(memories))
    yield life, report
