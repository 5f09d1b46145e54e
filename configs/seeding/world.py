"""Every arm of seeding in the tiny world: ten days, five seeds.

  python -m experiments.ablate_seeding --config=configs/seeding/world.py \
      --workdir=DIR
"""

from ml_collections import ConfigDict

from configs import quickstart
from configs.seeding import arms


def get_config() -> ConfigDict:
  c = quickstart.get_config()
  c.sleep.dreaming = None
  c.scale = 'world'
  c.arms = tuple(arms.ARMS)
  c.seeds = (0, 1, 2, 3, 4)
  # Each the best of a few on seed 105, by what is learnt and kept;
  # text_slot_kept was not tried and has that of text_slot.
  c.rates = ConfigDict(dict(
      low_rank=1e-2, text_low_rank=3e-3, all_layers=3e-4, text_slot=3e-3,
      text_slot_kept=3e-3, static_slot=3e-3, dreams_as_text=1e-3))
  return c
