r"""Ten increments of five invented intents, learnt one after another.

  python -m experiments.class_incremental \
      --config=configs/class_incremental/small.py --workdir=DIR

The paper's Figure 3 in its smallest form, in the tiny world. An intent is a
made-up label and three things that go with it; an utterance asks who has one of
them. Labelled examples stand in view as sentences of the world, 15 an
increment; 30 utterances are learnt from, ten of them stored, and after every
night 30 others of every increment so far are asked, in wordings that no night
learns. They are new in their wording alone. The model chooses among the labels
known so far. A seed draws labels, what goes with them, and their order. Arms
stand in `arms.py` beside this file.

Question. Does a model that sleeps on every increment know more of all classes
in the end than one that is fine-tuned on the same rows, with nothing against
forgetting, with elastic weight consolidation, or with the same stored rows?

Stop rule, checked first on the seed of choices: with its increment in view an
utterance gets its label, among all fifty, at least 20 points more often than
closed book. Labels are calibrated by an empty utterance if that is better in
view. Else the run ends, and nothing is said of the arms.

Criterion, written before any run: average accuracy of `sleep` after the last
night lies above that of `sft`, `ewc` and `replay`, 95 % intervals over seeds
apart. `no_growth`, `no_store` and `no_rehearsal` say what of it is the slot,
the stored rows, and rehearsal; `gaussian`, which learns no weight and cannot
forget, stands beside them whether it wins or not; `in_context` is a life
without sleep, `in_view` the ceiling. *Teacher* is how many labels of an
increment are right in view before its night: what a night can learn.
*Elsewhere* is the share of long-known facts that are still known.

The learning rates of `sleep` and `replay`, and λ of `ewc`, are chosen by
  --choose
on seed 100, the best of three average accuracies after the last night; arms
in all layers have the rate of `replay`, those that grow that of `sleep`.

The stop rule passes, 3 against 100 %. Tried before: nights without rehearsal,
of which the second learnt next to nothing. Result: not shown; on two seeds
`replay` ends at 76 %, `gaussian` at 68, `sleep` at 46, `ewc` at 44 and `sft` at
12 % (docs/results/class_incremental.md). Other seeds are still to be run.
"""

from ml_collections import ConfigDict

from configs.tree import tree
from sleepjax.lifecycle.config import SleepConfig
from sleepjax.runs.session import Saving
from sleepjax.tasks.class_incremental import ClassConfig


def get_config() -> ConfigDict:
  c = ConfigDict()
  c.model = 'tiny-world'
  c.data = 'invented'  # Or a name in sleepjax.data.intents.BENCHMARKS.
  c.bed = tree(ClassConfig())
  c.saving = tree(Saving())
  c.seeds = (0, 1, 2, 3, 4)
  c.arms = ('sleep', 'sft', 'replay', 'gaussian', 'ewc', 'in_context',
            'in_view', 'no_growth', 'no_rehearsal', 'no_store')

  s = c.sleep = tree(SleepConfig())
  del s.writing, s.rows  # Of facts, of which no arm learns.
  s.answer_prompt = '{question}'
  s.source = 'text'  # Rows are given.
  s.dreaming = None
  s.slot_rank = 8
  s.matmul_dtype = 'float32'
  s.dreams.completion_tokens = 2  # A label and the end.
  q = s.seeding
  q.steps = 60
  q.rows = 16
  q.in_passes = True
  q.on_policy = 0.0
  q.group_size = 1
  q.alpha = 1.0
  q.rehearsal = 1.0
  q.rehearsal_rows = 4
  q.rehearsal_every = 4
  q.retention = 1.0
  q.retention_rows = 16

  c.tried = ConfigDict({
      'sleep': (3e-3, 1e-2, 3e-2),
      'replay': (3e-4, 1e-3, 3e-3),
      'ewc': (1e0, 1e1, 1e2)})
  c.choice_seed = 100
  c.chosen = ConfigDict({name: tried[1] for name, tried in c.tried.items()})
  return c
