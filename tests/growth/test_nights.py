"""Nights that leave a model, enter another, add up, and are forgotten."""

import dataclasses
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import safetensors.numpy

from sleepjax.errors import UserError
from sleepjax.growth import night_files, nights, slots
from sleepjax.growth.night_files import read_night
from sleepjax.lifecycle.config import SleepConfig
from sleepjax.model import Model
from sleepjax.models import transformer
from sleepjax.runs.recording import changed
from sleepjax.seeding.settings import SeedingConfig
from sleepjax.training import checkpoints
from tests.conftest import random_params
from tests.some_nights import RANK, slept

TOKENS = np.random.default_rng(0).integers(0, 200, (2, 9))

logits = jax.jit(transformer.logits, static_argnums=0)


@pytest.fixture(scope='module')
def base(talker, byte_tokenizer):
  return Model(*talker, byte_tokenizer, 'talker')


def function(model):
  return np.asarray(logits(model.config, model.params, TOKENS))


def same(a, b):
  return jax.tree.structure(a) == jax.tree.structure(b) and all(
      np.array_equal(x, y) for x, y in zip(*map(jax.tree.leaves, (a, b))))


def saved(model, number, folder):
  path = folder / f'{model.nights()[number - 1].title}.safetensors'
  nights.save_night(model, number, path)
  return path


@pytest.fixture(scope='module')
def apart(base, tmp_path_factory):
  """Three nights learnt apart: (models, files)."""
  folder = tmp_path_factory.mktemp('nights')
  models = [slept(base, seed, layers) for seed, layers in (
      (1, (0, 1)), (2, (1,)), (3, (0,)))]
  return models, [saved(model, 1, folder) for model in models]


def test_what_is_written_down(base):
  model = slept(slept(base, 1), 2, layers=(1,))
  first, second = model.nights()
  assert (first.number, second.number) == (1, 2)
  assert (first.slot, second.slot) == (0, 1)
  assert (first.title, second.title) == ('Day 1', 'Day 2')
  assert second.questions == (('What 2?', 'It 2'),)
  assert second.layers == (1,)
  # gate, up and down of one layer: 3 · 32 · 4 numbers.
  assert (first.parameters, second.parameters) == (2 * 384, 384)
  assert first.settings == {
      'answer_prompt': '{question}', 'slot_rank': RANK}
  assert first.learnt_on == () and second.learnt_on == (first.sha256,)
  assert first.base_sha256 == second.base_sha256
  assert len({first.sha256, second.sha256, first.base_sha256}) == 3


def test_only_settings_that_are_not_the_defaults_are_written_down():
  assert changed(SleepConfig()) == {}
  assert changed(SleepConfig(
      slot_rank=3, seeding=SeedingConfig(steps=7), dreaming=None)) == {
          'slot_rank': 3, 'seeding.steps': 7, 'dreaming': None}


def test_a_night_in_another_copy_of_its_base(base, apart, tmp_path):
  models, paths = apart
  checkpoints.save_model(tmp_path / 'base', base.config, base.params,
                         base.tokenizer, {'base': 'talker'})
  copy = checkpoints.load_model(tmp_path / 'base')
  for model, path in zip(models, paths):
    opened = nights.add_nights(copy, [read_night(path)])
    np.testing.assert_array_equal(function(opened), function(model))
    night, = opened.nights()
    assert night == model.nights()[0]
    assert opened.lineage['base'] == 'talker'


def test_a_file_holds_the_open_layers_alone(apart):
  _, (_, one_layer, _) = apart
  assert {name: leaf.shape for name, leaf in safetensors.numpy.load_file(
      one_layer).items()} == {
          'gate': (1, 32, 4), 'up': (1, 32, 4), 'down': (1, 4, 32)}


def test_the_card_says_what_it_is(apart):
  _, (path, *_) = apart
  with safetensors.safe_open(path, 'numpy') as file:
    notes = file.metadata()
  assert notes['card'] == night_files.card(read_night(path))
  for part in ('# A night: Day 1', '`talker`', '768 parameters', '2 layers',
               '`slot_rank`: 4'):
    assert part in notes['card']
  assert json.loads(notes['night'])['title'] == 'Day 1'


