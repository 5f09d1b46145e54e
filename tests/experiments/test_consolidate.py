"""The whole story as a person runs it: commands, files, exit codes.

The first tests are the real thing: SmolLM2 reads the bundled page with the
committed configuration. The rest are wrong inputs, on a tiny model where one
has to be loaded.
"""

import json
import os
import pathlib
import shutil
import subprocess
import sys

import numpy as np
import pytest

from sleepjax.training import checkpoints
from sleepjax.training.metrics import read_metrics

pytestmark = pytest.mark.slow

ROOT = pathlib.Path(__file__).parents[2]
TINY = ROOT / 'tests/golden/llama'
TEXT = ROOT / 'sleepjax/data/text'
TINY_FLAGS = (
    f'--config.model={TINY}', '--config.sleep.seeding.rehearsal=0.',
    '--config.sleep.seeding.steps=2', '--config.sleep.matmul_dtype=float32',
    '--config.sleep.dreams.prompt_tokens=160',
    '--config.sleep.dreaming.prompt_tokens=160',
    '--config.sleep.dreams.questions_per_opening=1')


def command(module, *flags):
  return subprocess.run(
      [sys.executable, '-m', f'experiments.{module}', *map(str, flags)],
      cwd=ROOT, capture_output=True, text=True, timeout=2400, check=False,
      # A real sleep runs for minutes: its programs are worth their compiling.
      env={**os.environ, 'JAX_PLATFORMS': 'cpu', 'XLA_FLAGS': ''})


def consolidate(*flags, config='configs/consolidate/quick.py'):
  return command('consolidate', f'--config={config}', *flags)


@pytest.fixture(scope='module')
def slept(tmp_path_factory):
  workdir = tmp_path_factory.mktemp('slept')
  result = consolidate(
      f'--document={TEXT}/lighthouse.txt',
      f'--questions={TEXT}/lighthouse_questions.json', f'--workdir={workdir}')
  assert result.returncode == 0, result.stdout + result.stderr
  return workdir, json.loads((workdir / 'report.json').read_text())


def test_a_sleep_teaches_what_the_text_says(slept):
  """README's first command: half of ten questions were right when measured."""
  workdir, report = slept
  assert report['knows_before'] == 0 and report['knows_after'] >= 0.4
  assert report['closed_book_nll_after'] < report['closed_book_nll_before']
  assert report['drift_ppl_after'] < 1.1 * report['drift_ppl_before']
  assert report['coverage'] == 1 and not report['sleeps_rolled_back']
  assert report['growth_max_abs_logit_change'] == 0
  assert report['growth_shapes'][0][0].split() == ['path', 'before', 'after']
  assert report['questions'] == 10
  assert report['questions_source'] == 'file'
  assert report['break_even_questions'] > 0
  off = [line['divergence'] for line in read_metrics(workdir / 'metrics.jsonl')
         if line['phase'] == 'seed']
  assert len(off) >= 60 and np.mean(off[-8:]) < 0.2 * np.mean(off[:8])
  assert (workdir / 'report.png').stat().st_size > 10_000


def test_only_the_new_slot_differs_from_the_base_model(slept):
  from sleepjax.model import load_pretrained
  base = load_pretrained('smollm2-135m-instruct')
  saved = checkpoints.load_model(slept[0] / 'model')
  grown = dict(saved.params['layers'])
  pool = grown.pop('slots')
  assert pool['open'].shape == (30, 1)
  assert pool['open'][20:].all() and not pool['open'][:20].any()
  assert np.abs(pool['down']).max() > 0
  assert slept[1]['params_after'] - slept[1]['params_before'] == (
      30 * 3 * 576 * 96)
  assert slept[1]['params_open_slots'] == 10 * 3 * 576 * 96
  for name, group in base.params['layers'].items():
    for leaf, value in group.items():
      np.testing.assert_array_equal(grown[name][leaf], value)
  np.testing.assert_array_equal(
      saved.params['embed']['table'], base.params['embed']['table'])


