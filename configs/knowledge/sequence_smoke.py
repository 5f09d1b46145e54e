r"""Every arm of `sequence.py` in a moment, to see that all of them run.

  python -m experiments.sequence --config=configs/knowledge/sequence_smoke.py \
      --config.model=FOLDER --list=train --workdir=DIR

FOLDER has a small model; its numbers mean nothing.
"""

from ml_collections import ConfigDict

from configs.knowledge import sequence, smoke


def get_config() -> ConfigDict:
  c, small = sequence.get_config(), smoke.get_config()
  c.sleep, c.exam = small.sleep, small.exam
  c.sequences = (0,)
  c.passages = 2
  return c