def test_nights_add_up(base, apart):
  """In one layer that all share, by hand: what each adds is added."""
  models, paths = apart
  both = nights.add_nights(base, [read_night(path) for path in paths])
  x = jax.random.normal(jax.random.key(5), (7, base.config.embed_dim))

  def added(model, layer):
    pool = jax.tree.map(lambda leaf: leaf[layer], model.params['layers'][
        'slots'])
    return sum(
        float(pool['open'][n]) * np.asarray(
            (jax.nn.silu(x @ pool['gate'][n]) * (x @ pool['up'][n]))
            @ pool['down'][n], np.float64)
        for n in range(len(pool['open'])))

  for layer in (0, 1):
    np.testing.assert_allclose(
        added(both, layer), sum(added(model, layer) for model in models),
        atol=1e-5)
  assert np.abs(function(both) - function(base)).max() > 0.1


def test_order_does_not_matter(base, apart):
  _, paths = apart
  files = [read_night(path) for path in paths]
  one, other = (nights.add_nights(base, order)
                for order in (files, files[::-1]))
  assert same(one.params, other.params)
  assert one.lineage == other.lineage
  by_one = base
  for file in files[::-1]:
    by_one = nights.add_nights(by_one, [file])
  np.testing.assert_allclose(function(by_one), function(one), atol=1e-5)


def test_forgetting_the_last_night_gives_back_the_evening(base):
  config, params = slots.allocate_pool(base.config, base.params, 3, RANK)
  evening = slept(base.with_params(config, params), 1)
  morning = slept(evening, 2)
  again = nights.forget(morning, 2)
  assert nights.forgets_exactly(morning, 2)
  assert not same(morning.params, evening.params)
  assert same(again.params, evening.params)
  assert again.nights() == evening.nights()
  assert again.lineage['forgotten'] == [{'number': 2, 'exact': True}]
  # Its number is not given to another night.
  assert [night.number for night in slept(again, 3).nights()] == [1, 3]


def test_forgetting_one_of_two_learnt_apart_gives_the_other(base, apart):
  models, paths = apart
  both = nights.add_nights(base, [read_night(path) for path in paths[:2]])
  for gone, left in ((0, 1), (1, 0)):
    number = {night.title: night.number for night in both.nights()}[
        models[gone].nights()[0].title]
    assert nights.forgets_exactly(both, number)
    less = nights.forget(both, number)
    np.testing.assert_allclose(
        function(less), function(models[left]), atol=1e-6)
    assert 'Text' not in json.dumps(less.lineage)
    assert models[gone].nights()[0].title not in json.dumps(less.lineage)


def test_forgetting_what_others_were_learnt_on_is_not_exact(base):
  model = slept(slept(slept(base, 1), 2), 3)
  assert not nights.forgets_exactly(model, 2)
  assert nights.forgets_exactly(model, 2, 3)  # With all that leant on it.
  less = nights.forget(model, 2)
  assert [night.number for night in less.nights()] == [1, 3]
  assert less.lineage['forgotten'] == [{'number': 2, 'exact': False}]
  assert same(nights.forget(less, 1, 3).params['layers']['slots'],
              jax.tree.map(jnp.zeros_like, model.params['layers']['slots']))


def test_of_a_run_that_has_lost_a_night_nothing_else_is_left(base):
  model = slept(base, 1)
  model = dataclasses.replace(model, lineage={
      **model.lineage, 'memories': ['secret'], 'progress': {'q': 'secret'}})
  assert 'secret' not in json.dumps(nights.forget(model, 1).lineage)


def test_another_base_is_refused(base, apart):
  _, (path, *_) = apart
  other = base.with_params(base.config, random_params(base.config, seed=1))
  rounded = base.with_params(base.config, jax.tree.map(
      lambda leaf: leaf.astype(jnp.bfloat16), base.params))
  wider = base.with_params(
      dataclasses.replace(base.config, rope_theta=5e5), base.params)
  for wrong in (other, rounded, wider):
    with pytest.raises(UserError, match=(
        r'Day 1.safetensors was learnt on talker with sha256 \w{12}…, and '
        r'without its nights this model, talker, has \w{12}….*the very model')):
      nights.add_nights(wrong, [read_night(path)])


