"""Dreams: what the old self writes about a text while it still holds it.

Each dream is a prompt as the student will see it, without the text, and the
completion that the teacher sampled with the text in its context.
"""

import dataclasses
import re
from collections.abc import Sequence
from typing import NamedTuple

import jax
import numpy as np

from sleepjax.data import documents
from sleepjax.data.prompts import ChatPrompts
from sleepjax.models.config import ModelConfig
from sleepjax.models.transformer import Segment
from sleepjax.sampling import rows as rows_lib
from sleepjax.sampling import sampler


@dataclasses.dataclass(frozen=True)
class DreamConfig:
  """Which dreams are written, and how many.

  question_prompts: requests for one question, with {sentence}; they are used
    in turn. The questions become prompts, the teacher's answers completions.
  open_prompts: prompts with {topic}, put to the teacher as they are.
  topic_prompt: asked when a document has no title.
  questions_per_sentence: questions asked for about every sentence.
  answers_per_question: answers sampled to each distinct question.
  open_samples: completions sampled for each open prompt.
  held_out: every n-th question is kept from seeding: dreaming scores on it.
  temperature: of the teacher's samples.
  forbidden: a question with one of these words points at the text itself and
    is dropped.
  prompt_tokens, completion_tokens: longest prompt the student gets, longest
    completion; fixed, so that one program serves all documents.
  batch_rows: rows sampled at once.
  """

  question_prompts: tuple[str, ...]
  open_prompts: tuple[str, ...]
  topic_prompt: str
  questions_per_sentence: int = 8
  answers_per_question: int = 2
  open_samples: int = 8
  held_out: int = 8
  temperature: float = 1.0
  forbidden: tuple[str, ...] = (
      'text', 'passage', 'sentence', 'paragraph', 'author', 'article',
      'mentioned', 'according')
  prompt_tokens: int = 80
  completion_tokens: int = 32
  batch_rows: int = 32


class Dream(NamedTuple):
  kind: str
  prompt: str
  completion: tuple[int, ...]


@dataclasses.dataclass(frozen=True)
class Dreamer:
  """The old self, ready to write: a model, its chat format, and settings."""

  config: ModelConfig
  params: dict
  chat: ChatPrompts
  settings: DreamConfig

  def write(self, prompts: Sequence[Sequence[int]], key, *, prompt_tokens: int,
            temperature: float | None = None,
            segments: tuple[Segment, ...] = ()) -> list[list[int]]:
    """One sampled completion of each prompt, the stop token included."""
    s = self.settings
    temperature = s.temperature if temperature is None else temperature
    completions = []
    for start in range(0, len(prompts), s.batch_rows):
      batch = list(prompts[start:start + s.batch_rows])
      real = len(batch)
      batch += [batch[0]] * (s.batch_rows - real)
      rollout = sample(
          self.config, self.params, *rows_lib.pad_left(batch, prompt_tokens),
          jax.random.fold_in(key, start), segments=segments,
          max_new_tokens=s.completion_tokens,
          stop_ids=self.chat.tokenizer.stop_ids,
          method=sampler.Sampling(temperature))
      tokens, mask = np.asarray(rollout.tokens), np.asarray(rollout.mask)
      completions += [tokens[i][mask[i]].tolist() for i in range(real)]
    return completions

  def texts(self, completions) -> list[str]:
    return [self.chat.tokenizer.decode(c).strip() for c in completions]


sample = jax.jit(
    sampler.sample, static_argnums=0,
    static_argnames=('max_new_tokens', 'stop_ids', 'method'))


def clean_question(text: str, forbidden: Sequence[str]) -> str | None:
  """The first question in a model's reply, or None if it has no usable one."""
  line = text.strip().split('\n')[0]
  match = re.match(r'(?:question\s*\d*\s*[:.]\s*)?(.*?\?)', line, re.I)
  if match is None:
    return None
  question = match.group(1).strip().strip('"\'* ').strip()
  words = set(re.findall(r'[a-z]+', question.lower()))
  if len(words) < 3 or words & set(forbidden):
    return None
  return question[0].upper() + question[1:]


def _distinct(questions):
  seen = {}
  for question in questions:
    if question is not None:
      seen.setdefault(re.sub(r'\W+', ' ', question.lower()).strip(), question)
  return list(seen.values())


def write_topic(dreamer: Dreamer, document, segment: Segment) -> str:
  """The document's title, or the old self's own words for what it is about."""
  if document.title:
    return document.title
  prompt = dreamer.chat.after_document(dreamer.settings.topic_prompt)
  completion = dreamer.write(
      [prompt], jax.random.key(0), temperature=0.0, segments=(segment,),
      prompt_tokens=2 * dreamer.settings.prompt_tokens)
  return dreamer.texts(completion)[0].split('\n')[0].rstrip('.')


