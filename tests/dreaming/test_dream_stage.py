"""Rounds of dreaming, the write-back, and the night they are part of."""

import dataclasses

import jax
import numpy as np
import pytest

from sleepjax.dreaming import round as round_lib
from sleepjax.dreaming import stage, tasks, write_back
from sleepjax.dreaming.settings import DreamingConfig
from sleepjax.dreaming.tasks import Memory, Task
from sleepjax.errors import UserError
from sleepjax.growth.learner import Learner
from sleepjax.sampling.rows import Rows
from sleepjax.seeding import loop
from sleepjax.seeding.consolidation import Guard
from sleepjax.seeding.examples import paired_examples
from sleepjax.seeding.roles import Imitation
from sleepjax.seeding.settings import SeedingConfig
from sleepjax.training.budget import Budget, Meter
from sleepjax.training.observer import Watched
from tests import dream_models as dm
from tests.dream_models import INDEX, SETTINGS, STOP, assert_same

PROMPTS = [[3, 4, 5], [6, 7], [8, 9, 10, 11]]
TONIGHT = Task(PROMPTS, [([3, 4], [5, 6]), ([7, 8, 9], [1, 2, 3])])
EARLIER = [Task(PROMPTS[:2], [([9, 9], [4])]),
           Task(PROMPTS[1:], [([2, 2], [8, 8]), ([5], [6])])]
RETENTION = dm.random_rows(2, [4, 4], P=6, N=4)


@pytest.fixture(scope='module')
def sleeper(slotted):
  return dm.layouts_of(slotted)[False]


@pytest.fixture(scope='module')
def seeder(sleeper):
  examples = paired_examples(
      sleeper.config, sleeper.params,
      [([3, 4, 5], [7, 8, 0]), ([6, 7], [1, 0])], 5)
  return loop.Seeder(
      Learner(sleeper.config, sleeper.frozen, index=INDEX),
      SeedingConfig(steps=2, rows=4, group_size=2, learning_rate=1e-3),
      loop.Terms(examples), imitation=Imitation(STOP))


def born(sleeper):
  return round_lib.generator_part(SETTINGS).init(
      sleeper.config, jax.random.key(0))


def run_round(sleeper, settings=SETTINGS, memories=(TONIGHT, EARLIER[1]),
              key=7, report=lambda *_: None):
  value = born(sleeper)
  return round_lib.dream_round(
      sleeper, value, value, settings, memories, STOP, jax.random.key(key),
      report)


def night(sleeper, seeder, settings=SETTINGS, earlier=(), stale=(),
          questions=None, report=lambda *_: None, meter=None, key=7):
  return stage.dream(
      sleeper, seeder, settings, stage.Memories(TONIGHT, earlier, stale),
      Guard(questions, RETENTION, settings.max_retention_divergence),
      jax.random.key(key), Watched(report, meter or Meter()))


def test_a_round_learns_to_dream_and_reports(sleeper):
  parts = []
  generator, best, report = run_round(
      sleeper, report=lambda *part: parts.append(part))
  kept = SETTINGS.kept
  assert len(report.dreams) == len(report.importance) == 12
  assert len(set(report.selected)) == len(report.rewards) == 2 * kept
  for memory in range(2):
    own = report.selected[memory * kept:(memory + 1) * kept]
    assert all(memory * 6 <= i < (memory + 1) * 6 for i in own)
    first = np.argsort(report.importance[memory * 6:][:6])[-2:] + memory * 6
    assert set(own[:2]) == set(first.tolist())
  assert report.rewards == [float(d > 0) for d in report.improvement]
  assert 0 < report.success_rate == np.mean(report.rewards)
  for memory in range(2):
    gains = sorted(report.improvement[memory * kept:][:kept])[::-1][:2]
    own = [i for i, gain in zip(report.selected, report.improvement)
           if gain in gains and gain > 0]
    assert all(report.dreams[i] in [dream for _, dream in best] for i in own)
  assert 0 < len(best) <= 4
  for prompt, dream in best:
    assert prompt in PROMPTS and dream in report.dreams
  for t, questions in enumerate((TONIGHT, EARLIER[1])):
    rows = tasks.flat(tasks.held_in_rows([questions], SETTINGS))
    np.testing.assert_allclose(
        report.tau_before[t], dm.held_in_loss(sleeper, rows), rtol=1e-5)
  assert any(np.asarray(leaf).any() for leaf in jax.tree.leaves(
      jax.tree.map(lambda a, b: a - b, generator, born(sleeper))))
  assert [step for step, _, _ in parts] == [0, 1, 2, 3]
  assert all(tokens > 0 and metrics for _, metrics, tokens in parts)
  values = [v for _, metrics, _ in parts for v in metrics.values()]
  assert all(isinstance(value, float) for value in values)