def test_other_nights_of_the_model_do_not_count_as_its_base(base, apart):
  models, (first, second, _) = apart
  there = nights.add_nights(models[0], [read_night(second)])
  assert [night.title for night in there.nights()] == ['Day 1', 'Day 2']
  with pytest.raises(UserError, match='is in the model already'):
    nights.add_nights(there, [read_night(first)])
  with pytest.raises(UserError, match='or was named twice'):
    nights.add_nights(base, 2 * [read_night(first)])


def test_a_night_brings_what_it_was_learnt_beside(base, tmp_path):
  model = slept(slept(base, 1), 2)
  first, second = (read_night(saved(model, n, tmp_path)) for n in (1, 2))
  with pytest.raises(UserError, match='beside 1 earlier nights that this'):
    nights.add_nights(base, [second])
  whole = nights.add_nights(base, [second, first])
  assert same(whole.params, model.params)
  assert [n.title for n in whole.nights()] == ['Day 1', 'Day 2']
  assert not nights.forgets_exactly(whole, 1)


def test_slots_of_one_model_share_a_rank(base, apart, tmp_path):
  models, _ = apart
  path = saved(slept(base, 7, rank=6), 1, tmp_path)
  with pytest.raises(UserError, match=(
      'has a slot of rank 6, and this model .* of rank 4')):
    nights.add_nights(models[0], [read_night(path)])


def test_a_slot_that_was_trained_on_cannot_leave(base):
  model = slept(base, 1)
  pool = model.params['layers']['slots']
  later = model.with_params(model.config, {**model.params, 'layers': {
      **model.params['layers'], 'slots': {
          **pool, 'down': 1.5 * pool['down']}}})
  with pytest.raises(UserError, match='its slot was changed by a later night'):
    nights.take_out(later, 1)
  assert not nights.forgets_exactly(later, 1)
  table = {'embed': {'table': 1.5 * model.params['embed']['table']}}
  with pytest.raises(UserError, match='the model was changed by a later night'):
    nights.take_out(model.with_params(model.config, model.params | table), 1)


def test_a_night_without_a_slot_of_its_own(base):
  model = dataclasses.replace(base, lineage={
      'nights': [{'number': 1, 'slot': None}]})
  for action in (nights.take_out, nights.forget):
    with pytest.raises(UserError, match='night 1 has changed other weights'):
      action(model, 1)


def test_a_model_of_which_nothing_was_written_down(slotted, byte_tokenizer,
                                                   tmp_path):
  """As an earlier version has saved it: its slots are its nights."""
  model = Model(*slotted, byte_tokenizer, 'old', {
      'answer_prompt': 'Q {question}'})
  first, second = model.nights()
  assert (first.slot, second.slot) == (0, 1) and first.title == ''
  assert second.answer_prompt == 'Q {question}'
  assert nights.forgets_exactly(model, 2)
  assert not nights.forgets_exactly(model, 1)
  path = tmp_path / 'night'
  nights.save_night(model, 1, path)
  fresh = nights.forget(model, 1, 2)
  assert fresh.nights() == ()
  one = nights.add_nights(fresh, [read_night(path)])
  np.testing.assert_allclose(
      function(one), function(nights.forget(model, 2)), atol=1e-6)


@pytest.mark.parametrize('nights, message', [
    ([{'number': 1, 'slot': 9}], 'index 9 is out of bounds'),
    ([{'slot': 0}], 'it has no number'), (['one'], "'one' is no record")])
def test_a_damaged_lineage(slotted, byte_tokenizer, nights, message):
  model = Model(*slotted, byte_tokenizer, 'm', {'nights': nights})
  with pytest.raises(UserError, match=f'of m is damaged .*{message}'):
    model.nights()
  other = dataclasses.replace(model, lineage={'nights': 3})
  assert [night.slot for night in other.nights()] == [0, 1]


