"""A text in the context, or in fast levels."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sleepjax.data import world
from sleepjax.data.prompts import ChatPrompts
from sleepjax.memory import continuum, day, wake
from sleepjax.memory.wake import WakeConfig
from sleepjax.model import Model, load_pretrained
from sleepjax.models import transformer

DAY = world.day(3_000_000, 0)
LEVEL = day.LevelMemory(
    WakeConfig(chunks=(32, 32, 32), learning_rates=(0.03, 0.0),
               optimizer='adamw'), passes=3)


@pytest.fixture(scope='module')
def tiny():
  model = load_pretrained('tiny-world')
  config, params = continuum.newborn_levels(
      model.config, model.params, (24,), jax.random.key(0))
  return config, params, ChatPrompts(model.tokenizer), model


def loss(config, params, tokens):
  ids = np.asarray(tokens)[None]
  hidden, _ = transformer.hidden_states(config, params, ids)
  log_probs = jax.nn.log_softmax(
      hidden[0, :-1] @ transformer.unembedding(params))
  return -float(log_probs[jnp.arange(len(tokens) - 1), ids[0, 1:]].mean())


def test_newborn_levels_change_nothing(tiny):
  config, params, chat, model = tiny
  tokens = np.asarray(chat.document(DAY.text))[None]
  np.testing.assert_allclose(
      transformer.hidden_states(config, params, tokens)[0],
      transformer.hidden_states(model.config, model.params, tokens)[0],
      atol=1e-5)


def test_a_level_takes_in_what_it_reads_and_nothing_else_moves(tiny):
  config, params, chat, _ = tiny
  tokens = chat.document(DAY.text)
  written = day.write_levels(config, params, tokens, LEVEL)
  assert loss(config, written, tokens) < loss(config, params, tokens) - 0.3
  for path, old in jax.tree_util.tree_flatten_with_path(params)[0]:
    new = functools.reduce(lambda tree, key: tree[key.key], path, written)
    fast = 'level_0' in jax.tree_util.keystr(path)
    assert fast or np.array_equal(old, new), path


def test_one_pass_is_the_levels_own_updates(tiny):
  """The loop gives what reading by hand does, the last stretch included."""
  config, params, chat, _ = tiny
  tokens = np.asarray(chat.document(DAY.text), np.int32)
  once = day.LevelMemory(LEVEL.wake)
  state = wake.init_wake(config, params, LEVEL.wake)
  for start in range(0, len(tokens), 32):
    window = tokens[start:start + 32]
    padded = np.zeros(32, np.int32)
    padded[:len(window)] = window
    state, _ = wake.read_window(
        config, params, LEVEL.wake, state, padded,
        np.arange(32) < len(window))
    state = wake.updated(LEVEL.wake, state, 0)
  want = wake.merge_levels(config, params, state.weights)
  have = day.write_levels(config, params, tokens, once)
  jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-6),
               have, want)


def test_prompts_about_what_is_in_a_level_have_no_document(tiny):
  config, params, chat, bundled = tiny
  model = bundled.with_params(config, params)
  models, to_compute = (model, model.for_compute()), Model.for_compute
  reading = day.read(*models, DAY.text, LEVEL, to_compute)
  assert reading.segments == ()
  assert reading.chat.after_document('Who?') == chat.closed_book('Who?')
  context = day.read(*models, DAY.text, None, to_compute)
  assert context.chat == chat and len(context.segments) == 1


def test_no_passes_are_refused():
  with pytest.raises(ValueError, match='passes=0'):
    day.LevelMemory(LEVEL.wake, passes=0)
