"""The same stream with two memory levels: attention and the model's own MLP.

  python -m experiments.read_stream --config=configs/memory/two_level.py \
      --workdir=DIR

Attention 512 tokens, MLP five times that, as the paper's two-level Transformer
has it (128K and 5 · 128K).
"""

from ml_collections import ConfigDict

from configs.memory import four_level


def get_config() -> ConfigDict:
  c = four_level.get_config()
  c.continuum.level_dims = ()
  c.continuum.wake.chunks = (512, 2560)
  c.continuum.wake.learning_rates = (0.01,)
  return c
