"""Dreaming with parts switched; all else, seeding above all, is the same."""

from ml_collections import ConfigDict

from sleepjax.errors import UserError

# Changes to config.sleep.dreaming, by the name of the arm.
ARMS = {
    'dreaming': {},
    'no_random_expert': {'random_expert': False},
    'no_gradient_selection': {'selection': 'random'},
    'influence_selection': {'selection': 'influence'},
    'no_curriculum': {'curriculum': 'uniform'},
    'only_tonight': {'rehearsed': 0},
    'group_relative': {'outer': 'group_relative', 'reward': 'improvement'},
    'merged_generator': {'generator': 'merged'},
    # The write-back without dreams: tonight's seeding goes on as long.
    'no_rounds': {'rounds': 0},
}
# And without a second stage, or with longer seeding instead of one.
WITHOUT = ('no_dreaming', 'more_seeding')


def with_arm(sleep: ConfigDict, name: str) -> ConfigDict:
  """A copy of config.sleep with one arm's changes."""
  if name not in ARMS and name not in WITHOUT:
    raise UserError(f'{name!r} is no arm: expected one of '
                    f'{", ".join((*ARMS, *WITHOUT))}.')
  if sleep.get('dreaming') is None and name != 'no_dreaming':
    raise UserError(
        f'arm {name!r} needs config.sleep.dreaming, which is None: start from '
        'a configuration that dreams, such as configs/dreaming/world.py.')
  sleep = ConfigDict(sleep.to_dict())
  if name in ARMS:
    sleep.dreaming.update(ARMS[name])
    return sleep
  if name == 'more_seeding':
    sleep.seeding.steps += sleep.dreaming.write_back_steps
  sleep.dreaming = None
  return sleep
