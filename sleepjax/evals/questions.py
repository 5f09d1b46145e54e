"""Question answering with and without a text in context.

Loss is nats per token of the gold answers, pooled over questions (sum of
nats / number of tokens; the end-of-turn token is not counted). Answers are
greedy and compared as SQuAD does (`sleepjax.evals.answers`).
"""

import dataclasses
import functools
from collections.abc import Sequence

import jax
import numpy as np

from sleepjax.data.documents import Question
from sleepjax.data.prompts import ChatPrompts
from sleepjax.errors import UserError
from sleepjax.evals import answers
from sleepjax.losses import from_hidden
from sleepjax.mesh.sharding import to_host
from sleepjax.model import Model
from sleepjax.models import layout, transformer
from sleepjax.models.config import ModelConfig
from sleepjax.models.transformer import Segment
from sleepjax.sampling import context, sampler
from sleepjax.sampling import rows as rows_lib


@dataclasses.dataclass(frozen=True)
class AnswerConfig:
  """How questions are put.

  prompt: the user's message, with {question}.
  max_new_tokens: budget of a greedy answer.
  batch_rows: questions scored at once.
  """

  prompt: str = '{question}'
  max_new_tokens: int = 24
  batch_rows: int = 8


def check_scorable(chat: ChatPrompts, questions: Sequence[Question],
                   where: str, settings: AnswerConfig, room: int) -> None:
  """Checks that every question can be asked, and every answer scored.

  Args:
    chat: of the model that is asked.
    questions: what it is asked.
    where: they come from, for the message.
    settings: how it is asked.
    room: tokens of its context that a text leaves.

  Raises:
    UserError: a question or answer has no token, or both do not fit; the
      message names it by its index.
  """
  for index, question in enumerate(questions):
    for name in ('question', 'answer'):
      text = getattr(question, name)
      if not chat.tokenizer.encode(text):
        raise UserError(
            f'{where}, item {index}: the {name} {text!r:.60} has no token in '
            "the model's vocabulary, so there is nothing to score: write "
            'another or leave the item out.')
    tokens = max(len(prompt) for prompt in (
        ids[0] for ids in (_prompt_ids(chat, settings, [question], True),
                           _prompt_ids(chat, settings, [question], False))))
    written = max(settings.max_new_tokens,
                  len(chat.tokenizer.encode(question.answer)))
    if tokens + written > room:
      raise UserError(
          f'{where}, item {index}: the question with its prompt has {tokens} '
          f'tokens and its answer up to {written}, and there is room for '
          f"{room} in the model's context: shorten it, or the text.")


@functools.partial(jax.jit, static_argnums=0)
def completion_log_probs(config: ModelConfig, params, rows, segments=()):
  """Log-probability [B, N] of every completion token; 0 where masked."""
  hidden = rows_lib.completion_hidden(config, params, rows, segments)
  log_probs = from_hidden.sequence_log_probs_from_hidden(
      hidden, transformer.unembedding(params), rows.completion,
      matmul=layout.unembedding_matmul(config))
  return jax.numpy.where(rows.completion_mask, log_probs, 0.0)


def _prompt_ids(chat, settings, questions, in_context):
  encode = chat.after_document if in_context else chat.closed_book
  return [encode(settings.prompt.format(question=q.question))
          for q in questions]


def batches(items, size):
  """(list of `size` items, how many are real) of all items, in their order.

  The last list is filled up by repeating its first.
  """
  for start in range(0, len(items), size):
    batch = list(items[start:start + size])
    yield batch + [batch[0]] * (size - len(batch)), len(batch)


def answer_nats(model: Model, questions: Sequence[Question],
                settings: AnswerConfig, segment: Segment | None = None
                ) -> tuple[np.ndarray, np.ndarray]:
  """Loss of every question's gold answer in nats, and its number of tokens.

  What all prompts begin with is read once: answers to one question cost little
  more than their own tokens.

  Args:
    model: in either layout.
    questions: with the answers that are scored; [n].
    settings: how they are put.
    segment: the text in context, from `ChatPrompts.document`; None asks closed
      book.

  Returns:
    [n] float64 and [n] int.
  """
  chat, config, params = model.chat, model.config, model.params
  prompts = _prompt_ids(chat, settings, questions, segment is not None)
  golds = [chat.tokenizer.encode(q.answer) for q in questions]
  segments = () if segment is None else (segment,)
  shared = rows_lib.worth_sharing(prompts)
  if shared:
    segments += (context.read_prefix(config, params, shared, segments),)
    prompts = [prompt[len(shared):] for prompt in prompts]
  longest = max(map(len, prompts))  # One token is left of one question's.
  P = rows_lib.bucket(longest, 8) if longest > 1 else 1
  N = rows_lib.bucket(max(map(len, golds)), 8)
  nats = []
  for batch, real in batches(list(zip(prompts, golds)), settings.batch_rows):
    rows = rows_lib.Rows(*rows_lib.pad_left([p for p, _ in batch], P),
                         *rows_lib.pad_right([g for _, g in batch], N))
    log_probs = to_host(completion_log_probs(config, params, rows, segments))
    nats.append(-log_probs.sum(1, dtype=np.float64)[:real])
  return np.concatenate(nats), np.array([len(gold) for gold in golds])


