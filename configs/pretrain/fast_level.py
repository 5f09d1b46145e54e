"""Initial fast weights for the tiny world that learn in one step.

  python -m experiments.pretrain_level --workdir=runs/fast_level
  python -m experiments.long_context --config.fast_level=runs/fast_level \
      --workdir=DIR

The model stays as it is; a level before its own MLPs learns to write what a
window of 128 tokens says into itself with one step of Eq. 2.

One step alone is trained, and the exam also reads two windows, a step after
each. Tried besides, on a fifth of a core: two windows from the start at a rate
of 8, unclipped, 100 steps of 4 streams, leave 83 % of one new fact in two
windows and 94 % of what is long known, but some streams diverge to the end;
with gradients clipped to a norm of 1, 34 % and 72 %; two windows after 60 steps
with one diverge.
"""

from ml_collections import ConfigDict


def get_config() -> ConfigDict:
  c = ConfigDict()
  c.model = 'tiny-world'
  c.seed = 0
  c.save_every = 20
  c.level_dim = 96
  c.clip_norm = 1e6  # Of a step's mean gradient: clipped to 1 it learns less.
  c.exam_streams = 32  # Each with one new fact, which no step has seen.

  p = c.fast_weights = ConfigDict()
  p.steps = 60
  p.streams = 6
  p.windows = 1
  p.window = 128
  p.facts = 4
  p.known = 4
  p.rate = 20.0  # A newborn level learns most at some 30.
  p.first_order = False
  p.learning_rate = 3e-3
  p.warmup_steps = 20
  return c
