import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sleepjax.growth import slots
from sleepjax.losses import from_hidden
from sleepjax.losses.divergences import DivergenceConfig, TopKForwardKL
from sleepjax.models import layout, transformer
from sleepjax.sampling import rows as rows_lib
from sleepjax.sampling.rows import Rows
from sleepjax.seeding import objective, update
from sleepjax.seeding.objective import Batch
from sleepjax.seeding.settings import SeedingConfig

SETTINGS = SeedingConfig(
    steps=60, rows=4, group_size=2, alpha=0.3, rehearsal=0.5, warmup_steps=1,
    learning_rate=0.02)
PROMPTS = [[5, 6, 7, 8], [9, 10], [11], [12, 13, 14]]
COMPLETIONS = [[20, 21, 22], [23], [24, 25, 26, 27, 28], [29, 30]]
TEXTS = [[40, 41, 42, 5, 6], [43, 44, 9]]  # Rehearsed prompts hold their text.
ANSWERS = [[31, 32], [33, 34, 35]]
DOCUMENT = list(range(40, 52))
INDEX = 1  # Of the pool that the trained slot has in `grown`.

read = jax.jit(transformer.hidden_states, static_argnums=0)
logits = jax.jit(transformer.logits, static_argnums=0)
_measured = jax.jit(
    jax.value_and_grad(objective.objective, 3, has_aux=True),
    static_argnums=(0, 1))


def value(*args):
  """(loss, metrics)."""
  return _measured(*args)[0]


def gradient(*args):
  """Of the loss in the slot."""
  return _measured(*args)[1]


def rows_of(prompts, completions, P=6, N=5):
  return Rows(*rows_lib.pad_left(prompts, P),
              *rows_lib.pad_right(completions, N))


@pytest.fixture(scope='module')
def grown(slotted):
  """(config, params) with the new slot in place 1, open in layer 1 only."""
  config, params = slotted
  pool = params['layers']['slots']
  pool = {**pool, 'down': pool['down'].at[:, INDEX].set(0.0),
          'open': jnp.array([[True, False], [True, True]])}
  return config, {**params, 'layers': {**params['layers'], 'slots': pool}}


@pytest.fixture(scope='module')
def learnt(grown):
  """The slot after it has learnt something."""
  slot = slots.read_slot(*grown, INDEX)
  noise = np.random.default_rng(0).normal(size=slot['down'].shape)
  return {**slot, 'down': jnp.asarray(2 * noise, jnp.float32)}


@pytest.fixture(scope='module')
def batch(grown):
  """All terms: the teacher has read a document, rehearsed rows their text."""
  _, segment = read(*grown, np.array([DOCUMENT]))
  rows, rehearsal = rows_of(PROMPTS, COMPLETIONS), rows_of(TEXTS, ANSWERS)
  return Batch(
      rows, objective.teacher_hidden_states(*grown, rows, (segment,)),
      jnp.array([1.5, -1.5, 0.25, -0.25]), rehearsal,
      objective.teacher_hidden_states(*grown, rehearsal))


def log_softmax(x):
  x = np.asarray(x, np.float64)
  x = x - x.max(-1, keepdims=True)
  return x - np.log(np.exp(x).sum(-1, keepdims=True))


def alone(config, params, before, completion):
  """log P of the next token at each completion token; no padding, no rows."""
  ids = np.full((1, 24), 60)
  ids[0, :len(before + completion)] = before + completion
  scores = logits(config, params, ids)[0]
  return log_softmax(scores[len(before) - 1:][:len(completion)])