def test_a_round_follows_from_its_key(sleeper):
  first, second, other = (run_round(sleeper, key=k) for k in (7, 7, 8))
  assert first[1:] == second[1:]
  assert_same(first[0], second[0])
  assert first[2].dreams != other[2].dreams


def test_without_reward_the_generator_stays_bit_for_bit(sleeper):
  still = dataclasses.replace(SETTINGS, inner_learning_rate=1e-30)
  generator, best, report = run_round(sleeper, still)
  assert not best and report.outer_loss is None and report.success_rate == 0
  assert report.constant_groups == 1
  assert_same(generator, born(sleeper))


@pytest.mark.parametrize('change', [
    dict(selection='random'), dict(selection='influence'),
    dict(reward='argmax'), dict(reward='improvement', outer='group_relative'),
    dict(inner_adapter='low_rank', inner_rank=2, copies_at_once=1)],
                         ids=lambda change: next(iter(change.values())))
def test_other_choices_make_a_round(sleeper, change):
  settings = dataclasses.replace(SETTINGS, **change)
  _, best, report = run_round(sleeper, settings)
  assert len(report.selected) == 8 and np.isfinite(report.improvement).all()
  if settings.reward == 'argmax':
    assert len(best) == 2
  if settings.selection == 'influence':
    assert report.importance != run_round(sleeper)[2].importance


def test_a_memory_without_answers_is_named(sleeper):
  with pytest.raises(UserError, match='task 1 have no answer token'):
    run_round(sleeper, memories=(TONIGHT, Task(PROMPTS, [([1], [])])))


@pytest.mark.slow
def test_write_back_seeds_the_best_dreams_into_the_slot(sleeper, seeder):
  parts = []
  questions = paired_examples(
      sleeper.config, sleeper.params, [([3, 4], [5, 6, 0])], 5)
  slot, _, report = night(
      sleeper, seeder, dataclasses.replace(SETTINGS, rounds=2, rehearsed=1),
      EARLIER, [3, 1], questions, lambda *part: parts.append(part))
  assert len(report.rounds) == 2 and len(report.rehearsed) == 1
  assert sum(report.weights) == pytest.approx(1)
  written = report.write_back
  rewards = sum((r['rewards'] for r in report.rounds), [])
  assert 0 < written['dreams'] <= sum(rewards) and written['questions'] == 1
  assert not written['rolled_back'] or written['tau_after'] > (
      written['tau_before'])
  assert written['retention_divergence'] > 0
  assert [step for step, _, _ in parts] == list(range(8)) + [8, 9, 10, 11]
  if not written['rolled_back']:
    opened = np.asarray(sleeper.frozen['layers']['slots']['open'])[:, INDEX]
    for name in slot:
      moved = np.asarray(slot[name] != sleeper.value[name]).any((1, 2))
      np.testing.assert_array_equal(moved, opened)


@pytest.mark.slow
@pytest.mark.parametrize('change', [
    dict(max_retention_divergence=0.0), dict(write_back_learning_rate=10.0)],
                         ids=['moved', 'worse'])
def test_a_write_back_that_does_harm_is_undone(sleeper, seeder, change):
  settings = dataclasses.replace(SETTINGS, **change)
  slot, _, report = night(sleeper, seeder, settings)
  assert report.write_back['rolled_back']
  assert_same(slot, sleeper.value)


@pytest.mark.slow
def test_nothing_to_write_leaves_the_slot(sleeper, seeder):
  slot, merged, report = night(
      sleeper, seeder, dataclasses.replace(SETTINGS, write_back_steps=0))
  assert report.write_back is None and merged is None
  assert_same(slot, sleeper.value)
  # No dream helped, and nothing was held out.
  slot, report = write_back.write_back(
      seeder, sleeper, None,
      tasks.flat(tasks.held_in_rows([TONIGHT], SETTINGS)),
      Guard(retention=RETENTION), SETTINGS, jax.random.key(0),
      Watched(lambda *_: None))
  assert report is None
  assert_same(slot, sleeper.value)


