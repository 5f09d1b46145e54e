"""Sampling dreams from the sleeping student, its document no longer in context.

The paper lets every router choose one more random expert while dreams are
sampled. There is no router here, and one slot is trained at a time: that part
is left out, and temperature alone makes dreams differ.
"""

import functools
from collections.abc import Sequence

import jax
import numpy as np

from sleepjax.dreaming.settings import DreamingConfig
from sleepjax.errors import UserError
from sleepjax.models import layout
from sleepjax.models.config import ModelConfig
from sleepjax.sampling import rows as rows_lib
from sleepjax.sampling import sampler
from sleepjax.sampling.rows import Rows


@functools.partial(
    jax.jit, static_argnums=0,
    static_argnames=('max_new_tokens', 'stop_ids', 'method'))
def _rollout(config, frozen, slot, index, prompt, mask, key, **how):
  student = layout.insert_slot(config, frozen, slot, index)
  return sampler.sample(config, student, prompt, mask, key, **how)


def dreamt_prompts(prompts: int, dreams: int) -> list[int]:
  """Which prompt every dream completes.

  Prompts are used in turn. If there are more than dreams, they are taken at
  even distances: prompts that follow a document then cover all of it.
  """
  if prompts > dreams:
    return [i * prompts // dreams for i in range(dreams)]
  return [i % prompts for i in range(dreams)]


def sample_dreams(config: ModelConfig, frozen, slot, index,
                  prompts: Sequence[Sequence[int]], settings: DreamingConfig,
                  stop_ids: tuple[int, ...], key) -> Rows:
  """m completions of the prompts, see `dreamt_prompts` for which.

  Args:
    config: the model's shape, in either layout.
    frozen: its parameters.
    slot: the trained slot.
    index: its place in the pool.
    prompts: closed-book prompts as token ids.
    settings: m, lengths and temperature.
    stop_ids: tokens that end a dream and are part of it.
    key: typed PRNG key.

  Returns:
    Rows of prompts [m, P] and dreams [m, N].

  Raises:
    UserError: no prompt, an empty one, or one that is too long.
  """
  if not prompts:
    raise UserError('dreaming needs at least one prompt.')
  for number, prompt in enumerate(prompts):
    if not 0 < len(prompt) <= settings.prompt_tokens:
      raise UserError(
          f'dream prompt {number} has {len(prompt)} tokens; expected between 1 '
          f'and prompt_tokens={settings.prompt_tokens}: shorten the prompt or '
          'raise prompt_tokens.')
  chosen = [prompts[i] for i in dreamt_prompts(len(prompts), settings.dreams)]
  prompt, mask = rows_lib.pad_left(chosen, settings.prompt_tokens)
  rollout = _rollout(
      config, frozen, slot, index, prompt, mask, key,
      max_new_tokens=settings.dream_tokens, stop_ids=tuple(stop_ids),
      method=sampler.Sampling(settings.temperature))
  return Rows(prompt, mask, rollout.tokens, rollout.mask)


def token_lists(dreams: Rows) -> list[list[int]]:
  """The dreams without padding, stop tokens included."""
  tokens, mask = (np.asarray(dreams.completion),
                  np.asarray(dreams.completion_mask))
  return [row[real].tolist() for row, real in zip(tokens, mask)]
