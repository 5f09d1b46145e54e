"""Beds: small worlds in which one part of a sleep can matter."""

from ml_collections import ConfigDict

from configs import quickstart
from configs.tree import tree
from sleepjax.tasks.bed import BedConfig


def seeding_in(bed: BedConfig) -> ConfigDict:
  """A bed lived through with the quickstart's sleep, without a second stage."""
  c = quickstart.get_config()
  del c.days, c.seed
  c.sleep.dreaming = None
  c.sleep.seeding.rehearsal_every = 4
  c.bed = tree(bed)
  return c
