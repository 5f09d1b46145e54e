"""A decoder of two layers, for tests and for a first try: seconds to compile.

  python -m experiments.compile --config=configs/scale/small.py \
      --topology=v5e:2x2
"""

from ml_collections import ConfigDict

from configs.scale import common


def get_config(levels: str = '') -> ConfigDict:
  """The configuration; with `:levels` behind its name, of four memory levels.
  """
  c = common.get_config(
      vocab_size=512, num_layers=2, embed_dim=256, mlp_dim=512, num_heads=8,
      num_kv_heads=4, head_dim=32, max_context=2048)
  c.slot_rank = 8
  if levels:
    c.model.update(level_dims=(64, 32), level_slots=(1, 1), slot_rank=8)
  c.attention_queries = 20
  c.rollout_mesh.tensor = 2
  c.seeding.update(
      rows=8, prompt_tokens=16, completion_tokens=32, chunk_rows=64,
      rehearsal_rows=4, rehearsal_prompt_tokens=32,
      rehearsal_completion_tokens=16, retention_rows=4,
      retention_prompt_tokens=16, retention_completion_tokens=16)
  c.wake.streams = 4
  c.wake.levels.update(chunks=(16, 16, 32, 64), chunk_rows=8)
  c.dreaming.update(kept=7, prompt_tokens=16, dream_tokens=16, questions=3,
                    question_tokens=16, answer_tokens=8)
  return c
