"""Is there anything that dreaming could join? Two facts of two days.

  python -m experiments.beds --config=configs/beds/relational.py --workdir=DIR

One day says who is whose mentor, and the next where the mentors live; the exam
asks where the mentor of somebody lives, closed book. These are the arms of the
stop rule, without a second stage:

* `more_seeding`: 120 updates on the night's own dreams;
* `seeding`: 80 of them;
* `composites`: 120, with both days in view, and all composite questions among
  the dreams with right answers: what perfect dreams would do. It learns the
  words of its dreams, not the teacher's distributions: asked at once with both
  days in view, the teacher answers with the mentor's name;
* `both_in_view`: 120, with both days in view.

Stop rule: after the last night `more_seeding` answers at least 60 % of the
questions step by step, and `composites` is at least 30 points above it in the
exam 'composite'. Only then dreams can matter here, and arms that dream are
worth their cost: success would be dreams − more_seeding of at least 15 points
with an interval above 5, and one hop within 2 points.
"""

from ml_collections import ConfigDict

from configs import beds
from sleepjax.tasks.bed import BedConfig


def get_config() -> ConfigDict:
  c = beds.seeding_in(BedConfig('relational', room=8))
  c.sleep.unroll = False
  c.sleep.context_tokens = 320
  c.sleep.dreams.prompt_tokens = 20
  c.sleep.dreams.completion_tokens = 16
  s = c.sleep.seeding
  s.steps = 120
  s.on_policy = 0.0
  s.alpha = 1.0

  c.seeds = (0, 1, 2, 3, 4)
  c.changes = ConfigDict(dict(
      more_seeding={},
      seeding={'sleep': {'seeding': {'steps': 80}}},
      composites={'bed': {'two_days': True, 'given': True},
                  'sleep': {'seeding': {'target': 'tokens'}}},
      both_in_view={'bed': {'two_days': True}}))
  c.arms = ('more_seeding', 'composites', 'seeding', 'both_in_view')
  return c
