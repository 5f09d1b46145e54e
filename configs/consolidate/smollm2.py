"""SmolLM2-135M-Instruct sleeps on one document.

  python -m experiments.consolidate --config=configs/consolidate/smollm2.py \
      --document=FILE --questions=FILE.json --workdir=DIR

The settings of the library are those of this model, chosen on passages of
SQuAD's `train`; what stands here is what they leave open.
"""

from ml_collections import ConfigDict

from configs.tree import tree
from sleepjax.lifecycle.config import SleepConfig
from sleepjax.mesh.sharding import MeshConfig
from sleepjax.runs.session import Saving
from sleepjax.tasks.document import ExamConfig


def get_config() -> ConfigDict:
  c = ConfigDict()
  c.model = 'smollm2-135m-instruct'  # Or a .gguf file, or a HF folder.
  c.seed = 0
  c.mesh = tree(MeshConfig())  # -1: all devices that are left.
  c.saving = tree(Saving())
  c.sleep = tree(SleepConfig())
  c.sleep.seeding.divergence.chunk_rows = 192  # 49,152 tokens: 38 MB of logits.
  c.exam = tree(ExamConfig())
  return c
