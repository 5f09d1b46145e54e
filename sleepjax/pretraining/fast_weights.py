"""Initial fast weights that learn well: read, update by Eq. 2, be asked.

A newborn level has zero output, and one step of gradient descent teaches it
little. Here its initial weights, and the rate of its step, are trained through
that step (Nested Learning's Eq. 73, arXiv 2512.24695; MAML, arXiv 1703.03400):
the fastest level reads a few windows of a stream, updates after each, and is
asked with an empty context for what was new and for what is long known. The
rest of the model stays as it is.
"""

import dataclasses
import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from sleepjax.data import world, world_beds
from sleepjax.data.tokenizer import Tokenizer
from sleepjax.errors import check_least
from sleepjax.losses import from_hidden
from sleepjax.memory import wake
from sleepjax.memory.questions import StreamPrompts
from sleepjax.memory.wake import WakeConfig
from sleepjax.models import layout, transformer
from sleepjax.models.config import ModelConfig
from sleepjax.sampling import rows as rows_lib
from sleepjax.sampling.rows import Rows

_PROMPT, _REPLY = 16, 2  # Tokens of a question and of its answer.
_TRAINED = 1_000_000  # Seeds of streams that are nobody's exam.


@dataclasses.dataclass(frozen=True)
class FastWeightsConfig:
  """How initial fast weights are trained.

  steps: updates of the initial weights.
  streams: in a batch.
  windows, window: that each reads, with a step after each, and tokens of one.
  facts: new ones in them.
  known: long-known facts that are asked as well, of each stream.
  rate: η of the level's own step to begin with.
  first_order: whether the step's own gradient counts as a constant, which is
    cheaper.
  learning_rate, warmup_steps: Adam of the initial weights, cosine to a tenth.
  """

  steps: int = 60
  streams: int = 8
  windows: int = 1
  window: int = 128
  facts: int = 4
  known: int = 4
  rate: float = 20.0
  first_order: bool = False
  learning_rate: float = 3e-3
  warmup_steps: int = 20

  def __post_init__(self):
    check_least(self, steps=1, streams=1, windows=1, facts=1, known=0,
                warmup_steps=1)
    if self.warmup_steps >= self.steps:
      raise ValueError(f'warmup_steps={self.warmup_steps} must be fewer than '
                       f'steps={self.steps}.')


class Episodes(NamedTuple):
  """What a batch of streams reads, and what each is asked.

  windows: [W, B, T] ids.
  rows: of every stream Q questions; leaves are [B, Q, ...].
  """

  windows: np.ndarray
  rows: Rows


def sample_episodes(tokenizer: Tokenizer, settings: FastWeightsConfig,
                    step: int) -> Episodes:
  """The streams of a step; none is that of a seed of `world_beds.stream` below
  a million.

  Questions are in every template of every form that asks for the value.
  """
  s, chat = settings, StreamPrompts(tokenizer)
  every, windows, prompts, replies = world.known_facts(), [], [], []
  for i in range(s.streams):
    seed = _TRAINED + step * s.streams + i
    rng = np.random.default_rng((seed, 7))
    stream = world_beds.stream(seed, s.windows, s.window, s.facts)
    windows.append([tokenizer.encode(text) for text in stream.windows])
    facts = [told.fact for told in stream.told]
    known = [every[j] for j in rng.integers(0, len(every), s.known)]
    for fact in [*facts, *known]:
      form = ('direct', 'paraphrase')[rng.integers(2)]
      question, = world.questions(
          [fact], form, world.WORDINGS[rng.integers(2)], int(rng.integers(2)))
      prompts.append(chat.closed_book(question.question))
      replies.append([*tokenizer.encode(question.answer),
                      tokenizer.stop_ids[0]])
  rows = Rows(*rows_lib.pad_left(prompts, _PROMPT),
              *rows_lib.pad_right(replies, _REPLY))
  return Episodes(
      np.asarray(windows, np.int32).transpose(1, 0, 2),
      Rows(*(part.reshape(s.streams, -1, part.shape[1]) for part in rows)))


def make_optimizer(settings: FastWeightsConfig) -> optax.GradientTransformation:
  """Adam of the initial weights and the rate."""
  return optax.chain(optax.clip_by_global_norm(1.0), optax.adam(
      optax.warmup_cosine_decay_schedule(
          0.0, settings.learning_rate, settings.warmup_steps, settings.steps,
          settings.learning_rate / 10), b2=0.98))


