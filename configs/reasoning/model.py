"""The small model that solves some arithmetic, for `experiments.reasoning`.

2.5 million tokens in five minutes of a shared core of an AMD EPYC. What it can
is in docs/results/reasoning.md: too little, with a solution in view.
"""

from ml_collections import ConfigDict


def get_config() -> ConfigDict:
  c = ConfigDict()
  c.seed = 0
  c.save_every = 100

  m = c.model = ConfigDict()
  m.vocab_size = 96
  m.num_layers = 3
  m.embed_dim = 64
  m.mlp_dim = 192
  m.num_heads = 4
  m.num_kv_heads = 4
  m.head_dim = 16
  m.max_context = 512

  p = c.pretraining = ConfigDict()
  p.steps = 600
  p.learning_rate = 6e-3
  p.matrix_learning_rate = 0.01
  p.final_rate = 0.05
  p.warmup_steps = 30
  p.b2 = 0.98

  r = c.rows = ConfigDict()
  r.rows = 32
  r.length = 128
  r.turns = 3
  r.view_share = 0.45
  r.slip_share = 0.7
  return c
