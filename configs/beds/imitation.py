"""Does imitation matter where the divergence is weak, and only there?

  python -m experiments.beds --config=configs/beds/imitation.py:exact \
      --workdir=DIR

The text after the colon is what the teacher says at each token of a rollout:
its whole distribution (`exact`), one sample of it (`sampled`) or its likeliest
token (`likeliest`); or what it makes of the student's own sampled token, the
reverse divergence by policy gradient (`estimated`). Every update learns from
rollouts (λ = 1), 8 of each of 8 dreams. Arms are named by α in percent: α
weighs the divergence, and 1 − α the imitation reward. Nothing else differs.
With α = ½ the divergence weighs half as much beside rehearsal and retention;
`alpha_100_replay` has that, too, without imitation: α = 1 and both of these
doubled.

Theory: of one right answer of probability p the gradient of the expected reward
is in proportion to p (1 − p), that of the divergence to 1 − p; so beside an
exact divergence imitation should add nothing.

Stop rule: if `alpha_100` answers fewer than 20 % or more than 90 % of the
direct questions after the last night, the bed has no room on one side: change
the number of updates on seed 100 before any row is taken. With 40 updates a
night and 20 facts `alpha_100` answered 95 to 100 % there, whatever the teacher
says, with 10 it answered 45 to 50 %: so it is 12, and 40 facts, for power.

Success, in direct questions after the last night: alpha_50 − alpha_100 is at
least 5 points, interval above 0, where the divergence is sampled, likeliest or
estimated, and less than 2 either way where it is exact (two one-sided tests).
"""

from ml_collections import ConfigDict

from configs import beds
from sleepjax.errors import UserError
from sleepjax.tasks.bed import BedConfig

_DIVERGENCES = {
    'exact': {}, 'sampled': {'target': 'sampled'},
    'likeliest': {'target': 'likeliest'},
    'estimated': {'divergence.kind': 'reverse_kl', 'estimator': 'sampled'}}


def get_config(divergence: str = 'exact') -> ConfigDict:
  if divergence not in _DIVERGENCES:
    raise UserError(f'configs/beds/imitation.py:{divergence}: expected one of '
                    f'{", ".join(_DIVERGENCES)}.')
  c = beds.seeding_in(BedConfig('capacity', facts=40))
  s = c.sleep.seeding
  s.steps = 12
  s.on_policy = 1.0
  s.group_size = 8
  s.rows = 64
  s.retention_rows = 16
  s.update_from_flattened_dict(_DIVERGENCES[divergence])

  c.seeds = (0, 1, 2, 3, 4)
  c.changes = ConfigDict({
      f'alpha_{alpha}': {'sleep': {'seeding': {'alpha': alpha / 100}}}
      for alpha in (100, 80, 50, 20)})
  c.changes.alpha_100_replay = {'sleep': {'seeding': {
      'alpha': 1.0, 'rehearsal': 2 * s.rehearsal,
      'retention': 2 * s.retention}}}
  c.arms = ('alpha_100', 'alpha_50', 'alpha_100_replay', 'alpha_80', 'alpha_20')
  return c
