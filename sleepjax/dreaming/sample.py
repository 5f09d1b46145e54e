"""Sampling dreams from the sleeping student, its document no longer in context.

While it dreams, every router chooses one more random expert (arXiv 2606.03979,
section 3.4). Here an expert is a slot and there is a router only on request. In
every layer one of the open slots, or none, is drawn anew for each dream: with
top-k routing it is used besides the chosen ones; where all open slots are used
anyway, which is the default, it counts twice.
"""

import functools
from collections.abc import Sequence

import jax
import jax.numpy as jnp

from sleepjax.dreaming.settings import DreamingConfig
from sleepjax.errors import UserError
from sleepjax.growth.adapters import LowRank
from sleepjax.growth.learner import Learner
from sleepjax.mesh.sharding import to_host
from sleepjax.models import layout
from sleepjax.models.config import ModelConfig
from sleepjax.sampling import rows as rows_lib
from sleepjax.sampling import sampler
from sleepjax.sampling.rows import Rows


def open_slots(config: ModelConfig, params) -> jax.Array:
  """[L, N] bool: the open slots of the block's own MLP, in either layout."""
  if config.scan_layers:
    return params['layers']['slots']['open']
  return jnp.stack([params[f'layer_{i}']['slots']['open']
                    for i in range(config.num_layers)])


def random_experts(open_LxN, batch: int, key) -> jax.Array:
  """[L, B, N] bool: in every layer and row one open slot or none, evenly."""
  L, N = open_LxN.shape
  choices = jnp.concatenate([open_LxN, jnp.ones((L, 1), bool)], axis=-1)
  scores = jnp.where(choices[:, None], jnp.float32(0), -jnp.inf)
  drawn = jax.random.categorical(key, scores, shape=(L, batch))
  return jax.nn.one_hot(drawn, N + 1, dtype=jnp.bool_)[..., :N]


@functools.partial(jax.jit, static_argnames=(
    'part', 'random_expert', 'until'))
def _rollout(learner, generator, prompt, mask, key, *, part, until,
             random_expert, method):
  config, student = learner.config, learner.params
  if generator is not None:
    student = part.insert(config, student, generator)
  token_key, expert_key = jax.random.split(key)
  if random_expert:
    student = layout.with_extra_slots(config, student, random_experts(
        open_slots(config, student), len(prompt), expert_key))
  return sampler.sample(config, student, prompt, mask, token_key, until,
                        method=method)


def dreamt_prompts(prompts: int, dreams: int) -> list[int]:
  """Which prompt every dream completes.

  Prompts are used in turn. If there are more than dreams, they are taken at
  even distances: prompts that follow a document then cover all of it.
  """
  if prompts > dreams:
    return [i * prompts // dreams for i in range(dreams)]
  return [i % prompts for i in range(dreams)]


def sample_dreams(sleeper: Learner, prompts: Sequence[Sequence[Sequence[int]]],
                  settings: DreamingConfig, stop_ids: tuple[int, ...], key,
                  part: LowRank | None = None, generator=None) -> Rows:
  """m dreams about each of T memories, see `dreamt_prompts` for the prompts.

  Args:
    sleeper: who dreams.
    prompts: of each memory, closed-book prompts as token ids.
    settings: m, lengths, temperature, and whether experts are added.
    stop_ids: tokens that end a dream and are part of it.
    key: typed PRNG key.
    part, generator: the adapter that has learnt to dream, if there is one.

  Returns:
    Rows of prompts [T m, P] and dreams [T m, N], those of a memory together.

  Raises:
    UserError: no prompt, an empty one, or one that is too long.
  """
  chosen = []
  for number, of_memory in enumerate(prompts):
    if not of_memory:
      raise UserError(f'memory {number}: dreaming needs at least one prompt.')
    for prompt in of_memory:
      if not 0 < len(prompt) <= settings.prompt_tokens:
        raise UserError(
            f'memory {number}: a prompt has {len(prompt)} tokens; expected '
            f'between 1 and prompt_tokens={settings.prompt_tokens}: shorten '
            'the prompt or raise prompt_tokens.')
    chosen += [of_memory[i]
               for i in dreamt_prompts(len(of_memory), settings.dreams)]
  prompt, mask = rows_lib.pad_left(chosen, settings.prompt_tokens)
  rollout = _rollout(
      sleeper, generator, prompt, mask, key, part=part,
      until=sampler.Until(settings.dream_tokens, tuple(stop_ids)),
      random_expert=settings.random_expert,
      method=sampler.Sampling(settings.temperature))
  return Rows(prompt, mask, rollout.tokens, rollout.mask)


def token_lists(dreams: Rows) -> list[list[int]]:
  """The dreams without padding, stop tokens included."""
  tokens, mask = map(to_host, (dreams.completion, dreams.completion_mask))
  return [row[real].tolist() for row, real in zip(tokens, mask)]
