"""Ways to learn what a passage says: a sleep, its rivals, and no learning.

Changes to config.sleep by the name of the arm. All rivals but `passage_sft`
learn from the very words that `sleep` learns from, as many rows of them in as
many updates, each at a rate of its own; none is undone, whatever it does to
other answers. `sft_` is supervised fine-tuning: the answers themselves are the
targets, as they are of `sleep`, which differs in what is trained: a new slot of
1.7 M parameters in the upper ten layers of SmolLM2-135M, against LoRA of rank
11 on all matrices, 3.4 M, or the 106 M of all layers.

`passage_sft` is fine-tuning on the passage as SEAL has it (Zweiger et al. 2025,
arXiv 2506.10943): LoRA of rank 32 with alpha 64, ten epochs, one row an update,
learning rate 1e-3; rows are the passage, in pieces of at most 192 tokens, and
each of its sentences. Unlike there the rate decays by a cosine, and a chat
prompt about the title stands in front.

`sdft` is self-distillation fine-tuning (arXiv 2601.19897): one rollout of the
student for every prompt, forward KL from a teacher that follows it slowly and
has the passage in view with the sentence that answers, first three tokens
masked, no replay; LoRA instead of all layers.

Two arms have their place in `sequence.py`, where nights follow one another:
`static_slot`, with the full objective, trains in later nights the slot that the
first has grown, which in a first night is the same as `sleep`'s; `no_retention`
has nothing that holds closed-book answers.
"""

from ml_collections import ConfigDict

from sleepjax.errors import UserError
from sleepjax.tasks.incorporation import UNTAUGHT

_RIVAL = {'max_retention_divergence': 1e9}
_NO_REPLAY = {'seeding.rehearsal': 0.0, 'seeding.retention': 0.0}

ARMS = {
    'sleep': {},
    'sft_low_rank': {**_RIVAL, 'trained': 'low_rank'},
    'sft_all_layers': {**_RIVAL, 'trained': 'all_layers'},
    'sft_no_replay': {**_RIVAL, **_NO_REPLAY, 'trained': 'low_rank'},
    'passage_sft': {
        **_RIVAL, **_NO_REPLAY, 'source': 'text', 'trained': 'low_rank',
        'low_rank': 32, 'low_rank_scale': 2.0,
        'dreams.completion_tokens': 192, 'seeding.rows': 1,
        'seeding.group_size': 1, 'seeding.steps': 10, 'seeding.epochs': 10.0,
        'seeding.warmup_steps': 0},
    'sdft': {
        **_RIVAL, **_NO_REPLAY, 'trained': 'low_rank',
        'dreams.completion_tokens': 24, 'seeding.target': 'teacher',
        'seeding.on_policy': 1.0, 'seeding.group_size': 1,
        'seeding.prefix': 0.0, 'seeding.teacher': 'ema',
        'seeding.ema_decay': 0.98, 'seeding.masked_first_tokens': 3},
    'static_slot': {'trained': 'static_slot'},
    'no_retention': {'seeding.retention': 0.0},
}


def with_arm(sleep: ConfigDict, name: str, rates) -> ConfigDict:
  """A copy of config.sleep with one arm's changes and learning rate.

  Args:
    sleep: of `sleep`.
    name: of an arm; the untaught ones change nothing.
    rates: learning rate by the name of an arm that learns.
  """
  sleep = ConfigDict(sleep.to_dict())
  if name in UNTAUGHT:
    return sleep
  if name not in ARMS or name not in rates:
    raise UserError(
        f'{name!r} is no arm with a rate: expected one of '
        f'{", ".join([*UNTAUGHT, *(arm for arm in ARMS if arm in rates)])}.')
  sleep.update_from_flattened_dict(ARMS[name])
  sleep.seeding.learning_rate = rates[name]
  return sleep
