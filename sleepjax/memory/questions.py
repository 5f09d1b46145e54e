"""A sender is asked what it has seen, while it still holds it.

Of the sentences that the sender has seen, those that it would say and the
student would not are scouted with a few questions, which the model writes
itself and answers with what it holds. What the student would answer as well
need not be handed over; of the sentences that tell it most, more is asked, and
their beginnings are to be gone on from. A question counts if all that it names
stands in the sentence, and a reply if all its words do. Earlier questions are
asked again, closed book, so that what slower levels know stays.
"""

import dataclasses
import re
from collections.abc import Sequence
from typing import NamedTuple

import jax
import numpy as np

from sleepjax.data import documents
from sleepjax.data.words import comparable_words
from sleepjax.errors import check_least
from sleepjax.memory.material import Holder, Material
from sleepjax.model import Model
from sleepjax.seeding.examples import (
    Examples,
    dream_examples,
    joined,
    paired_examples,
)
from sleepjax.writing import gain, rehearsal
from sleepjax.writing.cleaning import clean_question, distinct
from sleepjax.writing.dreamer import Dream, DreamConfig, Dreamer
from sleepjax.writing.dreams import sentence_beginnings
from sleepjax.writing.teacher import Teacher, WithoutDocument

_FEWEST_WORDS = 3  # Of a sentence: shorter ones are ends of others.


class StreamPrompts(WithoutDocument):
  """Prompts that follow a stretch of a stream: a message of their own."""

  def document(self, text: str) -> list[int]:
    return self.tokenizer.encode(text.strip())


@dataclasses.dataclass(frozen=True)
class QuestionConfig:
  """What a sender is asked.

  dreams: how a question is asked for, how long prompts and replies may be, and
    how many beginnings every sentence has (`recalls_per_sentence`).
  answer_prompt: how questions are put, with {question}.
  recall_prompt: asks for a sentence that begins as is said.
  scouted: sentences that are scouted, those that the sender says most likelier
    than the student.
  scouts: questions that each of them is scouted with.
  least_gain: nats by which the sender's answers must be likelier to it than to
    the student, to each of a sentence's scouts, or it is not handed over.
  sentences: at most so many of a hand-over, those with the greatest gain.
  questions: tried about each of them.
  earlier: at most so many questions of earlier hand-overs are retained.
  memories: questions about anything that the model asks itself before the
    stream, closed book, and that are retained by every hand-over; with
    `memory_prompt`.
  rehearsal_per_text: questions tried about every text of `prepared`.
  rehearsal_tokens: longest prompt of these, the text included.
  rehearse_questions: whether asking them is rehearsed, too; without, a sender
    begins to ask about what it has learnt before.
  """

  dreams: DreamConfig = DreamConfig()
  answer_prompt: str = '{question}'
  recall_prompt: str = 'Tell me a fact.'
  scouted: int = 8
  scouts: int = 3
  least_gain: float = 1.0
  sentences: int = 8
  questions: int = 12
  earlier: int = 64
  memories: int = 64
  memory_prompt: str = 'Ask a question.'
  rehearsal_per_text: int = 4
  rehearsal_tokens: int = 160
  rehearse_questions: bool = True

  def __post_init__(self):
    if '{question}' not in self.answer_prompt:
      raise ValueError(f'answer_prompt={self.answer_prompt!r} must contain '
                       '{question}.')
    check_least(self, scouted=1, scouts=1, sentences=1, questions=1, earlier=0,
                memories=0, rehearsal_per_text=0, rehearsal_tokens=1,
                least_gain=0)


class _Answered(NamedTuple):
  """A question about a sentence, and what the sender answers to it."""

  sentence: int
  question: str
  reply: tuple[int, ...]