@pytest.fixture(scope='module')
def parts(grown, learnt):
  """(D, policy gradient loss, D of rehearsal) by hand, in float64."""
  config, frozen = grown
  student = layout.insert_slot(config, frozen, learnt, INDEX)

  def mean_divergence(teacher_prompts, prompts, completions):
    per_token, log_probs = [], []
    for at, p, c in zip(teacher_prompts, prompts, completions):
      old, new = alone(config, frozen, at, c), alone(config, student, p, c)
      per_token += (np.exp(old) * (old - new)).sum(-1).tolist()
      log_probs.append(new[np.arange(len(c)), c].sum())
    return np.mean(per_token), np.array(log_probs)

  divergence, log_probs = mean_divergence(
      [DOCUMENT + p for p in PROMPTS], PROMPTS, COMPLETIONS)
  policy = -(np.array([1.5, -1.5, 0.25, -0.25]) * log_probs).mean()
  rehearsal, _ = mean_divergence(TEXTS, TEXTS, ANSWERS)
  assert min(divergence, abs(policy), rehearsal) > 0.05
  return divergence, policy, rehearsal


def test_terms_combine_as_documented(grown, learnt, batch, parts):
  config, frozen = grown
  loss, metrics = value(config, SETTINGS, frozen, learnt, INDEX, batch)
  divergence, policy, rehearsed = parts
  np.testing.assert_allclose(metrics['divergence'], divergence, rtol=1e-4)
  np.testing.assert_allclose(
      metrics['rehearsal_divergence'], rehearsed, rtol=1e-4)
  want = 0.3 * divergence + 0.7 * policy + 0.5 * rehearsed
  np.testing.assert_allclose(loss, want, rtol=1e-4)
  assert metrics['loss'] == loss


@pytest.mark.slow
def test_retention_is_a_term_of_its_own(grown, learnt, batch, parts):
  """Rows of another length and weight; by hand, too."""
  config, frozen = grown
  settings = dataclasses.replace(SETTINGS, retention=0.25)
  kept = batch._replace(
      rehearsal=None, rehearsal_hidden=None, retention=batch.rehearsal,
      retention_hidden=batch.rehearsal_hidden)
  divergence, policy, rehearsed = parts
  for given, want in ((kept, 0.25), (kept._replace(
      rehearsal=batch.rehearsal, rehearsal_hidden=batch.rehearsal_hidden),
                                     0.75)):
    loss, metrics = value(config, settings, frozen, learnt, INDEX, given)
    np.testing.assert_allclose(
        metrics['retention_divergence'], rehearsed, rtol=1e-4)
    np.testing.assert_allclose(
        loss, 0.3 * divergence + 0.7 * policy + want * rehearsed, rtol=1e-4)


@pytest.mark.slow
def test_a_shared_head_is_read_once_and_counts_as_part_of_every_prompt(
    grown, learnt, batch):
  config, frozen = grown
  head = [50, 51, 52]
  whole = batch._replace(
      rows=rows_of([head + p for p in PROMPTS], COMPLETIONS, P=8),
      rehearsal=rows_of([head + t for t in TEXTS], ANSWERS, P=9))
  apart = batch._replace(shared_prefix=np.array(head, np.int32))
  want, have = (_measured(config, SETTINGS, frozen, learnt, INDEX, b)
                for b in (whole, apart))
  jax.tree.map(lambda a, b: np.testing.assert_allclose(
      a, b, rtol=2e-4, atol=1e-5), have, want)
  without = value(config, SETTINGS, frozen, learnt, INDEX, batch)
  assert abs(without[0] - have[0][0]) > 1e-3  # It does matter.


def test_terms_may_be_left_out(grown, learnt, batch, parts):
  config, frozen = grown
  part = batch._replace(advantage=None, rehearsal=None, rehearsal_hidden=None)
  loss, metrics = value(config, SETTINGS, frozen, learnt, INDEX, part)
  np.testing.assert_allclose(loss, 0.3 * parts[0], rtol=1e-4)
  assert set(metrics) == {'loss', 'divergence', 'entropy', 'top1_agreement'}


@pytest.mark.parametrize('off, missing', [
    ({'alpha': 1.0}, ['advantage']),
    ({'rehearsal': 0.0}, ['rehearsal', 'rehearsal_hidden']),
    ({'rehearsal': None}, ['rehearsal', 'rehearsal_hidden'])], ids=str)
