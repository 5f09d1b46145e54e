"""SmolLM2-135M-Instruct learns what a document says, as answered questions."""

from ml_collections import ConfigDict

from configs.consolidate import smollm2


def get_config() -> ConfigDict:
  c = smollm2.get_config()
  c.sleep.source = 'facts'
  return c
