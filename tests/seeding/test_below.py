"""A slot in the upper layers alone: the same numbers from a shorter model."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sleepjax.growth import slots
from sleepjax.models import layout, transformer
from sleepjax.sampling import rows as rows_lib
from sleepjax.seeding import below, update
from tests.seeding import small_seeder
from tests.seeding.small_seeder import (
    COMPLETIONS,
    HEAD,
    INDEX,
    PROMPTS,
    SETTINGS,
)


@pytest.mark.slow
@pytest.mark.parametrize('unroll', [False, True])
@pytest.mark.parametrize('name, head', [
    ('every_part', None), ('every_part', HEAD), ('kinds', HEAD)])
def test_a_cut_model_is_the_whole_one(name, unroll, head, request):
  config, params = layout.for_compute(
      *request.getfixturevalue(name), matmul_dtype='float32', unroll=unroll)
  rows = rows_lib.rows_of(PROMPTS, COMPLETIONS)
  segments = () if head is None else (transformer.hidden_states(
      config, params, np.array([head]))[1],)
  want = rows_lib.completion_hidden(config, params, rows, segments)
  parts = below.cut(
      config, params, 1, None if head is None else np.array(head))
  upper = () if head is None else (transformer.hidden_states(
      *parts.upper, parts.shared_prefix[None])[1],)
  got = rows_lib.completion_hidden(
      *parts.upper, rows, upper, parts.states(rows))
  real = rows.completion_mask
  np.testing.assert_allclose(
      np.asarray(got)[real], np.asarray(want)[real], rtol=1e-5, atol=1e-5)
  np.testing.assert_allclose(  # Some at once, the last batch filled up.
      parts.all_states(rows), parts.states(rows), rtol=1e-5, atol=1e-5)


def test_layers_are_named_that_a_model_has_not(plain):
  with pytest.raises(ValueError, match='layers 1 to 3 of 2'):
    layout.layers_from(*plain, 1, 3)


@pytest.mark.parametrize('unroll, changes', [
    pytest.param(False, {'rows_at_once': 2}, marks=pytest.mark.slow),
    pytest.param(True, {}, marks=pytest.mark.slow),
    pytest.param(False, {'teacher': 'ema'}, marks=pytest.mark.slow),
    pytest.param(True, {'target': 'tokens', 'on_policy': 0.0},
                 marks=pytest.mark.slow)])
def test_updates_are_those_of_the_whole_model(slotted, unroll, changes):
  """Every term, rollouts and teacher; the slot is open in layer 1 alone."""
  config, frozen = layout.for_compute(
      *slotted, matmul_dtype='float32', unroll=unroll)
  settings = dataclasses.replace(SETTINGS, **changes)
  learnt, lines = {}, {}
  for first in (0, 1):
    lines[first] = []
    learnt[first] = small_seeder.seeder(config, frozen, settings, first).run(
        update.init_state(settings, slots.read_slot(
            *slotted, INDEX, first_layer=first)), jax.random.key(3),
        lambda step, line, tokens, own=lines[first]: own.append(
            {**line, 'tokens': tokens})).slot
  for whole, short in zip(lines[0], lines[1], strict=True):
    assert whole.keys() == short.keys()
    for name, value in whole.items():
      np.testing.assert_allclose(
          short[name], value, rtol=2e-3, atol=1e-5, err_msg=name)
  born = slots.read_slot(*slotted, INDEX)
  for name, leaf in learnt[0].items():
    np.testing.assert_array_equal(leaf[0], born[name][0])  # It did not learn.
    assert len(learnt[1][name]) == 1
    # Adam's first steps are signs of gradients: rounding may turn small ones.
    off = np.abs(np.asarray(learnt[1][name][0]) - np.asarray(leaf[1]))
    assert np.quantile(off, 0.99) < 1e-3


@pytest.mark.parametrize('unroll', [False, True])
def test_a_slot_of_fewer_layers_belongs_to_the_last(slotted, unroll):
  config, params = layout.for_compute(
      *slotted, matmul_dtype='float32', unroll=unroll)
  slot = jax.tree.map(lambda x: x + 1, slots.read_slot(
      *slotted, INDEX, first_layer=1))
  got = layout.insert_slot(config, params, slot, jnp.int32(INDEX))
  whole = jax.tree.map(
      lambda old, new: old.at[1:].set(new), slots.read_slot(*slotted, INDEX),
      slot)
  want = layout.insert_slot(config, params, whole, jnp.int32(INDEX))
  jax.tree.map(np.testing.assert_array_equal, got, want)
