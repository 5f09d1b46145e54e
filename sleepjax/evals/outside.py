"""What a model forgets of public tests, asked before and after it sleeps.

Scored as EleutherAI's lm-evaluation-harness does. With a choice of endings an
item is right where the right one has the greatest

  log p(ending | context) / number of characters of the ending

(its `acc_norm`), and beside it the greatest log p (`acc`; here `by_sum`).
LAMBADA is right where every token of the last word is the most likely one; its
perplexity is exp of the mean of −log p(word), over words. GSM8K is solved
greedily; right is a solution whose first number behind `#### ` is that of the
reference (`exact_match`, strict), and beside it one whose last number is
(flexible; here `last_number`). Numbers are compared as written, less $ and
commas.
"""

import functools
import re
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from sleepjax.data.benchmarks import Item
from sleepjax.data.tokenizer import Tokenizer
from sleepjax.errors import UserError
from sleepjax.evals import paired
from sleepjax.evals import questions as questions_lib
from sleepjax.losses import divergences
from sleepjax.mesh.sharding import to_host
from sleepjax.model import Model
from sleepjax.models import layout, transformer
from sleepjax.sampling import context as context_lib
from sleepjax.sampling import rows as rows_lib

SOLUTION_TOKENS = 256  # The longest of GSM8K that is read.
_STATED = re.compile(r'#### (-?[\d.,]+)')
_NUMBER = re.compile(r'-?[$\d.,]{2,}|-?\d+')

Row = dict[str, Any]


def check(name: str, items: Sequence[Item], tokenizer: Tokenizer,
          max_context: int) -> None:
  """Checks that a model can be asked all items, before its first slow step.

  Raises:
    UserError: an ending has no token in its vocabulary, or problems with those
      solved before them do not fit into its context.
  """
  for number, item in enumerate(items):
    tokens = [_tokens(tokenizer, item.context, ending)
              for ending in item.endings]
    for ending, ids in zip(item.endings, tokens):
      if not all(ids):
        text = ending if ids[0] else item.context
        raise UserError(
            f'{name}, item {number}: {text!r:.60} has no token in the '
            "model's vocabulary, so there is nothing to score: leave this test "
            'out of exam.outside.')
    longest = (len(tokens[0][0]) + SOLUTION_TOKENS if name == 'gsm8k'
               else max(len(reply) for _, reply in tokens) + 1)
    if longest > max_context:
      raise UserError(
          f'{name}, item {number}: it takes {longest} tokens, more than the '
          f"model's context of {max_context}: leave this test out of "
          'exam.outside.')


def score(model: Model, name: str, items: Sequence[Item], batch_rows: int = 8
          ) -> list[Row]:
  """A row for each item of a test, in JSON types.

  Args:
    model: in compute layout.
    name: of the test.
    items: its items.
    batch_rows: items, or endings of one, that are scored at once.

  Returns:
    `right`, and `by_sum` with a choice, `nats` of LAMBADA's word, `last_number`
    and the `answer` of GSM8K.
  """
  kind = {'lambada': _last_words, 'gsm8k': _solutions}.get(name, _choices)
  return kind(model, items, batch_rows)


def compare(before: Mapping[str, Sequence[Row]],
            after: Mapping[str, Sequence[Row]]) -> dict[str, Any]:
  """The report's flat entries, from `score` of each test before and after.

  Returns:
    of each test, behind `outside_NAME_`: questions; before and after, shares of
    right ones; gained, lost and p of McNemar's test; by_sum, perplexity and
    last_number, each with _before and _after.

  Raises:
    ValueError: the two are not of the same number of items.
  """
  report = {}
  for name, first in before.items():
    last = after[name]
    changed = paired.mcnemar([row['right'] for row in first],
                             [row['right'] for row in last])
    entries = {'questions': len(first), **changed}
    for when, rows in (('before', first), ('after', last)):
      mean = lambda key, rows=rows: float(np.mean([row[key] for row in rows]))
      entries[when] = mean('right')
      entries |= {f'{key}_{when}': mean(key)
                  for key in ('by_sum', 'last_number') if key in rows[0]}
      if 'nats' in rows[0]:
        entries[f'perplexity_{when}'] = float(np.exp(mean('nats')))
    report |= {f'outside_{name}_{key}': value
               for key, value in entries.items()}
  return report


def _tokens(tokenizer, context, ending, most=None):
  """(ids of the context, ids that follow), split as the harness does.

  Both are encoded together, so that a token may not reach over the boundary
  unless it belongs to the context. At most the last `most` are left.
  """
  whole = tokenizer.encode_stream(context + ending)
  start = len(tokenizer.encode_stream(context))
  first = 0 if most is None else max(0, len(whole) - most)
  return whole[first:start], whole[start:]


