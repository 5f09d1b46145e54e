"""Qwen2.5-7B at the scale of the paper; see `common` and its README.

  python -m experiments.compile --config=configs/scale/qwen2p5_7b.py \
      --topology=v5e:8x8
"""

from ml_collections import ConfigDict

from configs.scale import common


def get_config() -> ConfigDict:
  c = common.get_config(
      vocab_size=152_064, num_layers=28, embed_dim=3584,
      mlp_dim=18_944, num_heads=28, num_kv_heads=4, head_dim=128,
      max_context=32_768, rope_theta=1_000_000.0,
      tie_embeddings=False, qkv_bias=True, rms_eps=1e-6)
  c.rollout_mesh.tensor = 4  # Key-value heads.
  return c
