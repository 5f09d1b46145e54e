"""A seeder with all terms on a small model; the teacher alone has read."""

import numpy as np

from sleepjax.growth.learner import Learner
from sleepjax.models import transformer
from sleepjax.seeding import loop
from sleepjax.seeding.examples import paired_examples, score_examples
from sleepjax.seeding.roles import Imitation, Privilege
from sleepjax.seeding.settings import SeedingConfig

HEAD, DOCUMENT, INDEX = (50, 51), tuple(range(40, 52)), 1
PROMPTS = [[5, 6, 7, 8], [9, 10], [11], [12, 13, 14], [15, 16]]
COMPLETIONS = [[20, 21, 22], [23, 24], [24, 25, 26, 27, 28], [29, 30], [31, 32]]
SETTINGS = SeedingConfig(
    steps=4, rows=4, group_size=2, on_policy=0.5, alpha=0.6, warmup_steps=1,
    rehearsal=0.7, retention=0.3, rehearsal_rows=2, retention_rows=2,
    learning_rate=0.01, levenshtein_threshold=1.0)


def seeder(config, frozen, settings=SETTINGS, first_layer=0) -> loop.Seeder:
  """Of the slot in place `INDEX` of a model with two."""
  whole = [[*HEAD, *prompt] for prompt in PROMPTS]
  segment = transformer.hidden_states(
      config, frozen, np.array([DOCUMENT]))[1]
  examples = score_examples(
      config, frozen, PROMPTS, whole, COMPLETIONS, 6, (segment,))
  rehearsal, retention = (
      paired_examples(config, frozen, pairs, 6, HEAD) for pairs in (
          list(zip(whole[:3], COMPLETIONS[2:])),
          list(zip(whole[2:], COMPLETIONS[:3]))))
  return loop.Seeder(
      Learner(config, frozen, index=INDEX, first_layer=first_layer), settings,
      loop.Terms(examples, rehearsal, retention, shared_prefix=HEAD),
      Privilege((segment,), DOCUMENT), Imitation((29, 3)))
