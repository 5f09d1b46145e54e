"""A sender continues stretches of what it has seen."""

import dataclasses
from collections.abc import Sequence

import jax
import numpy as np

from sleepjax.errors import check_least
from sleepjax.memory.material import Holder, Material
from sleepjax.mesh.sharding import to_host
from sleepjax.models.config import ModelConfig
from sleepjax.models.transformer import Segment
from sleepjax.sampling import sampler
from sleepjax.seeding.examples import Examples, score_examples

_SAMPLED_ROWS = 16
_HELD_OUT = 4  # Of the places of a stretch, at most one of so many.


@dataclasses.dataclass(frozen=True)
class StretchConfig:
  """Which stretches of a stream are continued, and how far.

  The paper does not say what the dreams' prompts are.

  dreams: how many the teacher writes.
  held_out: how many more, which begin where no dream does: the divergence
    before and after a hand-over is taken on them; 0 takes none.
  prompt_tokens: length of a stretch.
  dream_tokens: length of what follows it.
  temperature: at which the teacher writes.
  """

  dreams: int = 32
  held_out: int = 8
  prompt_tokens: int = 16
  dream_tokens: int = 32
  temperature: float = 1.0

  def __post_init__(self):
    check_least(self, dreams=1, prompt_tokens=1, dream_tokens=1, held_out=0)


@dataclasses.dataclass(frozen=True)
class Stretches:
  """Asks a sender to go on from stretches of what it has seen.

  settings: which.
  rehearsal: prompts, token ids of one length, that contain a text of their own;
    the model shall go on using it.
  retention: prompts of one length without one, about what it knows.
  """

  settings: StretchConfig = StretchConfig()
  rehearsal: Sequence[Sequence[int]] = ()
  retention: Sequence[Sequence[int]] = ()

  def write(self, holder: Holder, key) -> Material:
    """Continuations by the teacher; see `material.Asking`.

    Raises:
      ValueError: the sender has seen less than one stretch.
    """
    s = self.settings
    prompt_key, sample_key = jax.random.split(key)
    write = lambda prompts, i, segments=(): continuations(
        holder.config, holder.teacher, prompts, s,
        jax.random.fold_in(sample_key, i), segments) if len(prompts) else None
    learnt, unseen = places(len(holder.tokens), s, prompt_key)
    tokens = np.asarray(holder.tokens, np.int32)
    stretch = lambda starts: tokens[
        starts[:, None] + np.arange(s.prompt_tokens)]
    examples = write(stretch(learnt), 0, holder.segments)
    assert examples is not None  # There is a dream at least.
    return Material(
        examples, write(stretch(unseen), 1, holder.segments),
        write(self.rehearsal, 2), write(self.retention, 3))

  def recite(self, holder: Holder, key) -> Material:
    """The same, with nothing else to be left alone."""
    return dataclasses.replace(self, rehearsal=(), retention=()).write(
        holder, key)


def places(number: int, settings: StretchConfig, key
           ) -> tuple[np.ndarray, np.ndarray]:
  """Where stretches begin: those that are learnt, and those held out.

  No place is both. A stream too short for more than one has none held out.

  Args:
    number: of tokens seen.
    settings: how many, and how long.
    key: typed PRNG key.

  Raises:
    ValueError: the stream is shorter than one of them.
  """
  length = settings.prompt_tokens
  if number < length:
    raise ValueError(
        f'{number} tokens hold no stretch of prompt_tokens={length}: '
        'choose shorter prompts or larger chunks.')
  order_key, learnt_key = jax.random.split(key)
  order = np.asarray(jax.random.permutation(order_key, number - length + 1))
  held = min(settings.held_out, -(-len(order) // _HELD_OUT), len(order) - 1)
  learnt = jax.random.randint(
      learnt_key, (settings.dreams,), held, len(order))
  return order[np.asarray(learnt)], order[:held]


def continuations(config: ModelConfig, teacher,
                  prompts: Sequence[Sequence[int]],
                  settings: StretchConfig, key,
                  segments: tuple[Segment, ...] = ()) -> Examples:
  """What the teacher writes after each of some prompts, scored by itself.

  Args:
    config, teacher: who writes.
    prompts: token ids, all of one length.
    settings: length and temperature of what is written.
    key: typed PRNG key.
    segments: what the teacher alone has in its cache.
  """
  prompts = np.asarray(prompts, np.int32)
  method = sampler.Sampling(temperature=settings.temperature)
  completions = []
  for start in range(0, len(prompts), _SAMPLED_ROWS):
    rows = np.minimum(
        np.arange(start, start + _SAMPLED_ROWS), len(prompts) - 1)
    rollout = sampler.jitted_sample(
        config, teacher, prompts[rows], np.ones_like(prompts[rows], bool),
        jax.random.fold_in(key, start), sampler.Until(settings.dream_tokens),
        method=method, segments=segments)
    written, mask = map(to_host, (rollout.tokens, rollout.mask))
    completions += [w[m] for w, m in zip(written, mask, strict=True)]
  prompts = prompts.tolist()
  return score_examples(
      config, teacher, prompts, prompts, completions[:len(prompts)],
      settings.dream_tokens, segments)
