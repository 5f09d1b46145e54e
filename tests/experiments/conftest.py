"""Data and a model for commands that read passages."""

import dataclasses
import json

import pytest

from sleepjax.models import export

PEOPLE = ('Ann', 'Bob', 'Cid', 'Dora', 'Eve', 'Fay', 'Gus')
FACTS = (('built a mill', 'in 1881'), ('sold a horse', 'to Adam Smith'),
         ('saw a comet', 'in Norway'), ('wrote a song', 'for Mary Jones'))


def passage(name):
  """Four sentences about a person, each with its question."""
  return {'title': name,
          'context': ' '.join(f'{name} {did} {what}.' for did, what in FACTS),
          'questions': [{'question': f'{name} {did} when or for whom?',
                         'answer': what.split(' ', 1)[1]}
                        for did, what in FACTS]}


@pytest.fixture(scope='session')
def made_up_passages(talker, byte_tokenizer, tmp_path_factory):
  """A data folder with seven passages, and a model beside it."""
  folder = tmp_path_factory.mktemp('passages')
  (folder / 'squad').mkdir()
  (folder / 'squad/seal_train_passages.jsonl').write_text(
      '\n'.join(json.dumps(passage(name)) for name in PEOPLE))
  config, params = talker
  export.export_hf(dataclasses.replace(config, max_context=4096), params,
                   byte_tokenizer, folder / 'model')
  return folder