def init_value(config: ModelConfig, params, settings: FastWeightsConfig):
  """{'level': weights of the fastest level, 'log_rate'} to begin with.

  The level has zero output; `config` has one with `continuum.newborn_levels`.
  """
  level = params['layers'][transformer.level_name(config, 0)]
  return {'level': jax.tree.map(
      jnp.asarray, {k: level[k] for k in ('mlp', 'norm')}),
          'log_rate': jnp.log(jnp.float32(settings.rate))}


def _asked_loss(config, params, rows):
  """Of every question: nats of its answer [Q] with its stop token, and whether
  the answer's first token is the likeliest [Q]."""
  hidden = rows_lib.completion_hidden(config, params, rows)
  unembedding = transformer.unembedding(params)
  log_probs = from_hidden.sequence_log_probs_from_hidden(
      hidden, unembedding, rows.completion,
      matmul=layout.unembedding_matmul(config))
  right = (hidden[:, 0] @ unembedding).argmax(-1) == rows.completion[:, 0]
  return -jnp.where(rows.completion_mask, log_probs, 0).sum(-1), right


def learnt(config: ModelConfig, params, settings: FastWeightsConfig,
           awake: WakeConfig, value, windows):
  """The fastest level's weights after one stream's windows [W, T].

  The gradient is that of `wake.read_window`; the step is that of an awake level
  with 'sgd', η times its mean, clipped.
  """
  level, rate = value['level'], jnp.exp(value['log_rate'])
  empty = wake.init_wake(config, params, awake)
  previous = empty.previous
  for window in windows:
    state = empty._replace(
        weights=(level, *empty.weights[1:]), previous=previous,
        gradients=(jax.tree.map(jnp.zeros_like, level), *empty.gradients[1:]))
    state, _ = wake.read_window(config, params, awake, state, window)
    gradient = state.gradients[0]
    if settings.first_order:
      gradient = jax.lax.stop_gradient(gradient)
    mean = jax.tree.map(lambda g, n=state.counts[0]: g / n, gradient)
    step = rate * jnp.minimum(
        1.0, awake.clip_norm / (optax.tree.norm(mean) + 1e-12))
    level = jax.tree.map(lambda w, g, step=step: w - step * g, level, mean)
    previous = state.previous
  return level


@functools.partial(jax.jit, static_argnums=(0, 2, 3))
def asked(config: ModelConfig, params, settings: FastWeightsConfig,
          awake: WakeConfig, value, episodes):
  """What a level with these initial weights knows after reading.

  Args:
    config, params, settings, awake, value: as of `meta_step`.
    episodes: windows [W, B, T] and rows with leaves [B, Q, ...].

  Returns:
    (loss, {'loss', 'new', 'known': nats per question, 'new_right',
    'known_right': share of the answers whose first token is the likeliest}).
  """
  def one(windows, rows):
    level = learnt(config, params, settings, awake, value, windows)
    return _asked_loss(config, wake.merge_levels(
        config, params, [level, *[{}] * (config.num_levels - 1)]), rows)

  nats, right = jax.vmap(one, (1, 0))(*episodes)
  parts = {}
  for name, part in (('new', slice(settings.facts)),
                     ('known', slice(settings.facts, None))):
    count = max(nats[:, part].size, 1)  # Nothing long known need be asked.
    parts |= {name: nats[:, part].sum() / count,
              f'{name}_right': right[:, part].sum() / count}
  loss = parts['new'] + parts['known']
  return loss, {'loss': loss, **parts}


@functools.partial(jax.jit, static_argnums=(0, 2, 3))
def meta_step(config: ModelConfig, params, settings: FastWeightsConfig,
              awake: WakeConfig, value, opt_state, episodes):
  """One update of the initial weights.

  Args:
    config, params: a model with a newborn fastest level, canonical.
    settings: every choice.
    awake: chunks and rates of all levels; only the fastest may learn.
    value, opt_state: of `init_value` and its optimizer.
    episodes: windows [W, B, T] and rows with leaves [B, Q, ...].

  Returns:
    (value, opt_state, what `asked` measures, and the 'rate').
  """
  (_, parts), gradient = jax.value_and_grad(asked, argnums=4, has_aux=True)(
      config, params, settings, awake, value, episodes)
  change, opt_state = make_optimizer(settings).update(
      gradient, opt_state, value)
  return optax.apply_updates(value, change), opt_state, {
      **parts, 'rate': jnp.exp(value['log_rate'])}
