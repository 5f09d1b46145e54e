"""Nights in the tiny world from a configuration, as commands live them."""

import json

import jax
import numpy as np

from experiments import _config
from sleepjax.data import world_tokenizer
from sleepjax.lifecycle.config import SleepConfig
from sleepjax.model import Model
from sleepjax.models import transformer
from sleepjax.models.config import ModelConfig
from sleepjax.runs import nights
from sleepjax.tasks import world


def random_model() -> Model:
  """A small one: what it says means nothing, how it is asked does."""
  tokenizer = world_tokenizer.build_tokenizer()
  config = ModelConfig(
      vocab_size=tokenizer.vocab_size, num_layers=1, embed_dim=16, mlp_dim=16,
      num_heads=2, num_kv_heads=1, head_dim=8, max_context=512)
  return Model(config, jax.tree.map(np.asarray, transformer.init(
      config, jax.random.key(0))), tokenizer, 'random')


def live(model, config, workdir, seed=0):
  """The report of `config`, a ConfigDict as of configs/quickstart.py."""
  saving = _config.saving_of(config)
  settings = _config.to_dataclass(SleepConfig, config.sleep, 'config.sleep')
  days = _config.to_dataclass(world.DaysConfig, config.days, 'config.days')
  return nights.run(
      world.WorldTask(settings, days, seed), model, settings, nights.Run(
          workdir, json.loads(json.dumps(config.to_dict())), seed, saving))
