"""One cycle of wake and sleep: read, grow, seed, dream.

The cycle works on canonical parameters (`sleepjax.models.config`) and returns
them with one more slot in use. Everything random follows from one key and the
number of the cycle. `settings` are built once, by the experiment; nothing here
reads a configuration file.
"""

import dataclasses
import functools
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

from sleepjax.data import documents
from sleepjax.data.prompts import ChatPrompts
from sleepjax.dreaming import round as dream_round_lib
from sleepjax.dreaming.settings import DreamingConfig
from sleepjax.errors import UserError
from sleepjax.growth import grow as growth
from sleepjax.growth import slots
from sleepjax.growth.expansion import shape_table
from sleepjax.growth.slot_operators import AppendSlot, OpenSlot
from sleepjax.memory import day as day_memory
from sleepjax.models import layout
from sleepjax.models.config import ModelConfig
from sleepjax.sampling import rows as rows_lib
from sleepjax.seeding import dreams as dreams_lib
from sleepjax.seeding import ewc, judge_by_name, objective, seed, trainable
from sleepjax.seeding import rehearsal as rehearsal_lib
from sleepjax.training.metrics import MetricsWriter
from sleepjax.training.progress import Display

_RETENTION_ROWS = 4  # Rehearsed answers that dreaming must leave as they are.


@dataclasses.dataclass(frozen=True)
class SleepConfig:
  """How a model wakes and sleeps.

  context_tokens: longest stretch that is read before a sleep.
  slot_rank: R, hidden units that each layer gains; the paper's 64.
  slot_layers: layers whose slot is open; empty for all.
  rehearsal_per_text: questions tried for each rehearsal text.
  rehearsal_tokens: longest prompt of a rehearsal row, its text included.
  rehearse_asking: whether rehearsal includes how those questions are written.
  memories: questions that it asks itself closed book for retention, with
    `memory_prompt`.
  matmul_dtype, unroll: see `sleepjax.models.layout.for_compute`. On a CPU,
    scanned layers (unroll=False) compile several times faster and run slower:
    right for a short run on a new machine.
  dreams, seeding, dreaming: settings of the phases; dreaming=None leaves the
    second stage out.
  answer_prompt: how questions are put, with {question}.
  judge: of the semantic reward: 'stand_in', which compares content tokens
    inside the jitted step, or a name of `judge_by_name.KINDS`.
  trained: 'slot', one more for every sleep; for baselines 'static_slot', grown
    in the first sleep and trained on in later ones, or what leaves the model's
    size alone, 'low_rank' or 'all_layers' (`sleepjax.seeding.trainable`).
  low_rank: rank of LoRA. 11 on all matrices of SmolLM2-135M has as many
    parameters as a slot of rank 64.
  level: how MLP levels take in what is read; None keeps it in the context. The
    model must have them (`continuum.newborn_levels`); asleep they are cleared.
  source: what seeding learns from: 'dreams', or the 'text' itself.
  replay: of 'text', half the rows are of earlier texts (experience replay).
  """

  dreams: dreams_lib.DreamConfig
  seeding: objective.SeedingConfig
  dreaming: DreamingConfig | None
  answer_prompt: str = '{question}'
  context_tokens: int = 512
  slot_rank: int = 64
  slot_layers: tuple[int, ...] = ()
  rehearsal_per_text: int = 4
  rehearsal_tokens: int = 288
  rehearse_asking: bool = False
  memories: int = 0
  memory_prompt: str = 'Ask a question.'
  matmul_dtype: str = 'auto'
  unroll: bool | None = None
  judge: str = 'stand_in'
  trained: str = 'slot'
  low_rank: int = 11
  level: day_memory.LevelMemory | None = None
  source: str = 'dreams'
  replay: bool = False

  @property
  def reply_tokens(self) -> int:
    """What a prompt and its reply may take in context beside a document."""
    return self.dreams.prompt_tokens + self.dreams.completion_tokens

  def __post_init__(self):
    if '{question}' not in self.answer_prompt:
      raise ValueError(f'answer_prompt={self.answer_prompt!r} must contain '
                       '{question}.')
    if self.judge not in ('stand_in', *judge_by_name.KINDS):
      raise ValueError(f'judge={self.judge!r} must be one of stand_in, '
                       f'{", ".join(judge_by_name.KINDS)}.')
    for name, known in (('trained', (
        'slot', 'static_slot', 'low_rank', 'all_layers')),
                        ('source', ('dreams', 'text'))):
      if getattr(self, name) not in known:
        raise ValueError(f'{name}={getattr(self, name)!r} must be one of '
                         f'{", ".join(known)}.')
    if not self.trained.endswith('slot') and self.dreaming is not None:
      raise ValueError(f'trained={self.trained!r} has no slot for the second '
                       'stage to work on: set dreaming=None.')
    if self.seeding.ewc and self.trained.endswith('slot'):
      raise ValueError(f'seeding.ewc={self.seeding.ewc} protects weights that '
                       "the model has: set trained='all_layers' or 'low_rank'.")
    if self.level is not None and self.seeding.teacher == 'ema':
      raise ValueError("seeding.teacher='ema' reads the text anew into its "
                       'context: it needs level=None.')
    if self.low_rank < 1:
      raise ValueError(f'low_rank={self.low_rank} must be at least 1.')
    if self.replay and self.source != 'text':
      raise ValueError("replay=True replays texts: set source='text'.")


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


