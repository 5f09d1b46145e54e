"""What a sleep may change, in both layouts; elastic weight consolidation."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sleepjax.errors import UserError
from sleepjax.growth import slots
from sleepjax.growth.adapters import (
    AllLayers,
    LowRank,
    Slot,
    StaticSlot,
    check_growth,
)
from sleepjax.growth.slot_operators import AppendSlot, OpenSlot
from sleepjax.models import layout, transformer
from sleepjax.sampling import rows as rows_lib
from sleepjax.sampling.rows import Rows
from sleepjax.seeding import ewc, objective, update
from sleepjax.seeding.objective import Batch
from sleepjax.seeding.settings import SeedingConfig

IDS = np.array([[3, 9, 27, 20, 60, 1, 2]])
PARTS = [LowRank(3, 6.0), LowRank(2, 2.0, ('v', 'gate')), AllLayers(),
         AllLayers(('k', 'up', 'down'))]

logits = jax.jit(transformer.logits, static_argnums=0)


def filled(tree, seed=0, scale=0.3):
  rng = np.random.default_rng(seed)
  return jax.tree.map(lambda leaf: jnp.asarray(
      scale * rng.normal(size=leaf.shape), jnp.float32), tree)


@pytest.fixture(params=[
    'plain', 'every_part', pytest.param('levels', marks=pytest.mark.slow)])
def model(request):
  return request.getfixturevalue(request.param)


@pytest.mark.parametrize('part', PARTS, ids=repr)
def test_a_newborn_part_changes_nothing(plain, part):
  config, params = plain
  tree = part.init(config, jax.random.key(0))
  np.testing.assert_array_equal(
      logits(config, part.insert(config, params, tree), IDS),
      logits(config, params, IDS))


@pytest.mark.parametrize('part', PARTS, ids=repr)
def test_layouts_agree(model, part):
  config, params = model
  tree = filled(part.init(config, jax.random.key(0)))
  expected = logits(config, part.insert(config, params, tree), IDS)
  assert np.abs(expected - logits(config, params, IDS)).max() > 0.1
  for unroll in (False, True):
    compute, frozen = layout.for_compute(config, params, 'float32', unroll)
    np.testing.assert_allclose(
        logits(compute, part.insert(compute, frozen, tree), IDS), expected,
        atol=2e-5)


@pytest.mark.parametrize('part', PARTS, ids=repr)
@pytest.mark.parametrize('unroll', [False, True])
def test_the_least_delta_trains_the_model_that_is_saved(plain, part, unroll):
  """In bfloat16, too: on a rounded matrix it would be lost."""
  config, params = plain
  tree = filled(part.init(config, jax.random.key(0)), scale=1e-3)
  saved = part.insert(config, params, tree)
  compute, frozen = layout.for_compute(
      config, params, 'bfloat16', unroll, 'float32')
  got = logits(compute, part.insert(compute, frozen, tree), IDS)
  rounded = layout.for_compute(config, params, 'bfloat16', unroll)
  np.testing.assert_array_equal(
      logits(compute, frozen, IDS), logits(*rounded, IDS))
  want = logits(*layout.for_compute(config, saved, 'bfloat16', unroll), IDS)
  np.testing.assert_array_equal(got, want)
  assert np.any(want != logits(compute, frozen, IDS))
  assert np.any(want != logits(
      rounded[0], part.insert(*rounded, tree), IDS))


def test_low_rank_is_the_scaled_product(plain):
  config, params = plain
  part = LowRank(3, 6.0, ('o', 'down'))
  tree = filled(part.init(config, jax.random.key(0)))
  new = part.insert(config, params, tree)['layers']
  for layer in range(config.num_layers):
    a, b = (np.asarray(tree['o'][n][layer], np.float64) for n in 'ab')
    want = np.asarray(params['layers']['attn']['o'][layer]) + 2 * np.einsum(
        'hcr,rd->hcd', a, b)
    np.testing.assert_allclose(new['attn']['o'][layer], want, atol=1e-6)
    a, b = (np.asarray(tree['down'][n][layer], np.float64) for n in 'ab')
    want = np.asarray(params['layers']['mlp']['down'][layer]) + 2 * a @ b
    np.testing.assert_allclose(new['mlp']['down'][layer], want, atol=1e-6)
  for name in ('q', 'k', 'v'):
    np.testing.assert_array_equal(
        new['attn'][name], params['layers']['attn'][name])


@pytest.mark.parametrize('adapter, opened, plan, index', [
    (Slot(-1, 5, (1,)), [], [AppendSlot(5, (1,))], 0),
    (Slot(-1, 5, (1,)), [True, True], [AppendSlot(5, (1,))], 2),
    (Slot(-1, 5, (1,)), [True, False], [OpenSlot(1, (1,))], 1),
    (Slot(0, 5), [True, False], [OpenSlot(1, (), 0)], 1),
    (StaticSlot(-1, 5), [], [AppendSlot(5)], 0),
    (StaticSlot(-1, 5), [False, False], [OpenSlot(0)], 0),
    (StaticSlot(-1, 5), [True, False], [], 0),
    (LowRank(2), [True, False], [], 0), (AllLayers(), [], [], 0)], ids=repr)
def test_how_a_model_grows_for_it(plain, adapter, opened, plan, index):
  found, place = adapter.growth(plain[0], opened)
  assert (list(found), place) == (plan, index)


def test_how_many_slots_a_life_opens():
  for adapter, first, later in (
      (Slot(), 7, 7), (StaticSlot(), 1, 0), (LowRank(), 0, 0)):
    assert adapter.slots_in(7, have=0) == first
    assert adapter.slots_in(7, have=3) == later


def test_a_model_that_cannot_grow_is_refused_before_any_work(slotted):
  check_growth(LowRank(2), *slotted)
  with pytest.raises(UserError, match='layers=.99,'):
    check_growth(Slot(-1, 4, (99,)), *slotted)


@pytest.mark.parametrize('make, message', [
    (lambda: LowRank(0), 'rank=0 must be at least 1'),
    (lambda: LowRank(2, 2.0, ('q', 'w')), "'q', 'w'.*all of q, k, v"),
    (lambda: Slot(start=1.0), 'slot_from=1.0'),
    (lambda: AllLayers(()), 'at least one')])
def test_unknown_parts_are_refused(make, message):
  with pytest.raises(ValueError, match=message):
    make()


ROWS = Rows(*rows_lib.pad_left([[5, 6, 7], [9, 10]], 4),
            *rows_lib.pad_right([[20, 21, 22], [23]], 3))


@pytest.mark.parametrize('part', [Slot(), LowRank(2, 4.0), AllLayers()],
                         ids=repr)
def test_seeding_moves_nothing_but_its_part(slotted, part):
  config, frozen = slotted
  tree = (slots.read_slot(config, frozen, 1) if isinstance(part, Slot)
          else part.init(config, jax.random.key(0)))
  settings = SeedingConfig(
      steps=30, rows=2, group_size=2, alpha=1.0, learning_rate=0.02,
      target='tokens', on_policy=0.0, warmup_steps=1)
  state = update.init_state(settings, jax.tree.map(jnp.copy, tree))
  batch = Batch(ROWS, jnp.zeros((2, 3, config.embed_dim)))
  before, losses = jax.tree.map(np.asarray, frozen), []
  for _ in range(30):
    state, metrics = update.seeding_step(
        config, settings, frozen, state, 1, batch, part)
    losses.append(float(metrics['divergence']))
  assert losses[-1] < 0.8 * losses[0]
  jax.tree.map(np.testing.assert_array_equal, frozen, before)


@pytest.mark.slow
def test_fisher_of_samples_is_the_hessian_of_the_divergence(eight_tokens):
  """E[(∂ log p)²] = diagonal of the Hessian of KL(p ‖ p_Δ) at Δ = 0."""
  config, params = eight_tokens
  part = AllLayers(('down',))
  tree = part.init(config)
  prompt = [[1, 5, 2]]
  rows = Rows(*rows_lib.pad_left(prompt * 8, 3),
              *rows_lib.pad_right([[v] for v in range(8)], 1))

  def log_probs(tree):
    return jax.nn.log_softmax(transformer.logits(
        config, part.insert(config, params, tree), np.array(prompt))[0, -1])

  p = np.exp(np.asarray(log_probs(tree), np.float64))
  # Every completion once instead of samples: weights stand in for frequency.
  per_row = [ewc.fisher_diagonal(
      config, part, params, tree, Rows(*(leaf[v:v + 1] for leaf in rows)))
             ['down'] for v in range(8)]
  fisher = sum(w * np.asarray(f, np.float64) for w, f in zip(p, per_row))

  def divergence(flat):
    new = log_probs({'down': flat.reshape(tree['down'].shape)})
    return (p * (np.log(p) - new)).sum()

  hessian = jax.jacrev(jax.grad(divergence))(tree['down'].reshape(-1))
  np.testing.assert_allclose(
      fisher.reshape(-1), np.diag(hessian), atol=1e-4)
  mean = ewc.fisher_diagonal(config, part, params, tree, rows)['down']
  np.testing.assert_allclose(mean, np.mean(per_row, axis=0), rtol=1e-5)


@pytest.mark.slow
def test_penalty_is_added_and_holds_important_weights(plain):
  config, frozen = plain
  part = AllLayers(('down',))
  tree = filled(part.init(config))
  importance = {'down': jnp.abs(filled(tree, 1)['down'])}
  settings = SeedingConfig(rows=2, group_size=2, alpha=1.0, on_policy=0.0,
                           target='tokens', ewc=3.0)
  batch = Batch(ROWS, jnp.zeros((2, 3, config.embed_dim)))
  value = functools.partial(objective.objective, config, settings, frozen,
                            tree, 0)
  without, _ = value(batch, part)
  loss, metrics = value(batch._replace(importance=importance), part)
  want = 1.5 * (np.asarray(importance['down'], np.float64)
                * np.square(np.asarray(tree['down'], np.float64))).sum()
  np.testing.assert_allclose(metrics['ewc'], want, rtol=1e-5)
  np.testing.assert_allclose(loss - without, want, rtol=1e-4)


def test_fisher_needs_rows(plain):
  config, params = plain
  part = AllLayers(('down',))
  with pytest.raises(ValueError, match='at least one row'):
    ewc.fisher_diagonal(config, part, params, part.init(config),
                        Rows(*(leaf[:0] for leaf in ROWS)))


@pytest.mark.slow
def test_a_teacher_that_moves_follows_by_its_decay(slotted):
  config, frozen = slotted
  settings = SeedingConfig(
      steps=4, rows=2, group_size=2, alpha=1.0, learning_rate=0.02,
      warmup_steps=1, teacher='ema', ema_decay=0.75)
  slot = slots.read_slot(config, frozen, 1)
  state = update.init_state(settings, jax.tree.map(jnp.copy, slot))
  hidden = objective.teacher_hidden_states(config, frozen, ROWS)
  batch = Batch(ROWS, hidden * 1.3)
  expected = jax.tree.map(np.asarray, slot)
  for _ in range(3):
    state, _ = update.seeding_step(
        config, settings, frozen, state, 1, batch)
    expected = jax.tree.map(lambda old, new: 0.75 * old + 0.25 * np.asarray(
        new), expected, state.slot)
  jax.tree.map(functools.partial(np.testing.assert_allclose, rtol=1e-5),
               state.teacher, expected)
  assert update.init_state(
      dataclasses.replace(settings, teacher='frozen'), slot).teacher is None
