"""LAMBADA in ordinary writing: the last word of a passage is to be guessed.

`lambada` of tensorflow-datasets is the same test in lower case with spaces
around punctuation.
"""

import json

import tensorflow_datasets as tfds

from sleepjax.data.builders.from_files import About, FromFiles, Origin
from sleepjax.data.text_files import read_text
from sleepjax.errors import UserError

TEST = Origin(
    'lambada/lambada_test.jsonl',
    'https://openaipublic.blob.core.windows.net/gpt-2/data/lambada_test.jsonl')


class LambadaOpenai(FromFiles):
  """Passages of novels whose last word needs all of the passage."""

  ABOUT = About(
      description='The test passages of LAMBADA as OpenAI published them for '
                  'GPT-2, in ordinary writing.',
      homepage='https://zenodo.org/record/2630551',
      license='CC BY 4.0',
      citation="""@inproceedings{paperno-etal-2016-lambada,
  title={The {LAMBADA} dataset: Word prediction requiring a broad discourse
         context},
  author={Paperno, Denis and Kruszewski, Germ{\\'a}n and Lazaridou, Angeliki and
          Pham, Ngoc Quan and Bernardi, Raffaella and Pezzelle, Sandro and
          Baroni, Marco and Boleda, Gemma and Fern{\\'a}ndez, Raquel},
  booktitle={Proceedings of ACL},
  year={2016}
}""")

  def features(self):
    return {'text': tfds.features.Text()}

  def origins(self):
    return {'test': (TEST,)}

  def rows(self, split, path):
    form = 'objects {"text"}, one a line'
    for number, line in enumerate(read_text(path, form).split('\n')):
      try:
        text = json.loads(line)['text']
      except (ValueError, TypeError, KeyError):
        raise UserError(f'{path}, row {number}: {line!r:.60}; expected '
                        f'{form}.') from None
      yield {'text': text}
