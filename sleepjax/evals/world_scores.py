"""What a model of the tiny world knows, from context and from its weights.

Accuracies are shares of greedy answers that are exactly the gold one, by form
of the question and by its wording, 'asked' or 'exam'.
"""

from collections.abc import Sequence

import jax
import numpy as np

from sleepjax.data import documents, world
from sleepjax.data.documents import Question
from sleepjax.evals import questions
from sleepjax.evals.questions import AnswerConfig
from sleepjax.mesh.sharding import to_host
from sleepjax.model import Model
from sleepjax.sampling import context, sampler
from sleepjax.sampling import rows as rows_lib

_ANSWERS = AnswerConfig(max_new_tokens=4, batch_rows=64)
_STEPS = AnswerConfig(max_new_tokens=16, batch_rows=64)
_REQUESTS = {'asked': (world.ASK, world.ASK_ABOUT),
             'exam': (world.EXAMINE, world.EXAMINE_ABOUT)}


def accuracy(model: Model, asked: Sequence[Question],
             text: str | None = None) -> float:
  """Share of questions answered right, with a text in context or without."""
  segment = None if text is None else _read(model, text)
  return float(np.mean(questions.answered_right(
      model, asked, _ANSWERS, segment)))


def in_context_accuracy(model: Model, days: Sequence[world.Day]
                        ) -> dict[str, dict[str, float]]:
  """Accuracy with a day's text in context: form -> wording -> share."""
  kinds = [(f, w) for f in world.FORMS for w in world.WORDINGS]
  scores = {kind: [] for kind in kinds}
  for n, day in enumerate(days):
    segment = _read(model, day.text)
    asked = [(kind, q) for kind in kinds
             for q in world.questions(day.facts, *kind, turn=n)]
    right = questions.answered_right(
        model, [q for _, q in asked], _ANSWERS, segment)
    for (kind, _), is_right in zip(asked, right, strict=True):
      scores[kind].append(is_right)
  return _by_form({kind: np.mean(score) for kind, score in scores.items()})


def known_accuracy(model: Model) -> dict[str, dict[str, float]]:
  """Accuracy on all long-known facts, closed book: form -> wording -> share.

  In every template. The form 'composite' asks for two of them at once.
  """
  facts = world.known_facts()
  asked = {(form, wording): sum((world.questions(facts, form, wording, turn)
                                 for turn in (0, 1)), [])
           for form in world.FORMS[:2] for wording in world.WORDINGS}
  for wording in world.WORDINGS:
    asked['composite', wording] = sum(
        (world.composites(facts, wording, turn) for turn in (0, 1)), [])
  return _by_form({kind: accuracy(model, some)
                   for kind, some in asked.items()})


def stepwise_accuracy(model: Model, facts: Sequence[world.Fact], wording: str,
                      text: str | None = None) -> float:
  """Share of composite questions whose steps end with the right city.

  Args:
    model: in either layout.
    facts: what is asked about.
    wording: of the questions.
    text: in the model's context; None asks closed book.
  """
  segment = None if text is None else _read(model, text)
  asked = world.composites(facts, wording)
  steps = questions.greedy_answers(
      model, [
          Question(world.STEPWISE.format(question=q.question), q.answer)
          for q in asked], _STEPS, segment)
  return float(np.mean([reply.strip(' .').split(' ')[-1] == q.answer
                        for reply, q in zip(steps, asked, strict=True)]))


def written_questions(model: Model, day: world.Day | None, key, count: int = 4,
                      temperature: float = 1.0, wording: str = 'asked'
                      ) -> list[str]:
  """Questions that the model writes when asked to.

  Args:
    model: in either layout.
    day: in its context, which it asks about sentence by sentence; None asks
      closed book about anything.
    key: typed PRNG key.
    count: how many, about each sentence.
    temperature: of sampling.
    wording: that the request is for.
  """
  (ask, ask_about), chat = _REQUESTS[wording], model.chat
  if day is None:
    segments, prompts = (), [chat.closed_book(ask)]
  else:
    segments = (_read(model, day.text),)
    prompts = [
        chat.after_document(ask_about.format(sentence=sentence))
        for sentence in documents.split_sentences(day.text)]
  prompts = [prompt for prompt in prompts for _ in range(count)]
  rollout = sampler.jitted_sample(
      model.config, model.params,
      *rows_lib.pad_left(prompts, rows_lib.prompt_bucket(prompts)), key,
      sampler.Until(16, chat.tokenizer.stop_ids),
      method=sampler.Sampling(temperature), segments=segments)
  tokens, mask = map(to_host, (rollout.tokens, rollout.mask))
  return [chat.tokenizer.decode(t[m].tolist()).strip()
          for t, m in zip(tokens, mask)]


def question_validity(model: Model, days: Sequence[world.Day], key,
                      wording: str = 'asked') -> dict[str, float]:
  """Shares of written questions that have exactly one answer.

  Returns:
    {'in_context': of those about a sentence of a day in context, where the
    answer must be that sentence's, 'closed_book': of those without, about
    long-known facts, 'in_wording': of all, those in the wording that was asked
    for}.
  """
  valid, every = [], []
  for i, day in enumerate(days):
    written = written_questions(
        model, day, jax.random.fold_in(key, i), wording=wording)
    each = len(written) // len(day.facts)
    valid += [world.answer_to(q, [day.facts[n // each]]) is not None
              for n, q in enumerate(written)]
    every += written
  written = written_questions(
      model, None, jax.random.fold_in(key, len(days)), 64, wording=wording)
  closed = [world.answer_to(q, world.known_facts()) is not None
            for q in written]
  said = [world.wording_of(q) == wording for q in (*every, *written)]
  return {'in_context': float(np.mean(valid)),
          'closed_book': float(np.mean(closed)),
          'in_wording': float(np.mean(said))}


def _read(model, text):
  return context.read_document(model.config, model.params, model.chat, text)


def _by_form(scores):
  """{form: {wording: score}} of {(form, wording): score}."""
  by_form = {}
  for (form, wording), score in scores.items():
    by_form.setdefault(form, {})[wording] = float(score)
  return by_form
