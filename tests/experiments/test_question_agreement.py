"""The experiment that sets agreement against gold answers."""

import json

import numpy as np
import pytest

from experiments import question_agreement as experiment
from sleepjax.data import world
from sleepjax.errors import UserError


def test_summary():
  people = [{'agreement': a, 'right': r} for a, r in (
      (0.1, 0.0), (0.25, 0.0), (0.3, 1.0), (0.9, 1.0))]
  own = [{'agreement': a} for a in (0.0, 0.55)]
  summary = experiment.summarise(people, own)
  rows = {row.pop('threshold'): row for row in summary['thresholds']}
  assert rows[0.0] == {
      'people_kept': 1.0, 'people_right': 0.5, 'own_kept': 1.0}
  assert rows[0.3] == {
      'people_kept': 0.5, 'people_right': 1.0, 'own_kept': 0.5}
  assert rows[0.6] == {
      'people_kept': 0.25, 'people_right': 1.0, 'own_kept': 0.0}
  assert summary['rank_correlation'] == pytest.approx(0.8944, abs=1e-4)
  none_kept = experiment.summarise(people[:1], [])['thresholds'][-1]
  assert none_kept['people_right'] is None and none_kept['own_kept'] is None
  experiment.print_summary({**summary, 'thresholds': [
      {'threshold': 0.5, **none_kept}]})


@pytest.fixture
def days_as_passages(tmp_path, monkeypatch):
  (tmp_path / 'squad').mkdir()
  days = [world.day(seed=800 + i, number=i) for i in range(7)]
  (tmp_path / 'squad/squad_val.json').write_text(json.dumps([
      {'title': str(day.number), 'context': day.text, 'questions': [
          {'question': q.question, 'answer': q.answer}
          for q in day.questions('direct')]} for day in days]))
  monkeypatch.setenv('SLEEPJAX_DATA_DIR', str(tmp_path))
  return tmp_path


@pytest.mark.slow
def test_a_model_that_can_look_up_agrees_and_is_right(
    days_as_passages, tmp_path, capsys):
  experiment.main([
      'question_agreement', '--config=configs/quickstart.py', '--passages=2',
      f'--workdir={tmp_path / "out"}'])
  report = json.loads((tmp_path / 'out/report.json').read_text())
  for entry in report['people']:
    assert entry['right'] == 1 and entry['answer'] == entry['gold']
  agreements = [entry['agreement'] for entry in report['people']]
  assert np.mean(agreements) > 0.9
  asked = [entry['question'] for entry in report['people']]
  assert 0 < len(report['own']) <= len(asked) == report['summary']['people']
  valid = sum(world.answer_to(e['question'], [
      fact for i in range(7) for fact in world.day(seed=800 + i, number=i).facts
  ]) == e['answer'] for e in report['own'])
  assert valid >= 0.7 * len(report['own'])
  assert '≥ 0.3' in capsys.readouterr().out


@pytest.mark.parametrize('flags, message', [
    ([], '--workdir is missing'),
    (['--workdir=x', '--passages=0'], 'must be at least 1'),
    (['--workdir=x', '--config.sleep.dreaming.agreement_samples=0'],
     'must be at least 1')], ids=str)
def test_wrong_settings_are_refused(flags, message):
  with pytest.raises(UserError, match=message):
    experiment.main(
        ['question_agreement', '--config=configs/quickstart.py', *flags])
