"""Days and nights: the loop, its report, and a run that is interrupted.

The model here is random: what it knows means nothing, how it is asked does.
"""

import json
import os
import re
import signal

import jax
import numpy as np
import pytest

from configs import quickstart as config_file
from configs import quickstart_level
from experiments import _config, quickstart
from sleepjax.data import world
from sleepjax.errors import UserError
from sleepjax.lifecycle import cycle
from sleepjax.model import load_pretrained
from sleepjax.models.hashes import base_sha256
from sleepjax.seeding import loop
from sleepjax.tasks import world as world_task
from sleepjax.training import checkpoints, preemption
from tests.world_runs import live, random_model


@pytest.fixture(scope='module')
def model():
  return random_model()


def run(model, workdir, days=3, seed=0, keep=None, **changes):
  config = config_file.get_config()
  config.sleep.slot_rank = 4
  config.sleep.dreams.questions_per_opening = 1
  config.sleep.seeding.update(steps=3, rows=4, rehearsal_rows=1,
                              retention_rows=4)
  config.sleep.dreaming = None
  config.sleep.dreams.open_prompts = ('Tell me about Bokar.',)
  # A random model writes no question that passes for one.
  config.sleep.rehearsal_per_text = 0
  config.days.update(days=days, rehearsal_texts=0, remembered=4,
                     level_dim=changes.pop('level_dim', 0))
  config.sleep.update_from_flattened_dict(changes)
  config.saving.keep.update(keep or {})
  return live(model, config, workdir, seed)


# Of three nights the last two, and the best one.
_KEEP = {'latest': 2, 'best': True}


@pytest.fixture(scope='module')
def whole(model, tmp_path_factory):
  workdir = tmp_path_factory.mktemp('days')
  return workdir, run(model, workdir, keep=_KEEP)


def test_the_report_has_a_row_for_each_night(whole, model):
  workdir, report = whole
  for name in ('accuracy_matrix', 'paraphrase_matrix', 'reversed_matrix',
               'trained_templates_matrix'):
    assert np.shape(report[name]) == (3, 3)
  assert len(report['in_context_accuracy']) == 3
  assert len(report['known_accuracy']) == 4
  days = [world.day(0, n) for n in range(3)]
  assert report['days'] == [day.text for day in days]
  assert np.shape(report['exam_questions']) == (3, 3 * 8)
  for day, questions in zip(days, report['exam_questions'], strict=True):
    assert questions[:8] == [q.question for q in day.questions('direct')]
    assert {world.wording_of(q) for q in questions} == {'exam'}
  saved = checkpoints.load_model(workdir / 'model')
  assert saved.config.num_slots == 3
  assert saved.params['layers']['slots']['open'].all()
  nights = saved.nights()
  assert [(n.number, n.slot) for n in nights] == [(1, 0), (2, 1), (3, 2)]
  assert [n.title for n in nights] == [day.document.title for day in days]
  assert nights[2].learnt_on == (nights[0].sha256, nights[1].sha256)
  assert {n.base_sha256 for n in nights} == {
      base_sha256(model.config, model.params)}
  assert nights[1].questions == tuple(
      (q.question, q.answer) for q in days[1].questions('paraphrase'))
  assert nights[0].settings['seeding.steps'] == 3
  # What `ask` puts its questions with.
  assert saved.lineage['answer_prompt'] == '{question}'
  # Model weights stay what they were.
  for path, old in jax.tree_util.tree_flatten_with_path(model.params)[0]:
    new = saved.params
    for key in path:
      new = new[key.key]
    np.testing.assert_array_equal(old, new)
  written = json.loads((workdir / 'report.json').read_text())
  assert written['params_sha256'] == report['params_sha256']


def _kept(workdir):
  index = json.loads((workdir / 'kept/kept.json').read_text())
  return index, {night: checkpoints.load_model(
      workdir / 'kept' / night).lineage['sleeps'] for night in
                 index['measures']}


def test_earlier_nights_are_kept(whole):
  workdir, report = whole
  index, nights = _kept(workdir)
  assert set(nights) == {index['best'], '000001', '000002'}
  assert all(nights[name] == int(name) + 1 for name in nights)
  assert index['measures']['000002'] == np.mean(report['accuracy_matrix'][2])


