r"""Arms of `small.py` in a moment, to see that they run.

  python -m experiments.translation --config=configs/translation/smoke.py \
      --workdir=DIR

Its numbers mean nothing, and its model knows nothing: the stop rule is off.
"""

from ml_collections import ConfigDict

from configs.translation import small


def get_config() -> ConfigDict:
  c = small.get_config()
  m = c.pretrained.model
  m.num_layers, m.embed_dim, m.mlp_dim, m.num_heads = 2, 36, 32, 2
  m.num_kv_heads, m.head_dim = 2, 16
  p = c.pretrained.pretraining
  p.steps, p.warmup_steps, p.matrix_learning_rate = 4, 1, 0.0
  c.pretrained.rows.rows = 2
  c.pretrained.save_every = 2

  c.seeds = (0,)
  c.arms = ('sleep', 'sft', 'in_context', 'base')
  b = c.bed
  b.days, b.pairs, b.stored, b.exam, b.batch_rows = 1, 4, 2, 4, 8
  b.rehearsed, b.rehearsed_pairs, b.least_gap = 1, 2, -100.0
  c.sleep.slot_rank = 4
  q = c.sleep.seeding
  q.steps, q.rows, q.rehearsal_rows, q.retention_rows = 2, 4, 2, 2
  q.rehearsal_every = 1
  return c
