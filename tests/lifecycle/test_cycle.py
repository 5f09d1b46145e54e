"""Several sleeps in a row on a tiny model, and a run that is interrupted."""

import io
import json
import pathlib

import jax
import numpy as np
import pytest
import rich.console

from configs.seeding import arms
from experiments import _config
from sleepjax.data import documents
from sleepjax.errors import UserError
from sleepjax.evals import report as report_lib
from sleepjax.lifecycle import cycle
from sleepjax.lifecycle.written import Day, Words
from sleepjax.model import load_pretrained
from sleepjax.models.hashes import params_sha256
from sleepjax.runs import nights
from sleepjax.tasks.document import (
  DocumentTask,
  ExamConfig,
  Reading,
  bundled_controls,
  slept_on,
)
from sleepjax.training import checkpoints
from sleepjax.training.metrics import read_metrics
from sleepjax.training.observer import Observer
from sleepjax.training.progress import Display
from sleepjax.writing import rehearsal
from tests import small_sleep

TINY = pathlib.Path(__file__).parents[1] / 'golden/llama'
KEYS = '''closed_book_nll_before closed_book_nll_after in_context_nll
  control_nll_before control_nll_after in_context_other_nll_before
  in_context_other_nll_after topic_recovered topic_recovered_net
  closed_book_accuracy_before closed_book_accuracy_after in_context_accuracy
  drift_ppl_before drift_ppl_after params_before params_after params_sha256
  seconds tokens_per_second peak_memory_bytes config questions
  questions_source'''.split()


def settings(**changes):
  config = small_sleep.get_config()
  sleep = config.sleep
  sleep.context_tokens = 110
  sleep.slot_rank = 4
  sleep.matmul_dtype = 'float32'
  sleep.dreams.prompt_tokens = 96
  sleep.dreams.completion_tokens = 12
  sleep.dreaming.prompt_tokens = 96
  sleep.dreaming.dream_tokens = 12
  sleep.seeding.steps = 3
  sleep.seeding.rehearsal = 0.0
  sleep.update_from_flattened_dict(changes)
  return (config.to_dict(), _config.to_dataclass(
      cycle.SleepConfig, sleep, 'config.sleep'))


def task_of(model, document=None, seed=0, controls=True, **changes):
  document = document or documents.bundled_document('lighthouse')
  return DocumentTask(
      model, Reading(document, documents.bundled_questions('lighthouse'),
                     bundled_controls()[:1] if controls else ()),
      settings(**changes)[1], ExamConfig(drift_tokens=64, max_new_tokens=4),
      seed)


def run(workdir, seed=0, **changes):
  model = load_pretrained(str(TINY))
  config = json.loads(json.dumps(settings(**changes)[0]))
  del config['saving']
  return slept_on(task_of(model, seed=seed, **changes), model, nights.Run(
      workdir, config, seed))[0]


@pytest.fixture(scope='module')
def whole(tmp_path_factory):
  workdir = tmp_path_factory.mktemp('whole')
  return workdir, run(workdir)


@pytest.mark.slow
def test_each_chunk_is_followed_by_a_sleep(whole):
  workdir, report = whole
  assert report['sleeps'] == 2
  saved = checkpoints.load_model(workdir / 'model')
  assert saved.config.num_slots == 2
  assert saved.params['layers']['slots']['open'].all()
  lines = read_metrics(workdir / 'metrics.jsonl')
  seeding = [line for line in lines if line['phase'] == 'seed']
  assert [(line['cycle'], line['step']) for line in seeding] == [
      (cycle, step) for cycle in range(2) for step in range(3)]
  # The second sleep retains what the first chunk was about.
  assert ['retention_divergence' in line for line in seeding] == 3 * [
      False] + 3 * [True]
  assert {line['cycle'] for line in lines if line['phase'] == 'dream'} <= {0, 1}