def test_a_night_after_some_of_which_nothing_was_written_down(
    talker, byte_tokenizer):
  config, params = talker
  for seed in (1, 2):
    config, params = slots.append_slot(config, params, slots.new_slot(
        config, jax.random.key(seed), RANK), jnp.ones(2, bool))
  model = slept(Model(config, params, byte_tokenizer, 'old'), 3)
  assert [(n.number, n.slot, n.title) for n in model.nights()] == [
      (1, 0, ''), (2, 1, ''), (3, 2, 'Day 3')]


def test_nights_that_are_not_there(base):
  with pytest.raises(UserError, match='night 3: this model has the nights 1.'):
    nights.forget(slept(base, 1), 3)
  with pytest.raises(UserError, match='night 1: this model has slept no night'):
    nights.take_out(base, 1)


def test_slots_that_compete_do_not_add_up(base, apart):
  _, (path, *_) = apart
  config = dataclasses.replace(
      base.config, slot_routing='sigmoid', slot_top_k=1)
  with pytest.raises(UserError, match='slot_top_k=1: the slots of this model'):
    nights.add_nights(base.with_params(config, base.params),
                      [read_night(path)])


def damaged(path, tmp_path, change):
  """A night's file with other metadata or tensors."""
  with safetensors.safe_open(path, 'numpy') as file:
    notes = dict(file.metadata())
  tensors = safetensors.numpy.load_file(path)
  record = json.loads(notes['night'])
  change(tensors, notes, record)
  if 'night' in notes:
    notes['night'] = json.dumps(record)
  new = tmp_path / 'damaged'
  safetensors.numpy.save_file(tensors, new, notes)
  return new


def _set(name, value):
  return lambda tensors, notes, record: record.update({name: value})


@pytest.mark.parametrize('change, message', [
    (lambda t, n, r: n.pop('sleepjax_night'), 'no night of this version'),
    (lambda t, n, r: n.pop('night'), 'night'),
    (lambda t, n, r: t.pop('up'), 'expected|numbers'),
    (lambda t, n, r: t.update(down=t['down'][:, :2]), 'gate|up'),
    (lambda t, n, r: t.update(down=t['down'] * np.nan), 'no finite number'),
    (lambda t, n, r: t.update(down=t['down'] + 1), 'not those that were saved'),
    (lambda t, n, r: t.update(other=t['up']), 'it has the matrices'),
    (_set('layers', [1, 0]), 'are said to be'),
    (_set('layers', [0]), '2 layers are said'),
    (_set('number', -1), 'number is -1'), (_set('title', 3), 'title is 3'),
    (_set('learnt_on', 'abc'), 'learnt_on is'),
    (_set('questions', [['one']]), 'questions is'),
    (_set('answer_prompt', 'no place'), 'answer_prompt is'),
])
def test_files_of_anyone(apart, change, message, tmp_path):
  path = damaged(apart[1][0], tmp_path, change)
  with pytest.raises(UserError, match=f'not the file of a night.*({message})'):
    read_night(path)


def test_files_that_are_none(apart, tmp_path):
  with pytest.raises(UserError, match='cannot be read .No such file'):
    read_night(tmp_path / 'none')
  for contents in (b'', b'\xff' * 40, apart[1][0].read_bytes()[:300]):
    (tmp_path / 'file').write_bytes(contents)
    with pytest.raises(UserError, match='not the file of a night, or damaged'):
      read_night(tmp_path / 'file')


def test_a_night_for_more_layers_than_there_are(base, apart, tmp_path):
  """Its base may be claimed: the shape is looked at all the same."""
  path = damaged(apart[1][1], tmp_path, _set('layers', [7]))
  with pytest.raises(UserError):
    read_night(path)  # The hash is of its layers, too.
  night = read_night(apart[1][1])
  far = dataclasses.replace(night, record=dataclasses.replace(
      night.record, layers=(7,)))
  with pytest.raises(UserError, match='up to 7 does not fit'):
    nights.add_nights(base, [far])
