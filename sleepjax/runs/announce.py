"""What a run will cost, said before it begins and again once it is known."""

import os
import time
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp

from sleepjax.data.documents import Document
from sleepjax.lifecycle.config import SleepConfig
from sleepjax.models import transformer
from sleepjax.models.config import ModelConfig
from sleepjax.roofline import flops

_PRODUCTS = 8  # Of which the fastest counts.
_LISTED = 20  # Texts.
_NAME = 40  # Characters of a text without a title.


def seconds_of_a_sleep(config: ModelConfig, settings: SleepConfig) -> float:
  """Seconds that a sleep takes at the very least on this machine.

  Model FLOPs of seeding, on prompts of half the allowed length, at the speed of
  bare products of the model's shape: neither writing, dreaming nor compiling
  count, nor layers below the first that learns, nor updates beyond `steps`.
  """
  s, d = settings.seeding, settings.dreams
  rows = s.rows + s.retention_rows * bool(s.retention) + (
      s.rehearsal_rows * bool(s.rehearsal) // s.rehearsal_every)
  tokens = rows * (d.prompt_tokens // 2 + d.completion_tokens)
  learning = config.of_layers(
      settings.adapter.first_layer(config.num_layers), config.num_layers)
  forward = sum(product.flops for product in flops.forward_products(
      learning, tokens, tokens))
  # The gradient goes back through those layers, and into none of their weights.
  return s.steps * 2 * forward / _flops_a_second(config)


def _flops_a_second(config):
  shape = 512, config.embed_dim, config.mlp_dim
  a, b = jnp.ones(shape[:2]), jnp.ones(shape[1:])
  product = jax.jit(jnp.dot)
  product(a, b).block_until_ready()
  seconds = []
  for _ in range(_PRODUCTS):
    start = time.perf_counter()
    product(a, b).block_until_ready()
    seconds.append(time.perf_counter() - start)
  rows, inner, outer = shape
  return 2 * rows * inner * outer / min(seconds)


def parameter_bytes(config: ModelConfig, rank: int, slots: int
                    ) -> tuple[int, int]:
  """Bytes of float32 parameters, now and with so many slots more."""
  size = lambda c: sum(
      leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(
          transformer.abstract_params(c)))
  grown = transformer.with_slots(config, config.slots_of(
      config.num_levels - 1) + slots, rank) if slots else config
  return size(config), size(grown)


def announcement(what: str, sleeps: int, config: ModelConfig,
                 settings: SleepConfig, together: int | None = None) -> str:
  """How many sleeps there will be, and their least minutes and memory.

  Args:
    what: is slept on.
    sleeps: in all.
    config: the model before them.
    settings: of each.
    together: how many of them one model goes through; None for all.
  """
  slots = settings.adapter.slots_in(
      sleeps if together is None else together, config.num_slots)
  now, then = parameter_bytes(config, settings.slot_rank, slots)
  least = sleeps * seconds_of_a_sleep(config, settings)
  text = (f'{what}: {sleeps} {"sleep" if sleeps == 1 else "sleeps"}, at least '
          f'{duration(least)} (learning alone, at the speed of bare products: '
          'writing, asking and compiling come on top, and the first sleep will '
          f'tell); parameters {_size(now)}, {_size(then)} in the end, held up '
          'to twice and beside what a step needs')
  memory = os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES')
  if jax.default_backend() == 'cpu' and 2 * then > memory:
    text += ('\n  more than this machine may have: its memory is '
             f'{memory / 2**30:.1f} GiB. A larger sleep.context_tokens takes '
             'fewer sleeps.')
  return text


def _size(number):
  unit, name = (2**30, 'GiB') if number > 2**26 else (2**20, 'MiB')
  return f'{number / unit:.2f} {name}'


def announcement_of_texts(texts: Sequence[Document], sleeps: Sequence[int],
                          config: ModelConfig, settings: SleepConfig
                          ) -> list[str]:
  """Lines of the sleeps that each text will take, and of all of them.

  Args:
    texts: that are slept on; of many the first ones have a line.
    sleeps: of each.
    config: the model before them.
    settings: of each sleep.
  """
  count = lambda number, what: f'{number} {what}{"" if number == 1 else "s"}'
  name = lambda text: text.title or ' '.join(text.text[:_NAME].split())
  lines = [f'  {name(text)!r}: {count(len(text.text.split()), "word")}, '
           f'{count(number, "sleep")}'
           for text, number in zip(texts, sleeps, strict=True)]
  if len(lines) > _LISTED:
    lines = [*lines[:_LISTED], f'  and {len(lines) - _LISTED} more']
  return [*lines, announcement(
      count(len(texts), 'text'), sum(sleeps), config, settings)]


class Remaining:
  """Says after each of several sleeps how long the rest will take.

  The first one also compiles, so it counts no more once there is another.
  """

  def __init__(self, number: int, done: int = 0, what: str = 'sleep',
               tell: Callable[[str], None] | None = None):
    """Says of what.

    Args:
      number: of all of them.
      done: how many an earlier run has finished.
      what: how one is called.
      tell: gets the lines; None keeps silent.
    """
    self._left, self._number, self._what = number - done, number, what
    self._tell = tell
    self._seconds, self._start = [], time.monotonic()

  def done(self, counts: bool = True) -> None:
    """Called at the end of each; one that was done before counts for none."""
    now = time.monotonic()
    self._left -= 1
    if counts:
      self._seconds.append(now - self._start)
      later = self._seconds[1:] or self._seconds
      if self._left and self._tell:
        self._tell(
            f'{self._what} {self._number - self._left} of {self._number} took '
            f'{duration(self._seconds[-1])}; about '
            f'{duration(self._left * sum(later) / len(later))} to go')
    self._start = now


def duration(seconds: float) -> str:
  """Seconds as people say them.

  >>> duration(90), duration(7300), duration(200_000)
  ('2 minutes', '2.0 hours', '2.3 days')
  """
  for name, unit, most in (('seconds', 1, 60), ('minutes', 60, 5400),
                           ('hours', 3600, 129_600)):
    if seconds < most:
      if name == 'hours':
        return f'{seconds / unit:.1f} hours'
      amount = max(1, round(seconds / unit))
      return f'{amount} {name}' if amount > 1 else f'1 {name[:-1]}'
  return f'{seconds / 86_400:.1f} days'
