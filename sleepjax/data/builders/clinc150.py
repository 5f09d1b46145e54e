"""CLINC150: what people ask an assistant for, 150 intents in ten domains."""

import tensorflow_datasets as tfds

from sleepjax.data.builders.from_files import (
    About,
    FromFiles,
    Origin,
    read_json,
)
from sleepjax.errors import UserError

_URL = ('https://raw.githubusercontent.com/clinc/oos-eval/'
        '828f8093932c8fe6ca7936c3d2e52903b1c523de/data/')
OUT_OF_SCOPE = 'oos'  # The intent, and the domain, of what is none.
_SPLITS = {
    'train': 'train', 'validation': 'val', 'test': 'test',
    'oos_train': 'oos_train', 'oos_validation': 'oos_val',
    'oos_test': 'oos_test'}


class Clinc150(FromFiles):
  """Queries with intent and domain; ten domains of fifteen are ten tasks."""

  BUILDER_CONFIGS = [
      tfds.core.BuilderConfig(
          name='full', description='100 training queries of each intent.'),
      tfds.core.BuilderConfig(
          name='small', description='50 training queries of each intent.')]
  ABOUT = About(
      description='Queries to a task-driven assistant in 150 intents of ten '
                  'domains, and queries that are out of its scope.',
      homepage='https://github.com/clinc/oos-eval',
      license='CC BY 3.0',
      citation="""@inproceedings{larson-etal-2019-evaluation,
  title={An Evaluation Dataset for Intent Classification and Out-of-Scope
         Prediction},
  author={Larson, Stefan and Mahendran, Anish and Peper, Joseph J. and Clarke,
          Christopher and Lee, Andrew and Hill, Parker and Kummerfeld, Jonathan
          K. and Leach, Kevin and Laurenzano, Michael A. and Tang, Lingjia and
          Mars, Jason},
  booktitle={Proceedings of EMNLP-IJCNLP},
  year={2019}
}""")

  def features(self):
    return {name: tfds.features.Text() for name in (
        'text', 'intent', 'domain')}

  def origins(self):
    files = tuple(Origin(f'clinc150/{name}', _URL + name) for name in (
        f'data_{self.builder_config.name}.json', 'domains.json'))
    return dict.fromkeys(_SPLITS, files)

  def rows(self, split, data_path, domains_path):
    domains = {OUT_OF_SCOPE: OUT_OF_SCOPE}
    for domain, intents in read_json(
        domains_path, 'an object of domains with their intents').items():
      domains |= dict.fromkeys(intents, domain)
    form = 'an object of splits with pairs [text, intent]'
    data = read_json(data_path, form)
    if _SPLITS[split] not in data:
      raise UserError(
          f'{data_path}: has no {_SPLITS[split]!r}; expected {form}.')
    for number, (text, intent) in enumerate(data[_SPLITS[split]]):
      if intent not in domains:
        raise UserError(
            f'{data_path}, {_SPLITS[split]} {number}: intent {intent!r} is in '
            f'no domain of {domains_path}.')
      yield {'text': text, 'intent': intent, 'domain': domains[intent]}
