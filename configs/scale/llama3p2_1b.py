"""Llama-3.2-1B at the scale of the paper; see `common` and its README.

  python -m experiments.compile --config=configs/scale/llama3p2_1b.py \
      --topology=v5e:8x8
"""

from ml_collections import ConfigDict

from configs.scale import common


def get_config() -> ConfigDict:
  c = common.get_config(
      vocab_size=128_256, num_layers=16, embed_dim=2048, mlp_dim=8192,
      num_heads=32, num_kv_heads=8, head_dim=64, max_context=131_072,
      rope_theta=500_000.0, tie_embeddings=True, rms_eps=1e-5,
      rope_scaling=dict(
          factor=32.0, low_freq_factor=1.0, high_freq_factor=4.0,
          original_max_context=8192))
  # With all scores at once an update waits for memory: 60 % MFU, not 67.
  c.attention_queries = 64
  return c
