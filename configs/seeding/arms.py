"""Seeding, its ablations and its baselines: one lifecycle with parts switched.

  python -m experiments.consolidate --config=configs/seeding/arms.py:NAME \
      --document=FILE --questions=FILE.json --workdir=DIR

NAME is a key of `ARMS`. All arms but `no_sleep` take as many updates of as many
rows. They are not of equal cost: rollouts are written and read besides, and so
are rehearsed rows; tables give the tokens. None dreams in the second stage,
which is measured for itself. Trained parameters of SmolLM2: 3.32 M in a slot of
rank 64, 3.36 M in LoRA of rank 11 on all matrices, 106 M in all layers.
"""

from ml_collections import ConfigDict

from configs.consolidate import smollm2
from sleepjax.errors import UserError

_ON_THE_TEXT = {'source': 'text', 'seeding.target': 'tokens',
                'seeding.on_policy': 0.0, 'seeding.alpha': 1.0,
                'seeding.rehearsal': 0.0, 'seeding.retention': 0.0}

# Changes to config.sleep, by the name of the arm.
ARMS = {
    'seeding': {},
    'no_sleep': {'seeding.steps': 0},
    # Ablations of the objective.
    'no_imitation': {'seeding.alpha': 1.0},
    'no_semantic_reward': {'seeding.gamma': 0.0},
    'no_rehearsal': {'seeding.rehearsal': 0.0},
    'no_retention': {'seeding.retention': 0.0},
    'off_policy': {'seeding.on_policy': 0.0, 'seeding.alpha': 1.0},
    'on_policy': {'seeding.on_policy': 1.0},
    'reverse_kl': {'seeding.divergence.kind': 'reverse_kl'},
    'jsd': {'seeding.divergence.kind': 'jsd'},
    'ema_teacher': {'seeding.teacher': 'ema'},
    'group_normalised': {'seeding.advantage': 'group_normalised'},
    # Growth without seeding: the new slot learns from the text itself, or from
    # the words of the dreams instead of their distributions.
    'text_slot': _ON_THE_TEXT,
    'text_slot_kept': {**_ON_THE_TEXT, 'seeding.rehearsal': 1.0,
                       'seeding.retention': 1.0},
    'dreams_as_text': {**_ON_THE_TEXT, 'source': 'dreams'},
    # Seeding without growth.
    'no_growth': {'trained': 'low_rank'},
    'self_distillation': {'trained': 'low_rank', 'seeding.alpha': 1.0,
                          'seeding.on_policy': 1.0},
    'static_slot': {**_ON_THE_TEXT, 'trained': 'static_slot'},
    'text_low_rank': {**_ON_THE_TEXT, 'trained': 'low_rank'},
    'text_full': {**_ON_THE_TEXT, 'trained': 'all_layers'},
    'ewc': {**_ON_THE_TEXT, 'trained': 'all_layers', 'seeding.ewc': 1e1},
    'replay': {**_ON_THE_TEXT, 'trained': 'all_layers', 'replay': True},
}

# Learning rates of AdamW where it is not a slot that learns.
RATES = {'low_rank': 3e-4, 'all_layers': 2e-5}


def with_arm(sleep: ConfigDict, name: str, rates) -> ConfigDict:
  """A copy of config.sleep with one arm's changes.

  Args:
    sleep: of the method itself.
    name: of the arm.
    rates: learning rates by the name of the arm, or by what is trained.
  """
  if name not in ARMS:
    raise UserError(f'{name!r} is no arm: expected one of {", ".join(ARMS)}.')
  sleep = ConfigDict(sleep.to_dict())
  sleep.update_from_flattened_dict(ARMS[name])
  sleep.seeding.learning_rate = rates.get(
      name, rates.get(sleep.trained, sleep.seeding.learning_rate))
  return sleep


def get_config(name: str = 'seeding') -> ConfigDict:
  c = smollm2.get_config()
  c.sleep.dreaming = None
  c.sleep = with_arm(c.sleep, name, RATES)
  return c
