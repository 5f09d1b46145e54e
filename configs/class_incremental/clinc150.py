r"""CLINC150 with SmolLM2: ten increments of fifteen intents.

  python -m experiments.class_incremental \
      --config=configs/class_incremental/clinc150.py --workdir=DIR

Not run here; the same command goes on where it stopped, inside a life too.
Intents are drawn by the seed, not by their domain. Question, criterion and stop
rule are those of `small.py`; one seed of three arms shows only what is large.
Of an intent 20 utterances are learnt from, four are in view and stored, and ten
asked. The untried rates are those of configs/consolidate/facts.py and, for all
layers, of configs/seeding/arms.py; --choose tries others. For an accelerator,
name another model, all arms, and seeds:
  --config.model=FOLDER --config.seeds='(0, 1, 2, 3, 4)'

*Elsewhere* is the perplexity of a text about none of it, lower being better.
"""

from ml_collections import ConfigDict

from configs.class_incremental import small


def get_config() -> ConfigDict:
  c = small.get_config()
  c.model = 'smollm2-135m-instruct'
  c.data = 'clinc150'
  c.seeds = (0,)
  c.arms = ('sleep', 'replay', 'gaussian')
  c.bed.classes = 15
  c.bed.stored = 4

  s = c.sleep
  s.answer_prompt = '{question}\n\nWhich class is it?'
  s.slot_rank = 64
  s.matmul_dtype = 'auto'
  s.dreams.completion_tokens = 16
  s.seeding.steps = 140
  s.seeding.rows = 8
  s.seeding.retention_rows = 8
  s.seeding.divergence.chunk_rows = 192
  c.tried = ConfigDict({
      'sleep': (5e-3, 1.5e-2, 5e-2),
      'replay': (6e-6, 2e-5, 6e-5),
      'ewc': (1e0, 1e1, 1e2)})
  c.chosen = ConfigDict({name: tried[1] for name, tried in c.tried.items()})
  return c