def wake_chunks(chat: ChatPrompts, document: documents.Document,
                context_tokens: int, max_context: int):
  """The stretches of a document that are read one after the other.

  Cuts stand between sentences; a sentence that is itself too long is cut
  between words.

  Args:
    chat: renders the document.
    document: what is read.
    context_tokens: longest stretch, the template's head included.
    max_context: longest stretch that leaves the model room for prompts and
      replies about it.

  Returns:
    list of Document with the title of the whole.

  Raises:
    UserError: if `context_tokens` exceeds the model's context or leaves no room
      for text beside the chat template.
  """
  if context_tokens > max_context:
    raise UserError(
        f'sleep.context_tokens={context_tokens} is more than the model allows '
        f'({max_context} beside prompts and replies): set it to at most that; '
        'longer documents are read in chunks, each followed by a sleep.')
  room = context_tokens - len(chat.document(''))
  if room < 32:
    raise UserError(
        f'sleep.context_tokens={context_tokens} leaves {room} tokens for text '
        'beside the chat template: set it to 128 or more.')
  fits = lambda text: len(chat.document(text)) <= context_tokens
  if fits(document.text):
    return [document]
  pieces = []
  for sentence in documents.split_sentences(document.text):
    if fits(sentence):
      pieces.append(sentence)
    else:
      words, piece = sentence.split(), ''
      for word in words:
        if piece and not fits(f'{piece} {word}'):
          pieces.append(piece)
          piece = word
        else:
          piece = f'{piece} {word}'.strip()
      pieces.append(piece)
  chunks, text = [], ''
  for piece in pieces:
    joined = f'{text} {piece}'.strip()
    if text and not fits(joined):
      chunks.append(text)
      joined = piece
    text = joined
  return [documents.Document(document.title, part) for part in [*chunks, text]]


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
    document: one chunk, see `wake_chunks`.
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
    first: (config, params) of the self before all sleeps, if rehearsal and
      memories are to be that one's: what every sleep but a little is then not
      lost in many. `params` as they are, if None.

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
    to_compute = functools.partial(
        layout.for_compute, matmul_dtype=settings.matmul_dtype,
        unroll=settings.unroll)
    compute, frozen = to_compute(grown_config, grown)
    # Before anything is written: it may need what is not installed.
    judge = None if settings.judge == 'stand_in' else judge_by_name.make_judge(
        settings.judge, compute, frozen, chat)
    phase.advance(max_abs_logit_change=change, tokens=2 * len(probe))

  with display.phase('wake', total=1) as phase:
    awake = jax.block_until_ready(
        day_memory.in_context(compute, frozen, chat, document.text)
        if settings.level is None else day_memory.in_levels(
            grown_config, grown, chat, document.text, settings.level,
            to_compute))
    phase.advance(tokens=len(chat.document(document.text)))

  # Without a second stage no question has to be kept for it.
  s = settings.dreams if settings.dreaming else dataclasses.replace(
      settings.dreams, held_out=0)
  with display.phase('write') as phase:
    dreamer = dreams_lib.Dreamer(
        *awake[:3], s, lambda tokens: phase.advance(tokens=tokens))
    topic = dreams_lib.write_topic(dreamer, document, awake.segments)
    document = dataclasses.replace(document, title=topic)
    again = [d for old in earlier for d in dreams_lib.recitations(
        dreamer, old)] if settings.replay or settings.seeding.ewc else []
    if settings.source == 'text':
      dreams, held_out = dreams_lib.recitations(dreamer, document), []
      if settings.replay and again:
        dreams = dreams * -(-len(again) // len(dreams)) + again
    else:
      dreams, held_out = dreams_lib.write_dreams(
          dreamer, document, awake.segments, write_key,
          settings.answer_prompt, avoid)
    asleep = dataclasses.replace(
        dreamer, config=compute, params=frozen, chat=chat)
    elder = asleep if first is None else dataclasses.replace(
        asleep, **dict(zip(('config', 'params'), to_compute(*first))))
    pairs, memories, kept, importance = [], [], [], None
    if rehearsal_texts and settings.rehearsal_per_text and (
        settings.seeding.rehearsal or settings.seeding.ewc):
      pairs = rehearsal_lib.write_rehearsal(
          elder, rehearsal_texts, rehearsal_key, settings.answer_prompt,
          settings.rehearsal_per_text, settings.rehearsal_tokens,
          settings.rehearse_asking)
    if settings.seeding.retention and settings.seeding.retention_rows:
      if settings.memories:
        memories = rehearsal_lib.write_memories(
            elder, settings.memory_prompt, settings.memories,
            jax.random.fold_in(rehearsal_key, 2), settings.answer_prompt)
      if remembered:
        kept = rehearsal_lib.write_closed_book(
            asleep, remembered, jax.random.fold_in(rehearsal_key, 1))
    head = rows_lib.worth_sharing(
        [d.student_ids(chat) for d in dreams]
        + [prompt for prompt, _ in (*pairs, *memories, *kept)])
    examples = seed.dream_examples(
        *awake[:3], dreams, awake.segments, s.completion_tokens, head)
    def scored(writer, pairs):
      return [seed.paired_examples(writer.config, writer.params, pairs,
                                   s.completion_tokens, head)] if pairs else []
    rehearsal = scored(elder, pairs)
    retention = scored(elder, memories) + scored(asleep, kept)
    for scored_rows in (examples, *rehearsal, *retention):
      phase.advance(tokens=rows_lib.num_tokens(scored_rows.student))
    if settings.seeding.ewc:
      protected = pairs + [(d.student_ids(chat), d.completion) for d in again]
      importance = ewc.fisher_diagonal(
          compute, part, frozen, slot, rows_lib.rows_of(
              *zip(*protected, strict=True))) if protected else (
                  jax.tree.map(jnp.zeros_like, slot))

  seeder = seed.Seeder(
      compute, frozen, index, settings.seeding, examples, awake.segments,
      rehearsal[0] if rehearsal else None,
      chat.tokenizer.stop_ids, seed.content_free_tokens(chat.tokenizer),
      head=tuple(head), judge=judge, tokenizer=chat.tokenizer, part=part,
      importance=importance, teacher=awake.params,
      retention=seed.joined(*retention) if retention else None,
      document=tuple(chat.document(document.text)))
  with display.phase('seed', total=settings.seeding.steps) as phase:
    def report_seeding(step, values, tokens):
      metrics.write('seed', step, values)
      phase.advance(tokens=tokens, divergence=values['divergence'])
    state = objective.init_state(
        settings.seeding, jax.tree.map(jnp.copy, slot))
    slot = seeder.run(state, seed_key, report_seeding).slot

  dreaming = {}
  if settings.dreaming is not None and held_out:
    with display.phase('dream', total=4) as phase:
      def report_dreaming(step, values, tokens):
        metrics.write('dream', step, values)
        phase.advance(tokens=tokens, **values)
      slot, outcome = dream_round_lib.dream_round(
          compute, frozen, slot, index, settings.dreaming,
          _dream_prompts(chat, settings, topic, dreams),
          _held_in_rows(chat, settings, held_out),
          rows_lib.rows_of(*zip(*pairs[:_RETENTION_ROWS], strict=True))
          if pairs else None,
          chat.tokenizer.stop_ids, dream_key, report_dreaming)
      dreaming = dataclasses.asdict(outcome)
      dreaming['dreams'] = dreamer.texts(dreaming['dreams'])
  grown = part.insert(grown_config, grown, slot, index)
  show = [{'kind': d.kind, 'prompt': d.prompt, 'start': d.start,
           'completion': chat.tokenizer.decode(d.completion)} for d in dreams]
  return grown_config, grown, SleepReport(
      change, shapes, len(dreams), tuple(held_out), dreaming, show)


def _held_in_rows(chat, settings, held_out):
  s = settings.dreaming
  prompts = [chat.closed_book(settings.answer_prompt.format(question=q))
             for q, _ in held_out]
  answers = [chat.tokenizer.encode(a)[:s.dream_tokens] for _, a in held_out]
  return rows_lib.Rows(*rows_lib.pad_left(prompts, s.prompt_tokens),
                       *rows_lib.pad_right(answers, s.dream_tokens))
