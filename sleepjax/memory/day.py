"""What the old self has of a text until it sleeps on it.

In its context: keys and values, which every prompt about the text goes on from.
Or in fast MLP levels, written as it reads (Eq. 2 of arXiv 2606.03979): then its
context is empty, and it answers as it does closed book.
"""

import dataclasses
from collections.abc import Callable, Sequence

import jax.numpy as jnp
import numpy as np

from sleepjax.memory import clock, wake
from sleepjax.memory.wake import WakeConfig
from sleepjax.model import Model
from sleepjax.models.config import ModelConfig
from sleepjax.sampling import context
from sleepjax.writing.teacher import Teacher, WithoutDocument


@dataclasses.dataclass(frozen=True)
class LevelMemory:
  """How MLP levels take in a text.

  wake: their chunks and learning rates; slower ones may have a rate of 0.
  passes: how often the text is read, each time from an empty context.
  """

  wake: WakeConfig
  passes: int = 1

  def __post_init__(self):
    if self.passes < 1:
      raise ValueError(f'passes={self.passes} must be at least 1.')


def read(model: Model, ready: Model, text: str, level: LevelMemory | None,
         to_compute: Callable[[Model], Model]) -> Teacher:
  """A model that has read a text, into its context or into its levels.

  Args:
    model, ready: the same model, canonical and in compute layout.
    text: to be read.
    level: how levels take it in; None reads it into the context.
    to_compute: from the first layout into the second.
  """
  chat = model.chat
  if level is None:
    return Teacher(ready, (context.read_document(
        ready.config, ready.params, chat, text),))
  written = write_levels(model.config, model.params, chat.document(text), level)
  return Teacher(to_compute(model.with_params(model.config, written)), (),
                 WithoutDocument(model.tokenizer))


def write_levels(config: ModelConfig, params, tokens: Sequence[int],
                 level: LevelMemory):
  """Canonical parameters after reading tokens; see `LevelMemory`."""
  size = level.wake.chunks[0]
  windows = -(-len(tokens) // size)
  ids = np.zeros(windows * size, np.int32)
  ids[:len(tokens)] = tokens
  real = np.arange(windows * size) < len(tokens)
  state = wake.init_wake(config, params, level.wake)
  for _ in range(level.passes):
    # Nothing comes before its first token.
    state = state._replace(previous=jnp.int32(-1))
    for number in range(windows):
      window = slice(number * size, (number + 1) * size)
      state, metrics = wake.read_window(
          config, params, level.wake, state, ids[window], real[window])
      wake.check_read(config, params, state, metrics)
      read_so_far = (number + 1) * size
      for memory_level, _ in clock.due(read_so_far, level.wake.chunks):
        if memory_level:
          state = wake.updated(level.wake, state, memory_level - 1)
  for i, rate in enumerate(level.wake.learning_rates):
    if rate:  # What has not filled a chunk.
      state = wake.updated(level.wake, state, i)
  return wake.merge_levels(config, params, state.weights)
