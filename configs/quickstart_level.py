"""The same days and nights, but each day's text is kept in a fast MLP level.

  python -m experiments.quickstart --config=configs/quickstart_level.py \
      --workdir=DIR

Awake, a level in front of each block's MLP learns the text as it reads it
(Eq. 2), several times over, and questions are answered with an empty context.
Asleep, what it holds is seeded into the slot and the level is cleared. Looking
up in a context is not needed.
"""

from ml_collections import ConfigDict

from configs import quickstart


def get_config() -> ConfigDict:
  c = quickstart.get_config()
  c.sleep.dreaming = None
  c.days.level_dim = 96
  level = c.sleep.level = ConfigDict()
  level.passes = 5
  level.wake = ConfigDict()
  level.wake.chunks = (32, 32, 32)  # In tokens: attention, the levels.
  level.wake.learning_rates = (0.005, 0.0)
  level.wake.optimizer = 'adamw'
  return c