def _choices(model, items, batch_rows):
  """The endings of an item side by side: what comes before is read once."""
  rows = []
  for item in items:
    prompts, replies = zip(*(
        _tokens(model.tokenizer, item.context, ending,
                model.config.max_context) for ending in item.endings))
    nats = _reply_nats(model, prompts, replies, batch_rows)
    # White space parts it from the context and is no part of it.
    sizes = [len(ending) - 1 for ending in item.endings]
    rows.append({'right': int(np.argmin(nats / sizes)) == item.gold,
                 'by_sum': int(np.argmin(nats)) == item.gold})
  return rows


def _read_once(model, prompts):
  """(what all prompts begin with as read segments, the rest of each)."""
  shared = rows_lib.worth_sharing(prompts)
  if not shared:
    return (), prompts
  segment = context_lib.read_prefix(model.config, model.params, shared)
  return (segment,), [prompt[len(shared):] for prompt in prompts]


def _reply_nats(model, prompts, replies, batch_rows):
  """Loss [n] of each reply to its prompt."""
  segments, prompts = _read_once(model, prompts)
  P = rows_lib.bucket(max(map(len, prompts)), 8)
  N = rows_lib.bucket(max(map(len, replies)))
  nats = []
  for batch, real in questions_lib.batches(
      list(zip(prompts, replies)), min(batch_rows, len(prompts))):
    rows = rows_lib.Rows(*rows_lib.pad_left([p for p, _ in batch], P),
                         *rows_lib.pad_right([r for _, r in batch], N))
    log_probs = to_host(questions_lib.completion_log_probs(
        model.config, model.params, rows, segments))
    nats.append(-log_probs.sum(1, dtype=np.float64)[:real])
  return np.concatenate(nats)


@functools.partial(jax.jit, static_argnums=0)
def _greedy_scores(config, params, rows):
  """(log p [B] of the completion, whether each token is the likeliest [B])."""
  hidden = rows_lib.completion_hidden(config, params, rows)
  log_p_BxNxV = divergences.log_softmax(layout.unembedding_matmul(config)(
      hidden, transformer.unembedding(params)))
  log_p = jnp.take_along_axis(
      log_p_BxNxV, rows.completion[..., None], -1)[..., 0]
  likeliest = log_p >= log_p_BxNxV.max(-1)
  return (jnp.where(rows.completion_mask, log_p, 0).sum(1),
          (likeliest | ~rows.completion_mask).all(1))


def _last_words(model, items, batch_rows):
  tokens = [_tokens(model.tokenizer, item.context, item.endings[0],
                    model.config.max_context) for item in items]
  # Those of about one length together: less padding.
  order = sorted(range(len(items)), key=lambda i: len(tokens[i][0]))
  rows = [None] * len(items)
  for batch, real in questions_lib.batches(order, batch_rows):
    prompts, words = zip(*(tokens[i] for i in batch))
    scores, greedy = map(to_host, _greedy_scores(
        model.config, model.params, rows_lib.Rows(
            *rows_lib.pad_left(prompts, rows_lib.bucket(max(map(
                len, prompts)))),
            *rows_lib.pad_right(words, rows_lib.bucket(max(map(
                len, words)), 8)))))
    for place, i in list(enumerate(batch))[:real]:
      rows[i] = {'right': bool(greedy[place]), 'nats': -float(scores[place])}
  return rows


def _solutions(model, items, batch_rows):
  segments, prompts = _read_once(model, [
      model.tokenizer.encode_stream(item.context) for item in items])
  texts = questions_lib.greedy_texts(
      model, prompts, SOLUTION_TOKENS, batch_rows, segments)
  rows = []
  for item, text in zip(items, texts):
    gold = stated(item.endings[0])
    answer = text.partition('Question:')[0].strip()  # The next one is its own.
    rows.append({'right': stated(answer) == gold,
                 'last_number': last_number(answer) == gold,
                 'answer': answer})
  return rows


def stated(solution: str) -> str | None:
  """The number behind the first `#### `, without $ and commas; None if none."""
  found = _STATED.search(solution)
  return _bare(found[1]) if found else None


def last_number(solution: str) -> str | None:
  """The last number of a text, without $ and commas; None if there is none."""
  found = _NUMBER.findall(solution)
  return _bare(found[-1]) if found else None


def _bare(number):
  return number.replace(',', '').replace('$', '').removesuffix('.')
