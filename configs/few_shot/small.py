r"""Few-shot tasks: a small model and generated grids, in minutes.

  python -m experiments.few_shot --config=configs/few_shot/small.py \
      --workdir=DIR

The paper's Table 4 in its smallest form. A model of 0.2 million parameters is
pretrained first (model.py beside this file) and kept in DIR/pretrained. A task
is a composition of two of sixteen primitives on grids of 3 × 3 cells in five
colours: four pairs are shown and four others asked. Compositions of
pretraining, of the training of writers, of the choice and of the exam are
different functions. The exam has 50 tasks, 200 trials, of 48 compositions.

Question. Does a night on dreams of a task, by self-edits of a writer that was
trained on dreams chosen by their gradient, answer more than SEAL does?

Stop rule, checked first, on 5 compositions that are in no other part: in
context at most 20 % are right, and after test-time training by the best of
`config.oracle` for each task, chosen by its answers, at least 80 %. Else the
run ends, and nothing is said of the arms; --any_room goes on, to see what they
do.

Result: stopped. In context 25 % are right, after the better of two self-edits
for each task 20 % (docs/results/few_shot.md). No arm has been run; the model
wants more pretraining.

Criterion, written before any run: `sleep` less `seal` is at least 10 points,
and its 95 % interval, by bootstrap over tasks, above 0. Else the two are not
separable: the paper's 32 of 40 against 29 of 40 are not (p = 0.6).
"""

from ml_collections import ConfigDict

from configs.few_shot import model
from configs.few_shot.arms import ARMS
from configs.tree import tree
from sleepjax.lifecycle.config import SleepConfig
from sleepjax.tasks.edit_writer import WriterConfig
from sleepjax.tasks.few_shot import FewShotConfig


def get_config() -> ConfigDict:
  c = ConfigDict()
  c.model = ''  # A folder; '' pretrains one.
  c.pretrained = model.get_config()
  c.data = 'generated'
  c.seeds = (0,)
  c.arms = tuple(ARMS)
  c.edit = 'coloured,fast,long'
  c.oracle = ('coloured,fast,long', 'both,fast,long')

  c.bed = tree(FewShotConfig())
  c.bed.choice = 5
  c.writer = tree(WriterConfig())

  s = c.sleep = tree(SleepConfig())
  del s.writing, s.rows  # Of facts, of which no arm learns.
  s.dreaming = None
  s.matmul_dtype = 'float32'
  s.slot_rank = 64
  q = s.seeding
  q.on_policy = 0.0
  q.target = 'tokens'
  q.alpha = 1.0
  q.group_size = 1
  q.in_passes = True
  q.rehearsal = 0.0
  q.retention = 0.0
  q.warmup_steps = 3
  return c
