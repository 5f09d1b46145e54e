"""Qwen3-8B at the scale of the paper; see `common` and its README.

  python -m experiments.compile --config=configs/scale/qwen3_8b.py \
      --topology=v5e:8x8
"""

from ml_collections import ConfigDict

from configs.scale import common


def get_config() -> ConfigDict:
  return common.get_config(
      vocab_size=151_936, num_layers=36, embed_dim=4096,
      mlp_dim=12_288, num_heads=32, num_kv_heads=8, head_dim=128,
      max_context=40_960, rope_theta=1_000_000.0,
      tie_embeddings=False, qk_norm=True, rms_eps=1e-6)