@pytest.mark.slow
def test_a_report_is_of_its_own_document(whole):
  workdir, report = whole
  model = load_pretrained(str(TINY))
  document = documents.bundled_document('lighthouse')
  other = documents.Document(document.title, document.text + ' More.')
  has_ended = lambda document, config: nights.finished(
      workdir, config, task_of(model, document).identity()) is not None
  assert has_ended(document, report['config'])
  assert not has_ended(other, report['config'])
  assert not has_ended(document, {**report['config'], 'seed': 9})
  with pytest.raises(UserError, match='the result of another document'):
    nights.run(task_of(model, other), model, settings()[1], nights.Run(
        workdir, report['config']))


@pytest.mark.slow
def test_the_report_has_every_key_and_is_on_disk(whole):
  workdir, report = whole
  assert not set(KEYS) - set(report)
  assert json.loads((workdir / 'report.json').read_text()).keys() == (
      report.keys())
  assert report['params_after'] - report['params_before'] == 2 * 3 * 3 * 32 * 4


@pytest.mark.slow
def test_an_interrupted_run_goes_on_and_ends_the_same(
    whole, tmp_path, monkeypatch):
  sleep, calls = cycle.sleep, []

  def dies_in_the_second_sleep(*args, **kwargs):
    calls.append(1)
    if len(calls) == 2:
      raise KeyboardInterrupt
    return sleep(*args, **kwargs)

  with monkeypatch.context() as patched:
    patched.setattr(cycle, 'sleep', dies_in_the_second_sleep)
    with pytest.raises(KeyboardInterrupt):
      run(tmp_path)
  assert checkpoints.load_model(tmp_path / 'model').lineage['sleeps'] == 1
  saved = checkpoints.load_model(tmp_path / 'model').lineage
  report = run(tmp_path)
  assert report['params_sha256'] == whole[1]['params_sha256']
  # The first sleep's time counts, too.
  assert report['seconds']['seed'] > saved['seconds']['seed'] > 0


@pytest.mark.slow
def test_another_seed_ends_elsewhere(whole, tmp_path):
  assert run(tmp_path, seed=1)['params_sha256'] != whole[1]['params_sha256']


@pytest.mark.slow
def test_a_workdir_of_another_architecture_is_refused(whole):
  model = load_pretrained(str(TINY.parent / 'qwen3'))
  with pytest.raises(UserError, match='another architecture'):
    nights.run(task_of(model, controls=False), model, settings()[1],
               nights.Run(whole[0], whole[1]['config']))


@pytest.mark.slow
def test_slots_of_chosen_layers_only(tmp_path):
  run(tmp_path, slot_layers=(0, 2))
  slots = checkpoints.load_model(tmp_path / 'model').params['layers']['slots']
  np.testing.assert_array_equal(
      slots['open'], [[True, True], [False, False], [True, True]])
  down = np.abs(slots['down']).sum((2, 3))
  assert (down[[0, 2]] > 0).all() and (down[1] == 0).all()


@pytest.mark.slow
def test_a_judge_by_name_rewards_rollouts(tmp_path):
  run(tmp_path, **{'judge': 'answer_f1', 'seeding.on_policy': 1.0})
  rewards = [line['reward_semantic'] for line in read_metrics(
      tmp_path / 'metrics.jsonl') if line['phase'] == 'seed']
  assert len(rewards) == 6 and set(rewards) <= {i / 8 for i in range(9)}
  with pytest.raises(UserError, match="judge='oracle' must be one of stand_in"):
    settings(judge='oracle')


@pytest.mark.slow
@pytest.mark.parametrize('arm', [
    'no_sleep', 'ema_teacher', 'static_slot', 'text_low_rank', 'ewc'])
