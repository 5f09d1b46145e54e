"""Nights in the tiny world from a configuration, as commands live them."""

import json

from experiments import _config
from sleepjax.lifecycle.config import SleepConfig
from sleepjax.runs import nights
from sleepjax.tasks import world


def live(model, config, workdir, seed=0):
  """The report of `config`, a ConfigDict as of configs/quickstart.py."""
  saving = _config.saving_of(config)
  settings = _config.to_dataclass(SleepConfig, config.sleep, 'config.sleep')
  days = _config.to_dataclass(world.DaysConfig, config.days, 'config.days')
  return nights.run(
      world.WorldTask(settings, days, seed), model, settings, nights.Run(
          workdir, json.loads(json.dumps(config.to_dict())), seed, saving))
