"""A sleep in small, for `test_dtypes`: sampled, scored, seeded, grown.

  python -m tests.dtype_worker     prints its numbers as JSON
"""

import json

import jax
import jax.numpy as jnp
import numpy as np
import optax

from sleepjax.growth import grow, slots
from sleepjax.growth.learner import Learner
from sleepjax.growth.operators import MlpWidth
from sleepjax.growth.slot_operators import AppendSlot
from sleepjax.losses.divergences import DivergenceConfig
from sleepjax.memory import wake
from sleepjax.models import layout
from sleepjax.models.config import ModelConfig
from sleepjax.seeding import loop, update
from sleepjax.seeding.examples import score_examples
from sleepjax.seeding.roles import Imitation
from sleepjax.seeding.settings import SeedingConfig
from tests.conftest import random_params

CONFIG = ModelConfig(
    vocab_size=29, num_layers=1, embed_dim=16, mlp_dim=24, num_heads=2,
    num_kv_heads=1, head_dim=8, max_context=64, num_slots=1, slot_rank=2)
PROMPTS = [[3, 4, 5, 6], [7, 8], [9, 10, 11]]
COMPLETIONS = [[12, 13, 14, 15, 0], [16, 17, 18, 1], [19, 20, 21, 22, 23]]


def check_dtypes(tree) -> None:
  """Floats of 32 bits, and integers of 32, whatever the defaults are."""
  for path, leaf in jax.tree_util.tree_leaves_with_path(tree):
    if jnp.issubdtype(getattr(leaf, 'dtype', bool), jnp.number):
      assert leaf.dtype.itemsize == 4, (
          jax.tree_util.keystr(path), leaf.dtype)


def small_sleep() -> dict:
  """Numbers of a model that writes, is rewarded, learns, grows and reads."""
  params = random_params(CONFIG)
  compute, frozen = layout.for_compute(CONFIG, params, 'float32')
  examples = score_examples(
      compute, frozen, PROMPTS, PROMPTS, COMPLETIONS, 5)
  # Everything at once: each term of the loss, clipped ratios, a moving teacher.
  settings = SeedingConfig(
      rows=2, group_size=2, on_policy=1.0, rehearsal_rows=1, retention_rows=1,
      updates_per_rollout=2, teacher='ema', masked_first_tokens=1,
      levenshtein_threshold=1.0,
      divergence=DivergenceConfig('jsd', temperature=0.7, chunk_rows=4))
  seeder = loop.Seeder(
      Learner(compute, frozen), settings,
      loop.Terms(examples, examples, examples, shared_prefix=(2, 3)),
      imitation=Imitation((0, 1)))
  state, metrics, _ = seeder.update(
      update.init_state(settings, slots.read_slot(CONFIG, params, 0)), 0,
      jax.random.key(1))
  before = grow.ModelState(
      layout.insert_slot(CONFIG, params, state.slot, 0),
      optax.adam(1e-3).init(params), CONFIG)
  after = jax.jit(grow.grow([MlpWidth(26), AppendSlot(2)]))(
      before, jax.random.key(2))
  awake = wake.WakeConfig(
      chunks=(4, 4), learning_rates=(1e-2,), optimizer='adamw')
  reading = wake.init_wake(after.config, after.params, awake)
  reading, heard = wake.read_window(
      after.config, after.params, awake, reading, np.array(PROMPTS[0]))
  reading = wake.updated(awake, reading, 0)
  check_dtypes((frozen, state, metrics, after, reading, heard))
  return {
      **{name: float(value) for name, value in metrics.items()},
      'heard': float(heard['loss']), 'learnt': reading.weights[0]['mlp'][
          'gate'][0, :4, -4:].tolist(),
      'change': grow.max_logit_change(before, after, PROMPTS[0])}


if __name__ == '__main__':
  print(json.dumps(small_sleep()))
