"""Nights with a second stage in the tiny world: what is kept, and resumed."""

import json
from unittest import mock

import pytest

from configs import quickstart
from sleepjax.dreaming import stage
from sleepjax.dreaming.tasks import Memory
from sleepjax.lifecycle import phases
from sleepjax.model import load_pretrained
from sleepjax.seeding import loop
from sleepjax.training import checkpoints
from sleepjax.training.metrics import read_metrics
from tests.world_runs import live

pytestmark = pytest.mark.slow

CHANGES = {
    'seeding.steps': 4, 'seeding.on_policy': 0.0, 'memories': 8,
    'rehearsal_per_text': 1, 'dreams.questions_per_opening': 2,
    'dreams.recalls_per_sentence': 1, 'dreams.held_out': 4,
    'dreaming.dreams': 6, 'dreaming.gradient_rows': 6, 'dreaming.top_k': 2,
    'dreaming.random': 1, 'dreaming.rehearsed': 1, 'dreaming.questions': 6,
    'dreaming.inner_steps': 2, 'dreaming.write_back_steps': 3,
    'dreaming.agreement_samples': 2}


def run(workdir, saving=None, **changes):
  config = quickstart.get_config()
  config.days.update(dict(days=3, facts=4, people=3, rehearsal_texts=2))
  config.sleep.update_from_flattened_dict({**CHANGES, **changes})
  config.saving.update(saving or {})
  return live(load_pretrained('tiny-world'), config, workdir)


@pytest.fixture(scope='module')
def whole(tmp_path_factory):
  workdir = tmp_path_factory.mktemp('whole')
  return workdir, run(workdir)


def test_every_night_dreams_about_its_day_and_an_earlier_one(whole):
  workdir, report = whole
  nights = json.loads((workdir / 'dreaming.json').read_text())
  assert len(nights) == 3
  assert nights[0]['rehearsed'] == [] and len(nights[0]['weights']) == 0
  assert nights[1]['rehearsed'] == [0] and len(nights[2]['weights']) == 2
  for night in nights:
    assert len(night['rounds'][0]['dreams']) == 12
    assert night['write_back']['questions'] > 0
  assert 0 <= report['dream_success_rate'] <= 1
  assert 0 < report['dream_distinct_2'] <= 1


def test_memories_are_kept_with_when_they_were_rehearsed(whole):
  lineage = checkpoints.load_model(whole[0] / 'model').lineage
  kept = lineage['progress']
  memories = [Memory.from_json(m) for m in lineage['memories']]
  assert [m.cycle for m in memories] == [0, 1, 2]
  last = kept['dreaming'][2]['rehearsed']
  assert [m.cycle for m in memories if m.rehearsed == 2] == sorted({*last, 2})
  for memory in memories:
    assert memory.prompts and 1 <= len(memory.questions) <= 12


def test_a_life_that_dies_inside_its_nights_ends_the_same(
    whole, tmp_path, monkeypatch):
  """After writing the first, seeding the second, a round of the third."""
  read, update, back = (
      phases.read_words, loop.Seeder.update, stage.write_back_lib.write_back)
  words, calls = mock.Mock(side_effect=phases.write_words), {
      'read': 0, 'update': 0, 'back': 0}

  def dies(name, at, function):
    def call(*args, **kwargs):
      calls[name] += 1
      if calls[name] == at:
        raise KeyboardInterrupt
      return function(*args, **kwargs)
    return call

  monkeypatch.setattr(phases, 'write_words', words)
  for name, at, owner, attribute, function in (
      ('read', 1, phases, 'read_words', read),
      ('update', 4 + 3 + 3, loop.Seeder, 'update', update),
      ('back', 2, stage.write_back_lib, 'write_back', back)):
    with monkeypatch.context() as patched:
      patched.setattr(owner, attribute, dies(name, at, function))
      with pytest.raises(KeyboardInterrupt):
        run(tmp_path, {'seconds': 0.0})
  # Every night was written once, every update done once.
  assert words.call_count == 3
  report = run(tmp_path, {'seconds': 0.0})
  assert words.call_count == 3
  for name in set(report) - {
      'config', 'seconds', 'tokens_per_second', 'peak_memory_bytes'}:
    assert report[name] == whole[1][name], name
  steps = [(line['phase'], line['step'])
           for line in read_metrics(tmp_path / 'metrics.jsonl')]
  assert steps == [(line['phase'], line['step'])
                   for line in read_metrics(whole[0] / 'metrics.jsonl')]
  assert not list(tmp_path.glob('unfinished_*'))


def test_budgets_cut_seeding_and_dreaming_short(tmp_path):
  report = run(tmp_path, **{
      'seeding_budget.steps': 1, 'dreaming_budget.tokens': 1})
  steps = [json.loads(line) for line in
           (tmp_path / 'metrics.jsonl').read_text().splitlines()]
  assert [s['step'] for s in steps if s['phase'] == 'seed'] == [0, 0, 0]
  nights = json.loads((tmp_path / 'dreaming.json').read_text())
  assert all(len(night['rounds']) == 1 for night in nights)
  assert report['dream_rolled_back'] <= 3
