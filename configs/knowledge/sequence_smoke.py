r"""Arms of `sequence.py` in a moment, to see that they run.

  python -m experiments.sequence --config=configs/knowledge/sequence_smoke.py \
      --config.model=FOLDER --list=train --workdir=DIR

FOLDER has a small model; its numbers mean nothing. All layers are left out:
`smoke.py` has them, and every arm takes some ten seconds of compilation.
"""

from ml_collections import ConfigDict

from configs.knowledge import sequence, smoke


def get_config() -> ConfigDict:
  c, small = sequence.get_config(), smoke.get_config()
  c.sleep, c.exam = small.sleep, small.exam
  c.arms = ('sleep', 'static_slot', 'no_retention', 'sft_low_rank')
  c.sequences = (0,)
  c.passages = 2
  return c
