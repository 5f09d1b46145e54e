"""Every growth operator on three models: by how much do the logits move?

  python -m experiments.growth_parity --config=configs/growth/parity.py \
      --workdir=DIR

SmolLM2 comes with its own weights. The two others are random models with the
shapes that the first lacks: query-key norms, heads whose size is not D / H, an
untied head, groups of four queries, Llama-3 frequency scaling.
"""

from ml_collections import ConfigDict


def get_config() -> ConfigDict:
  c = ConfigDict()
  c.seed = 0
  c.tokens = 64  # Of WikiText-2's validation text, or of a bundled one.
  c.slot_rank = 64

  # Names of `shapes`, or whatever `load_pretrained` takes.
  c.models = ('smollm2-135m-instruct', 'qwen3_shaped', 'llama_shaped')
  shapes = c.shapes = ConfigDict()
  common = dict(vocab_size=2048, num_layers=4, num_heads=8, num_kv_heads=2,
                mlp_dim=384, max_context=2048)
  shapes.qwen3_shaped = ConfigDict(dict(
      common, embed_dim=128, head_dim=32, qk_norm=True, rms_eps=1e-6,
      rope_theta=1e6, tie_embeddings=True))
  shapes.llama_shaped = ConfigDict(dict(
      common, embed_dim=128, head_dim=16, rope_theta=5e5, tie_embeddings=False,
      rope_scaling=dict(factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0,
                        original_max_context=512)))
  return c