def write_questions(dreamer: Dreamer, text: str, segment: Segment,
                    key) -> list[str]:
  """Distinct questions about every sentence of a text, in random order."""
  s = dreamer.settings
  prompts = []
  for sentence in documents.split_sentences(text):
    for n in range(s.questions_per_sentence):
      request = s.question_prompts[n % len(s.question_prompts)]
      prompts.append(dreamer.chat.after_document(
          request.format(sentence=sentence)))
  longest = 2 * s.prompt_tokens
  prompts = [p for p in prompts if len(p) <= longest]
  replies = dreamer.texts(dreamer.write(
      prompts, key, prompt_tokens=longest, segments=(segment,)))
  questions = _distinct(clean_question(r, s.forbidden) for r in replies)
  order = jax.random.permutation(jax.random.fold_in(key, 1), len(questions))
  return [questions[i] for i in np.asarray(order)]


def write_dreams(dreamer: Dreamer, document, segment: Segment, key,
                 answer_prompt: str):
  """The teacher's dreams about a document, and questions held out of them.

  Args:
    dreamer: the old self.
    document: has `title` and `text`.
    segment: the document in its cache.
    key: PRNG key.
    answer_prompt: how questions are put, with {question}.

  Returns:
    (dreams, held_out): a list of Dream, and of (question, greedy answer) about
    the same text that no dream contains.

  Raises:
    ValueError: if the model wrote no usable question at all.
  """
  s, chat = dreamer.settings, dreamer.chat
  ask_key, answer_key, open_key = jax.random.split(key, 3)
  topic = write_topic(dreamer, document, segment)
  fits = lambda p: len(chat.closed_book(p)) <= s.prompt_tokens
  questions = [q for q in write_questions(
      dreamer, document.text, segment, ask_key)
               if fits(answer_prompt.format(question=q))]
  if not questions:
    raise ValueError('the model wrote no usable question about the document; '
                     'a longer document or other question_prompts may help.')
  held = questions[::s.held_out] if s.held_out else []
  kept = [q for q in questions if q not in held]

  def answer(asked, key, temperature):
    prompts = [chat.after_document(answer_prompt.format(question=q))
               for q in asked]
    return dreamer.write(prompts, key, temperature=temperature,
                         segments=(segment,), prompt_tokens=2 * s.prompt_tokens)

  held_out = list(zip(held, dreamer.texts(answer(held, answer_key, 0.0)),
                      strict=True)) if held else []
  asked = kept * s.answers_per_question
  dreams = [Dream('question', answer_prompt.format(question=q), tuple(c))
            for q, c in zip(asked, answer(asked, answer_key, None),
                            strict=True)]
  prompts = [p.format(topic=topic) for p in s.open_prompts
             for _ in range(s.open_samples)]
  prompts = [p for p in prompts if fits(p)]
  completions = dreamer.write(
      [chat.after_document(p) for p in prompts], open_key, segments=(segment,),
      prompt_tokens=2 * s.prompt_tokens)
  dreams += [Dream('open', p, tuple(c))
             for p, c in zip(prompts, completions, strict=True)]
  return dreams, [(q, a) for q, a in held_out if a]


def write_rehearsal(dreamer: Dreamer, texts: Sequence[str], key,
                    answer_prompt: str, per_text: int, prompt_tokens: int):
  """Answers of the old self about other texts, each with its text in front.

  Returns:
    list of (prompt ids with the text, completion ids).
  """
  s, chat = dreamer.settings, dreamer.chat
  requests, contexts = [], []
  for n, text in enumerate(texts):
    sentences = documents.split_sentences(text)
    for i in range(per_text):
      sentence = sentences[(n + i) % len(sentences)]
      request = s.question_prompts[i % len(s.question_prompts)]
      contexts.append(chat.document(text))
      requests.append(contexts[-1] + chat.after_document(
          request.format(sentence=sentence)))
  fits = [i for i, r in enumerate(requests) if len(r) <= prompt_tokens]
  replies = dreamer.texts(dreamer.write(
      [requests[i] for i in fits], key, prompt_tokens=prompt_tokens))
  prompts = []
  for i, reply in zip(fits, replies, strict=True):
    question = clean_question(reply, s.forbidden)
    if question is not None:
      prompt = contexts[i] + chat.after_document(
          answer_prompt.format(question=question))
      if len(prompt) <= prompt_tokens:
        prompts.append(prompt)
  if not prompts:
    raise ValueError(
        f'no rehearsal text fits into rehearsal_tokens={prompt_tokens} with a '
        'question: use shorter texts or a larger number.')
  completions = dreamer.write(
      prompts, jax.random.fold_in(key, 1), prompt_tokens=prompt_tokens)
  return list(zip(prompts, completions, strict=True))
