"""Banking77: what customers ask a bank, in 77 intents."""

import tensorflow_datasets as tfds

from sleepjax.data.builders.from_files import (
    About,
    FromFiles,
    Origin,
    read_csv,
)

_URL = ('https://raw.githubusercontent.com/PolyAI-LDN/task-specific-datasets/'
        '57ec275d8078af65b7731c2a98be812d844a6d6b/banking_data/')


class Banking77(FromFiles):
  """Questions of customers with their intents."""

  ABOUT = About(
      description='Questions of customers of an online bank in 77 fine-grained '
                  'intents.',
      homepage='https://github.com/PolyAI-LDN/task-specific-datasets',
      license='CC BY 4.0',
      citation="""@inproceedings{casanueva-etal-2020-efficient,
  title={Efficient Intent Detection with Dual Sentence Encoders},
  author={Casanueva, I{\\~n}igo and Tem{\\v{c}}inas, Tadas and Gerz, Daniela and
          Henderson, Matthew and Vuli{\\'c}, Ivan},
  booktitle={Proceedings of the 2nd Workshop on NLP for ConvAI},
  year={2020}
}""")

  def features(self):
    return {name: tfds.features.Text() for name in ('text', 'intent')}

  def origins(self):
    return {split: (Origin(f'banking77/{split}.csv', f'{_URL}{split}.csv'),)
            for split in ('train', 'test')}

  def rows(self, split, path):
    for text, intent in read_csv(path, ('text', 'category')):
      yield {'text': text, 'intent': intent}
