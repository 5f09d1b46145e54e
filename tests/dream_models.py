"""Models and rows that the tests of dreaming share."""


import jax
import jax.numpy as jnp
import numpy as np
import optax

from sleepjax.dreaming import loss
from sleepjax.dreaming.settings import DreamingConfig
from sleepjax.growth import slots
from sleepjax.growth.learner import Learner
from sleepjax.models import layout, transformer
from sleepjax.sampling import rows as rows_lib
from sleepjax.sampling.rows import Rows

SETTINGS = DreamingConfig(
    dreams=6, dream_tokens=5, prompt_tokens=8, top_k=2, random=2,
    random_expert=False, gradient_rows=2, inner_steps=3,
    inner_learning_rate=3e-3, outer_steps=3, outer_learning_rate=3e-3,
    generator_rank=2, generator_alpha=4.0, write_back_steps=3,
    write_back_learning_rate=3e-3, max_retention_divergence=1e9)
INDEX = 1
STOP = (0,)
VOCABULARY = 61
# Compiled once for all tests; run eagerly, they take most of the time.
sft_losses = jax.jit(loss.sft_losses)
held_in_loss = jax.jit(loss.held_in_loss)
logits = jax.jit(transformer.logits, static_argnums=0)


@jax.jit
def sft_gradient(learner, rows, weights):
  return jax.grad(lambda value: jnp.dot(weights, loss.sft_losses(
      learner.with_value(value), rows)))(learner.value)


def random_slot(config, seed):
  slot = slots.new_slot(config, jax.random.key(seed), config.slot_rank)
  shape = slot['down'].shape
  return {**slot,
          'down': 0.3 * jax.random.normal(jax.random.key(seed + 1), shape)}


def layouts_of(slotted):
  """{unroll: Learner}; slot 1, open in one layer."""
  return {unroll: Learner(
      *layout.for_compute(*slotted, 'float32', unroll), index=INDEX,
      value=random_slot(slotted[0], 5))
          for unroll in (False, True)}


def random_rows(seed, lengths, prompt_lengths=None, P=8, N=5) -> Rows:
  rng = np.random.default_rng(seed)
  draw = lambda n: rng.integers(1, VOCABULARY, n).tolist()
  prompt_lengths = prompt_lengths or [3 + i % 4 for i in range(len(lengths))]
  return Rows(*rows_lib.pad_left([draw(n) for n in prompt_lengths], P),
              *rows_lib.pad_right([draw(n) for n in lengths], N))


def row(rows, i) -> Rows:
  return Rows(*(part[i:i + 1] for part in rows))


def joined(*parts) -> Rows:
  return Rows(*(np.concatenate(pair) for pair in zip(*parts, strict=True)))


def stacked(*parts) -> Rows:
  return Rows(*(np.stack(pair) for pair in zip(*parts, strict=True)))


def assert_same(a, b):
  jax.tree.map(np.testing.assert_array_equal, a, b)


def log_softmax_by_hand(model, rows, i, slot=None):
  """(log p [N, V] of row i's completion, its tokens), from the plain text.

  The text starts at the first column and nothing is masked: what follows it
  cannot be read, and fills it up to one shape.
  """
  params = model.with_value(model.value if slot is None else slot).params
  prompt = rows.prompt[i][rows.prompt_mask[i]].tolist()
  completion = rows.completion[i][rows.completion_mask[i]].tolist()
  ids = np.asarray([(prompt + completion + [1] * 16)[:16]], np.int32)
  scores = np.asarray(logits(model.config, params, ids), np.float64)[0]
  log_p = scores - np.log(np.exp(scores).sum(-1, keepdims=True))
  return log_p[len(prompt) - 1:][:len(completion)], completion


def nll_by_hand(model, rows, i):
  log_p, completion = log_softmax_by_hand(model, rows, i)
  return [-log_p[n, token] for n, token in enumerate(completion)]


def adam_by_hand(gradient_of, value, steps, learning_rate):
  """`value` after updates, one after the other."""
  optimizer = optax.adam(learning_rate)
  state = optimizer.init(value)
  for _ in range(steps):
    updates, state = optimizer.update(gradient_of(value), state)
    value = optax.apply_updates(value, updates)
  return value
