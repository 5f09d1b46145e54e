"""Dreaming about SQuAD passages: SmolLM2, three seeds, two rounds.

  python -m experiments.ablate_dreaming --config=configs/dreaming/squad.py \
      --workdir=DIR
"""

from ml_collections import ConfigDict

from configs.consolidate import smollm2


def get_config() -> ConfigDict:
  c = smollm2.get_config()
  c.sleep.dreaming.rounds = 2
  c.exam.drift = 'wikitext2'
  c.scale = 'squad'
  c.passages = 1  # Of every seed; no two seeds share one.
  c.split = 'val'
  c.arms = ('dreaming', 'no_dreaming')
  c.seeds = (0, 1, 2)
  return c
