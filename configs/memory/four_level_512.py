"""Four memory levels with the chunks of Nested Learning, 512 | 2k | 8k.

  python -m experiments.read_stream --config=configs/memory/four_level_512.py \
      --workdir=DIR

Attention 256 tokens, MLP levels 512 | 2,048 | 8,192 (arXiv 2512.24695, its
Hope model): 624 sleeps in 98,304 tokens.
"""

from ml_collections import ConfigDict

from configs.memory import four_level


def get_config() -> ConfigDict:
  c = four_level.get_config()
  c.tokens = 98_304  # Twelve chunks of the slowest level.
  c.save_every = 24_576
  c.continuum.wake.chunks = (256, 512, 2048, 8192)
  return c