def test_a_term_without_weight_costs_nothing(
    grown, learnt, batch, off, missing):
  """It is as if there was nothing to learn it from."""
  config, frozen = grown
  settings = dataclasses.replace(SETTINGS, **off)

  def traced(settings, batch):
    program, shapes = jax.make_jaxpr(functools.partial(
        objective.objective, config, settings), return_shape=True)(
            frozen, learnt, INDEX, batch)
    return str(program).count(' = '), set(shapes[1])

  size, metrics = traced(settings, batch)
  assert traced(settings, batch._replace(**dict.fromkeys(missing))) == (
      size, metrics)
  assert traced(SETTINGS, batch)[0] > size


def test_imitation_alone(grown, learnt, batch, parts):
  config, frozen = grown
  settings = dataclasses.replace(SETTINGS, alpha=0.0, rehearsal=None)
  loss, metrics = value(config, settings, frozen, learnt, INDEX, batch)
  np.testing.assert_allclose(loss, parts[1], rtol=1e-4)
  assert set(metrics) == {'loss'}


def test_no_advantage_equals_none_at_all(grown, learnt, batch):
  config, frozen = grown
  losses, gradients = [], []
  for advantage in (None, jnp.zeros(4)):
    part = batch._replace(
        advantage=advantage, rehearsal=None, rehearsal_hidden=None)
    losses.append(value(config, SETTINGS, frozen, learnt, INDEX, part)[0])
    gradients.append(gradient(config, SETTINGS, frozen, learnt, INDEX, part))
  np.testing.assert_allclose(*losses, rtol=1e-6)
  jax.tree.map(functools.partial(np.testing.assert_allclose, atol=1e-6),
               *gradients)


def test_gradient_is_that_of_the_loss(grown, learnt, batch):
  """Along a direction in which no part cancels another, by differences."""
  config, frozen = grown
  have = gradient(config, SETTINGS, frozen, learnt, INDEX, batch)
  random = np.random.default_rng(1)
  along = jax.tree.map(
      lambda g: np.sign(g) * random.uniform(size=g.shape).astype('f'), have)
  loss = lambda t: float(value(
      config, SETTINGS, frozen, jax.tree.map(
          lambda x, d: x + t * d, learnt, along), INDEX, batch)[0])
  want = (loss(3e-3) - loss(-3e-3)) / 6e-3
  have = sum(float((have[name] * along[name]).sum()) for name in along)
  assert want > 0.1
  np.testing.assert_allclose(have, want, rtol=0.01)


def test_nothing_to_learn_from_oneself(grown, learnt, batch):
  """A teacher without the document is the student at birth."""
  config, frozen = grown
  rows = batch.rows
  newborn = slots.read_slot(config, frozen, INDEX)
  hidden = objective.teacher_hidden_states(config, frozen, rows)
  same = Batch(rows, hidden)
  loss, metrics = value(config, SETTINGS, frozen, newborn, INDEX, same)
  assert abs(loss) < 1e-6
  assert metrics['top1_agreement'] == 1
  for leaf in jax.tree.leaves(
      gradient(config, SETTINGS, frozen, newborn, INDEX, same)):
    assert np.abs(leaf).max() < 1e-6
  # But a slot that has moved is pulled back.
  assert value(config, SETTINGS, frozen, learnt, INDEX, same)[0] > 0.05


def test_closed_layers_get_exactly_no_gradient(grown, learnt, batch):
  config, frozen = grown
  for leaf in gradient(
      config, SETTINGS, frozen, learnt, INDEX, batch).values():
    assert (np.asarray(leaf[0]) == 0).all()
    assert np.abs(leaf[1]).max() > 1e-4


