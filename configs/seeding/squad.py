"""Seeding and its baselines on SQuAD passages: SmolLM2, five seeds.

  python -m experiments.ablate_seeding --config=configs/seeding/squad.py \
      --workdir=DIR
"""

from ml_collections import ConfigDict

from configs.consolidate import smollm2
from configs.seeding import arms


def get_config() -> ConfigDict:
  c = smollm2.get_config()
  c.sleep.dreaming = None
  c.exam.drift = 'wikitext2'
  c.scale = 'squad'
  c.passages = 1  # Of every seed; no two seeds share one.
  c.split = 'val'
  c.arms = ('seeding', 'no_imitation', 'no_rehearsal', 'no_growth',
            'self_distillation', 'text_slot', 'text_low_rank', 'text_full')
  c.seeds = (0, 1, 2, 3, 4)
  c.rates = ConfigDict(arms.RATES)
  return c
