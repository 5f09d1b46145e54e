"""Ways to learn classes that come one after another: a sleep, and its rivals.

Changes to config.sleep by the name of the arm. All take as many updates, see as
many new rows in each, and have the same stored rows of earlier increments; only
`no_store` and `sft` use none. What is rehearsed is about other classes.

* `sleep`: a new slot learns D from the model that has the increment in view, on
  the utterances alone; on stored ones it stays what it was before the night
  (retention), and with other examples in view what it was before all nights
  (rehearsal). Imitation is off: a label of one token has nothing to imitate.
* `no_rehearsal`, `no_store`: the same without rehearsal, or without retention.
  `no_growth`: the same in all layers.
* `sft`: all layers learn the labels as targets. `ewc`: and what stored rows
  need is held by elastic weight consolidation. `replay`: stored rows are
  learnt again, as many in an update as new ones.

`in_context`, `in_view` and `gaussian` change no weight
(`sleepjax.tasks.class_incremental`).
"""

from ml_collections import ConfigDict

from sleepjax.errors import UserError
from sleepjax.tasks.class_incremental import UNTAUGHT

_LABELS = {'trained': 'all_layers', 'seeding.target': 'tokens',
           'seeding.rehearsal': 0.0, 'seeding.retention': 0.0}

ARMS = {
    'sleep': {},
    'no_rehearsal': {'seeding.rehearsal': 0.0},
    'no_store': {'seeding.retention': 0.0},
    'no_growth': {'trained': 'all_layers'},
    'sft': _LABELS,
    'ewc': _LABELS,
    'replay': {**_LABELS, 'replay': True},
}

# Whose learning rate an arm has that has none of its own.
_RATE_OF = {'no_rehearsal': 'sleep', 'no_store': 'sleep',
            'no_growth': 'replay', 'sft': 'replay', 'ewc': 'replay'}


def with_arm(sleep: ConfigDict, name: str, chosen) -> ConfigDict:
  """A copy of config.sleep with one arm's changes.

  Args:
    sleep: of `sleep`.
    name: of an arm that learns.
    chosen: learning rate by the name of an arm; of `ewc` its weight λ.

  Raises:
    UserError: no such arm, or nothing chosen for it.
  """
  owner = _RATE_OF.get(name, name)
  if name not in ARMS or owner not in chosen or (
      name == 'ewc' and name not in chosen):
    raise UserError(
        f'{name!r} is no arm with a rate: expected one of '
        f'{", ".join([*ARMS, *UNTAUGHT])}, with config.chosen.{owner}.')
  sleep = ConfigDict(sleep.to_dict())
  sleep.update_from_flattened_dict(ARMS[name])
  sleep.seeding.learning_rate = chosen[owner]
  if name == 'ewc':
    sleep.seeding.ewc = chosen[name]
  if name == 'replay':
    sleep.seeding.rows *= 2
  return sleep
