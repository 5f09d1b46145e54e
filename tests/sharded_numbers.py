"""Every kind of step of a sleep on a mesh, as numbers in a file.

  python -m tests.sharded_numbers FILE.npz DATA FSDP TENSOR

`test_sharded_steps` runs it on one device, on eight, and in two processes, and
compares the files.
"""

import dataclasses
import functools
import re
import sys

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from sleepjax.dreaming import inner, outer, select
from sleepjax.dreaming.inner import Descent
from sleepjax.growth import slots
from sleepjax.growth.adapters import LowRank
from sleepjax.growth.grow import ModelState, grow
from sleepjax.growth.learner import Learner
from sleepjax.growth.operators import HiddenWidth, MlpWidth
from sleepjax.growth.slot_operators import AppendSlot
from sleepjax.losses import imitation
from sleepjax.memory import continuum, wake
from sleepjax.memory.wake import WakeConfig
from sleepjax.mesh import distributed, sharding
from sleepjax.mesh.sharding import MeshConfig
from sleepjax.model import load_pretrained
from sleepjax.models import transformer
from sleepjax.models.named_leaves import named_leaves
from sleepjax.pretraining import world_batches
from sleepjax.pretraining.world_batches import WorldRows
from sleepjax.sampling import sampler
from sleepjax.sampling.rows import Rows
from sleepjax.seeding import objective, update
from sleepjax.seeding.objective import Batch
from sleepjax.seeding.settings import SeedingConfig

_STOPS = (3,)
_SLOT_RANK = 8


def world_rows(count: int, seed: int) -> Rows:
  """Text of the world, cut into prompts and completions."""
  tokens = world_batches.sample_rows(
      WorldRows(rows=count, length=60), seed).tokens
  rng = np.random.default_rng(seed)
  first = rng.integers(0, 8, (count, 1))
  last = rng.integers(4, 17, (count, 1))
  return Rows(tokens[:, :40], np.arange(40) >= first, tokens[:, 40:56],
              np.arange(16) < last)


def on(mesh, tree):
  return sharding.put(tree, sharding.batch_shardings(tree, mesh))


class Numbers:
  """Results by name, whole."""

  def __init__(self):
    self.arrays = {}

  def keep(self, name, tree):
    for path, leaf in jax.tree_util.tree_leaves_with_path(tree):
      self.arrays[f'{name} {jax.tree_util.keystr(path)}'] = sharding.to_host(
          leaf)


def shapes_in(text):
  """Of all floats in a compiled program."""
  return {tuple(map(int, dims.split(',')))
          for dims in re.findall(r'f32\[([\d,]+)\]', text)}


def check_stays_split(compiled, state):
  """Of leaves that are split, no shape of the whole is in the program."""
  text = compiled.as_text()
  shapes = shapes_in(text)
  for before_and_after in (state, compiled.out_info):
    for path, leaf in named_leaves(before_and_after.params).items():
      spec = sharding.param_spec(path, leaf.shape, leaf.sharding.mesh)
      part = NamedSharding(leaf.sharding.mesh, spec).shard_shape(leaf.shape)
      assert part == leaf.sharding.shard_shape(leaf.shape), path
      if part != leaf.shape:
        assert leaf.shape not in shapes, (path, leaf.shape)
  assert 'all-gather' not in text


def check_cache(compiled, config, mesh):
  """Keys and values of 56 tokens are split by row and by head throughout."""
  whole = config.num_layers, 16, 56, config.num_kv_heads, config.head_dim
  spec = sharding.batch_spec('k', whole, mesh)
  part = NamedSharding(mesh, spec).shard_shape(whole)
  shapes = shapes_in(compiled.as_text())
  assert part in shapes and (part == whole or whole not in shapes)


def grown(mesh, model, numbers):
  """The bundled model, wider, with a slot; with it the moments of Adam."""
  params = model.params
  moments = sharding.born_sharded(optax.adam(1e-3).init, mesh, params)
  moments = jax.tree.map(lambda m, p: m + p if m.shape == p.shape else m,
                         moments, (optax.ScaleByAdamState(
                             moments[0].count, params, params), moments[1]))
  state = ModelState(params, moments, model.config)
  plan = [HiddenWidth(112), MlpWidth(256), AppendSlot(_SLOT_RANK)]
  compiled = jax.jit(grow(plan, mesh)).lower(
      state, jax.random.key(1)).compile()
  check_stays_split(compiled, state)
  larger = compiled(state, jax.random.key(1))
  numbers.keep('growth', larger)
  return larger.config, larger.params


def rollout(config, params, prompt, mask):
  return sampler.jitted_sample(
      config, params, prompt, mask, jax.random.key(2),
      sampler.Until(16, _STOPS))


def decoded(mesh, config, params, numbers):
  """Rollouts, and their distance from what they should have said."""
  prompt, prompt_mask, wanted, mask = on(mesh, world_rows(16, 5))
  out = rollout(config, params, prompt, prompt_mask)
  numbers.keep('decode', out)
  distance = jax.jit(imitation.levenshtein_distance)(
      out.tokens, out.mask.sum(-1), wanted, mask.sum(-1))
  numbers.keep('levenshtein', distance)
  for leaf in (*out, distance):
    placed = NamedSharding(mesh, sharding.batch_spec('', leaf.shape, mesh))
    assert leaf.sharding.shard_shape(leaf.shape) == placed.shard_shape(
        leaf.shape)
  compiled = sampler.jitted_sample.lower(
      config, params, prompt, prompt_mask, jax.random.key(2),
      sampler.Until(16, _STOPS)).compile()
  check_cache(compiled, config, mesh)