def test_baselines_change_what_they_name(tmp_path, arm, monkeypatch):
  # A random model writes no question that passes for one.
  monkeypatch.setattr(rehearsal, 'write_rehearsal', lambda *_: [
      ([5, 6, 7], [8, 9]), ([5, 9], [4, 3, 2])])
  changes = {name: value for name, value in arms.ARMS[arm].items()
             if name != 'seeding.rehearsal'}
  report = run(tmp_path, **{
      'dreaming': None, 'rehearsal_per_text': 1, 'rehearsal_tokens': 512,
      'low_rank': 2, **changes})
  model = load_pretrained(str(TINY))
  saved = checkpoints.load_model(tmp_path / 'model')
  assert saved.config.num_slots == {
      'no_sleep': 2, 'ema_teacher': 2, 'static_slot': 1}.get(arm, 0)
  moved = {}
  for path, old in jax.tree_util.tree_flatten_with_path(model.params)[0]:
    new = saved.params
    for key in path:
      new = new[key.key]
    moved[jax.tree_util.keystr(path)] = not np.array_equal(old, new)
  if arm in ('text_low_rank', 'ewc'):
    assert all(changed == ("['attn']" in path or "['mlp']" in path)
               and ('bias' not in path or not changed)
               for path, changed in moved.items()), moved
  else:
    assert not any(moved.values())
  same = report['closed_book_nll_after'] == pytest.approx(
      report['closed_book_nll_before'], abs=1e-5)
  assert same == (arm == 'no_sleep')


@pytest.mark.parametrize('changes, message', [
    ({'low_rank': 0}, 'must be at least 1'),
    ({'replay': True}, 'replays texts'),
    ({'trained': 'head'}, 'one of slot, static_slot, low_rank'),
    ({'source': 'web'}, 'one of dreams, facts, text'),
    ({'trained': 'low_rank'}, 'no slot for the second stage'),
    ({'seeding.ewc': 1.0}, 'protects weights that the model has')])
def test_baselines_that_cannot_be_are_refused(changes, message):
  with pytest.raises(UserError, match=message):
    settings(**changes)


def test_every_arm_is_a_configuration():
  for name in arms.ARMS:
    _config.to_dataclass(cycle.SleepConfig, arms.get_config(name).sleep)
  with pytest.raises(UserError, match="'seedling' is no arm"):
    arms.get_config('seedling')


def test_hash_follows_values_names_and_shapes():
  tree = {'a': np.arange(4.0), 'b': {'c': np.ones((2, 2))}}
  same = jax.tree.map(np.copy, tree)
  base = params_sha256(tree)
  assert base == params_sha256(same)
  same['a'][2] += 1e-9
  assert base != params_sha256(same)
  assert base != params_sha256({**tree, 'd': np.ones(1)})
  assert base != params_sha256(
      {'a': tree['a'].reshape(2, 2), 'b': tree['b']})


@pytest.mark.slow
def test_a_night_learns_the_same_from_words_that_were_written_before():
  """And something else from half of them."""
  model = load_pretrained(str(TINY))
  task, own = task_of(model), settings(dreaming=None)[1]
  day = task.day(0, {'questions': [], 'source': 'file', 'sleeps': []})
  start, key = cycle.Life(task.prepare(model)), jax.random.key(7)
  words = Words.from_json(json.loads(json.dumps(report_lib.plain(
      cycle.write_ahead(start, day, own, key=key)._asdict()))))
  half = words._replace(dreams=words.dreams[::2])
  nights_ = [next(cycle.live(start, [day._replace(words=given)], own, key=key))
             for given in (None, words, half)]
  written, given, fewer = (params_sha256(life.model.params)
                           for life, _ in nights_)
  assert written == given != fewer
  assert nights_[0][1].texts == nights_[1][1].texts
  assert nights_[2][1].dreams == len(half.dreams)


@pytest.mark.slow
def test_what_cannot_be_asked_about_is_said_and_learnt_as_it_stands():
  model = load_pretrained(str(TINY))
  config = small_sleep.of_a_model_of_bytes()
  config.dreaming = None
  config.source = 'facts'
  own = _config.to_dataclass(cycle.SleepConfig, config, 'config.sleep')
  document = documents.Document('A word', 'Of it.')
  console = rich.console.Console(file=io.StringIO(), width=80)
  _, report = cycle.sleep(
      cycle.Life(task_of(model, document).prepare(model)),
      Day(document), own, key=jax.random.key(0),
      observer=Observer(Display(console)))
  shown = console.file.getvalue()
  assert ('nothing in the text is worth a question: no name, number, date or '
          'phrase was found. It is learnt as it stands, in recitations.'
          ) in shown
  assert {text['kind'] for text in report.texts} == {'recall'}
