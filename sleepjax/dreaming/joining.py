"""Joining: what it recalls step by step, the model learns to say at once.

Two facts of two days were never in view together. Asleep, closed book, the
model

  recalls  sentences that it has learnt on this night and on earlier ones
  asks     a question of two steps about each
  answers  each step by step, several times; a reply counts if both steps are
           what it has recalled, and kept is where most replies end alike:
           which is all that a sleeper can check
  learns   the question alone with that end as its answer

What is learnt is the words of its own reasoning (Yu et al. 2024, "Distilling
System 2 into System 1", arXiv 2407.06023), filtered by self-consistency (Wang
et al. 2022, arXiv 2203.11171).
"""

import collections
import dataclasses
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from sleepjax.data import words as words_lib
from sleepjax.dreaming import tasks
from sleepjax.dreaming import write_back as write_back_lib
from sleepjax.dreaming.settings import JoiningConfig
from sleepjax.dreaming.stage import DreamReport, Dreamt
from sleepjax.dreaming.tasks import Memory, Task
from sleepjax.growth.learner import Learner
from sleepjax.seeding.consolidation import Guard
from sleepjax.seeding.loop import Seeder
from sleepjax.training.observer import Watched
from sleepjax.writing.cleaning import clean_question, distinct
from sleepjax.writing.dreamer import Dreamer


@dataclasses.dataclass(frozen=True)
class JoinReport(DreamReport):
  """What a night of joining did; plain Python values.

  recalled: `Recalled` of every question as dictionaries, with `learnt`, the
    answer that was learnt, or None.
  """

  recalled: list[dict[str, Any]] = dataclasses.field(default_factory=list)


class Recalled(NamedTuple):
  """A question of two steps, and what was said to it.

  question: in the model's own words.
  replies: sampled, step by step.
  answer: how most of those end that say what was recalled; of equally many the
    first, None if none does.
  agreeing: how many end so.
  """

  question: str
  replies: list[str]
  answer: str | None
  agreeing: int


class Recollections(NamedTuple):
  """What the sleeping model has of its days.

  tonight: the task of tonight's memory, which says what must not be spoilt.
  memories: of all nights, tonight's included.
  answer_prompt: how questions are put, with {question}.
  avoid: questions that nothing may ask.
  """

  tonight: Task
  memories: Sequence[Memory]
  answer_prompt: str = '{question}'
  avoid: Sequence[str] = ()


def final_answer(reply: str, recalled: Sequence[str]) -> str | None:
  """The last word of a reply's second sentence.

  None if there is none, if one of the first two says what was not recalled, or
  if they have no name in common.

  >>> final_answer('The mentor of Bokar is Lobor. Lobor lives in Oslo. And',
  ...              ['Bokar learns from Lobor.', 'Lobor lives in Oslo.'])
  'Oslo'

  Args:
    reply: step by step.
    recalled: sentences; one says what a step does if it has all of its names,
      two at least.
  """
  first, second, *rest = [*reply.split('.'), '', '']
  known, steps = (list(map(_names, some)) for some in (
      recalled, (first, second)))
  joined = steps[0] & steps[1] and all(len(names) > 1 and any(
      names <= others for others in known) for names in steps)
  return second.split()[-1] if joined and len(rest) > 2 else None


def _names(sentence):
  """Its capitalised words, function words apart."""
  return {word for word in sentence.rstrip('.').split()
          if word[0].isupper() and words_lib.content_words(word)}


def counted(question: str, replies: Sequence[str], recalled: Sequence[str]
            ) -> Recalled:
  """How most of the replies to a question end that say what was recalled."""
  ends = collections.Counter(end for end in (
      final_answer(reply, recalled) for reply in replies) if end is not None)
  answer, agreeing = ends.most_common(1)[0] if ends else (None, 0)
  return Recalled(question, list(replies), answer, agreeing)


def recall(dreamer: Dreamer, memories: Sequence[Memory],
           settings: JoiningConfig, key, avoid: Sequence[str] = ()
           ) -> list[Recalled]:
  """Recalls, asks and answers step by step, all of it closed book.

  Prompts that are longer than the dreamer's are left out.

  Args:
    dreamer: who sleeps.
    memories: their reminders that are no questions are completed to sentences;
      those that are questions have been learnt, and are not asked again.
    settings: how it asks, and how many replies are sampled to every reminder
      and every question.
    key: typed PRNG key.
    avoid: questions that it may not ask.
  """
  s, forbidden = settings, dreamer.settings.forbidden
  recall_key, ask_key, answer_key = jax.random.split(key, 3)
  reminders = dict.fromkeys(
      reminder for memory in memories for reminder in memory.prompts)
  learnt = [message for message, _ in reminders if message.endswith('?')]
  told = _written(dreamer, [
      (message, start) for message, start in reminders
      if not message.endswith('?') for _ in range(s.samples)],
                  recall_key, s.temperature)
  # What comes after the last full stop was cut.
  sentences = list(dict.fromkeys(
      f'{sentence.strip()}.' for _, text in told
      for sentence in text.split('.')[:-1] if sentence.strip()))
  asked = _written(dreamer, [
      (s.ask_prompt.format(sentence=sentence), '') for sentence in sentences],
                   ask_key, s.temperature)
  questions = distinct((clean_question(text, message, forbidden)
                        for (message, _), text in asked),
                       (*avoid, *learnt))
  answered = _written(dreamer, [
      (s.stepwise_prompt.format(question=question), '')
      for question in questions for _ in range(s.samples)],
                      answer_key, s.temperature)
  replies = collections.defaultdict(list)
  for (message, _), text in answered:
    replies[message].append(text)
  asked_as = {question: s.stepwise_prompt.format(question=question)
              for question in questions}
  return [counted(question, replies[message], sentences)
          for question, message in asked_as.items() if message in replies]


