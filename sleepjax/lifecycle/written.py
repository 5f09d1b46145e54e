"""All that one night learns from, written before it learns."""

import collections
import dataclasses
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from sleepjax.data.documents import Document, Question
from sleepjax.lifecycle.config import SleepConfig
from sleepjax.sampling import rows as rows_lib
from sleepjax.seeding.examples import (
    Examples,
    dream_examples,
    joined,
    paired_examples,
)
from sleepjax.writing import agreement as agreement_lib
from sleepjax.writing import dreams as dreams_lib
from sleepjax.writing import rehearsal as rehearsal_lib
from sleepjax.writing.contrasts import contrasts
from sleepjax.writing.dreamer import Dream, Dreamer, write_topic
from sleepjax.writing.facts import write_facts
from sleepjax.writing.rows import rows_of
from sleepjax.writing.teacher import Teacher


class Day(NamedTuple):
  """What a cycle wakes to.

  document: one chunk, see `sleepjax.data.chunks`.
  rehearsal_texts: other texts, for the rehearsal term.
  avoid: questions that no dream, rehearsal or memory may ask.
  remembered: prompts about earlier texts. What the previous model answers to
    them, closed book, is retained.
  earlier: texts of earlier sleeps, for the baselines that may keep them:
    replayed, or what elastic weight consolidation protects.
  exam: questions about it that are only asked in exams: they are written down
    with the night, and nothing learns from them.
  words: what was written about it before, by `cycle.write_ahead`; None has the
    night write.
  given: questions with their answers that are dreamt besides, for upper bounds.
  """

  document: Document
  rehearsal_texts: Sequence[str] = ()
  avoid: Sequence[str] = ()
  remembered: Sequence[str] = ()
  earlier: Sequence[Document] = ()
  exam: Sequence[Question] = ()
  words: 'Words | None' = None
  given: Sequence[Question] = ()


class Words(NamedTuple):
  """All that was written; small, and enough to read it again.

  topic: of the document.
  dreams: about it.
  held_out: (question, answer) about it that no dream contains.
  held_in: (user's message, answer) of these and of some that dreams contain.
  agreements: of every question that might have been held in, the mean word F1
    of its sampled answers, see `sleepjax.writing.agreement`.
  again: earlier texts as replies, of the baselines that keep them.
  rehearsed: (prompt ids, completion ids) with other texts in view.
  memories: (prompt ids, completion ids) of questions about anything.
  kept: the same of prompts about earlier texts.
  coverage: of how much of the document was asked, `coverage.Coverage` as a
    dictionary; empty where nothing was.
  facts: `facts.Facts.report`, and how many rows of every kind were left out;
    empty where the source is another.
  """

  topic: str
  dreams: list[Dream]
  held_out: list[tuple[str, str]]
  held_in: list[tuple[str, str]]
  agreements: list[float]
  again: list[Dream]
  rehearsed: list
  memories: list
  kept: list
  coverage: dict[str, int]
  facts: dict[str, Any]

  @property
  def retained(self) -> list:
    """(prompt ids, completion ids) without any text in view."""
    return self.memories + self.kept

  @classmethod
  def from_json(cls, entry: dict[str, Any]) -> 'Words':
    """Of `words._asdict()` as JSON gives it back."""
    dreams = lambda name: [Dream.from_json(d) for d in entry[name]]
    pairs = lambda name: [(a, b) for a, b in entry[name]]
    return cls(entry['topic'], dreams('dreams'), pairs('held_out'),
               pairs('held_in'), entry['agreements'], dreams('again'),
               *map(pairs, ('rehearsed', 'memories', 'kept')),
               entry.get('coverage', {}), entry.get('facts', {}))


class Night(NamedTuple):
  """The words of a night as examples.

  questions: the held-out ones as examples, or None.
  shared_prefix: ids that all prompts of the examples go on from.
  examples: the dreams.
  rehearsal, retention: of these terms, or None.
  """

  questions: Examples | None
  shared_prefix: tuple[int, ...]
  examples: Examples
  rehearsal: Examples | None
  retention: Examples | None


