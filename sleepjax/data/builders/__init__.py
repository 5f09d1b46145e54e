"""Builders for tensorflow-datasets of data sets that it lacks.

Importing this package registers them, and imports no TensorFlow:

  from sleepjax.data import builders, prepared
  rows = prepared.rows('clinc150', 'train')   # For any loader of grain.

`tfds.data_source('clinc150', split='train', builder_kwargs=
{'file_format': 'array_record'})` gives the same. Each file is looked for in
`manual_dir`, then in the folder that SLEEPJAX_DATA_DIR names, and is downloaded
otherwise; rows stand in the order of the original files.
"""

from sleepjax.data.builders.arc_agi1 import ArcAgi1
from sleepjax.data.builders.banking77 import Banking77
from sleepjax.data.builders.clinc150 import Clinc150
from sleepjax.data.builders.dbpedia14 import Dbpedia14
from sleepjax.data.builders.kalamang import Kalamang
from sleepjax.data.builders.lambada_openai import LambadaOpenai
from sleepjax.data.builders.seal_squad import SealSquad

ALL = (ArcAgi1, Banking77, Clinc150, Dbpedia14, Kalamang, LambadaOpenai,
       SealSquad)
