"""Rows that are kept beside the results are those of today's commands.

A later run with a copy of their folder as its --workdir skips them. A setting
that is new, or has another default, makes them rows of another configuration:
then write it into them, if it stands for what was run, or run them again.
"""

import importlib
import json
import pathlib

import pytest

from experiments import (
    _config,
    beds,
    class_incremental,
    few_shot,
    knowledge_incorporation,
    long_context,
    reasoning,
    sequence,
    translation,
)
from sleepjax.tasks import incorporation
from sleepjax.tasks.class_incremental import UNTAUGHT
from sleepjax.tasks.translation import UNTAUGHT as NO_NIGHTS

ROWS = pathlib.Path(__file__).resolve().parents[2] / 'docs/results/rows'
BEDS = {'beds_growth_160': ('configs.beds.growth', '160'),
        **{f'beds_imitation_{name}': ('configs.beds.imitation', name)
           for name in ('exact', 'sampled', 'likeliest', 'estimated')},
        'beds_relational': ('configs.beds.relational',),
        'forgetting': ('configs.beds.forgetting',),
        'forgetting_smollm2': ('configs.beds.forgetting_smollm2',)}
STREAMS = {'long_context': ('configs.long_context.small',),
           'long_context_needles_2048': ('configs.long_context.needles',
                                         '2048')}

# Of config.pretrained, what models of reasoning before today's had.
EARLIER = {'pretraining.steps': 500, 'rows.view_share': 0.3}
REASONING = {'copies': {**EARLIER, 'rows.slip_share': 0.0},
             'some_slips': {**EARLIER, 'rows.slip_share': 0.4}}


def kept(folder):
  """(arm, {'same', 'row'}) of every row of a folder."""
  return [(path.parts[-3], json.loads(path.read_text(encoding='utf-8')))
          for path in sorted((ROWS / folder).glob('**/rows/*/*/*.json'))]


def test_every_folder_is_known():
  assert {path.name for path in ROWS.iterdir()} == {
      *BEDS, *STREAMS, 'class_incremental', 'few_shot', 'knowledge',
      'reasoning', 'sequence', 'translation'}


@pytest.mark.parametrize('folder', BEDS)
def test_rows_of_beds(folder):
  module, *given = BEDS[folder]
  config = importlib.import_module(module).get_config(*given)
  _config.saving_of(config)
  found = kept(folder)
  assert found
  for arm, entry in found:
    assert entry['same'] == {'config': beds.with_arm(config, arm)}, arm


def test_rows_of_incorporation(monkeypatch):
  module = knowledge_incorporation
  config = importlib.import_module('configs.knowledge.small').get_config()
  _config.saving_of(config)
  sleeps = {arm: module.with_arm(config.sleep, arm, config.rates)
            for arm in config.arms}
  same, shared = module.identities(config, sleeps, 'know')
  found = kept('knowledge')
  assert found
  for arm, entry in found:
    wanted = shared if arm in incorporation.SHARED else same[arm]
    assert entry['same'] == {'config': wanted}, arm


def test_rows_of_sequences():
  config = importlib.import_module('configs.knowledge.sequence').get_config()
  _config.saving_of(config)
  same = sequence.identities(config)
  found = kept('sequence')
  assert found
  for arm, entry in found:
    assert entry['same'] == {'config': same[arm]}, arm


@pytest.mark.parametrize('folder', STREAMS)
def test_rows_of_long_streams(folder):
  module, *given = STREAMS[folder]
  config = importlib.import_module(module).get_config(*given)
  found = kept(folder)
  assert found
  for arm, entry in found:
    same = entry['same']['config']
    wanted = long_context.identity(config, arm)
    if wanted['fast']:  # Then it is the digest of the level.
      assert len(same['fast']) == 64, arm
      wanted['fast'] = same['fast']
    assert same == wanted, arm


@pytest.mark.parametrize('model', REASONING)
def test_rows_of_reasoning(model):
  """A row of a choice of rates is named after its own."""
  config = importlib.import_module('configs.reasoning.small').get_config()
  config.pretrained.update_from_flattened_dict(REASONING[model])
  found = sorted((ROWS / 'reasoning' / model).glob('**/rows/*/*/*.json'))
  assert found
  for path in found:
    arm, chosen = path.parts[-3], path.parts[-5] == 'choice'
    rates = {arm: float(path.stem)} if chosen else config.rates
    sleeps = {} if arm == reasoning.UNTAUGHT else {
        arm: reasoning.with_arm(config.sleep, arm, rates, config.whole)}
    same = json.loads(path.read_text(encoding='utf-8'))['same']
    assert same == {
        'config': reasoning.identities(config, sleeps)[arm]}, path


def test_rows_of_classes():
  """Those of a choice are named after the value that was tried."""
  config = importlib.import_module(
      'configs.class_incremental.small').get_config()
  _config.saving_of(config)
  found = sorted((ROWS / 'class_incremental').glob('**/rows/*/*/*.json'))
  assert found
  for path in found:
    arm, chosen = path.parts[-3], config.chosen.to_dict()
    if path.parts[-5] == 'choice':
      chosen[arm] = float(path.stem)
    sleeps = {} if arm in UNTAUGHT else {
        arm: class_incremental.with_arm(config.sleep, arm, chosen)}
    same = json.loads(path.read_text(encoding='utf-8'))['same']
    assert same == {
        'config': class_incremental.identities(config, sleeps)[arm]}, path


def test_rows_of_few_shots():
  """What the stop rule has found is kept as a row, too."""
  config = importlib.import_module('configs.few_shot.small').get_config()
  found = kept('few_shot')
  assert found
  for arm, entry in found:
    assert entry['same'] == {'config': few_shot.identity(config, arm)}, arm


def test_rows_of_translation():
  config = importlib.import_module('configs.translation.small').get_config()
  _config.saving_of(config)
  found = sorted((ROWS / 'translation').glob('**/rows/*/*/*.json'))
  assert found
  for path in found:
    arm = path.parts[-3]
    sleeps = {} if arm in (*NO_NIGHTS, 'gap') else {
        arm: translation.with_arm(config.sleep, arm, config.chosen)}
    wanted = translation.identities(config, sleeps)
    same = json.loads(path.read_text(encoding='utf-8'))['same']
    assert same == {'config': wanted['base' if arm == 'gap' else arm]}, path
