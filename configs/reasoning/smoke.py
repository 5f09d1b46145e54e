r"""Every arm of `small.py` in a moment, to see that all of them run.

  python -m experiments.reasoning --config=configs/reasoning/smoke.py \
      --workdir=DIR

Its numbers mean nothing, and its model knows nothing: the stop rule is off.
"""

from ml_collections import ConfigDict

from configs.reasoning import small


def get_config() -> ConfigDict:
  c = small.get_config()
  c.seeds = (0,)
  m = c.pretrained.model
  m.num_layers, m.embed_dim, m.mlp_dim, m.num_heads = 2, 32, 32, 2
  m.num_kv_heads, m.head_dim = 2, 16
  p = c.pretrained.pretraining
  p.steps, p.warmup_steps, p.matrix_learning_rate = 4, 1, 0.0
  c.pretrained.rows.rows = 2
  c.pretrained.save_every = 2

  b = c.bed
  b.train, b.exam, b.choice, b.samples, b.choice_samples = 8, 6, 3, 2, 1
  b.points, b.batch_rows = 2, 12
  b.least_gap, b.least_student, b.least_after_slip = -1.0, 0.0, 0.0
  c.sleep.unroll = False
  c.sleep.slot_rank = 4
  c.sleep.dreams.batch_rows = 8
  c.sleep.seeding.steps = 2
  c.sleep.seeding.rows = 8
  c.sleep.seeding.warmup_steps = 1
  return c
