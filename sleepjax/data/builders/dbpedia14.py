"""DBpedia's fourteen classes: beginnings of encyclopaedia articles."""

import csv
import io

import tensorflow_datasets as tfds

from sleepjax.data.builders import archives
from sleepjax.data.builders.from_files import (
    About,
    FromFiles,
    Origin,
    read_csv,
)
from sleepjax.data.text_files import decode
from sleepjax.errors import UserError

_ARCHIVE = Origin(
    'dbpedia14/dbpedia_csv.tgz',
    'https://s3.amazonaws.com/fast-ai-nlp/dbpedia_csv.tgz')
_SAMPLE_URL = ('https://raw.githubusercontent.com/J-zin/DHIM/'
               '477e226cdc5a2c83a6114e46187da1091bd6a345/data/dbpedia/')
# The sample has numbers of its own.
SAMPLE_CLASSES = (
    'Artist', 'Company', 'OfficeHolder', 'Building', 'Village', 'Plant',
    'EducationalInstitution', 'Animal', 'Album', 'WrittenWork', 'NaturalPlace',
    'MeanOfTransportation', 'Athlete', 'Film')


class Dbpedia14(FromFiles):
  """Articles with their class, fourteen that do not overlap."""

  BUILDER_CONFIGS = [
      tfds.core.BuilderConfig(
          name='full', description='All 560,000 and 70,000 articles.'),
      tfds.core.BuilderConfig(
          name='sample', description='10,000 of them, without titles and '
          'commas.')]
  ABOUT = About(
      description='Beginnings of articles in DBpedia with their ontology '
                  'class, of fourteen that do not overlap.',
      homepage='https://www.dbpedia.org',
      license='CC BY-SA 3.0',
      citation="""@inproceedings{zhang2015character,
  title={Character-level Convolutional Networks for Text Classification},
  author={Zhang, Xiang and Zhao, Junbo and LeCun, Yann},
  booktitle={Advances in Neural Information Processing Systems},
  year={2015}
}""")

  def features(self):
    return {name: tfds.features.Text() for name in (
        'title', 'text', 'category')}

  def origins(self):
    if self.builder_config.name == 'full':
      return dict.fromkeys(('train', 'test'), (_ARCHIVE,))
    return {split: (Origin(f'dbpedia14_10k/{name}.csv',
                           f'{_SAMPLE_URL}{name}.csv'),)
            for split, name in (('validation', 'val'), ('test', 'test'))}

  def rows(self, split, path):
    if self.builder_config.name == 'full':
      yield from _of_archive(split, path)
      return
    for number, (label, text) in enumerate(
        read_csv(path, ('label', 'text'), header=False)):
      yield {'title': '', 'text': text, 'category': _name(
          SAMPLE_CLASSES, label, f'{path}, row {number}')}


def _of_archive(split, path):
  files = {name.name: content for name, content in archives.members(path)
           if name.name in ('classes.txt', f'{split}.csv')}
  if len(files) < 2:
    raise UserError(f'{path}: expected an archive with classes.txt and '
                    f'{split}.csv, found {sorted(files)}.')
  read = lambda name: decode(files[name], f'{path}, {name}', 'text')
  classes = read('classes.txt').split()
  for number, row in enumerate(csv.reader(
      io.StringIO(read(f'{split}.csv'), newline=''))):
    where = f'{path}, {split}.csv, row {number}'
    if len(row) != 3:
      raise UserError(f'{where}: {len(row)} fields; expected class, title and '
                      'text.')
    label, title, text = row
    yield {'title': title, 'text': text.strip(),
           'category': _name(classes, label, where)}


def _name(classes, label, where):
  """The class of a number from 1."""
  if not label.isdecimal() or not 1 <= int(label) <= len(classes):
    raise UserError(f'{where}: class {label!r:.40}; expected a number from 1 '
                    f'to {len(classes)}.')
  return classes[int(label) - 1]
