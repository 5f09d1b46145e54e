"""Nights about two documents, one of them forgotten; the model is random."""

import dataclasses

import jax
import numpy as np
import pytest

from configs.beds import forgetting_smollm2
from experiments import _config
from sleepjax.data.documents import Question
from sleepjax.errors import UserError
from sleepjax.lifecycle import cycle
from sleepjax.lifecycle.config import SleepConfig
from sleepjax.model import Model
from sleepjax.models import transformer
from sleepjax.models.config import ModelConfig
from sleepjax.tasks.forgetting_documents import (
    DocumentForgetting,
    DocumentLives,
    DocumentsConfig,
    _one_each,
)
from sleepjax.tasks.ways_to_forget import ForgettingConfig
from sleepjax.training import checkpoints

NAMES = 'control_botanist', 'control_ship'
FIRST = DocumentsConfig(
    NAMES, NAMES[0], asked=2, controls=1, drift_tokens=32, max_new_tokens=2)
LAST = dataclasses.replace(FIRST, forgotten=NAMES[1])
TOOK = 'seconds', 'updates'


@pytest.fixture(scope='module')
def model(byte_tokenizer):
  config = ModelConfig(
      vocab_size=byte_tokenizer.vocab_size, num_layers=1, embed_dim=16,
      mlp_dim=16, num_heads=2, num_kv_heads=1, head_dim=8, max_context=4096)
  return Model(config, jax.tree.map(np.asarray, transformer.init(
      config, jax.random.key(0))), byte_tokenizer, 'random')


@pytest.fixture(scope='module')
def settings():
  config = forgetting_smollm2.get_config().sleep
  config.update_from_flattened_dict({
      'context_tokens': 1200, 'slot_rank': 2, 'slot_from': 0.0,
      'rehearsal_per_text': 0, 'contrasts': 2, 'matmul_dtype': 'float32',
      'writing.spans_per_sentence': 1, 'writing.keyword_questions': 0,
      'dreams.prompt_tokens': 256, 'dreams.completion_tokens': 24,
      'seeding.steps': 3, 'seeding.epochs': 0.0, 'seeding.rows': 2,
      'seeding.rehearsal': 0.0, 'seeding.learning_rate': 0.3,
      'seeding.warmup_steps': 0, 'max_retention_divergence': 100.0})
  return _config.to_dataclass(SleepConfig, config)


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
  return tmp_path_factory.mktemp('lives')


@pytest.fixture(scope='module')
def lives(model, settings, folder):
  return DocumentLives(model, settings, FIRST, 0, folder)


@pytest.fixture(scope='module')
def rows(lives):
  """Of the first night."""
  forgetting = DocumentForgetting(lives)
  return {method: forgetting.row(ForgettingConfig(method, most=2))
          for method in ('close', 'reseed', 'keep', 'without', 'npo_retained',
                         'lora')}


def test_the_first_question_about_each_answer():
  text = lambda kind, prompt, answer: {
      'kind': kind, 'prompt': prompt, 'start': '', 'completion': answer}
  assert _one_each(
      [text('cloze', 'Fill the gap: ___ ran.', 'Ann'),
       text('question', 'Who ran? Answer briefly.', 'Ann'),
       text('question', 'Who did? Answer briefly.', 'Ann'),
       text('question', 'Where? Answer briefly.', 'in Oslo')],
      '{question} Answer briefly.') == [
          Question('Who ran?', 'Ann'), Question('Where?', 'in Oslo')]


@pytest.mark.slow
def test_nights_are_saved_and_not_slept_again(
    model, settings, lives, folder, monkeypatch):
  without = lives.without(0)
  assert {path.name for path in folder.iterdir()} == {
      f'seed0_{NAMES[0]}', f'seed0_{NAMES[0]}_{NAMES[1]}', f'seed0_{NAMES[1]}'}
  monkeypatch.setattr(cycle, 'live', lambda *_, **__: pytest.fail('slept'))
  again = DocumentLives(model, settings, FIRST, 0, folder)
  for old, new in ((lives.slept, again.slept), (without, again.without(0))):
    for a, b in zip(*map(jax.tree.leaves, (old.params, new.params)),
                    strict=True):
      np.testing.assert_array_equal(a, b)
    assert old.nights() == new.nights()
  assert [night.title for night in again.slept.nights()] == [
      'Henrike Valdorn', 'Isolde Marr (research vessel)']
  assert again.prompts == lives.prompts and set(lives.prompts) == {1, 2}
  saved = checkpoints.load_model(folder / f'seed0_{NAMES[1]}')
  assert len(saved.lineage['progress']['dreams']) == 1
  with pytest.raises(UserError, match='holds the result of another config'):
    DocumentLives(model, dataclasses.replace(settings, contrasts=3), FIRST, 0,
                  folder)


@pytest.mark.slow
def test_the_last_night_closed_is_the_night_not_lived(
    model, settings, folder):
  forgetting = DocumentForgetting(
      DocumentLives(model, settings, LAST, 0, folder))
  closed, without, kept = (
      {name: value for name, value in forgetting.row(
          ForgettingConfig(method)).items() if name not in TOOK}
      for method in ('close', 'without', 'keep'))
  assert closed == without
  assert without['forgotten_nats'] != kept['forgotten_nats']


@pytest.mark.slow
def test_every_way_leaves_something_else(rows):
  nats = {method: row['others_nats'] for method, row in rows.items()}
  assert len(set(nats.values())) == len(nats)
  for row in rows.values():
    assert np.isfinite(row['perplexity']) and row['controls_nats'] > 0
    assert [len(row[f'{name}_direct']) for name in ('forgotten', 'others')] == [
        6, 6]
  assert rows['close']['updates'] == 0 and rows['reseed']['updates'] == 2
  assert 1 <= rows['npo_retained']['updates'] <= 2


@pytest.mark.parametrize('changes, message', [
    ({'names': ('lighthouse',)}, 'must be different, at least two'),
    ({'forgotten': 'diary'}, "forgotten='diary' must be one of lighthouse"),
    ({'asked': 0}, 'asked=0 must be at least 1')])
def test_bad_settings(changes, message):
  with pytest.raises(ValueError, match=message):
    DocumentsConfig(**changes)
