r"""Reasoning as `small.py` has it, with five seeds and 500 problems each.

  python -m experiments.reasoning --config=configs/reasoning/full.py \
      --workdir=DIR

Every other choice is that of `small.py`, learning rates and the pretrained
model included: DIR/pretrained may be a copy of it.
"""

from ml_collections import ConfigDict

from configs.reasoning import small


def get_config() -> ConfigDict:
  c = small.get_config()
  c.seeds = (0, 1, 2, 3, 4)
  c.bed.exam = 500
  return c
