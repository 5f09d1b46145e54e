"""Sizes of one sleep at the scale of the paper, for any model.

A file beside this one adds a model's published shape; none of them names
weights. `python -m experiments.compile` compiles the programs of such a sleep
for a TPU slice that is not there.
"""

from ml_collections import ConfigDict


def get_config(**model) -> ConfigDict:
  """The configuration for a model.

  Args:
    **model: fields of `sleepjax.models.config.ModelConfig`.
  """
  c = ConfigDict()
  c.model = ConfigDict(model)
  c.slot_rank = 64
  c.slots = 1  # In the pool while it is seeded; growth appends the next.
  c.matmul_dtype = 'bfloat16'
  c.remat = 'full'
  c.attention_queries = 0  # Whose scores exist at once; 0 for all.

  # Weights split over all chips: what a layer needs comes together before it.
  # So are rows: on more chips than a batch has rows, give the rest to tensor.
  c.mesh = ConfigDict(dict(data=1, fsdp=-1, tensor=1))
  # A token at a time has little to compute: weights stay where they are, split
  # by heads and hidden units; tensor divides num_kv_heads.
  c.rollout_mesh = ConfigDict(dict(data=-1, fsdp=1, tensor=8))

  s = c.seeding = ConfigDict()
  s.group_size = 8
  s.rows = 256  # The paper's batch of 32 prefixes, each with its group.
  s.alpha = 0.8
  s.prompt_tokens = 128
  s.completion_tokens = 1024
  s.chunk_rows = 32_768  # Rows of all chips that meet the vocabulary at once.
  s.rehearsal_rows = 64
  s.rehearsal_prompt_tokens = 512  # Its text included.
  s.rehearsal_completion_tokens = 128
  s.retention_rows = 64
  s.retention_prompt_tokens = 64
  s.retention_completion_tokens = 128

  # Of a model with extra MLP levels, which learn while streams are read.
  w = c.wake = ConfigDict()
  w.streams = 64
  w.levels = ConfigDict(dict(
      chunks=(2048, 4096, 20_480, 40_960), learning_rates=(0.1, 0.03, 0.0),
      chunk_rows=256))  # Rows of every stream that meet the vocabulary at once.

  d = c.dreaming = ConfigDict()
  # Copies of the slot learn one dream each; the slot as it was is one more.
  d.kept = 63
  d.prompt_tokens = 128
  d.dream_tokens = 512
  d.inner_steps = 3
  d.questions = 8
  d.question_tokens = 64
  d.answer_tokens = 32
  return c