@dataclasses.dataclass(frozen=True)
class Questions:
  """Asks a sender about what it has seen; see `prepared`.

  model: whose tokenizer is meant.
  config: what is asked.
  rehearsal: of the model before the stream, with other texts in view.
  memories: of the same, without any text.
  """

  model: Model
  config: QuestionConfig
  rehearsal: Examples | None = None
  memories: Examples | None = None

  @property
  def _chat(self):
    return StreamPrompts(self.model.tokenizer)

  def _dreamer(self, holder, params):
    return Dreamer(self.model.with_params(holder.config, params),
                   self.config.dreams, self._chat)

  def write(self, holder: Holder, key) -> Material | None:
    """Questions about what was seen, see `material.Asking`."""
    c = self.config
    scout_key, ask_key, cut_key, early_key = jax.random.split(key, 4)
    teacher, student = (self._dreamer(holder, params)
                        for params in (holder.teacher, holder.student))
    sentences = whole_sentences(
        self.model.tokenizer.decode(np.asarray(holder.tokens).tolist()))
    said = self._gains(
        teacher, student, [c.recall_prompt] * len(sentences),
        [self.model.tokenizer.encode(s) for s in sentences], holder.segments)
    likelier = sorted(np.argsort(-np.array(said), kind='stable')[
        :c.scouted].tolist())
    scouted = self._asked(teacher, sentences, likelier, c.scouts,
                          holder.segments, scout_key)
    gains = self._gains(
        teacher, student, [self._put(a.question) for a in scouted],
        [a.reply for a in scouted], holder.segments)
    told = told_most(gains, scouted, c.least_gain, c.sentences)
    if not told:
      return None
    more = self._asked(teacher, sentences, told, c.questions, holder.segments,
                       ask_key)
    rng = np.random.default_rng(np.asarray(jax.random.key_data(cut_key)))
    dreams, held_out = self._dreams(
        sentences, told, [*(a for a in scouted if a.sentence in told), *more],
        rng)
    tokens = c.dreams.completion_tokens
    examples = lambda some: dream_examples(
        Teacher(teacher.model, holder.segments, self._chat), some, tokens
    ) if some else None
    asked = tuple(tuple(d.student_ids(self._chat)) for d in dreams
                  if d.kind == 'question')
    learnt = examples(dreams)
    assert learnt is not None  # A sentence that tells something has a question.
    return Material(
        learnt, examples(held_out), self.rehearsal,
        self._retention(holder, asked, early_key), tuple(dict.fromkeys(asked)))

  def recite(self, holder: Holder, key) -> Material | None:
    """Earlier questions, answered with both slots."""
    pairs = self._earlier(holder, (), key)
    if not pairs:
      return None
    return Material(
        paired_examples(holder.config, holder.teacher, pairs,
                        self.config.dreams.completion_tokens),
        None, self.rehearsal, self.memories)

  def _asked(self, teacher, sentences, about, number, segments, key
             ) -> list[_Answered]:
    """Distinct questions about some sentences with verified answers."""
    s, chat = self.config.dreams, self._chat
    write_key, answer_key = jax.random.split(key)
    request = lambda sentence, opening: chat.after_document(
        s.question_prompt.format(sentence=sentence)) + (
            chat.tokenizer.encode(opening))
    tried = [(n, s.openings[i % len(s.openings)]) for n in about
             for i in range(number)]
    replies = teacher.texts(teacher.write(
        [request(sentences[n], opening) for n, opening in tried], write_key,
        temperature=s.question_temperature, segments=segments), strip=False)
    questions = {n: [] for n in about}
    for (n, opening), reply in zip(tried, replies, strict=True):
      questions[n].append(clean_question(
          opening + reply, sentences[n], s.forbidden))
    pairs = [(n, q) for n, every in questions.items() for q in distinct(every)
             if len(chat.closed_book(self._put(q))) <= s.prompt_tokens
             and names_stand_in(q, sentences[n])]
    replies = teacher.write(
        [chat.closed_book(self._put(q)) for _, q in pairs], answer_key,
        temperature=0.0, segments=segments)
    return [_Answered(n, q, tuple(reply)) for (n, q), reply, text in zip(
        pairs, replies, teacher.texts(replies), strict=True)
            if stands_in(text, sentences[n])]

  def _put(self, question):
    return self.config.answer_prompt.format(question=question)

  def _gains(self, teacher, student, messages, replies, segments
             ) -> list[float]:
    """Of every reply, how much likelier it is to the sender, in nats."""
    prompts = [self._chat.closed_book(message) for message in messages]
    return [float((seen - alone).sum()) for seen, alone in zip(
        gain.log_probs(teacher, prompts, replies, segments),
        gain.log_probs(student, prompts, replies), strict=True)]

  def _dreams(self, sentences, told, answered, rng):
    """(dreams, those held out): of every sentence with several questions one
    question, and one beginning."""
    s = self.config.dreams
    stop = self.model.tokenizer.stop_ids[:1]
    learnt, held_out = [], []
    for n in told:
      own = list({a.question: Dream(
          'question', self._put(a.question), '', a.reply)
                  for a in answered if a.sentence == n}.values())
      cuts = sentence_beginnings(
          sentences[n], s.recalls_per_sentence + 1, rng) if (
              s.recalls_per_sentence) else []
      recalls = [Dream('recall', self.config.recall_prompt, start, (
          *self.model.tokenizer.encode(sentences[n][len(start):]), *stop)[
              :s.completion_tokens]) for start in cuts]
      recalls = [d for d in recalls
                 if len(d.student_ids(self._chat)) <= s.prompt_tokens]
      for dreams in (own, recalls):
        if len(dreams) > 1:
          held_out.append(dreams.pop(int(rng.integers(len(dreams)))))
        learnt += dreams
    return learnt, held_out

  def _earlier(self, holder, but, key):
    """(prompt, what the teacher answers closed book) of earlier questions."""
    every = list(dict.fromkeys(holder.earlier))
    known = [prompt for prompt in every if prompt not in set(but)]
    order = np.asarray(jax.random.permutation(key, len(known)))
    prompts = [list(known[i]) for i in order[:self.config.earlier]]
    if not prompts:
      return []
    replies = self._dreamer(holder, holder.teacher).write(
        prompts, key, temperature=0.0)
    return list(zip(prompts, replies, strict=True))

  def _retention(self, holder, asked, key):
    pairs = self._earlier(holder, asked, key)
    parts = [self.memories] if self.memories is not None else []
    if pairs:
      parts.append(paired_examples(holder.config, holder.teacher, pairs,
                                   self.config.dreams.completion_tokens))
    return joined(*parts) if parts else None


