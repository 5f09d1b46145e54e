"""Does growth matter where capacity runs out? Facts of many days, tiny slots.

  python -m experiments.beds --config=configs/beds/growth.py:160 --workdir=DIR

The text after the colon is the number of facts, 10 a day up to 320 and 40 a day
beyond: 160 takes an hour on a core, 320 two, 1280 wants a larger machine. All
arms have the same objective, dreams, replay of 256 earlier prompts, updates and
rows; they differ in what a night trains:

* `growth`: a new slot of rank 2 each night; earlier ones are frozen;
* `static_slot`: one slot of rank 2, trained on every night;
* `static_pool`: as many units as `growth` has in the end, all of them trained
  on every night from the first on;
* `low_rank_mlp`: LoRA of rank 1 on the MLP's matrices, 1.5 times a slot of rank
  2, merged into them every night.

Stop rule: if neither `growth` nor `static_slot` answers 60 % of the direct
questions right after their own night, slots are too small to see anything.

Success, in direct questions right after the last night: growth − static_slot is
at least 10 points at the large size, interval above 0, and at most 2 points at
80 facts (the column *at 80* of the same lives); and growth is not behind
static_pool, or it is size. An interval below 0 of growth − static_slot at the
large size refutes that growth is what more facts need.
"""

from ml_collections import ConfigDict

from configs import beds
from sleepjax.errors import UserError
from sleepjax.tasks.bed import BedConfig

_RANK = 2


def get_config(facts: str = '160') -> ConfigDict:
  if not facts.isdigit():
    raise UserError(f'configs/beds/growth.py:{facts}: expected a number of '
                    'facts, such as 160.')
  number = int(facts)
  bed = BedConfig('capacity', number, 10 if number <= 320 else 40, room=32)
  c = beds.seeding_in(bed)
  c.sleep.slot_rank = _RANK
  c.sleep.memories = 96
  c.sleep.unroll = False
  s = c.sleep.seeding
  s.on_policy = 0.0
  s.alpha = 1.0
  nights = -(-bed.facts // bed.facts_a_day)

  c.seeds = (0, 1, 2)
  # The rate is that of the quickstart: on seed 100 growth knew as much at twice
  # that. The others have the same, which was not chosen for them.
  c.changes = ConfigDict(dict(
      growth={},
      static_slot={'sleep': {'trained': 'static_slot'}},
      static_pool={'bed': {'room': 1}, 'sleep': {
          'trained': 'static_slot', 'slot_rank': _RANK * nights}},
      low_rank_mlp={'sleep': {'trained': 'low_rank_mlp', 'low_rank': 1}}))
  c.arms = ('growth', 'static_slot', 'static_pool', 'low_rank_mlp')
  return c
