r"""Banking77: seven increments of eleven intents that lie close together.

  python -m experiments.class_incremental \
      --config=configs/class_incremental/banking77.py --workdir=DIR

Not run here. All else is as in `clinc150.py`.
"""

from ml_collections import ConfigDict

from configs.class_incremental import clinc150


def get_config() -> ConfigDict:
  c = clinc150.get_config()
  c.data = 'banking77'
  c.bed.increments, c.bed.classes = 7, 11
  return c
