r"""DBpedia's fourteen classes in seven increments of two.

  python -m experiments.class_incremental \
      --config=configs/class_incremental/dbpedia14.py --workdir=DIR

Not run here. The paper has seventy classes of the second level, which are
another data set; these are the fourteen of Zhang et al. 2015, from their whole
files with --config.data=dbpedia14/full. All else is as in `clinc150.py`.
"""

from ml_collections import ConfigDict

from configs.class_incremental import clinc150


def get_config() -> ConfigDict:
  c = clinc150.get_config()
  c.data = 'dbpedia14/sample'
  c.bed.increments, c.bed.classes = 7, 2
  return c
