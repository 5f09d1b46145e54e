"""A model grows in the middle of its training: what does the growth cost?

  python -m experiments.growth_training --config=configs/growth/training.py \
      --workdir=DIR

A small model is trained on WikiText-2's validation text, grown in four ways at
once, and trained on in several arms on the very same batches.
"""

from ml_collections import ConfigDict


def get_config() -> ConfigDict:
  c = ConfigDict()
  c.seeds = (0, 1, 2)  # More may be added to a finished run.

  # Operators of sleepjax.growth.operators, each with its fields in order.
  c.plan = (('MlpWidth', 576), ('QueryHeads', 3), ('Layers', (3,)),
            ('HiddenWidth', 144))
  c.steps_after = 100  # The steps before are pretraining.steps.
  c.warm_up_steps = 20  # Of new entries, in the arm that has one.
  c.rise_steps = 20  # After growth, among which the worst rise is looked for.
  c.held_out_tokens = 16_384  # Of WikiText-2's test text.

  m = c.scratch = ConfigDict()
  m.vocab_size = 2048
  m.num_layers = 4
  m.embed_dim = 128
  m.mlp_dim = 384
  m.num_heads = 4
  m.num_kv_heads = 2
  p = c.pretraining = ConfigDict()
  p.steps = 200
  p.rows = 8
  p.window = 64
  p.learning_rate = 3e-3
  p.warmup_steps = 30
  return c
