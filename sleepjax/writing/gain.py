"""How much a text tells about each of its own characters, in nats.

  gain = log p(sentence | before, text in view) - log p(sentence | before)

A model that has the text in view can copy it, so the gain is large where the
text says what could not have been guessed: names and numbers that come for the
first time.
"""

from collections.abc import Sequence

import numpy as np

from sleepjax.evals.questions import completion_log_probs
from sleepjax.mesh.sharding import to_host
from sleepjax.sampling import context
from sleepjax.sampling import rows as rows_lib
from sleepjax.writing.dreamer import Dreamer, Segments


def log_probs(dreamer: Dreamer, prompts: Sequence[Sequence[int]],
              completions: Sequence[Sequence[int]],
              segments: Segments = ()) -> list[np.ndarray]:
  """Log-probability of every token of completions that follow prompts.

  Rows are scored `batch_rows` at a time; what all prompts begin with is read
  once.
  """
  if not prompts:
    return []
  shared = rows_lib.worth_sharing(prompts)
  if shared:
    segments = (*segments, context.read_prefix(
        dreamer.model.config, dreamer.model.params, shared, segments))
    prompts = [prompt[len(shared):] for prompt in prompts]
  P = rows_lib.prompt_bucket(prompts)
  N = rows_lib.bucket(max(map(len, completions)), 16)
  most = dreamer.settings.batch_rows
  size = min(most, rows_lib.halved(len(prompts), most))
  scored: list[np.ndarray] = []
  for start in range(0, len(prompts), size):
    real = min(size, len(prompts) - start)
    which = [start + i if i < real else start for i in range(size)]
    rows = rows_lib.Rows(*rows_lib.pad_left([prompts[i] for i in which], P),
                         *rows_lib.pad_right([completions[i] for i in which],
                                             N))
    values = to_host(completion_log_probs(
        dreamer.model.config, dreamer.model.params, rows, segments))
    scored += [values[i, :len(completions[which[i]])] for i in range(real)]
    dreamer.report(sum(len(prompts[i]) + len(completions[i])
                       for i in which[:real]))
  return scored


def information_gain(dreamer: Dreamer, sentences: Sequence[str], prompt: str,
                     segments: Segments) -> list[np.ndarray]:
  """Of every sentence, the gain [characters] of its characters.

  A token's gain is shared by its characters; a character of several tokens gets
  the sum of theirs.

  Args:
    dreamer: the old self.
    sentences: of one text, in order.
    prompt: the message to which the text is the reply.
    segments: the text in the dreamer's cache; () if it has it elsewhere.
  """
  chat = dreamer.chat
  before = ['', *sentences]
  texts = [f' {s}' if b else s for b, s in zip(before, sentences)]
  encoded = [chat.tokenizer.backend.encode(t, add_special_tokens=False)
             for t in texts]
  read = [chat.tokenizer.encode(b) for b in before[:-1]]
  scores = [
      log_probs(dreamer, [start + ids for ids in read],
                [e.ids for e in encoded], view)
      for start, view in ((chat.after_document(prompt), segments),
                          (chat.closed_book(prompt), ()))]
  gains = []
  for text, sentence, tokens, seen, alone in zip(
      texts, sentences, encoded, *scores, strict=True):
    gain = np.zeros(len(text))
    for (start, end), value in zip(
        tokens.offsets, seen - alone, strict=True):
      if end > start:
        gain[start:end] += value / (end - start)
    gains.append(gain[len(text) - len(sentence):])
  return gains
