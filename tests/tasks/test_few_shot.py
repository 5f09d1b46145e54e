"""Tasks learnt by a tiny model: what is read, what is trained, who votes."""

import dataclasses

import jax
import numpy as np
import pytest

from configs.few_shot import smoke
from experiments import _config
from sleepjax.data import (
    grid_augmentations,
    grid_prompts,
    grid_tokenizer,
    grids,
    self_edits,
)
from sleepjax.data.self_edits import SelfEdit
from sleepjax.dreaming import loss
from sleepjax.errors import UserError
from sleepjax.evals.questions import batches
from sleepjax.lifecycle.config import SleepConfig
from sleepjax.model import Model
from sleepjax.models.config import ModelConfig
from sleepjax.pretraining import grid_batches, next_token
from sleepjax.tasks import few_shot
from sleepjax.tasks.few_shot import Bed, FewShotConfig
from tests.conftest import random_params

EDIT = SelfEdit('none', 'middle', 'long')


@pytest.fixture(scope='module')
def bed():
  c = smoke.get_config()
  model = _config.to_dataclass(ModelConfig, c.pretrained.model)
  settings = _config.to_dataclass(FewShotConfig, c.bed)
  return Bed(
      Model(model, random_params(model), grid_tokenizer.build_tokenizer()),
      _config.to_dataclass(SleepConfig, c.sleep),
      lambda part, count, seed: grids.tasks(part, count, settings.grids, seed),
      settings)


@pytest.fixture(scope='module')
def task(bed):
  return bed.tasks('exam', 1, 0)[0]


def as_texts(pairs):
  return [tuple(map(grids.write_grid, pair)) for pair in pairs]


@pytest.mark.parametrize('text, cells', [
    ('01\n23', [[0, 1], [2, 3]]), ('4', [[4]]), ('', None), ('01\n2', None),
    ('01\n', None), ('both,slow', None)])
def test_a_reply_is_a_grid_or_none(text, cells):
  grid = few_shot.as_grid(text)
  assert (grid is None) == (cells is None)
  assert cells is None or grid.tolist() == cells


def test_augmented_pairs_are_those_shown_in_another_order(bed, task):
  made = list(bed.augmented(task, EDIT, 6, 0))
  assert all(sorted(as_texts(pairs)) == sorted(as_texts(task.shown))
             for pairs in made)
  assert len({str(as_texts(pairs)) for pairs in made}) > 1
  assert list(map(as_texts, made)) == list(map(
      as_texts, bed.augmented(task, EDIT, 6, 0)))
  coloured = next(bed.augmented(task, EDIT._replace(augmented='both'), 1, 0))
  assert sorted(as_texts(coloured)) != sorted(as_texts(task.shown))


def test_a_dream_asks_its_last_pair(bed, task):
  rows = bed.dreamt([task.shown])
  tokenizer = bed.model.tokenizer
  last = task.shown[-1]
  assert rows.prompt[0][rows.prompt_mask[0]].tolist() == grid_prompts.prompt(
      tokenizer, task.shown[:-1], last.input)
  assert rows.completion[0][rows.completion_mask[0]].tolist() == (
      grid_prompts.reply(tokenizer, last.output))


class Saying(Bed):
  """A bed whose model replies with what it is given."""

  replies: dict

  def _greedy(self, model, prompts):
    assert len(prompts) == len(self.replies)
    return list(self.replies)


def test_votes_are_undone_and_counted(bed, task):
  """Of three votes two are right for the first grid, one for the second."""
  config = dataclasses.replace(bed.config, votes=3)
  views = grid_augmentations.drawn(
      3, np.random.default_rng([7, 2]), True, True)
  first, second = task.asked
  right = [[grids.write_grid(view(pair.output)) for view in views]
           for pair in (first, second)]
  saying = Saying(bed.model, bed.settings, bed.tasks, config)
  object.__setattr__(saying, 'replies', [
      'nothing', *right[0][1:], right[1][0], '0', '0'])
  found = saying.answers(bed.model, task, 7)
  assert found.voted[0] and not found.alone[0]
  assert found.alone[1]
  # The two others are wrong, and the same: colour 0 stays what it is.
  assert not found.voted[1]
  assert found.readable == 5 / 6


def test_what_does_not_fit_is_refused(bed, task):
  config = dataclasses.replace(bed.config, prompt_tokens=20)
  with pytest.raises(UserError, match='more than prompt_tokens=20'):
    dataclasses.replace(bed, config=config).answers(bed.ready, task, 0)
  with pytest.raises(ValueError, match='rates=.* one value for each of slow'):
    FewShotConfig(rates=(1.0,))