def prepared(model: Model, config: QuestionConfig, key,
             texts: Sequence[str] = ()) -> Questions:
  """Questions with what the model, before a stream, says of anything else.

  Args:
    model: canonical, with all its levels.
    config: what is asked.
    key: typed PRNG key.
    texts: other texts, for rehearsal; () rehearses nothing.
  """
  dreamer = Dreamer(model, config.dreams, StreamPrompts(model.tokenizer))
  rehearsal_key, memory_key = jax.random.split(key)
  tokens = config.dreams.completion_tokens
  examples = lambda pairs: paired_examples(
      model.config, model.params, pairs, tokens) if pairs else None
  return Questions(
      model, config,
      examples(rehearsal.write_rehearsal(
          dreamer, texts, rehearsal_key, config.answer_prompt,
          config.rehearsal_per_text, config.rehearsal_tokens,
          config.rehearse_questions)
               if texts else []),
      examples(rehearsal.write_memories(
          dreamer, config.memory_prompt, config.memories, memory_key,
          config.answer_prompt) if config.memories else []))


def whole_sentences(text: str) -> list[str]:
  """Distinct sentences of a stretch of a stream, without those it cuts.

  >>> whole_sentences('in Oslo. Bonat lives in Lima. Lobor keeps')
  ['Bonat lives in Lima.']
  """
  found = [s.strip() for s in documents.split_sentences(text, shortest=1)]
  return list(dict.fromkeys(
      s for s in found if s and s[0].isupper() and s[-1] in '.!?'
      and len(s.split()) >= _FEWEST_WORDS))


def stands_in(reply: str, sentence: str) -> bool:
  """Whether a reply has words, and all of them stand in a sentence."""
  words = comparable_words(reply)
  return bool(words) and set(words) <= set(comparable_words(sentence))


def names_stand_in(question: str, sentence: str) -> bool:
  """Whether a question names nothing that a sentence does not.

  A model that has learnt of somebody asks about him when it is shown another,
  and a sender with the sentence in view would still answer from it.
  """
  names = [w for w in re.findall(r'\w+', question)[1:]
           if w[0].isupper() or w[0].isdigit()]
  return set(names) <= set(re.findall(r'\w+', sentence))


def told_most(gains: Sequence[float], answered: Sequence[_Answered],
              least: float, most: int) -> list[int]:
  """Numbers of the sentences whose questions all tell the student something.

  Args:
    gains: of every answer, in nats.
    answered: what was asked.
    least: gain of the question that tells least.
    most: sentences, the greatest of these gains first.

  Returns:
    the numbers in order.
  """
  lowest: dict[int, float] = {}
  for value, a in zip(gains, answered, strict=True):
    lowest[a.sentence] = min(value, lowest.get(a.sentence, value))
  telling = sorted((n for n in lowest if lowest[n] >= least),
                   key=lambda n: -lowest[n])
  return sorted(telling[:most])
