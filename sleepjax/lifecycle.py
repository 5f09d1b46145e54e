"""One cycle of wake and sleep: read, grow, seed, dream.

The cycle works on canonical parameters (`sleepjax.models.config`) and returns
them with one more slot in use. Everything random follows from one key and the
number of the cycle. `settings` are built once, by the experiment; nothing here
reads a configuration file.
"""

import dataclasses
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

from sleepjax.data import documents
from sleepjax.data.prompts import ChatPrompts
from sleepjax.dreaming import round as dream_round_lib
from sleepjax.growth import grow as growth
from sleepjax.growth import slots
from sleepjax.growth.expansion import shape_table
from sleepjax.growth.slot_operators import AppendSlot, OpenSlot
from sleepjax.memory import day as day_memory
from sleepjax.models.config import ModelConfig
from sleepjax.sampling import rows as rows_lib
from sleepjax.seeding import ewc, judge_by_name, objective, seed, trainable
from sleepjax.seeding.night import write_night
from sleepjax.sleep_config import SleepConfig
from sleepjax.training.metrics import MetricsWriter
from sleepjax.training.progress import Display

_RETENTION_ROWS = 4  # Rehearsed answers that dreaming must leave as they are.


@dataclasses.dataclass(frozen=True)
class SleepReport:
  """What one sleep did; plain Python values.

  growth_shapes is a table path / before / after of the leaves that grew.
  """

  growth_max_abs_logit_change: float
  growth_shapes: str
  dreams: int
  held_out_questions: tuple[tuple[str, str], ...]
  dreaming: dict
  texts: list[dict]


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
    return trainable.OWN_MLP_SLOT, slots.read_slot(config, params, index)
  part = (trainable.LowRank(settings.low_rank, float(settings.low_rank))
          if settings.trained == 'low_rank' else trainable.AllLayers())
  return part, part.init(config, key)


def _dream_prompts(chat, settings, topic, dreams):
  """Closed-book prompts for dreaming: open ones, and beginnings it recalls."""
  prompts = [chat.closed_book(p.format(topic=topic))
             for p in settings.dreams.open_prompts]
  prompts += [d.student_ids(chat) for d in dreams if d.kind == 'recall']
  return [p for p in prompts if len(p) <= settings.dreaming.prompt_tokens]


def sleep(config: ModelConfig, params, chat: ChatPrompts,
          document: documents.Document, rehearsal_texts: Sequence[str],
          settings: SleepConfig, key, display: Display,
          metrics: MetricsWriter, avoid: Sequence[str] = (),
          remembered: Sequence[str] = (),
          earlier: Sequence[documents.Document] = (), first=None):
  """Reads one stretch of text, then sleeps on it.

  Args:
    config, params: canonical model.
    chat: its prompt format.
    document: one chunk, see `sleepjax.data.chunks`.
    rehearsal_texts: other texts, for the rehearsal term.
    settings: every choice.
    key: typed PRNG key of this cycle.
    display: shows phases wake, grow, write, seed, dream.
    metrics: one line per step of seeding and part of dreaming.
    avoid: questions that no dream may ask.
    remembered: prompts about earlier texts. What the old self answers to them,
      closed book, is retained.
    earlier: texts of earlier sleeps, for the baselines that may keep them:
      replayed, or what elastic weight consolidation protects.
    first: (config, params) of the self before all sleeps in compute layout
      (`settings.for_compute`), if rehearsal and memories are to be that one's,
      so that many small losses do not add up. The old self, if None.

  Returns:
    (config, params, SleepReport): canonical. Nothing but the new slot differs
    from what came in, or what `settings.trained` names.
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

  with display.phase('write') as phase:
    night = write_night(
        settings, awake, (compute, frozen), first, chat, document,
        rehearsal_texts, remembered, earlier, avoid,
        (write_key, rehearsal_key), lambda tokens: phase.advance(tokens=tokens))
    importance = None
    if settings.seeding.ewc:
      importance = ewc.fisher_diagonal(
          compute, part, frozen, slot, rows_lib.rows_of(
              *zip(*night.protected, strict=True))) if night.protected else (
                  jax.tree.map(jnp.zeros_like, slot))

  seeder = seed.Seeder(
      compute, frozen, index, settings.seeding, night.examples, awake.segments,
      night.rehearsal, chat.tokenizer.stop_ids,
      seed.content_free_tokens(chat.tokenizer),
      head=night.head, judge=judge, tokenizer=chat.tokenizer, part=part,
      importance=importance, teacher=awake.params, retention=night.retention,
      document=tuple(chat.document(document.text)))
  with display.phase('seed', total=settings.seeding.steps) as phase:
    def report_seeding(step, values, tokens):
      metrics.write('seed', step, values)
      phase.advance(tokens=tokens, divergence=values['divergence'])
    state = objective.init_state(
        settings.seeding, jax.tree.map(jnp.copy, slot))
    slot = seeder.run(state, seed_key, report_seeding).slot

  dreaming = {}
  if settings.dreaming is not None and night.held_out:
    with display.phase('dream', total=4) as phase:
      def report_dreaming(step, values, tokens):
        metrics.write('dream', step, values)
        phase.advance(tokens=tokens, **values)
      slot, outcome = dream_round_lib.dream_round(
          compute, frozen, slot, index, settings.dreaming,
          _dream_prompts(chat, settings, night.topic, night.dreams),
          _held_in_rows(chat, settings, night.held_out),
          rows_lib.rows_of(*zip(*night.rehearsed[:_RETENTION_ROWS],
                                strict=True)) if night.rehearsed else None,
          chat.tokenizer.stop_ids, dream_key, report_dreaming)
      dreaming = dataclasses.asdict(outcome)
      dreaming['dreams'] = [
          chat.tokenizer.decode(dream).strip() for dream in dreaming['dreams']]
  grown = part.insert(grown_config, grown, slot, index)
  show = [{'kind': d.kind, 'prompt': d.prompt, 'start': d.start,
           'completion': chat.tokenizer.decode(d.completion)}
          for d in night.dreams]
  return grown_config, grown, SleepReport(
      change, shapes, len(night.dreams), tuple(night.held_out), dreaming, show)


def _held_in_rows(chat, settings, held_out):
  s = settings.dreaming
  prompts = [chat.closed_book(settings.answer_prompt.format(question=q))
             for q, _ in held_out]
  answers = [chat.tokenizer.encode(a)[:s.dream_tokens] for _, a in held_out]
  return rows_lib.Rows(*rows_lib.pad_left(prompts, s.prompt_tokens),
                       *rows_lib.pad_right(answers, s.dream_tokens))