def test_masked_positions_teach_nothing(grown, learnt, batch):
  """Whatever they hold, to the last bit."""
  config, frozen = grown
  rows = batch.rows
  changed = batch._replace(
      rows=rows._replace(
          prompt=np.where(rows.prompt_mask, rows.prompt, 60),
          completion=np.where(rows.completion_mask, rows.completion, 59)),
      teacher_hidden=jnp.where(
          rows.completion_mask[..., None], batch.teacher_hidden, jnp.nan))
  assert not rows.completion_mask.all() and not rows.prompt_mask.all()
  want = gradient(config, SETTINGS, frozen, learnt, INDEX, batch)
  have = gradient(config, SETTINGS, frozen, learnt, INDEX, changed)
  jax.tree.map(np.testing.assert_array_equal, have, want)
  empty = lambda rows: rows._replace(
      completion_mask=np.zeros_like(rows.completion_mask))
  nothing = batch._replace(
      rows=empty(rows), rehearsal=empty(batch.rehearsal))
  assert value(config, SETTINGS, frozen, learnt, INDEX, nothing)[0] == 0
  for leaf in jax.tree.leaves(
      gradient(config, SETTINGS, frozen, learnt, INDEX, nothing)):
    assert (np.asarray(leaf) == 0).all()


def test_a_step_changes_the_slot_and_nothing_else(grown, learnt, batch):
  config, frozen = grown
  before = jax.tree.map(np.array, (frozen, learnt))
  state = update.init_state(SETTINGS, jax.tree.map(jnp.copy, learnt))
  want = gradient(config, SETTINGS, frozen, learnt, INDEX, batch)
  norm = np.sqrt(sum(np.square(leaf).sum() for leaf in want.values()))
  state, metrics = update.seeding_step(
      config, SETTINGS, frozen, state, jnp.int32(INDEX), batch)
  assert int(state.step) == 1
  np.testing.assert_allclose(metrics['gradient_norm'], norm, rtol=1e-5)
  jax.tree.map(np.testing.assert_array_equal, (frozen, learnt), before)
  for name, leaf in state.slot.items():
    np.testing.assert_array_equal(leaf[0], learnt[name][0])  # Closed.
    assert (leaf[1] != learnt[name][1]).any()
    assert np.abs(leaf - learnt[name]).max() < 1.01 * SETTINGS.learning_rate


def test_seeding_learns(grown, batch):
  """A new slot takes over most of what the document changed."""
  config, frozen = grown
  state = update.init_state(SETTINGS, slots.read_slot(config, frozen, INDEX))
  batch, history = batch._replace(advantage=jnp.zeros(4)), []
  for _ in range(SETTINGS.steps):
    state, metrics = update.seeding_step(
        config, SETTINGS, frozen, state, jnp.int32(INDEX), batch)
    history.append(
        (float(metrics['divergence']), float(metrics['rehearsal_divergence'])))
  assert history[-1][0] < history[0][0] / 2
  assert abs(history[0][1]) < 1e-6  # A newborn has forgotten nothing.
  assert np.isfinite(history).all()


def test_every_setting_of_the_divergence_reaches_it(
    grown, learnt, batch, monkeypatch):
  config, frozen = grown
  settings = dataclasses.replace(SETTINGS, divergence=DivergenceConfig(
      'top_k_forward_kl', temperature=1.3, chunk_rows=7, top_k=5))
  want = {'divergence': TopKForwardKL(5), 'temperature': 1.3, 'chunk_rows': 7}
  computed, calls = from_hidden.divergence_from_hidden, []

  def recorded(divergence, *args, **kwargs):
    calls.append({'divergence': divergence, **kwargs})
    return computed(divergence, *args, **kwargs)

  monkeypatch.setattr(from_hidden, 'divergence_from_hidden', recorded)
  jax.eval_shape(functools.partial(objective.objective, config, settings),
                 frozen, learnt, INDEX, batch)
  assert len(calls) == 2  # The batch and what is rehearsed.
  for call in calls:
    assert want.items() <= call.items()