def test_answers_are_counted_by_the_day(model, monkeypatch):
  settings = _config.to_dataclass(
      cycle.SleepConfig, config_file.get_config().sleep)
  days = [world.day(5, n) for n in range(2)]
  exam = world_task.Exam(days, settings)
  answers = {q.question: q.answer for q in days[1].questions('direct')}

  def greedy(model, questions, settings, segment=None):
    return [answers.get(q.question, 'nothing') for q in questions]

  # Knows the second day, and nothing else.
  monkeypatch.setattr(world_task.questions_lib, 'greedy_answers', greedy)
  assert exam.right(model, 'direct') == [[False] * 8, [True] * 8]
  assert exam.right(model, 'direct', 'asked') == [[False] * 8] * 2
  assert exam.right(model, 'reversed') == [[False] * 8] * 2
  assert exam.known(model) == 0.0


@pytest.mark.slow
def test_no_question_of_the_exam_is_dreamt(tmp_path):
  """The model of the package writes what it learns from."""
  report = run(load_pretrained('tiny-world'), tmp_path, days=2, **{
      'dreams.questions_per_opening': 6, 'slot_rank': 16})
  exam = {question for day in report['exam_questions'] for question in day}
  assert len(exam) == 2 * 24
  nights = json.loads((tmp_path / 'dreams.json').read_text())
  for night in nights:
    asked = [d['prompt'] for d in night if d['kind'] == 'question']
    assert len(set(asked)) > 20 and not exam & set(asked)
    of_night = [world.wording_of(question) for question in asked]
    assert of_night.count('asked') > 0.9 * len(asked)
  assert report['dreamt_in_exam_wording'] == sum(
      world.wording_of(d['prompt']) == 'exam' for night in nights
      for d in night if d['kind'] == 'question')


def test_nights_are_told_of_the_exam_for_a_check_alone():
  """All of its templates, and nothing in the wording of the night."""
  settings = _config.to_dataclass(
      cycle.SleepConfig, config_file.get_config().sleep)
  task = world_task.WorldTask(settings, world_task.DaysConfig(days=2), 0)
  avoid = task.day(0, {'dreams': []}).avoid
  assert {world.wording_of(q) for q in avoid} == {'exam'}
  assert len(set(avoid)) == 2 * 8 * 3 * 2
  for day in task.days:
    for form in world.FORMS:
      assert {q.question for q in day.questions(form)} <= set(avoid)


def test_an_interrupted_run_goes_on_and_ends_the_same(
    whole, model, tmp_path, monkeypatch):
  sleep, calls = cycle.sleep, []

  def dies_in_the_second_night(*args, **kwargs):
    calls.append(1)
    if len(calls) == 2:
      raise KeyboardInterrupt
    return sleep(*args, **kwargs)

  with monkeypatch.context() as patched:
    patched.setattr(cycle, 'sleep', dies_in_the_second_night)
    with pytest.raises(KeyboardInterrupt):
      run(model, tmp_path)
  report = run(model, tmp_path)
  assert len(calls) == 2
  assert report['first_day_retained'] is None  # It knows nothing.
  for name in ('params_sha256', 'accuracy_matrix', 'nll_after',
               'in_context_accuracy', 'known_accuracy'):
    assert report[name] == whole[1][name], name
  with pytest.raises(UserError, match='another configuration: it has config='):
    run(model, tmp_path, **{'seeding.steps': 4})
  # What is saved and kept makes no other run of it.
  again = run(model, tmp_path, keep=_KEEP)
  assert again['params_sha256'] == report['params_sha256']
  assert list(_kept(tmp_path)[1]) == ['000002']


def test_a_night_that_moves_the_model_too_far_is_undone(
    whole, model, tmp_path):
  """Its slot is newborn again, and life goes on."""
  assert whole[1]['sleeps_rolled_back'] == 0
  assert 0 < max(whole[1]['retention_divergence']) < 1
  report = run(model, tmp_path, max_retention_divergence=0.0)
  assert report['sleeps_rolled_back'] == 3
  assert min(report['retention_divergence']) > 0
  pools = [checkpoints.load_model(folder / 'model').params['layers']['slots']
           for folder in (whole[0], tmp_path)]
  for pool, learnt in zip(pools, (True, False), strict=True):
    assert pool['open'].all() and pool['up'].any((0, 2, 3)).all()
    assert (pool['down'].any((0, 2, 3)) == learnt).all()
  with pytest.raises(UserError, match='max_retention_divergence=-1'):
    run(model, tmp_path / 'wrong', max_retention_divergence=-1.0)


def test_what_is_kept_of_the_first_day():
  retained = world_task._retained
  assert retained([[True, True, False, True], [False] * 4,
                   [True, False, True, True]]) == pytest.approx(2 / 3)
  assert retained([[False, False], [True, True]]) is None


