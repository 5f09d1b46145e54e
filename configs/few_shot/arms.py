"""Few-shot tasks learnt in several ways: a sleep, and its rivals.

Each arm is how a task is learnt and whose self-edit says how. All answer with
the examples in view, by the votes of augmentations, and every task is learnt
by a fresh copy of the model.

* `in_context` learns nothing.
* `ttt` fine-tunes all weights by one self-edit, the same for all tasks
  (`config.edit`); `ttt_slot` seeds a new slot by the same one.
* `untrained` fine-tunes all weights by a self-edit that the model writes.
* `seal` does so after ReST-EM: 15 self-edits for each of 11 other tasks, tried
  by fine-tuning; the writer learns those after which all answers were right.
* `sleep` writes 60 dreams, self-edits, for each of these tasks, tries the 12
  whose gradient is largest and 3 others, by seeding a new slot, trains its
  writer on them in the same way, and spends the night of every task of the exam
  by a self-edit of this writer.

Updates are of as many augmented tasks; fine-tuning learns all outputs of each,
a night the last one, with the others in view.
"""

from typing import NamedTuple


class Arm(NamedTuple):
  """How an arm learns.

  learns: 'nothing', 'all weights' or 'slot'.
  writer: of its self-edits: 'fixed', 'untrained', 'trained', or 'dreaming',
    which is trained on dreams.
  """

  learns: str
  writer: str = 'fixed'


ARMS = {
    'sleep': Arm('slot', 'dreaming'),
    'seal': Arm('all weights', 'trained'),
    'untrained': Arm('all weights', 'untrained'),
    'ttt': Arm('all weights'),
    'ttt_slot': Arm('slot'),
    'in_context': Arm('nothing')}
