"""A text read once, for every prompt about it."""

import functools
from collections.abc import Sequence

import jax

from sleepjax.data.prompts import ChatPrompts
from sleepjax.errors import UserError
from sleepjax.models import transformer
from sleepjax.models.config import ModelConfig
from sleepjax.models.transformer import Segment
from sleepjax.sampling import rows as rows_lib


@functools.partial(jax.jit, static_argnums=0)
def _read(config, params, ids, mask, segments=()):
  return transformer.hidden_states(config, params, ids, mask, segments)[1]


def read_prefix(config: ModelConfig, params, ids: Sequence[int],
                segments: tuple[Segment, ...] = ()) -> Segment:
  """Keys and values of tokens that many prompts begin with.

  Args:
    config, params: the model.
    ids: the tokens.
    segments: what it has read before.

  Returns:
    Segment with batch size 1, padded to a multiple of 64 tokens.
  """
  return _read(config, params, *rows_lib.pad_right(
      [ids], rows_lib.bucket(len(ids), 64)), segments)


def read_document(config: ModelConfig, params, chat: ChatPrompts,
                  text: str) -> Segment:
  """Keys and values of a text under the chat template's head.

  Returns:
    Segment with batch size 1, padded to a multiple of 128 tokens so that few
    programs are compiled.

  Raises:
    UserError: if the text does not fit into the model's context.
  """
  ids = chat.document(text)
  if len(ids) > config.max_context:
    raise UserError(
        f'the text has {len(ids)} tokens with its chat template, more than the '
        f"model's context of {config.max_context}: read it in chunks.")
  return _read(config, params,
               *rows_lib.pad_right([ids], rows_lib.bucket(len(ids), 128)))
