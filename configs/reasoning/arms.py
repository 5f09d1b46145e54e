"""Ways to learn from problems with their solutions: a sleep, and its rivals.

Changes to config.sleep by the name of the arm. All but `grpo` take as many
updates of as many rows; `grpo` takes five times the updates, as in the paper's
Table 5. What is called *whole* is what arms without growth train: all layers
here, LoRA of rank 64 at the scale of the paper.

* `sleep`: a new slot learns from rollouts, each begun with a part of a solution
  that the teacher sampled (λ = 1): D from the teacher at every token, and the
  imitation reward, half of it whether the answer is the teacher's (the judge),
  half the token distance (Eq. 3 and 4). Rollouts of one prompt are compared.
* `no_imitation`, `no_semantic`, `no_expansion`: the same with α = 1; with
  γ = 0; with the *whole* trained.
* `opsd`: one rollout of each problem from its beginning, D alone, the *whole*
  (on-policy self-distillation, arXiv 2601.18734). `opsd_slot`: in a new slot.
  Both see more problems an update than `sleep`, whose rollouts come in groups.
* `sft`: the solutions are the targets. `grpo`: groups of eight rollouts from
  the beginning, rewarded if right; no KL term.

The judge of `sleep` and the reward of `grpo` are one check, but `sleep` is
compared with the teacher's answer and `grpo` with the given one.
"""

from ml_collections import ConfigDict

from sleepjax.errors import UserError

UNTAUGHT = 'base'
_FROM_THE_START = {'source': 'text', 'seeding.prefix': 0.0}
_WHOLE = 'whole'  # In place of a name of `sleepjax.lifecycle.config.ADAPTERS`.
_OPSD = {**_FROM_THE_START, 'seeding.alpha': 1.0, 'seeding.group_size': 1}

ARMS = {
    'sleep': {},
    'opsd': {**_OPSD, 'trained': _WHOLE},
    'opsd_slot': _OPSD,
    'no_imitation': {'seeding.alpha': 1.0},
    'no_semantic': {'seeding.gamma': 0.0},
    'no_expansion': {'trained': _WHOLE},
    'sft': {**_FROM_THE_START, 'trained': _WHOLE, 'seeding.alpha': 1.0,
            'seeding.on_policy': 0.0, 'seeding.target': 'tokens'},
    'grpo': {**_FROM_THE_START, 'trained': _WHOLE, 'seeding.alpha': 0.0,
             'seeding.gamma': 1.0, 'seeding.group_size': 8,
             'seeding.advantage': 'group_normalised'},
}
GRPO_STEPS = 5  # Times those of the others.

# Whose learning rate an arm has that has none of its own.
_RATE_OF = {'no_imitation': 'sleep', 'no_semantic': 'sleep'}


def with_arm(sleep: ConfigDict, name: str, rates, whole: str) -> ConfigDict:
  """A copy of config.sleep with one arm's changes and learning rate.

  Args:
    sleep: of `sleep`.
    name: of an arm that learns.
    rates: learning rate by the name of an arm.
    whole: what arms without growth train.
  """
  owner = _RATE_OF.get(name, name)
  if name not in ARMS or owner not in rates:
    raise UserError(
        f'{name!r} is no arm with a rate: expected one of '
        f'{", ".join([UNTAUGHT, *ARMS])}, with config.rates.{owner}.')
  sleep = ConfigDict(sleep.to_dict())
  sleep.update_from_flattened_dict(ARMS[name])
  if sleep.trained == _WHOLE:
    sleep.trained = whole
  sleep.seeding.learning_rate = rates[owner]
  if name == 'grpo':
    sleep.seeding.steps *= GRPO_STEPS
  return sleep
