"""Which of some labels a model gives an utterance: constrained decoding.

The label with the greatest log-probability as a reply, a mean over its tokens.
*Calibrated*, each label's for an empty utterance is taken off first, what the
model would rather say whatever it is asked (Zhao et al. 2021, arXiv
2102.09690).
"""

import dataclasses
import functools
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

from sleepjax.evals.questions import batches, completion_log_probs
from sleepjax.mesh.sharding import to_host
from sleepjax.model import Model
from sleepjax.models import transformer
from sleepjax.models.config import ModelConfig
from sleepjax.models.transformer import Segment
from sleepjax.sampling import context
from sleepjax.sampling import rows as rows_lib


@dataclasses.dataclass(frozen=True)
class LabelChoice:
  """How utterances are put, and labels compared.

  prompt: the user's message, with {question} for the utterance.
  calibrated: whether what an empty utterance gets is taken off.
  batch_rows: rows read at once.
  """

  prompt: str = '{question}'
  calibrated: bool = False
  batch_rows: int = 64

  def scores(self, model: Model, utterances: Sequence[str],
             labels: Sequence[str], segment: Segment | None = None
             ) -> np.ndarray:
    """Score [n, L] of every label for every utterance, nats per token.

    Args:
      model: in either layout.
      utterances: [n].
      labels: [L].
      segment: labelled examples in view, from `ChatPrompts.document`; None asks
        closed book.
    """
    segments = () if segment is None else (segment,)
    asked = [*utterances, ''] if self.calibrated else list(utterances)
    prompts = self._prompts(model, asked, bool(segments))
    ids = [model.tokenizer.encode(label) for label in labels]
    read = _of_one_token if max(map(len, ids)) == 1 else _of_several_tokens
    scores = read(model, prompts, ids, self.batch_rows, segments)
    return scores[:-1] - scores[-1:] if self.calibrated else scores

  def features(self, model: Model, utterances: Sequence[str]) -> np.ndarray:
    """Final hidden state [n, D] at the end of every prompt, closed book."""
    return _last_hidden(model, self._prompts(model, utterances, False),
                        self.batch_rows, ())

  def _prompts(self, model, utterances, in_view):
    encode = model.chat.after_document if in_view else model.chat.closed_book
    return [encode(self.prompt.format(question=u)) for u in utterances]


def right(scores: np.ndarray, labels: Sequence[str], gold: Sequence[str]
          ) -> list[bool]:
  """Whether the gold label has the greatest score; [n, L] → [n]."""
  return [labels[i] == label
          for i, label in zip(scores.argmax(1), gold, strict=True)]


@functools.partial(jax.jit, static_argnums=0)
def _hidden_at_the_end(config: ModelConfig, params, ids, mask, segments):
  hidden, _ = transformer.hidden_states(config, params, ids, mask, segments)
  return hidden[:, -1]


@functools.partial(jax.jit, static_argnums=0)
def _next_log_probs(config: ModelConfig, params, hidden, ids_L):
  scores, axis = transformer.next_token_scores(config, params, hidden)
  log_probs = jax.nn.log_softmax(scores, axis)
  return jnp.take(log_probs if axis else log_probs.T, ids_L, axis=1)


def _last_hidden(model, prompts, batch_rows, segments):
  P = rows_lib.bucket(max(map(len, prompts)), 16)
  return np.concatenate([
      to_host(_hidden_at_the_end(
          model.config, model.params, *rows_lib.pad_left(batch, P), segments)
              )[:real] for batch, real in batches(prompts, batch_rows)])


def _of_one_token(model, prompts, labels, batch_rows, segments):
  """[n, L] from one reading of every prompt."""
  hidden = _last_hidden(model, prompts, batch_rows, segments)
  ids = np.array([label for label, in labels])
  return np.concatenate([
      to_host(_next_log_probs(
          model.config, model.params, np.stack(batch), ids))[:real]
      for batch, real in batches(list(hidden), batch_rows)])


def _of_several_tokens(model, prompts, labels, batch_rows, segments):
  """[n, L]: every prompt is read once, and after it every label."""
  N = rows_lib.bucket(max(map(len, labels)), 8)
  scores = np.zeros((len(prompts), len(labels)))
  for number, prompt in enumerate(prompts):
    read = (*segments, context.read_prefix(
        model.config, model.params, prompt[:-1], segments))
    found = []
    for batch, real in batches(labels, batch_rows):
      rows = rows_lib.Rows(
          *rows_lib.pad_left([prompt[-1:]] * len(batch), 1),
          *rows_lib.pad_right(batch, N))
      log_probs = to_host(completion_log_probs(
          model.config, model.params, rows, read))
      found.append(log_probs.sum(1, dtype=np.float64)[:real])
    scores[number] = np.concatenate(found) / [len(label) for label in labels]
  return scores
