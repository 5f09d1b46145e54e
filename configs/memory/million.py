"""Do time and memory of a window stay the same over a million tokens?

  python -m experiments.read_stream --config=configs/memory/million.py \
      --workdir=DIR

Eight books of Project Gutenberg, read from an archive on disk a piece at a
time. Attention 1,000 tokens, MLP levels 5k | 25k | 100k: 1,240 sleeps. The
model is a tiny one, trained from scratch on another text by the same command.

Success: the median seconds of windows with as many hand-overs are in the second
half of the stream no more than a tenth above those in the first, and resident
memory at the end is no more than a twentieth above that after a quarter.

Stop rule: if the first 20,000 tokens say that all take more than forty
minutes, as many are read as do not.
"""

from ml_collections import ConfigDict

from configs.memory import four_level


def get_config() -> ConfigDict:
  c = four_level.get_config()
  c.text = 'gutenberg/gutenberg_8books.tar.xz'
  c.tokens = 1_000_000
  c.save_every = 50_000
  c.scratch.update(vocab_size=1024, num_layers=2, embed_dim=64, mlp_dim=192)
  c.pretraining.rows = 2
  c.pretraining.window = 1000
  k = c.continuum
  k.level_dims = (64, 64)
  k.slot_rank = 8
  k.wake.chunks = (1000, 5000, 25_000, 100_000)
  k.sleep.stretches.update(dreams=8, held_out=4, dream_tokens=16)
  k.sleep.seeding.update(
      steps=5, on_policy=0.0, group_size=1, alpha=1.0, warmup_steps=1)
  return c
