"""A model with four memory levels reads 100,000 tokens.

  python -m experiments.read_stream --config=configs/memory/four_level.py \
      --workdir=DIR

Attention 500 tokens, MLP levels 1k | 5k | 10k: 320 sleeps. The model is a
small one, trained from scratch on another text by the same command.
"""

from ml_collections import ConfigDict, config_dict


def get_config() -> ConfigDict:
  c = ConfigDict()
  c.seed = 0
  c.text = 'wikitext2/test.txt'  # In the folder of data sets, or a path.
  c.tokens = 100_000
  c.skip_tokens = 0  # Settings were chosen on 20,000 tokens after 200,000.
  c.save_every = 20_000  # Tokens; a run that stops goes on from there.

  # A folder or .gguf file, or None: one is trained from scratch.
  c.model = config_dict.placeholder(str)
  m = c.scratch = ConfigDict()
  m.vocab_size = 2048
  m.num_layers = 4
  m.embed_dim = 128
  m.mlp_dim = 384
  m.num_heads = 4
  m.num_kv_heads = 2
  p = c.pretraining = ConfigDict()
  p.steps = 400
  p.rows = 16
  p.window = 128

  k = c.continuum = ConfigDict()
  k.level_dims = (128, 128)
  k.slots = ()  # As many as a chunk of the receiver fills.
  k.slot_rank = 16
  w = k.wake = ConfigDict()
  w.chunks = (500, 1000, 5000, 10_000)  # Tokens: attention, then MLP levels.
  w.learning_rates = (0.1, 0.03, 0.01)  # Of the MLP levels, fastest first.
  w.optimizer = 'sgd'
  w.clip_norm = 1.0
  s = k.sleep = ConfigDict()
  s.stretches = ConfigDict(dict(
      dreams=16, prompt_tokens=16, dream_tokens=32, temperature=1.0))
  s.seeding = ConfigDict(dict(
      steps=10, rows=8, on_policy=0.2, group_size=4, alpha=0.8, rehearsal=0.0,
      learning_rate=3e-4, warmup_steps=2))
  return c
