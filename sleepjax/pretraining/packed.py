"""Rows that hold one context and many short turns about it."""

from typing import NamedTuple

import numpy as np

PADDING = -1


class PackedRows(NamedTuple):
  """Rows in which every turn sees the context and itself, and no other turn.

  So one context serves many questions, each at the position and in the form in
  which it is asked later.

  tokens: [B, T] int32.
  turn: [B, T] int32, 0 in the context, from 1 on in turns, −1 in padding.
  weight: [B, T] float32, of the loss of predicting the token. The first token
    of a turn is predicted by no token that it sees, so its weight is 0.
  """

  tokens: np.ndarray
  turn: np.ndarray
  weight: np.ndarray


def pack(context_BxC, turns_BxJxW, weight_BxJxW, *, empty: int, length: int,
         context_weight=0.0) -> PackedRows:
  """Closes the gaps in ragged contexts and turns.

  Args:
    context_BxC: token ids, or `empty` anywhere.
    turns_BxJxW: the same of J turns a row.
    weight_BxJxW: of the tokens of turns.
    empty: what is left out.
    length: T; what is beyond is cut off.
    context_weight: of the tokens of contexts, one number or [B, C].
  """
  B, J, W = turns_BxJxW.shape
  C = context_BxC.shape[1]
  tokens = np.concatenate([context_BxC, turns_BxJxW.reshape(B, -1)], 1)
  turn = np.repeat(np.arange(J + 1), [C] + [W] * J)[None]
  weight = np.concatenate([
      np.broadcast_to(context_weight, (B, C)), weight_BxJxW.reshape(B, -1)], 1)
  gap = tokens == empty
  order = gap.argsort(1, kind='stable')[:, :length]
  closed = lambda x, padding: np.take_along_axis(
      np.where(gap, padding, x), order, 1)
  return PackedRows(closed(tokens, 0).astype(np.int32),
                    closed(turn, PADDING).astype(np.int32),
                    closed(weight, 0.0).astype(np.float32))