def test_the_slept_model_can_be_asked(slept):
  result = command('ask', f'--checkpoint={slept[0]}',
                   '--question=Where does the lighthouse stand?')
  assert result.returncode == 0, result.stderr
  assert len(result.stdout.strip()) > 3


def test_a_finished_workdir_refuses_another_run(slept):
  result = consolidate(
      f'--document={TEXT}/control_ship.txt',
      f'--questions={TEXT}/control_ship_questions.json',
      f'--workdir={slept[0]}')
  assert result.returncode == 2
  assert 'another' in result.stderr and '--workdir' in result.stderr


def tiny(tmp_path, *flags):
  return consolidate(
      f'--document={TEXT}/lighthouse.txt',
      f'--questions={TEXT}/lighthouse_questions.json',
      f'--workdir={tmp_path}/run', *TINY_FLAGS, *flags,
      config='tests/small_sleep.py')


def wrong_inputs(tmp_path):
  write = lambda name, data: (tmp_path / name).write_bytes(data) and (
      tmp_path / name)
  empty = tmp_path / 'empty.txt'
  empty.write_bytes(b'')
  keyless = write('keyless.json', b'[{"question": "Who?"}]')
  binary = write('binary.txt', b'\x00\x01\xff' * 40)
  no_tokenizer = tmp_path / 'no_tokenizer'
  shutil.copytree(TINY, no_tokenizer)
  (no_tokenizer / 'tokenizer.json').unlink()
  cut = tmp_path / 'cut'
  shutil.copytree(TINY, cut)
  weights = (cut / 'model.safetensors').read_bytes()
  (cut / 'model.safetensors').write_bytes(weights[:len(weights) // 2])
  gguf = write('cut.gguf', b'GGUF' + bytes(40))
  other = tmp_path / 'other'
  shutil.copytree(TINY, other)
  settings = json.loads((other / 'config.json').read_text())
  (other / 'config.json').write_text(json.dumps(
      {**settings, 'architectures': ['MambaForCausalLM']}))
  wide = tmp_path / 'wide'
  shutil.copytree(TINY, wide)
  (wide / 'config.json').write_text(json.dumps(
      {**settings, 'intermediate_size': settings['intermediate_size'] + 8}))
  return {
      '--document=nowhere.txt': 'nowhere.txt',
      f'--document={empty}': 'empty',
      f'--document={binary}': 'binary',
      f'--questions={keyless}': 'answer',
      '--config.sleep.seeding.stepz=3': 'stepz',
      f'--config.model={no_tokenizer}': 'tokenizer.json',
      f'--config.model={cut}': 'model.safetensors',
      f'--config.model={gguf}': 'cut.gguf',
      f'--config.model={other}': 'MambaForCausalLM',
      f'--config.model={wide}': 'want',
      '--config.sleep.context_tokens=100000': 'context_tokens'}


@pytest.mark.parametrize('module, config, missing', [
    ('consolidate', 'quickstart', 'exam'),
    ('ablate_seeding', 'dreaming/world', 'rates')])
def test_the_configuration_of_another_command_ends_without_a_traceback(
    module, config, missing, tmp_path):
  result = command(module, f'--config=configs/{config}.py',
                   f'--workdir={tmp_path}/run')
  assert result.returncode == 2 and result.stderr == (
      f'error: --config=configs/{config}.py: this command needs {missing}, '
      'which the file does not set; is it the configuration of another '
      'command? Start from configs/' + {
          'consolidate': 'consolidate/facts.py',
          'ablate_seeding': 'seeding/world.py'}[module] + '.\n')
  assert not (tmp_path / 'run').exists()


@pytest.mark.parametrize('number', range(11))
def test_wrong_input_is_named_and_leaves_nothing(number, tmp_path):
  flag, message = list(wrong_inputs(tmp_path).items())[number]
  result = tiny(tmp_path, flag)
  assert result.returncode == 2, result.stdout + result.stderr
  assert 'Traceback' not in result.stderr
  assert message in result.stderr.replace('\n', ' '), result.stderr
  assert not (tmp_path / 'run/report.json').exists()
  assert not (tmp_path / 'run/model').exists()
