"""Rows of a prompt and its completion, the one batch format of the project.

Prompts are padded on the left and completions on the right, so the hidden state
that predicts completion token n is column P - 1 + n for every row: prompt rows
are dropped before the unembedding by a static slice.
"""

from collections.abc import Sequence
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int32

from sleepjax.models import transformer
from sleepjax.models.arrays import AnyArray
from sleepjax.models.config import ModelConfig
from sleepjax.models.transformer import Segment

_WORTH_SHARING = 16  # Tokens.


Ids = Int32[np.ndarray, 'B T']
Mask = Bool[np.ndarray, 'B T']


class Rows(NamedTuple):
  """Prompts and completions as token ids, masks true where one is real."""

  prompt: Int32[AnyArray, 'B P']
  prompt_mask: Bool[AnyArray, 'B P']
  completion: Int32[AnyArray, 'B N']
  completion_mask: Bool[AnyArray, 'B N']


def pad_left(sequences: Sequence[Sequence[int]], length: int
             ) -> tuple[Ids, Mask]:
  """(ids [B, length] int32, mask), right-aligned.

  Raises:
    ValueError: if a sequence is longer than `length`.
  """
  return _pad(sequences, length, left=True)


def pad_right(sequences: Sequence[Sequence[int]], length: int
              ) -> tuple[Ids, Mask]:
  """(ids [B, length] int32, mask), left-aligned; too long is an error."""
  return _pad(sequences, length, left=False)


def _pad(sequences, length, left):
  ids = np.zeros((len(sequences), length), np.int32)
  mask = np.zeros((len(sequences), length), bool)
  for row, sequence in enumerate(sequences):
    n = len(sequence)
    if n > length:
      raise ValueError(f'sequence {row} has {n} tokens, more than the {length} '
                       'of its batch.')
    where = slice(length - n, length) if left else slice(0, n)
    ids[row, where] = sequence
    mask[row, where] = True
  return ids, mask


def bucket(length: int, multiple: int = 32) -> int:
  """`length` rounded up to a multiple, so that few shapes are compiled."""
  return max(multiple, -(-length // multiple) * multiple)


def halved(length: int, most: int) -> int:
  """`most`, halved as often as it still holds `length`: fewer sizes yet.

  Halves are rounded up; a length above `most` becomes a multiple of it.
  """
  size = bucket(length, most)
  while size > 1 and -(-size // 2) >= length:
    size = -(-size // 2)
  return size


def prompt_bucket(prompts: Sequence[Sequence[int]]) -> int:
  """A padded length for prompts: close to the longest, in few sizes."""
  longest = max(map(len, prompts))
  return bucket(
      longest, 16 if longest <= 64 else 32 if longest <= 128 else 64)


def shared_prefix(prompts: Sequence[Sequence[int]]) -> list[int]:
  """The tokens that all prompts begin with, short of any whole prompt.

  A model reads them once, as a segment of batch size 1, for all rows.
  """
  listed = [list(prompt) for prompt in prompts]
  first, last = min(listed), max(listed)
  longest = min(map(len, listed)) - 1
  different = (i for i, (a, b) in enumerate(zip(first, last)) if a != b)
  return first[:min(next(different, longest), longest)]


def worth_sharing(prompts: Sequence[Sequence[int]]) -> list[int]:
  """`shared_prefix`, or nothing if that is too short to be read apart."""
  shared = shared_prefix(prompts)
  return shared if len(shared) >= _WORTH_SHARING else []


def rows_of(prompts: Sequence[Sequence[int]],
            completions: Sequence[Sequence[int]]) -> Rows:
  """Rows padded to a few sizes."""
  return Rows(*pad_left(prompts, prompt_bucket(prompts)),
              *pad_right(completions, bucket(max(map(len, completions)), 16)))


def num_tokens(rows: Rows) -> int:
  """Tokens that are not padding, prompts included."""
  return int(rows.prompt_mask.sum() + rows.completion_mask.sum())


def whole(rows: Rows) -> tuple[Int32[Array, 'B S'], Bool[Array, 'B S']]:
  """Ids [B, P + N] of prompts with their completions, and their mask."""
  return (jnp.concatenate([rows.prompt, rows.completion], axis=1),
          jnp.concatenate([rows.prompt_mask, rows.completion_mask], axis=1))


def completion_hidden(config: ModelConfig, params, rows: Rows,
                      segments: tuple[Segment, ...] = (),
                      states: Float[Array, 'B S D'] | None = None
                      ) -> Float[Array, 'B N D']:
  """Hidden states [B, N, D] that predict the completion tokens.

  Args:
    config, params: the model.
    rows: prompts and completions.
    segments: what was read before.
    states: [B, P + N, D] of the rows, if the model begins above the embedding.
  """
  ids, mask = whole(rows)
  hidden, _ = transformer.hidden_states(
      config, params, ids if states is None else states, mask, segments)
  P, N = rows.prompt.shape[1], rows.completion.shape[1]
  return hidden[:, P - 1:P - 1 + N]