@pytest.mark.slow
@pytest.mark.parametrize('change', [
    dict(rounds=0), dict(rounds=1, generator='merged')])
def test_seeding_goes_on_where_nothing_else_is_written(
    change, sleeper, seeder):
  """The control without dreams; and a slot that has to fit a merged one."""
  settings = dataclasses.replace(SETTINGS, **change)
  slot, merged, report = night(sleeper, seeder, settings)
  assert report.write_back['dreams'] == report.write_back['questions'] == 0
  moved = any((a != b).any() for a, b in zip(
      jax.tree.leaves(slot), jax.tree.leaves(sleeper.value)))
  assert moved != report.write_back['rolled_back']
  assert (merged is not None) == (
      settings.generator == 'merged' and moved)


@pytest.mark.slow
def test_a_generator_is_merged_or_gone(sleeper, seeder):
  questions = paired_examples(
      sleeper.config, sleeper.params, [([3, 4], [5, 6, 0])], 5)
  settings = dataclasses.replace(SETTINGS, generator='merged')
  _, merged, report = night(sleeper, seeder, settings, questions=questions)
  assert report.write_back['dreams'] == 0
  assert (merged is None) == report.write_back['rolled_back']
  assert night(sleeper, seeder, questions=questions).generator is None


@pytest.mark.slow
def test_fewer_memories_are_filled_up_with_tonight(sleeper, seeder):
  settings = dataclasses.replace(SETTINGS, rehearsed=2, write_back_steps=0)
  report = night(sleeper, seeder, settings, EARLIER[:1], [1]).report
  dreamt = report.rounds[0]
  assert len(dreamt['tau_before']) == 3 and report.rehearsed == [0]
  assert dreamt['tau_before'][0] == dreamt['tau_before'][1]
  uniform = dataclasses.replace(settings, curriculum='uniform')
  assert night(sleeper, seeder, uniform, EARLIER, [1, 5]).report.weights == (
      [0.5, 0.5])


@pytest.mark.slow
def test_a_budget_ends_the_stage(sleeper, seeder):
  settings = dataclasses.replace(SETTINGS, rounds=3)
  report = night(sleeper, seeder, settings, meter=Meter(Budget(steps=5))).report
  assert len(report.rounds) == 2
  meter = Meter(Budget(tokens=1))
  report = night(sleeper, seeder, settings, meter=meter).report
  assert len(report.rounds) == 1 and meter.tokens > 1
  assert Meter(Budget(seconds=1e-9)).exhausted()
  assert not Meter().exhausted()
  with pytest.raises(ValueError, match='steps=-1'):
    Budget(steps=-1)


def test_examples_must_begin_as_the_night_does(sleeper):
  with pytest.raises(UserError, match='expected 2 tokens'):
    write_back.dream_examples(sleeper, [([3, 4, 5], [6])], (3, 9), 5)


def test_held_in_rows_are_filled_up_and_masked():
  rows = tasks.held_in_rows([TONIGHT, EARLIER[0]], DreamingConfig(
      prompt_tokens=4, dream_tokens=3, questions=8))
  assert rows.prompt.shape == (2, 2, 4) and rows.completion.shape == (2, 2, 3)
  assert rows.completion_mask.sum((1, 2)).tolist() == [5, 1]
  assert rows.completion[0, 1].tolist() == [1, 2, 3]
  assert isinstance(tasks.flat(rows), Rows)
  assert tasks.flat(rows).prompt.shape == (4, 4)


def test_memories_survive_json_and_become_tasks():
  memory = Memory(3, (('Tell me.', 'The'),), (('Who?', 'Ada'), ('?', '')), 4)
  assert Memory.from_json(dataclasses.asdict(memory)) == memory

  class Chat:
    class tokenizer:
      encode = staticmethod(lambda text: [ord(c) for c in text])
    closed_book = staticmethod(lambda text: [0, *map(ord, text)])

  task = tasks.make_task(memory, Chat, 12, 2)
  assert task.prompts == [[0, *map(ord, 'Tell me.The')]]
  assert task.questions == [([0, *map(ord, 'Who?')], [65, 100])]
  assert tasks.make_task(memory, Chat, 8, 2) is None
