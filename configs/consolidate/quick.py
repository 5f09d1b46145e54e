"""What a document says in a few minutes: README's first command.

  python -m experiments.consolidate --config=configs/consolidate/quick.py \
      --document=sleepjax/data/text/lighthouse.txt \
      --questions=sleepjax/data/text/lighthouse_questions.json \
      --workdir=runs/lighthouse

`facts.py` on a small budget; criterion and results stand there.
"""

from ml_collections import ConfigDict

from configs.consolidate import facts


def get_config() -> ConfigDict:
  c = facts.get_config()
  c.sleep.unroll = False  # Compiles in a third of the time.
  c.exam.controls = 2
  c.exam.drift_tokens = 512
  return c
