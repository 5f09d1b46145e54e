"""The experiment that measures judges: its passages, pairs and report."""

import jax
import numpy as np
import pytest

from experiments import judge_error as experiment
from sleepjax.data.prompts import ChatPrompts
from sleepjax.data.sources import Passage
from sleepjax.errors import UserError
from sleepjax.evals import judges


def test_passages_are_of_one_title_and_questions_apart(byte_tokenizer):
  chat = ChatPrompts(byte_tokenizer)
  asked = (('who', 'Ada Verne'), ('what', 'the Verne'), ('where', 'a rock'),
           ('a question that is much too long to be put to it', 'x'))
  passages = [Passage(t, f'text of {t}', asked) for t in 'aabcde']
  settings = experiment.JudgeErrorConfig(
      '', (), judges.YesNoConfig(), calibration_passages=2, report_passages=2,
      questions=2, question_tokens=60)
  chosen = experiment.choose_passages(passages, settings, chat)
  assert len(chosen) == len({text for text, _ in chosen}) == 4
  assert all(qs == ['who', 'where'] for _, qs in chosen)
  with pytest.raises(UserError, match='3 passages are short.*4 are needed'):
    experiment.choose_passages(passages[:4], settings, chat)


class Teacher:
  """Writes 'n.q.k' as sample k of question q about passage n."""

  config = params = None

  def __init__(self):
    self.model, self.chat, self.passage = self, self, -1

  def after_document(self, question):
    return question

  def write(self, prompts, key, segments):
    self.passage += 1
    half = len(prompts) // 2
    assert prompts[:half] == prompts[half:]
    return [f'{self.passage}.{q}.{k}' for k in (0, 1) for q in prompts[:half]]

  def texts(self, completions):
    return completions


def test_pairs_and_their_report(monkeypatch):
  monkeypatch.setattr(
      experiment.context, 'read_document', lambda *args: 'segment')
  passages = [('t', ['x', 'y']), ('u', ['x', 'y'])]
  settings = experiment.JudgeErrorConfig('', (), judges.YesNoConfig())
  pairs = experiment.write_pairs(
      Teacher(), passages, settings, jax.random.key(0))
  assert pairs['same'][:2] == [('0.x.0', '0.x.1', 'x'), ('0.y.0', '0.y.1', 'y')]
  assert pairs['same_passage'][2:] == [
      ('1.x.0', '1.y.1', 'x'), ('1.y.0', '1.x.1', 'y')]
  assert pairs['other_passage'][1:3] == [
      ('0.y.0', '1.y.1', 'y'), ('1.x.0', '0.x.1', 'x')]

  # Equal characters: 4 of 5 in the same, 3 of 5 or fewer in the others.
  encoder = lambda texts: np.array([[
      t[0] == '0', t[0] == '1', t[2] == 'x', t[2] == 'y']
      for t in texts]) / np.sqrt(2)
  entry = experiment.measure(
      judges.EmbeddingJudge(encoder, threshold=0.2), pairs, pairs)
  assert entry['default']['false_negative'] == {
      'rate': 0.0, 'low': 0.0, 'n': 4, 'high': pytest.approx(0.4899, abs=1e-4)}
  assert entry['default']['false_positive_same_passage']['rate'] == 1
  assert entry['default']['balanced_accuracy'] == 0.5
  assert entry['calibrated']['threshold'] == pytest.approx(0.75)
  assert entry['calibrated']['balanced_accuracy'] == 1
  assert entry['separation'] == {'same_passage': 1.0, 'other_passage': 1.0}
  experiment.print_table(
      {'judges': {'x': entry}, 'left_out': {'y': 'not here'}})


@pytest.mark.parametrize('flags, message', [
    ([], '--workdir is missing'),
    (['--workdir=x', '--config.judges=("telepathy",)'], "'telepathy'.*yes_no"),
    (['--workdir=x', '--config.questions=1'], 'at least 2'),
    (['--workdir=x', '--config.yes_no.batch=1'], "no field 'batch'"),
])
def test_wrong_settings_are_refused(flags, message):
  with pytest.raises(UserError, match=message):
    experiment.main(['judge_error', *flags])


def test_missing_passages_are_a_clear_error(tmp_path, monkeypatch):
  monkeypatch.setenv('SLEEPJAX_DATA_DIR', str(tmp_path / 'nowhere'))
  with pytest.raises(UserError, match='no such folder'):
    experiment.main(['judge_error', f'--workdir={tmp_path}'])