def outputs_loss(model, bed, task):
  """Of the outputs of the shown pairs, nats a token."""
  rows = grid_batches.packed_rows([grid_prompts.conversation(
      model.tokenizer, task.shown)], bed.config.conversation_tokens)
  total, weight = next_token.packed_loss(bed.model.config, model.params, rows)
  return float(total / weight)


@pytest.mark.slow
def test_fine_tuning_learns_the_outputs(bed, task):
  """And leaves the model that it began with as it was."""
  before = outputs_loss(bed.model, bed, task)
  config = dataclasses.replace(bed.config, updates=(2, 40),
                               rates=(1e-3, 1e-2, 1e-3))
  plain = dataclasses.replace(
      bed, config=config, settings=dataclasses.replace(
          bed.settings, matmul_dtype='float32'))
  learnt = plain.fine_tuned(task, EDIT, 0)
  params = learnt.model.params
  assert outputs_loss(bed.model, bed, task) == before
  assert learnt.tokens == 40 * 2 * len(grid_prompts.conversation(
      bed.model.tokenizer, task.shown)[0])
  moved = jax.tree.map(lambda a, b: bool((np.asarray(a) != b).any()),
                       params['final_norm'], bed.ready.params['final_norm'])
  assert moved['scale']
  right = [plain._greedy(learnt.model, [grid_prompts.prompt(
      bed.model.tokenizer, task.shown[:i], pair.input)])[0]
           == grids.write_grid(pair.output)
           for i, pair in enumerate(task.shown)]
  assert sum(right) >= 2


@pytest.mark.slow
def test_a_night_trains_a_slot_alone(bed, task):
  config = dataclasses.replace(bed.config, updates=(2, 40),
                               slot_rates=(1e-3, 3e-2, 1e-3))
  night = dataclasses.replace(bed, config=config)
  learnt = night.slept(task, EDIT, 0)
  learner = night.learner
  assert learnt.tokens > 40 * 2 * 50
  for name, leaf in learnt.model.params['layers'].items():
    if name != 'slots':
      jax.tree.map(np.testing.assert_array_equal, leaf,
                   learner.frozen['layers'][name])
  rows = night.dreamt([task.shown])
  nats = lambda value: float(loss_of(learner.with_value(value), rows))
  state = learnt.model.params['layers']['slots']
  index = learner.index
  value = {name: leaf[:, index] for name, leaf in state.items()
           if name in learner.value}
  assert nats(value) < 0.7 * nats(learner.value)


def loss_of(learner, rows):
  return loss.sft_losses(learner, rows)[0]


@pytest.mark.slow
def test_a_slot_that_is_newborn_changes_no_answer(bed, task):
  config = dataclasses.replace(bed.config, updates=(0, 0))
  same = dataclasses.replace(bed, config=config).slept(task, EDIT, 0)
  prompts = [grid_prompts.prompt(bed.model.tokenizer, task.shown, pair.input)
             for pair in task.asked]
  assert bed._greedy(same.model, prompts) == bed._greedy(bed.ready, prompts)
  assert same.tokens == 0


def test_the_best_self_edit_is_best_for_each_task(bed):
  """Of a model that is right where it has learnt a task by its own edit."""
  edits = self_edits.EVERY[:2]
  tasks = bed.tasks('choice', bed.config.choice, 0)

  class Known(Bed):
    def fine_tuned(self, task, edit, seed):
      number = [t.name for t in tasks].index(task.name)
      return few_shot.Learnt((number, edits.index(edit)), 0)

    def answers(self, model, task, seed):
      right = isinstance(model, tuple) and model[0] == model[1]
      return few_shot.Answers([right, False], [right, right], 1.0)

  known = Known(bed.model, bed.settings, bed.tasks, dataclasses.replace(
      bed.config, most_in_context=0.2, least_oracle=0.5))
  gap = known.gap(edits, 0)
  assert (gap['in_context'], gap['oracle'], gap['asked']) == (0.0, 0.5, 4)
  assert list(gap['by_edit'].values()) == [0.25, 0.25] and gap['enough']
  assert list(gap['tasks'].values()) == [[0, 0.5, 0], [0, 0, 0.5]]
  strict = dataclasses.replace(known, config=dataclasses.replace(
      known.config, least_oracle=0.6))
  assert not strict.gap(edits, 0)['enough']


def test_an_exam_asks_every_task_once(bed):
  row = bed.exam(lambda task, number: few_shot.Learnt(bed.ready, number), 1)
  assert row['task'] == [0, 0, 1, 1, 2, 2] and row['tokens'] == 1.0
  assert len(row['right']) == len(row['alone']) == 6
  assert row['names'] == [t.name for t in bed.tasks('exam', 3, 1)]
  assert [real for _, real in batches(range(6), 4)] == [4, 2]
