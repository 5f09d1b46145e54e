"""The small model of grids, for `experiments.few_shot`.

1.7 million tokens in four minutes of the processor, of a shared core of an AMD
EPYC. What it can is in docs/results/few_shot.md: little.
"""

from ml_collections import ConfigDict

from configs.tree import tree
from sleepjax.pretraining.grid_batches import GridRows


def get_config() -> ConfigDict:
  c = ConfigDict()
  c.seed = 0
  c.save_every = 100

  m = c.model = ConfigDict()
  m.vocab_size = 32
  m.num_layers = 4
  m.embed_dim = 64
  m.mlp_dim = 192
  m.num_heads = 4
  m.num_kv_heads = 4
  m.head_dim = 16
  m.max_context = 512

  p = c.pretraining = ConfigDict()
  p.steps = 900
  p.learning_rate = 6e-3
  p.matrix_learning_rate = 0.01
  p.final_rate = 0.05
  p.warmup_steps = 30
  p.b2 = 0.98

  c.rows = tree(GridRows())
  c.rows.rows = 16
  return c
