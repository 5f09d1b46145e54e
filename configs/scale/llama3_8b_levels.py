"""Llama-3-8B with four memory levels; see `common` and its README.

  python -m experiments.compile --config=configs/scale/llama3_8b_levels.py \
      --topology=v5e:8x8 --programs=wake_update,hand_over,rollout

Attention 2,048 tokens, two extra MLP levels of 1,024 units and the blocks' own
MLPs, 4k | 20k | 40k, a slot in each. A chip reads a stream, whose extra levels
are its own.
"""

from ml_collections import ConfigDict

from configs.scale import llama3_8b


def get_config() -> ConfigDict:
  c = llama3_8b.get_config()
  c.model.update(level_dims=(1024, 1024), level_slots=(1, 1), slot_rank=64)
  return c
