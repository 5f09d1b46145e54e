"""Writes the checkpoints that tests of later versions read.

  PYTHONPATH=. python tests/golden/make_checkpoints.py

A model with every part and a run's state, small, in the folder of the present
version of the format, checkpoints/v1. Once a version is released its folder is
never written again.
"""

import pathlib
import shutil
import tempfile

import jax
import jax.numpy as jnp
import numpy as np
import optax

from sleepjax.data.tokenizer import Tokenizer
from sleepjax.models.config import ModelConfig
from sleepjax.training import checkpoints, saved_folder
from tests.conftest import random_params

FOLDER = pathlib.Path(__file__).parent / 'checkpoints'
CONFIG = ModelConfig(
    vocab_size=257, num_layers=2, embed_dim=4, mlp_dim=6, num_heads=2,
    num_kv_heads=1, head_dim=2, max_context=16, tie_embeddings=False,
    qkv_bias=True, qk_norm=True, num_slots=2, slot_rank=2, level_dims=(3,))
METADATA = {'base': 'random', 'nights': 3, 'progress': {'nll': [1.5, 0.25]}}
STEP = 7
STATE_METADATA = {'config': {'steps': 9}}


def run_state():
  """A state of a run: parameters, moments, a counter, two float dtypes."""
  slot = {'gate': jnp.arange(6.0).reshape(2, 3),
          'down': jnp.full((3, 2), 0.5, jnp.bfloat16)}
  moments = optax.adamw(1e-3).init(slot)
  grads = jax.tree.map(jnp.ones_like, slot)
  _, moments = optax.adamw(1e-3).update(grads, moments, slot)
  return {'slot': slot, 'moments': moments,
          'open': np.array([True, False]), 'step': np.int32(STEP)}


def main():
  # Orbax notes where it wrote; that of this checkout is nobody's business.
  with tempfile.TemporaryDirectory() as elsewhere:
    folder = pathlib.Path(elsewhere) / f'v{saved_folder.FORMAT_VERSION}'
    checkpoints.save_model(
        folder / 'model', CONFIG, random_params(CONFIG),
        Tokenizer.trained_on('', CONFIG.vocab_size), METADATA)
    checkpoints.save_progress(
        folder / 'progress', STEP, run_state(), STATE_METADATA)
    shutil.copytree(folder, FOLDER / folder.name)


if __name__ == '__main__':
  main()
