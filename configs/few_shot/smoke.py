r"""Every arm of `small.py` in a moment, to see that all of them run.

  python -m experiments.few_shot --config=configs/few_shot/smoke.py \
      --workdir=DIR

Its numbers mean nothing, and its model knows nothing: the stop rule is off.
"""

from ml_collections import ConfigDict

from configs.few_shot import small


def get_config() -> ConfigDict:
  c = small.get_config()
  m = c.pretrained.model
  m.num_layers, m.embed_dim, m.mlp_dim, m.num_heads = 2, 32, 32, 2
  m.num_kv_heads, m.head_dim = 2, 16
  p = c.pretrained.pretraining
  p.steps, p.warmup_steps, p.matrix_learning_rate = 4, 1, 0.0
  c.pretrained.rows.rows = 2
  c.pretrained.save_every = 2

  c.oracle = ('both,middle,long', 'none,middle,short')
  b = c.bed
  b.grids.shown, b.grids.asked = 3, 2
  b.tasks, b.train, b.choice, b.votes, b.batch_rows, b.rows = 3, 2, 2, 2, 4, 2
  b.rates = b.slot_rates = (1e-3, 1e-3, 1e-3)  # One program serves all.
  b.updates = (2, 2)
  b.most_in_context, b.least_oracle = 1.0, 0.0
  w = c.writer
  w.tried, w.dreams, w.random, w.updates, w.rows = 3, 6, 1, 2, 2
  c.sleep.unroll = False
  c.sleep.slot_rank = 4
  c.sleep.seeding.warmup_steps = 1
  return c
