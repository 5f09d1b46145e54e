"""What is left of a page in SmolLM2 after each way to forget it.

  python -m experiments.forgetting --config=configs/beds/forgetting_smollm2.py \
      --workdir=DIR

SmolLM2-135M-Instruct reads the bundled lighthouse and, the next day, the
bundled research ship, and sleeps after each as configs/consolidate/quick.py has
it, with questions by rule alone. Then the lighthouse, on whose night the other
was learnt, is forgotten. Arms are those of `forgetting.py` beside this file:

* `close`: its slot is closed; `reseed`, and the ship's night learns its own
  answers once more, in 40 updates;
* `keep`, and `without`: the model that has read the ship alone, its night
  drawing the same random numbers;
* `ascent_RATE`, `npo_retained_RATE`: all layers, on eight questions of the
  lighthouse's night, each about another fact; the second also learns as many of
  the ship's in every update;
* `lora_RATE`: the model before both nights learns the eight as a LoRA, and that
  is subtracted, by a tenth more each time.

What moves weights stops as soon as no more of the eight are answered right than
before all nights, or after 12 updates. Rates are not chosen: there is one of
each, and no other was tried. Nothing is learnt again: an update of all layers
takes too long for that.

A description, and no test: one seed, ten questions that people ask about the
one page and six about the other. If `keep` answers fewer than four of the ten,
there was nothing to forget. A night and a row take minutes each of a core with
AVX2; nights are kept in DIR/lives. All rows were run: docs/results/nights.md.
"""

from ml_collections import ConfigDict

from configs.consolidate import quick
from configs.tree import tree
from sleepjax.tasks.forgetting_documents import DocumentsConfig
from sleepjax.tasks.ways_to_forget import ForgettingConfig

RATES = {'ascent': 3e-5, 'npo_retained': 3e-5, 'lora': 3e-3}


def get_config() -> ConfigDict:
  c = quick.get_config()
  for unused in 'exam', 'seed', 'mesh', 'saving':
    del c[unused]
  c.sleep.contrasts = 64
  c.sleep.writing.ask.samples = 2  # Of no question here.
  c.documents = tree(DocumentsConfig())
  c.forgetting = tree(ForgettingConfig(most=12, low_rank=8))
  for unused in 'relearning_rate', 'relearning', 'relearnt':
    del c.forgetting[unused]

  c.seeds = (0,)
  c.changes = ConfigDict({arm: {'forgetting': {'method': arm}} for arm in (
      'close', 'keep', 'without')})
  c.changes['reseed'] = ConfigDict({'forgetting': {
      'method': 'reseed', 'rate': 1e-3, 'most': 40}})
  for method, rate in RATES.items():
    c.changes[f'{method}_{rate:.0e}'] = ConfigDict({'forgetting': {
        'method': method, 'rate': rate}})
  c.arms = ('close', 'keep', 'ascent_3e-05', 'npo_retained_3e-05',
            'lora_3e-03', 'reseed', 'without')  # Which takes another night.
  return c