def seeded(mesh, config, params, numbers):
  """Two updates of a new slot: divergence, imitation, shared segments; the
  second with the gradients of groups of rows."""
  settings = SeedingConfig(rows=16, alpha=0.8)
  slot = slots.new_slot(config, jax.random.key(3), _SLOT_RANK)
  state = update.init_state(settings, slot)
  state = sharding.put(state, sharding.param_shardings(state, mesh))
  document = world_rows(1, 6).prompt
  segment = jax.jit(transformer.hidden_states, static_argnums=0)(
      config, params, document)[1]
  for step, rows_at_once in enumerate((0, 8)):
    settings = dataclasses.replace(settings, rows_at_once=rows_at_once)
    rows = on(mesh, world_rows(16, 8 + step))
    batch = Batch(
        rows, objective.teacher_hidden_states(
            config, params, rows, (segment,)),
        np.where(np.arange(16) % 4 == 0, 1, -1 / 3).astype(np.float32),
        shared_prefix=np.arange(5, 13, dtype=np.int32))
    state, metrics = update.seeding_step(
        config, settings, params, state, jnp.int32(0), on(mesh, batch))
    numbers.keep(f'seeding {step}', metrics)
  numbers.keep('seeded', state)
  return state.slot


def dreamt(mesh, config, params, slot, numbers):
  """Scores, inner trials, outer update."""
  model = Learner(config, params, value=slot)
  dreams, held_in = on(mesh, (world_rows(4, 10), world_rows(8, 11)))
  held_in = jax.tree.map(lambda leaf: leaf.reshape(2, 4, -1), held_in)
  task_n = np.array([0, 0, 1, 1])
  numbers.keep('scores', select.gradient_scores(
      model, dreams, held_in, task_n, rows_at_once=4))
  numbers.keep('trials', inner.dream_trials(
      model, dreams, held_in, task_n, Descent(2, 1e-3)))
  part = LowRank(4, 8.0)
  generator = part.init(config, jax.random.key(4))
  generator = sharding.put(
      generator, sharding.param_shardings(generator, mesh))
  numbers.keep('outer', outer.outer_update(
      Learner(config, model.params, part, None, value=generator), dreams,
      jnp.float32([1, 0, 1, 1]), Descent(2, 1e-4), outer='rest_em'))


def shards(tree):
  """What a device has of every leaf, as shapes."""
  return [leaf.sharding.shard_shape(leaf.shape)
          for leaf in jax.tree.leaves(tree)]


def woken(mesh, model, numbers):
  """Windows of streams that have a fast level of their own each, and a step."""
  config, params = continuum.newborn_levels(
      model.config, model.params, (32,), jax.random.key(5))
  settings = WakeConfig((24, 24, 48), (0.5, 0.0), chunk_rows=8)
  state = wake.init_wake(config, params, settings, rows=16)
  state = on(mesh, state)
  parts = shards(state)
  for step, seed in enumerate((12, 13, 12, 13)):
    tokens = on(mesh, world_rows(16, seed).prompt[:, 16:])
    compiled = wake.read_window.lower(
        config, params, settings, state, tokens).compile()
    for leaf in jax.tree.leaves(state.gradients):
      part = leaf.sharding.shard_shape(leaf.shape)
      assert part == leaf.shape or leaf.shape not in shapes_in(
          compiled.as_text()), leaf.shape
    state, metrics = wake.read_window(config, params, settings, state, tokens)
    numbers.keep(f'woken {step}', metrics)
    assert shards(state) == parts
    state = wake.updated(settings, state, 0)
    assert shards(state) == parts
  numbers.keep('woken', state.weights)


def decoded_explicitly(sizes, config, params, numbers):
  """The same where shardings are part of types."""
  mesh = sharding.make_mesh(sizes, axis_type=AxisType.Explicit)
  params = sharding.put(params, sharding.param_shardings(params, mesh))
  table = jax.typeof(params['embed']['table'])
  assert table.sharding.spec == PartitionSpec('tensor', 'fsdp')
  with jax.set_mesh(mesh):
    out = jax.sharding.auto_axes(
        functools.partial(rollout, config), axes=sharding.AXES,
        out_sharding=PartitionSpec())(params, *on(mesh, world_rows(16, 5)[:2]))
    numbers.keep('explicit', out)


def main(path, *sizes):
  distributed.initialize()
  sizes = MeshConfig(*map(int, sizes))
  mesh = sharding.make_mesh(sizes)
  model, numbers = load_pretrained('tiny-world', mesh), Numbers()
  with jax.set_mesh(mesh):
    config, params = grown(mesh, model, numbers)
    decoded(mesh, config, params, numbers)
    slot = seeded(mesh, config, params, numbers)
    dreamt(mesh, config, params, slot, numbers)
    woken(mesh, model, numbers)
  if jax.process_count() == 1:
    decoded_explicitly(sizes, config, params, numbers)
  if distributed.is_first():
    np.savez(path, **numbers.arrays)
  distributed.barrier('written', 60)


if __name__ == '__main__':
  main(*sys.argv[1:])