@pytest.mark.slow
def test_baselines_with_a_memory_of_earlier_texts(model, tmp_path):
  """Replay and EWC get what was told on earlier days."""
  for name, changes in (('replay', {'replay': True}),
                        ('ewc', {'seeding.ewc': 10.0})):
    report = run(model, tmp_path / name, days=2, trained='all_layers', **{
        'source': 'text', 'seeding.target': 'tokens', 'seeding.alpha': 1.0,
        'seeding.on_policy': 0.0, 'seeding.rehearsal': 0.0,
        **changes})
    assert len(report['accuracy_matrix']) == 2


def test_pictures_and_tables(whole, tmp_path, capsys):
  quickstart.plot_report(whole[1], tmp_path / 'report.png')
  assert (tmp_path / 'report.png').stat().st_size > 10_000
  quickstart.print_report(whole[1])
  printed = capsys.readouterr().out
  assert re.search(r'night +┃ 0 +┃ 1 +┃ 2 ', printed)
  assert 'in view' in printed and 'long-known facts' in printed


@pytest.mark.parametrize('changes, message', [
    ({'days': 0}, 'from 1 to 38'), ({'days': 1000}, 'from 1 to 38'),
    ({'people': 0}, 'people=0 must be from 1 to 192'),
    ({'people': 193}, 'people=193 must be from 1 to 192'),
    ({'remembered': -1}, 'remembered=-1 must be at least 0')])
def test_days_that_cannot_be_are_refused(changes, message):
  with pytest.raises(ValueError, match=message):
    world_task.DaysConfig(**changes)


def test_wrong_numbers_are_refused_before_anything_is_computed(
    model, tmp_path):
  with pytest.raises(UserError, match='layers=.99,.*sleep.slot_layers'):
    run(model, tmp_path, slot_layers=(99,))
  for name, changes in {
      'slot_rank=0': {'slot_rank': 0},
      'batch_rows=0': {'dreams.batch_rows': 0},
      'openings is empty': {'dreams.openings': ()}}.items():
    with pytest.raises(UserError, match=name):
      run(model, tmp_path, **changes)
  with pytest.raises(UserError, match='config.seed=-1 must be at least 0'):
    quickstart.main(['x', f'--workdir={tmp_path}', '--config.seed=-1'])
  assert not (tmp_path / 'metrics.jsonl').exists()


def test_a_fast_level_needs_a_width(model, tmp_path):
  """Both settings are named, before anything is computed."""
  config = quickstart_level.get_config()
  config.days.level_dim = 0
  with pytest.raises(UserError, match=(
      r'sleep.level.wake.chunks=.*2 MLP levels.*days.level_dim=0')):
    live(model, config, tmp_path)


def test_a_model_that_cannot_be_exported_says_so_first(
    model, tmp_path, caplog):
  with pytest.raises(UserError, match='sleep.slot_layers'):
    run(model, tmp_path, slot_layers=(99,), level_dim=8)
  assert ('note: the slept model cannot be exported. level_dims=(8,)'
          in caplog.text)


def test_told_to_end_in_the_second_night(whole, model, tmp_path, monkeypatch):
  """The first night is kept; a notice inside a save waits for its end."""
  save = checkpoints.save_model

  def save_and_hear(*args, **then):
    os.kill(os.getpid(), signal.SIGTERM)
    save(*args, **then)

  with monkeypatch.context() as patched:
    patched.setattr(checkpoints, 'save_model', save_and_hear)
    with pytest.raises(preemption.Preempted):
      run(model, tmp_path, keep=_KEEP)
  assert checkpoints.load_model(tmp_path / 'model').lineage['sleeps'] == 1
  report = run(model, tmp_path, keep=_KEEP)
  assert report['params_sha256'] == whole[1]['params_sha256']
  assert _kept(tmp_path) == _kept(whole[0])


@pytest.mark.slow
def test_told_to_end_while_seeding(whole, model, tmp_path, monkeypatch):
  """The update is finished and saved, however short the night was so far."""
  update = loop.Seeder.update

  def update_and_hear(self, state, step, key):
    if step == 1:
      os.kill(os.getpid(), signal.SIGTERM)
    return update(self, state, step, key)

  with monkeypatch.context() as patched:
    patched.setattr(loop.Seeder, 'update', update_and_hear)
    with pytest.raises(preemption.Preempted):
      run(model, tmp_path)
  assert checkpoints.load_progress(tmp_path / 'unfinished_seed').step == 2
  report = run(model, tmp_path)
  for name in ('params_sha256', 'accuracy_matrix'):
    assert report[name] == whole[1][name], name
