r"""Every arm of `small.py` in a moment, to see that all of them run.

  python -m experiments.knowledge_incorporation \
      --config=configs/knowledge/smoke.py --config.model=FOLDER \
      --list=train --passages=1 --workdir=DIR

FOLDER has a small model; its numbers mean nothing.
"""

from ml_collections import ConfigDict

from configs.knowledge import small


def get_config() -> ConfigDict:
  c = small.get_config()
  c.sleep.unroll = False
  c.sleep.matmul_dtype = 'float32'
  c.sleep.slot_rank = 4
  c.sleep.low_rank = 2
  c.sleep.memories = 0
  c.sleep.contrasts = 4
  c.sleep.writing.spans_per_sentence = 1
  c.sleep.writing.ask.samples = 1
  c.sleep.writing.ask.rounds = 1
  c.sleep.seeding.epochs = 0.0
  c.sleep.seeding.steps = 2
  c.sleep.seeding.rows = 2
  c.sleep.seeding.retention_rows = 1
  c.sleep.seeding.rehearsal = 0.0  # A random model has no question to rehearse.
  c.exam.drift = 'bundled'
  c.exam.drift_tokens = 64
  c.exam.controls = 1
  c.exam.max_new_tokens = 4
  return c