class Teachers(NamedTuple):
  """Who writes.

  reading: the previous model, with the document in its memory.
  asleep: the previous model without it.
  base: who writes rehearsal and memories: the model before all sleeps, so that
    many small losses do not add up, or the previous one.
  """

  reading: Teacher
  asleep: Teacher
  base: Teacher

  def writer(self, which: str, settings: SleepConfig,
             report: Callable[[int], None]) -> Dreamer:
    """One of them with the settings of dreams."""
    # Without a second stage no question has to be kept for it.
    s = settings.dreams if settings.dreaming else dataclasses.replace(
        settings.dreams, held_out=0)
    teacher = getattr(self, which)
    return Dreamer(teacher.model, s, teacher.chat, report)


def write_words(settings: SleepConfig, teachers: Teachers, day: Day, keys,
                report: Callable[[int], None]) -> Words:
  """Writes dreams, rehearsal and memories.

  Args:
    settings: of the sleep.
    teachers: who writes them.
    day: what was read, and what may be used beside it.
    keys: of the dreams, and of all else.
    report: gets the number of tokens of everything written.
  """
  write_key, rehearsal_key = keys
  reader, previous, base = (teachers.writer(name, settings, report)
                            for name in Teachers._fields)
  segments = teachers.reading.segments
  topic = write_topic(reader, day.document, segments)
  document = dataclasses.replace(day.document, title=topic)
  again = [d for old in day.earlier
           for d in dreams_lib.recitations(reader, old)
           ] if settings.replay or settings.seeding.ewc else []
  held_out, coverage, facts = [], {}, {}
  if settings.source == 'text':
    dreams = dreams_lib.recitations(reader, document)
    if settings.replay and again:
      dreams = dreams * -(-len(again) // len(dreams)) + again
  elif settings.source == 'facts':
    dreams, held_out, coverage, facts = _facts(
        settings, reader, document, segments, write_key, day.avoid)
  else:
    dreams, held_out, coverage = dreams_lib.write_dreams(
        reader, document, segments, write_key, settings.answer_prompt,
        day.avoid)
    coverage = coverage._asdict()
  dreams = dreams + dreams_lib.answers_to(
      reader, document.prompts, segments, jax.random.fold_in(write_key, 4))
  dreams = dreams + _exam(settings, previous.chat, [
      (q.question, q.answer) for q in day.given])
  held_in, agreements = _held_in(
      settings, reader, _exam(settings, previous.chat, held_out), dreams,
      segments, jax.random.fold_in(write_key, 3))
  rehearsed = _rehearsal(
      settings, base, day.rehearsal_texts, rehearsal_key, day.avoid)
  contrary = contrasts(
      [d.prompt for d in dreams if d.kind == 'question'], topic,
      settings.contrasts, np.random.default_rng(
          np.asarray(jax.random.key_data(rehearsal_key))))
  return Words(topic, dreams, held_out, held_in, agreements, again, rehearsed,
               *_memories(settings, base, previous, day.remembered, contrary,
                          rehearsal_key, day.avoid), coverage, facts)


def read_words(settings: SleepConfig, words: Words, teachers: Teachers,
               report: Callable[[int], None],
               later: Sequence[Sequence[int]] = ()) -> Night:
  """Reads what was written with those who wrote it.

  Args:
    settings, teachers: as they were for `write_words`.
    words: what that returned.
    report: gets the number of tokens of everything read.
    later: token ids of other prompts that are learnt from tonight.
  """
  reading, chat = teachers.reading, teachers.asleep.chat
  exam = _exam(settings, chat, words.held_out)
  tokens = settings.dreams.completion_tokens
  shared_prefix = rows_lib.worth_sharing(
      [d.student_ids(chat) for d in (*words.dreams, *exam)] + list(later)
      + [prompt for prompt, _ in (*words.rehearsed, *words.retained)])
  examples, questions = (dream_examples(
      reading, some, tokens, shared_prefix, taught
  ) if some else None for some, taught in (
      (words.dreams, settings.seeding.target != 'tokens'), (exam, True)))
  rehearsal, retention = (
      [paired_examples(writer.model.config, writer.model.params, pairs,
                       tokens, shared_prefix)
       for writer, pairs in parts if pairs]
      for parts in ([(teachers.base, words.rehearsed)],
                    [(teachers.base, words.memories),
                     (teachers.asleep, words.kept)]))
  for part in (examples, *rehearsal, *retention):
    report(rows_lib.num_tokens(part.student))
  return Night(questions, tuple(shared_prefix), examples,
               rehearsal[0] if rehearsal else None,
               joined(*retention) if retention else None)


def _facts(settings, dreamer, document, segments, key, avoid):
  """(dreams, held-out questions, coverage, report) of what a document says."""
  found = write_facts(
      dreamer, document, segments, key, settings.writing, avoid)
  learnt, held_out = found.split(settings.writing.held_out)
  dreams, left_out = rows_of(learnt, dreamer.chat, settings.rows,
                             settings.dreams, settings.answer_prompt)
  kinds = collections.Counter(d.kind for d in left_out)
  coverage = found.counts._replace(beginnings_too_long=kinds['recall'])
  return (dreams or dreams_lib.recitations(dreamer, document), held_out,
          coverage._asdict(), {**found.report(), 'left_out': dict(kinds)})


def _exam(settings, chat, held_out):
  """Held-out questions with the old self's answers, as seeding learns one."""
  stop = chat.tokenizer.stop_ids[:1]
  return [Dream('question', settings.answer_prompt.format(question=question),
                '', (*chat.tokenizer.encode(answer), *stop)[
                    :settings.dreams.completion_tokens])
          for question, answer in held_out]


def _held_in(settings, dreamer, exam, dreams, segments, key):
  """(message, answer) that the old self is sure of, and all agreements."""
  d = settings.dreaming
  if not d:
    return [], []
  seeded = list({dream.prompt: dream for dream in reversed(dreams)
                 if dream.kind == 'question'}.values())
  seeded = seeded[::max(1, len(seeded) // max(1, d.questions))][:d.questions]
  asked = exam + seeded
  prompts = [dream.teacher_ids(dreamer.chat) for dream in asked]
  # Those of dreams were sampled; agreement is with the likeliest answer.
  greedy = dreamer.write(
      prompts[len(exam):], key, temperature=0.0, segments=segments)
  replies = dreamer.texts([*(d.completion for d in exam), *greedy])
  shares = agreement_lib.agreement(
      dreamer, prompts, replies, segments, key, d.agreement_samples
  ) if d.agreement_samples else [1.0] * len(asked)
  return [(dream.prompt, reply) for dream, reply, share in zip(
      asked, replies, shares, strict=True) if reply and share >= d.agreement
          ], shares


def _rehearsal(settings, base, texts, key, avoid):
  """What is said with other texts in view."""
  if not (texts and settings.rehearsal_per_text and (
      settings.seeding.rehearsal or settings.seeding.ewc)):
    return []
  return rehearsal_lib.write_rehearsal(
      base, texts, key, settings.answer_prompt, settings.rehearsal_per_text,
      settings.rehearsal_tokens, settings.rehearse_questions, avoid)


def _memories(settings, base, previous, remembered, contrary, key, avoid):
  """What is said closed book: about anything, and about earlier texts.

  contrary: prompts about other topics.
  """
  if not (settings.seeding.retention and settings.seeding.retention_rows):
    return [], []
  memories = rehearsal_lib.write_memories(
      base, settings.memory_prompt, settings.memories,
      jax.random.fold_in(key, 2), settings.answer_prompt, avoid
  ) if settings.memories else []
  memories += rehearsal_lib.write_closed_book(
      base, contrary, jax.random.fold_in(key, 4))
  return memories, rehearsal_lib.write_closed_book(
      previous, remembered, jax.random.fold_in(key, 3))