def _written(dreamer, prompts, key, temperature):
  """((message, first words), reply with its first words) of those that fit."""
  encode, decode = dreamer.chat.tokenizer.encode, dreamer.chat.tokenizer.decode
  fitting, ids = [], []
  for message, start in prompts:
    tokens = dreamer.chat.closed_book(message) + encode(start)
    if len(tokens) <= dreamer.settings.prompt_tokens:
      fitting.append((message, start))
      ids.append(tokens)
  replies = dreamer.write(ids, key, temperature=temperature)
  return [((message, start), decode(encode(start) + reply).strip())
          for (message, start), reply in zip(fitting, replies, strict=True)]


def learnt_answers(recalled: Sequence[Recalled], settings: JoiningConfig, rng
                   ) -> list[str | None]:
  """What is learnt as the answer to each question; None of one not kept.

  Args:
    recalled: questions with their answers.
    settings: how many replies have to agree. `shuffled` gives every question
      that is kept the answer of another one.
    rng: numpy generator, of the shuffle.
  """
  kept = [i for i, r in enumerate(recalled) if r.agreeing >= settings.agreeing]
  learnt: list[str | None] = [None] * len(recalled)
  order = [kept[i] for i in rng.permutation(len(kept))]
  if settings.shuffled and len(order) < 2:
    return learnt  # There is no other one.
  for i, other in zip(order, np.roll(order, 1).tolist()):
    learnt[i] = recalled[other if settings.shuffled else i].answer
  return learnt


def dream(sleeper: Learner, dreamer: Dreamer, seeder: Seeder,
          settings: JoiningConfig, of: Recollections, guard: Guard, key,
          watched: Watched) -> Dreamt:
  """Recalls, and goes on with seeding with what was joined.

  Seeding goes on as long whether or not something was, with as many rows of
  what was joined as of the night's own dreams. It learns the words of both:
  asked at once, nobody can teach a distribution over what takes two steps. It
  is undone as other write-backs are; τ is over what tonight taught and what was
  joined.

  Args:
    sleeper: who dreams.
    dreamer: the same, who writes.
    seeder: tonight's, whose dreams and other terms the write-back keeps.
    settings: every choice.
    of: what it has of its days.
    guard: what is learnt besides, and what undoes it.
    key: typed PRNG key.
    watched: hears of the recalls and of every update; has the budget.
  """
  s, chat, written = settings, dreamer.chat, []
  recall_key, shuffle_key, last_key = jax.random.split(key, 3)
  counting = dataclasses.replace(dreamer, report=written.append)
  recalled = recall(counting, of.memories, s, recall_key, of.avoid)
  answers = learnt_answers(recalled, s, np.random.default_rng(
      np.asarray(jax.random.key_data(shuffle_key))))
  watched.meter.spend(sum(written))
  watched.report(0, {
      'dream_recalled': float(len(recalled)),
      'dream_joined': float(sum(a is not None for a in answers))},
                 sum(written))
  stop = chat.tokenizer.stop_ids[:1]
  pairs = [(chat.closed_book(of.answer_prompt.format(question=r.question)),
            [*chat.tokenizer.encode(answer), *stop])
           for r, answer in zip(recalled, answers, strict=True)
           if answer is not None]
  words = dataclasses.replace(seeder, settings=dataclasses.replace(
      seeder.settings, target='tokens', on_policy=0.0,
      steps=s.write_back_steps))
  known = Task([], of.tonight.questions + pairs)
  if pairs:
    pairs *= max(1, round(len(seeder.terms.examples) / len(pairs)))
  slot, wrote = write_back_lib.write_back(
      words, sleeper, write_back_lib.dream_examples(
          sleeper, pairs, seeder.terms.shared_prefix, s.dream_tokens,
          taught=False) if pairs else None,
      tasks.flat(tasks.held_in_rows([known], s)), guard, s, last_key,
      Watched(lambda step, *heard: watched.report(1 + step, *heard),
              watched.meter))
  return Dreamt(slot, None, JoinReport(
      [], [], [], None if wrote is None else dataclasses.asdict(wrote),
      [{**r._asdict(), 'learnt': answer}
       for r, answer in zip(recalled, answers, strict=True)]))
