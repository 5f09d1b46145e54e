"""The small model that translates, for `experiments.translation`.

0.8 million tokens in 74 seconds of the processor, of a shared core of an AMD
EPYC. Its first two layers start as a rough lookup
(`sleepjax.models.lookup_init`).
"""

from ml_collections import ConfigDict

from configs.tree import tree
from sleepjax.pretraining.cipher_batches import CipherRows


def get_config() -> ConfigDict:
  c = ConfigDict()
  c.seed = 0
  c.save_every = 100

  m = c.model = ConfigDict()
  m.vocab_size = 128
  m.num_layers = 3
  m.embed_dim = 72
  m.mlp_dim = 144
  m.num_heads = 4
  m.num_kv_heads = 4
  m.head_dim = 32
  m.max_context = 256
  m.rope_theta = 10_000.0

  p = c.pretraining = ConfigDict()
  p.steps = 500
  p.learning_rate = 6e-3
  p.matrix_learning_rate = 0.01
  p.final_rate = 0.05
  p.warmup_steps = 30
  p.b2 = 0.98

  c.rows = tree(CipherRows())
  return c
