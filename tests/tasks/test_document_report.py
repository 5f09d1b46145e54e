"""What the report of a document says, of a few made-up sleeps."""

import io
import json

import jax
import numpy as np
import pytest
import rich.console

from experiments import _config
from sleepjax.data import benchmarks
from sleepjax.data.documents import Document, Question
from sleepjax.errors import UserError
from sleepjax.evals import outside
from sleepjax.evals import report as report_lib
from sleepjax.lifecycle.config import SleepConfig
from sleepjax.model import Model
from sleepjax.tasks import document
from sleepjax.training.observer import silent
from sleepjax.writing.coverage import Coverage
from tests import small_sleep


def test_coverage_is_of_the_sentences_of_all_sleeps():
  sleeps = [Coverage(8, 1, 2, 3, verified=4, answers_too_long=5)._asdict(),
            Coverage(2, 0, 0)._asdict(), {}]
  assert document._coverage(sleeps) == {
      'sentences': 10, 'coverage': pytest.approx(0.7),
      'verified': pytest.approx(0.4), 'sentences_without_question': {
          'too_long': 1, 'no_usable_question': 2},
      'recollections_left_out': 3, 'answers_too_long': 5}
  assert document._coverage([{}]) == {}


SLEPT = {
    'growth_max_abs_logit_change': 0.0, 'growth_shapes': '', 'dreams': 1,
    'coverage': {}, 'dreaming': {}, 'hand_over': {
        'retention_divergence': 0.0, 'rolled_back': False}}


@pytest.fixture
def data(tmp_path, monkeypatch):
  """Two public tests of a few items."""
  monkeypatch.setenv('SLEEPJAX_DATA_DIR', str(tmp_path))
  for name in ('lambada', 'piqa'):
    (tmp_path / name).mkdir()
  (tmp_path / 'lambada/lambada_test.jsonl').write_text('\n'.join(
      json.dumps({'text': f'Ann lit the lamp number {n}'}) for n in range(5)))
  (tmp_path / 'piqa/valid.jsonl').write_text(json.dumps(
      {'goal': 'Dry hands.', 'sol1': 'A towel.', 'sol2': 'A lamp.'}))
  (tmp_path / 'piqa/valid-labels.lst').write_text('1')


def outside_task(model, **exam):
  config = small_sleep.get_config().sleep
  config.context_tokens = 120
  config.matmul_dtype = 'float32'
  config.dreams.prompt_tokens = 100
  config.dreams.completion_tokens = 8
  settings = _config.to_dataclass(SleepConfig, config, 'sleep')
  return document.DocumentTask(
      model, document.Reading(
          Document('A tower', 'It was lit by Ann.'),
          [Question('By whom?', 'Ann')], [
              (Document('A control', 'It was dark.'),
               [Question('How was it?', 'dark')])]),
      settings, document.ExamConfig(
          max_new_tokens=4, drift_tokens=64, outside_items=3, **exam))


@pytest.mark.slow
def test_what_is_forgotten_on_the_outside(talker, byte_tokenizer, data):
  model = Model(*talker, byte_tokenizer, 'talker')
  task = outside_task(model, outside=('lambada', 'piqa'))
  ready = task.settings.for_compute(model)
  progress = task.before(model, ready, silent())
  report = task.summary(
      json.loads(json.dumps(progress | {'sleeps': [SLEPT]})),
      ready.with_params(ready.config, jax.tree.map(
          lambda leaf: 2 * leaf, ready.params)), silent())
  assert report['outside_lambada_questions'] == 3
  assert report['outside_piqa_questions'] == 1
  nats = [row['nats'] for row in outside.score(
      ready, 'lambada', benchmarks.read('lambada', 3))]
  assert report['outside_lambada_perplexity_before'] == pytest.approx(
      np.exp(np.mean(nats)), rel=1e-4)
  assert report['outside_lambada_perplexity_after'] != pytest.approx(
      np.exp(np.mean(nats)), rel=1e-2)
  shown = io.StringIO()
  report_lib.print_table(report, rich.console.Console(file=shown, width=120))
  assert 'public test, lambada' in shown.getvalue()


def test_public_tests_are_checked_before_a_run(
    talker, byte_tokenizer, data, tmp_path, monkeypatch):
  model = Model(*talker, byte_tokenizer, 'talker')
  with pytest.raises(ValueError, match="outside='mmlu' must be one of hella"):
    outside_task(model, outside=('mmlu',))
  for name in ('HTTPS_PROXY', 'https_proxy', 'HTTP_PROXY', 'http_proxy'):
    monkeypatch.setenv(name, 'http://127.0.0.1:9')
  monkeypatch.setattr('tensorflow_datasets.core.constants.DATA_DIR',
                      str(tmp_path / 'none'))
  with pytest.raises(UserError, match='gsm8k is not here'):
    outside_task(model, outside=('gsm8k',))
  (tmp_path / 'gsm8k').mkdir()
  for split in ('train', 'test'):
    (tmp_path / f'gsm8k/{split}.jsonl').write_text(json.dumps(
        {'question': '1?', 'answer': '#### 1'}))
  with pytest.raises(UserError, match='gsm8k, item 0: it takes .* leave this'):
    outside_task(model, outside=('gsm8k',))