def answer_loss(model: Model, questions: Sequence[Question],
                settings: AnswerConfig, segment: Segment | None = None
                ) -> tuple[float, int]:
  """`answer_nats` of all questions together: nats, and of how many tokens."""
  nats, tokens = answer_nats(model, questions, settings, segment)
  return float(nats.sum()), int(tokens.sum())


def answer_nll(model: Model, questions: Sequence[Question],
               settings: AnswerConfig, segment: Segment | None = None
               ) -> float:
  """`answer_loss` in nats per token."""
  nats, tokens = answer_loss(model, questions, settings, segment)
  if not tokens:
    raise UserError('the answers have no token: there is nothing to score.')
  return nats / tokens


def greedy_answers(model: Model, questions: Sequence[Question],
                   settings: AnswerConfig, segment: Segment | None = None
                   ) -> list[str]:
  """The model's most likely answer to each question, as text."""
  prompts = _prompt_ids(
      model.chat, settings, questions, segment is not None)
  return greedy_texts(model, prompts, settings.max_new_tokens,
                      settings.batch_rows,
                      () if segment is None else (segment,))


def greedy_texts(model: Model, prompts: Sequence[Sequence[int]],
                 max_new_tokens: int, batch_rows: int,
                 segments: tuple[Segment, ...] = (), multiple: int = 32
                 ) -> list[str]:
  """How the model most likely continues each prompt.

  Args:
    model: in either layout.
    prompts: token ids.
    max_new_tokens: the most that are written.
    batch_rows: prompts continued at once.
    segments: what it has read before.
    multiple: prompts of up to so many tokens, or a multiple of it, share a
      program.
  """
  tokenizer = model.tokenizer
  P = rows_lib.bucket(max(map(len, prompts)), multiple)
  texts = []
  for batch, real in batches(prompts, batch_rows):
    rollout = sampler.jitted_sample(
        model.config, model.params, *rows_lib.pad_left(batch, P),
        jax.random.key(0),
        sampler.Until(max_new_tokens, tokenizer.stop_ids),
        method=sampler.Sampling(0.0), segments=segments)
    tokens, mask = map(to_host, (rollout.tokens, rollout.mask))
    texts += [tokenizer.decode(tokens[i][mask[i]].tolist()).strip()
              for i in range(real)]
  return texts


def answered_right(model: Model, questions: Sequence[Question],
                   settings: AnswerConfig, segment: Segment | None = None
                   ) -> list[bool]:
  """Which questions get exactly the gold answer, normalised, greedily."""
  texts = greedy_answers(model, questions, settings, segment)
  return [answers.exact_match(text, q.answer) == 1
          for text, q in zip(texts, questions, strict=True)]


def perplexity(config: ModelConfig, params, tokens: Sequence[int],
               window: int = 256, batch_rows: int = 8) -> float:
  """exp(mean nats per token) over a text in windows of `window` tokens.

  The first token of each window is only context; a last, shorter window is
  left out unless it is the only one.

  Raises:
    UserError: there are fewer than two tokens.
  """
  if len(tokens) < 2:
    raise UserError(
        f'a text of {len(tokens)} tokens has no perplexity: a token is '
        'predicted from those before it.')
  stride = min(window, len(tokens))
  windows = [tokens[i:i + stride]
             for i in range(0, len(tokens) - stride + 1, stride)]
  total, count = 0.0, 0
  at_once = min(batch_rows, rows_lib.halved(len(windows), batch_rows))
  for batch, real in batches(windows, at_once):
    rows = rows_lib.Rows(*rows_lib.pad_left([w[:1] for w in batch], 1),
                         *rows_lib.pad_right([w[1:] for w in batch],
                                             stride - 1))
    rows.completion_mask[real:] = False
    total += float(completion_log_probs(config, params, rows).sum())
    count += int(rows.completion_mask.sum())
  return float(np.exp(-total / count))
