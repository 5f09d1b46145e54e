"""What a model of the tiny world knows, from context and from its weights.

Accuracies are shares of greedy answers that are exactly the gold one.
"""

from collections.abc import Sequence

import jax
import numpy as np

from sleepjax.data import documents, world
from sleepjax.data.prompts import ChatPrompts
from sleepjax.evals import questions
from sleepjax.evals.questions import AnswerConfig
from sleepjax.mesh.sharding import to_host
from sleepjax.models.config import ModelConfig
from sleepjax.sampling import context, sampler
from sleepjax.sampling import rows as rows_lib

_ANSWERS = AnswerConfig(max_new_tokens=4, batch_rows=64)


def accuracy(config: ModelConfig, params, chat: ChatPrompts,
             asked: Sequence[questions.Question], text: str | None = None
             ) -> float:
  """Share of questions answered right, with a text in context or without."""
  segment = None if text is None else context.read_document(
      config, params, chat, text)
  return float(np.mean(questions.answered_right(
      config, params, chat, asked, _ANSWERS, segment)))


def in_context_accuracy(config: ModelConfig, params, chat: ChatPrompts,
                        days: Sequence[world.Day]) -> dict[str, float]:
  """Accuracy with a day's text in context, by form of the question."""
  scores = {form: [] for form in world.FORMS}
  for day in days:
    segment = context.read_document(config, params, chat, day.text)
    asked = [(form, q) for form in world.FORMS for q in day.questions(form)]
    right = questions.answered_right(
        config, params, chat, [q for _, q in asked], _ANSWERS, segment)
    for (form, _), is_right in zip(asked, right, strict=True):
      scores[form].append(is_right)
  return {form: float(np.mean(score)) for form, score in scores.items()}


def known_accuracy(config: ModelConfig, params,
                   chat: ChatPrompts) -> dict[str, float]:
  """Accuracy on all long-known facts, closed book, by form."""
  return {form: accuracy(config, params, chat,
                         world.questions(world.known_facts(), form))
          for form in world.FORMS[:2]}


def written_questions(config: ModelConfig, params, chat: ChatPrompts,
                      day: world.Day | None, key, count: int = 4,
                      temperature: float = 1.0) -> list[str]:
  """Questions that the model writes when asked to.

  Args:
    config, params, chat: the model.
    day: in its context, which it asks about sentence by sentence; None asks
      closed book about anything.
    key: typed PRNG key.
    count: how many, about each sentence.
    temperature: of sampling.
  """
  if day is None:
    segments, prompts = (), [chat.closed_book(world.ASK)]
  else:
    segments = (context.read_document(config, params, chat, day.text),)
    prompts = [
        chat.after_document(world.ASK_ABOUT.format(sentence=sentence))
        for sentence in documents.split_sentences(day.text)]
  prompts = [prompt for prompt in prompts for _ in range(count)]
  rollout = sampler.jitted_sample(
      config, params,
      *rows_lib.pad_left(prompts, rows_lib.prompt_bucket(prompts)), key,
      sampler.Until(16, chat.tokenizer.stop_ids),
      method=sampler.Sampling(temperature), segments=segments)
  tokens, mask = map(to_host, (rollout.tokens, rollout.mask))
  return [chat.tokenizer.decode(t[m].tolist()).strip()
          for t, m in zip(tokens, mask)]


def question_validity(config: ModelConfig, params, chat: ChatPrompts,
                      days: Sequence[world.Day], key) -> dict[str, float]:
  """Shares of written questions that have exactly one answer.

  Returns:
    {'in_context': of those about a sentence of a day in context, where the
    answer must be that sentence's, 'closed_book': of those without, about
    long-known facts}.
  """
  valid = []
  for i, day in enumerate(days):
    written = written_questions(
        config, params, chat, day, jax.random.fold_in(key, i))
    each = len(written) // len(day.facts)
    valid += [world.answer_to(q, [day.facts[n // each]]) is not None
              for n, q in enumerate(written)]
  written = written_questions(
      config, params, chat, None, jax.random.fold_in(key, len(days)), 64)
  closed = [world.answer_to(q, world.known_facts()) is not None
            for q in written]
  return {'in_context': float(np.mean(valid)),
          'closed_book': float(np.mean(closed))}