def test_tokens_as_target_are_their_cross_entropy(grown, learnt, batch):
  config, frozen = grown
  settings = dataclasses.replace(
      SETTINGS, target='tokens', on_policy=0.0, alpha=1.0, rehearsal=0.0)
  student = layout.insert_slot(config, frozen, learnt, INDEX)
  want = np.mean([-row[token] for p, c in zip(PROMPTS, COMPLETIONS)
                  for row, token in zip(alone(config, student, p, c), c)])
  rows = batch.rows
  loss, _ = value(config, settings, frozen, learnt, INDEX, Batch(
      rows, jnp.full_like(batch.teacher_hidden, jnp.nan)))
  np.testing.assert_allclose(loss, want, rtol=1e-5)


@pytest.mark.parametrize('target', ['sampled', 'likeliest'])
def test_named_tokens_are_their_cross_entropy_beside_the_reward(
    grown, learnt, batch, parts, target):
  config, frozen = grown
  settings = dataclasses.replace(SETTINGS, target=target, rehearsal=0.0)
  student = layout.insert_slot(config, frozen, learnt, INDEX)
  named = np.arange(20).reshape(4, 5) + 7
  own = np.mean([-row[token] for p, c, tokens in zip(
      PROMPTS, COMPLETIONS, named) for row, token in zip(
          alone(config, student, p, c), tokens)])
  loss, metrics = value(config, settings, frozen, learnt, INDEX, Batch(
      batch.rows, batch.teacher_hidden, batch.advantage, named=named))
  np.testing.assert_allclose(metrics['divergence'], own, rtol=1e-5)
  np.testing.assert_allclose(loss, 0.3 * own + 0.7 * parts[1], rtol=1e-5)


@pytest.mark.parametrize('target', ['teacher', 'tokens'])
@pytest.mark.parametrize('prefixes', [None, (1, 0, 3, 1)])
def test_first_tokens_can_be_left_out(grown, learnt, batch, target, prefixes):
  config, frozen = grown
  settings = dataclasses.replace(
      SETTINGS, alpha=1.0, on_policy=0.0, rehearsal=0.0, target=target,
      masked_first_tokens=2)
  plain_batch = Batch(
      batch.rows, batch.teacher_hidden,
      prefixes=None if prefixes is None else np.array(prefixes))
  got = value(config, settings, frozen, learnt, INDEX, plain_batch)[0]
  student = layout.insert_slot(config, frozen, learnt, INDEX)
  values = []
  for p, c, before in zip(PROMPTS, COMPLETIONS, prefixes or (0, 0, 0, 0)):
    old, new = (alone(config, frozen, DOCUMENT + p, c),
                alone(config, student, p, c))
    each = ((np.exp(old) * (old - new)).sum(-1) if target == 'teacher'
            else -new[np.arange(len(c)), c])
    values += each[max(0, 2 - before):].tolist()
  np.testing.assert_allclose(got, np.mean(values), rtol=1e-4)


@pytest.mark.slow
def test_sampled_estimator_is_wired_to_both_models(grown, learnt, batch):
  """Its value is the mean log ratio of the sampled tokens."""
  config, frozen = grown
  settings = dataclasses.replace(
      SETTINGS, alpha=1.0, on_policy=1.0, rehearsal=0.0, estimator='sampled',
      divergence=DivergenceConfig('reverse_kl'))
  student = layout.insert_slot(config, frozen, learnt, INDEX)
  want = np.mean([
      new[token] - old[token] for p, c in zip(PROMPTS, COMPLETIONS)
      for new, old, token in zip(
          alone(config, student, p, c), alone(config, frozen, DOCUMENT + p, c),
          c)])
  loss, _ = value(config, settings, frozen, learnt, INDEX, Batch(
      batch.rows, batch.teacher_hidden))
  np.testing.assert_allclose(loss, want, rtol=1e-4)
