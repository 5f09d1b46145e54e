r"""Arms of `small.py` in a moment, to see that they run.

  python -m experiments.class_incremental \
      --config=configs/class_incremental/smoke.py --workdir=DIR

Its numbers mean nothing.
"""

from ml_collections import ConfigDict

from configs.class_incremental import small


def get_config() -> ConfigDict:
  c = small.get_config()
  c.seeds = (0,)
  c.arms = ('sleep', 'replay', 'gaussian', 'ewc', 'in_context', 'in_view')
  c.bed.increments, c.bed.classes, c.bed.values = 2, 2, 2
  c.bed.stored, c.bed.batch_rows = 1, 8
  c.sleep.unroll = False
  c.sleep.slot_rank = 4
  c.sleep.seeding.steps = 2
  c.sleep.seeding.rehearsal_every = 1
  c.sleep.seeding.rows = 4
  c.sleep.seeding.retention_rows = 2
  return c
