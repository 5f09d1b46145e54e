"""Several texts side by side: levels of each learn awake, nothing leaks.

  python -m experiments.read_stream --config=configs/memory/side_by_side.py \
      --document=a.txt --document=b.txt --workdir=DIR

The levels and the model of `configs/memory/four_level.py`. Nothing is handed
over: a slot that one text fills would be open while the other is read.
"""

from ml_collections import ConfigDict

from configs.memory import four_level


def get_config() -> ConfigDict:
  c = four_level.get_config()
  c.continuum.sleep = None
  return c
