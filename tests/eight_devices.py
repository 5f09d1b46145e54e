"""Prints what programs for eight devices move, as JSON; run by `test_hlo`.

A process chooses how many devices its CPU has when it starts.
"""

import json

import jax
import jax.numpy as jnp
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec as P

from sleepjax.growth import slots
from sleepjax.mesh import sharding
from sleepjax.mesh.sharding import MeshConfig
from sleepjax.models import transformer
from sleepjax.models.config import ModelConfig
from sleepjax.roofline import hlo
from sleepjax.sampling.rows import Rows
from sleepjax.seeding import objective, update
from sleepjax.seeding.settings import SeedingConfig


def _moved(function, mesh, *specs_and_shapes):
  arguments = [jax.ShapeDtypeStruct(shape, jnp.float32,
                                    sharding=NamedSharding(mesh, spec))
               for spec, shape in specs_and_shapes]
  with jax.set_mesh(mesh):
    text = jax.jit(function).lower(*arguments).compile().as_text()
  program = hlo.Program(text)
  assert program.partitions == 8 and not program.unknown
  return {'bytes': program.collective_bytes(),
          'groups': sorted({len(c.group) for c in program.collectives})}


def _gathered_in_a_loop(x, weights):
  """Each of the five turns gathers [16, 8] over fsdp and reduces [4, 8]."""
  def layer(x, w):
    w = jax.lax.with_sharding_constraint(w, P())
    return jnp.tanh(x @ w), None
  return jax.lax.scan(layer, x, weights)[0]


def _summed(x):
  return jax.lax.with_sharding_constraint(x.sum(0), P())


def seeding_step(rows: int) -> dict:
  """Of a seeding step on fsdp=8, with the bytes of the layers' weights."""
  config = ModelConfig(
      vocab_size=64, num_layers=3, embed_dim=32, mlp_dim=64, num_heads=4,
      num_kv_heads=2, head_dim=8, max_context=64, num_slots=1, slot_rank=8,
      remat='full')
  mesh = sharding.make_mesh(MeshConfig(fsdp=8))
  placed = lambda tree, of: sharding.abstract(tree, of(tree, mesh))
  params = placed(transformer.abstract_params(config),
                  sharding.param_shardings)
  settings = SeedingConfig(rows=rows, alpha=1.0)
  state = placed(jax.eval_shape(lambda: update.init_state(
      settings, slots.new_slot(config, jax.random.key(0), 8))),
                 sharding.param_shardings)
  ids = jnp.zeros((rows, 16), jnp.int32)
  batch = placed(
      objective.Batch(
          Rows(ids, ids > 0, ids, ids > 0), jnp.zeros((rows, 16, 32))),
      sharding.batch_shardings)
  with jax.set_mesh(mesh):
    text = update.seeding_step.lower(
        config, settings, params, state, jnp.int32(0), batch
    ).compile().as_text()
  return {**hlo.Program(text).collective_bytes(), 'weights': sum(
      4 * leaf.size for leaf in jax.tree.leaves(params['layers']))}


def layers_over_tensor(num_slots: int) -> dict:
  """Of a forward pass on tensor=8, whose every weight is split by units."""
  config = ModelConfig(
      vocab_size=64, num_layers=3, embed_dim=32, mlp_dim=64, num_heads=8,
      num_kv_heads=8, head_dim=8, max_context=64, num_slots=num_slots,
      slot_rank=16)
  mesh = sharding.make_mesh(MeshConfig(tensor=8))
  params = transformer.abstract_params(config)
  params = sharding.abstract(params, sharding.param_shardings(params, mesh))
  with jax.set_mesh(mesh):
    text = jax.jit(transformer.hidden_states, static_argnums=0).lower(
        config, params, jnp.zeros((2, 16), jnp.int32)).compile().as_text()
  return hlo.Program(text).collective_bytes()


def main():
  mesh = sharding.make_mesh(MeshConfig(data=2, fsdp=4))
  print(json.dumps({
      'loop': _moved(_gathered_in_a_loop, mesh, (P('data'), (4, 16)),
                     (P(None, 'fsdp'), (5, 16, 16))),
      'summed': _moved(_summed, mesh, (P(('data', 'fsdp')), (8, 10))),
      'step': {rows: seeding_step(rows) for rows in (32, 128)},
      'slots': {number: layers_over_tensor(number) for number in (1, 4)}}))


if __name__ == '__main__':
  main()
