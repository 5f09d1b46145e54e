"""Every arm of dreaming in the tiny world: ten days, five seeds.

  python -m experiments.ablate_dreaming --config=configs/dreaming/world.py \
      --workdir=DIR
"""

from ml_collections import ConfigDict

from configs import quickstart
from configs.dreaming import arms


def get_config() -> ConfigDict:
  c = quickstart.get_config()
  c.scale = 'world'
  c.arms = (*arms.ARMS, *arms.WITHOUT)
  c.seeds = (0, 1, 2, 3, 4)
  return c
