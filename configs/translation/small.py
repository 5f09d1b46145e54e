r"""Two cipher languages, learnt one after the other.

  python -m experiments.translation --config=configs/translation/small.py \
      --workdir=DIR

The paper's Figure 5 in its smallest form. A model of 0.2 million parameters is
pretrained first (model.py beside this file) and kept in DIR/pretrained: it
translates by a book in view, a dictionary of fourteen words and the order of
subject, verb and object, from languages that it has never seen. Two such
languages come, two days each; a day has 24 pairs of a sentence and its
translation beside the book, and the exam asks 40 other sentences, closed book.
A seed draws words, orders and sentences. Arms stand in `arms.py` beside this
file.

Question. Does a model that sleeps learn two languages one after the other
nearly as well as each alone?

Stop rule, checked first on the seed of choices: with its book in view a
language is translated with at least 20 chrF more than closed book. Else the run
ends, and nothing is said of the arms.

Criterion, written before any run, of three parts, each by the 95 % interval
over seeds. *Learnt*: alone a language gains at least half of the chrF that its
book in view gives. *Kept*: one after the other, both languages have on average
at most 5 chrF less in the end than alone. *Collapses*: the last book in view
loses more than that. The last part holds by construction where a model has
learnt nothing of the first language, and is checked for that. `sft` and
`replay` say whether a night is needed for it, and *long-known language*, one
that pretraining taught closed book, what else was lost.

The learning rates of `sleep` and `replay` are chosen by
  --choose
on seed 100, the best of those tried by the mean chrF in the end; arms in all
layers have the rate of `replay`, those that grow that of `sleep`.

The stop rule passes, 9 against 95 chrF. Three seeds were planned, which left
one bound open by 0.02 chrF; five more were run then. All eight meet the
criterion, these five alone do not: not shown. `replay` learns more and keeps
less (docs/results/translation.md).

Unlike the paper. Each language has two days here, not five, and pairs are
given. Its levels (Hope-1, 2, 3) want fast weights for which a model is trained,
and are not compared. Kalamang was not run: a model must first translate at
least 5 chrF better by its dictionary in view.
"""

from ml_collections import ConfigDict

from configs.translation import model
from configs.tree import tree
from sleepjax.lifecycle.config import SleepConfig
from sleepjax.runs.session import Saving
from sleepjax.tasks.translation import TranslationConfig


def get_config() -> ConfigDict:
  c = ConfigDict()
  c.model = ''  # A folder; '' pretrains one.
  c.pretrained = model.get_config()
  c.bed = tree(TranslationConfig())
  c.saving = tree(Saving())
  c.seeds = (0, 1, 2, 3, 4, 5, 6, 7)
  c.arms = ('sleep', 'sft', 'replay', 'in_context', 'base', 'no_growth',
            'no_store')

  s = c.sleep = tree(SleepConfig())
  del s.writing, s.rows  # Of facts, of which no arm learns.
  s.answer_prompt = '{question}'
  s.source = 'text'  # Rows are given.
  s.dreaming = None
  s.slot_rank = 16
  s.matmul_dtype = 'float32'
  s.unroll = False  # A night is shorter than compiling for it.
  s.dreams.completion_tokens = 4  # Three words and the end.
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
      'replay': (3e-4, 1e-3, 3e-3, 1e-2)})
  c.choice_seed = 100
  c.chosen = ConfigDict({'sleep': 1e-2, 'replay': 3e-3})
  return c
