"""Both experiments on growth, with their own configurations made small."""

import dataclasses
import fcntl
import functools
import json
import os
import pathlib
import re
import subprocess
import sys

import jax.numpy as jnp
import numpy as np
import optax
import pytest

from experiments import growth_parity, growth_training
from experiments.growth_training import ARMS, DROPPED, MOMENTS, NONE
from sleepjax.data import sources
from sleepjax.errors import UserError
from sleepjax.models import transformer
from sleepjax.models.named_leaves import named_leaves
from sleepjax.pretraining import next_token
from sleepjax.pretraining.next_token import PretrainingConfig
from tests.conftest import CONFIG

pytestmark = pytest.mark.slow

ROOT = pathlib.Path(__file__).resolve().parents[2]
SMALL = ['--config.scratch.vocab_size=300', '--config.scratch.num_layers=1',
         '--config.scratch.embed_dim=16', '--config.scratch.mlp_dim=16',
         "--config.plan=(('MlpWidth', 24), ('Layers', (0,)))",
         '--config.seeds=(0, 1)', '--config.steps_after=5',
         '--config.rise_steps=2', '--config.warm_up_steps=3',
         '--config.held_out_tokens=300', '--config.pretraining.steps=4',
         '--config.pretraining.rows=2', '--config.pretraining.window=8',
         '--config.pretraining.warmup_steps=2']


def call(module, monkeypatch, *flags, **environment):
  """The command's main in this process."""
  monkeypatch.delenv(sources.DATA_DIR_VARIABLE, raising=False)
  for name, value in environment.items():
    monkeypatch.setenv(name, str(value))
  module.main([module.__name__, *map(str, flags)])


@pytest.fixture(scope='module')
def parity(tmp_path_factory):
  """(report, markdown) of one of the random models, made smaller."""
  folder = tmp_path_factory.mktemp('parity')
  with pytest.MonkeyPatch.context() as patch:
    # Half of the time is spent here, mostly on the same shapes.
    patch.setattr(transformer, 'abstract_params',
                  functools.cache(transformer.abstract_params))
    call(growth_parity, patch, f'--workdir={folder}',
         "--config.models=('qwen3_shaped',)", '--config.tokens=12',
         '--config.slot_rank=4', '--config.shapes.qwen3_shaped.num_layers=2',
         '--config.shapes.qwen3_shaped.embed_dim=32',
         '--config.shapes.qwen3_shaped.head_dim=8',
         '--config.shapes.qwen3_shaped.mlp_dim=48',
         '--config.shapes.qwen3_shaped.vocab_size=300')
  return (json.loads((folder / 'parity.json').read_text()),
          (folder / 'parity.md').read_text())


def test_parity_of_every_operator(parity):
  report, markdown = parity
  assert list(report['models']) == ['qwen3_shaped']
  assert report['text'] == 'bundled: drift'
  cells = {row: cell['qwen3_shaped'] for row, cell in report['rows'].items()}
  refused = {row for row, cell in cells.items() if 'refused' in cell}
  assert refused == {
      'AppendSlot beside it, sigmoid, top 1', 'AppendSlot, softmax routing',
      "QueryHeads, where='end'", 'HeadDim, ×1.25'}
  # What is refused was refused for a reason, and a slot in use matters.
  for row in refused - {'AppendSlot, softmax routing'}:
    assert cells[row]['by_force']['relative_change'] > 0.1, row
  used = cells.pop('a slot with random output (no growth)')
  assert used['relative_change'] > 0.1
  for row in cells.keys() - refused:
    assert cells[row]['relative_change'] < 3e-5, row
    grows = row != 'OpenSlot beside it' and 'no growth' not in row and (
        row != 'fold_slots')
    assert (cells[row]['params_after'] > cells[row]['params_before']) == grows
  lines = markdown.splitlines()
  assert lines[0] == '| operator | qwen3_shaped |'
  assert len(lines) == 2 + len(report['rows'])
  assert any(re.fullmatch(
      r"\| HeadDim, ×1.25 \| refused: head_dim=10 .* σ if forced\) \|", line)
             for line in lines)


def test_random_models_use_every_part():
  config = dataclasses.replace(
      CONFIG, qkv_bias=True, qk_norm=True, tie_embeddings=False)
  params = growth_parity.random_params(config, 0)
  shapes = transformer.abstract_params(config)
  for path, leaf in named_leaves(params).items():
    assert np.std(leaf) > 0.05, path
    assert leaf.shape == named_leaves(shapes)[path].shape


@pytest.fixture(scope='module')
def training(little_text, tmp_path_factory):
  """(folder, report) of two seeds of four arms."""
  folder = tmp_path_factory.mktemp('training')
  with pytest.MonkeyPatch.context() as patch:
    call(growth_training, patch, f'--workdir={folder}', *SMALL,
         SLEEPJAX_DATA_DIR=little_text)
  return folder, json.loads((folder / 'report.json').read_text())


def test_arms_share_batches_and_the_state_at_growth(training):
  folder, report = training
  losses = {arm: np.array(values) for arm, values in report['losses'].items()}
  assert list(losses) == list(ARMS)
  assert all(values.shape == (2, 5) for values in losses.values())
  for arm in ARMS[1:]:
    np.testing.assert_allclose(losses[arm][:, 0], losses[NONE][:, 0], atol=1e-4)
    assert report['params'][arm] > report['params'][NONE]
    assert np.abs(losses[arm][:, 1:] - losses[NONE][:, 1:]).max() > 1e-4
  assert report['max_logit_change'] < 1e-4
  assert not np.allclose(losses[MOMENTS], losses[DROPPED], atol=1e-4)
  assert (folder / 'report.png').read_bytes()[1:4] == b'PNG'
  assert (folder / 'seed_1' / 'steps.jsonl').read_text().count('\n') == 24


def test_the_summary_is_that_of_the_losses(training):
  _, report = training
  losses = {arm: np.array(values) for arm, values in report['losses'].items()}
  rise = (losses[DROPPED] - losses[NONE])[:, 1:3].max(1)
  have = report['arms'][DROPPED]['worst_rise']
  np.testing.assert_allclose(have['values'], rise)
  # Two values a and b: t = 12.706, half width 12.706 |a - b| / 2.
  np.testing.assert_allclose(
      [have['mean'], have['half_width']],
      [rise.mean(), 12.7062 * abs(rise[0] - rise[1]) / 2], rtol=1e-5)
  end = losses[DROPPED][:, -2:].mean(1) - losses[MOMENTS][:, -2:].mean(1)
  np.testing.assert_allclose(
      report['minus_moments_grown'][DROPPED]['loss_at_the_end']['mean'],
      end.mean(), rtol=1e-5)


def test_finished_seeds_are_kept(training, little_text, monkeypatch, capsys):
  folder, report = training
  seed = (folder / 'seed_0' / 'steps.jsonl').stat().st_mtime_ns
  (folder / 'seed_1' / 'report.json').unlink()
  call(growth_training, monkeypatch, f'--workdir={folder}', *SMALL,
       SLEEPJAX_DATA_DIR=little_text)
  assert (folder / 'seed_0' / 'steps.jsonl').stat().st_mtime_ns == seed
  again = json.loads((folder / 'report.json').read_text())
  assert again['losses'] == report['losses'] and again['arms'] == report['arms']
  assert 'moments dropped minus moments grown' in capsys.readouterr().out
  with pytest.raises(UserError, match=(
      "seed_0 holds the result of another configuration: it has "
      "config={'pretraining.learning_rate': ")):
    call(growth_training, monkeypatch, f'--workdir={folder}', *SMALL,
         '--config.pretraining.learning_rate=0.1',
         SLEEPJAX_DATA_DIR=little_text)


@pytest.mark.parametrize('module, flags', [
    (growth_training, SMALL), (growth_parity, ['--config.tokens=1'])])
def test_a_folder_is_one_run_at_a_time(
    module, flags, little_text, tmp_path, monkeypatch):
  with (tmp_path / '.lock').open('a') as other:
    fcntl.flock(other, fcntl.LOCK_EX)
    with pytest.raises(UserError, match='another process is at work there'):
      call(module, monkeypatch, f'--workdir={tmp_path}', *flags,
           SLEEPJAX_DATA_DIR=little_text)
  assert [path.name for path in tmp_path.iterdir()] == ['.lock']


def test_what_cannot_be_written_leaves_the_rows_before(tmp_path):
  """A process of its own gets the limit."""
  report = {'models': {}, 'rows': {'a': {}}}
  growth_parity.write(tmp_path, report)
  done = subprocess.run([sys.executable, '-c', f'''
import pathlib, resource
from experiments import growth_parity
resource.setrlimit(resource.RLIMIT_FSIZE, (100, resource.RLIM_INFINITY))
growth_parity.write(pathlib.Path({str(tmp_path)!r}), dict(
    models={{}}, rows={{str(i): {{}} for i in range(100)}}))
'''], cwd=ROOT, check=False, capture_output=True, text=True)
  assert 'File too large' in done.stderr
  assert json.loads((tmp_path / 'parity.json').read_text()) == report


def test_a_new_adam_keeps_the_schedule():
  settings = PretrainingConfig()
  params = {'w': jnp.ones(3)}
  optimizer = next_token.make_optimizer(settings)
  state = optimizer.init(params)
  for _ in range(4):
    _, state = optimizer.update({'w': jnp.ones(3)}, state, params)
  fresh = growth_training.with_new_adam(state)
  found = {type(part).__name__: part for part in fresh[1]}
  adam = found['ScaleByAdamState']
  assert int(adam.count) == 0 and not adam.mu['w'].any()
  assert not adam.nu['w'].any()
  assert int(found['ScaleByScheduleState'].count) == 4
  assert isinstance(state[1][0], optax.ScaleByAdamState)
  assert state[1][0].mu['w'].all()


@pytest.mark.parametrize('flags, message', [
    (["--config.plan=(('MlpWidht', 24),)"], 'must be a tuple that begins with'),
    (["--config.plan=(('MlpWidth', 'x'),)"], 'MlpWidth.to: expected int'),
    (["--config.plan=(('Layers', (0,), 1),)"], 'more values than Layers has'),
    (["--config.plan=(('MlpWidth', 8),)"], 'must be more than the 384'),
    (['--config.seeds=(1, 1)'], 'an interval needs at least two'),
    (['--config.rise_steps=500'], 'must be from 1 to less than steps_after'),
    (['--config.held_out_tokens=64'],
     'config.held_out_tokens=64 must be more than config.pretraining.window'),
    (['--config.pretraining.window=0'], 'window=0 must be at least 1'),
    ([], 'set SLEEPJAX_DATA_DIR')])
def test_wrong_training_is_refused(flags, message, tmp_path, monkeypatch):
  with pytest.raises(UserError, match=re.escape(message)):
    call(growth_training, monkeypatch, f'--workdir={tmp_path}', *flags)


@pytest.mark.parametrize('flags, message', [
    (["--config.models=('nothing_here',)"], "no model 'nothing_here'"),
    (['--config.tokens=0'], 'tokens=0 must be at least 1'),
    (['--config.shapes.llama_shaped.head_dim=7'], 'head_dim=7 must be even'),
    (['--config.models=()'], 'name at least one')])
def test_wrong_parity_is_refused(flags, message, tmp_path, monkeypatch):
  with pytest.raises(UserError, match=re.escape(message)):
    call(growth_parity, monkeypatch, f'--workdir={tmp_path}', *flags)


def test_a_wrong_flag_ends_without_a_traceback():
  done = subprocess.run(
      [sys.executable, '-m', 'experiments.growth_parity', '--config.token=3'],
      cwd=ROOT, capture_output=True, text=True,
      env={**os.environ, 'JAX_PLATFORMS': 'cpu'})
  assert done.returncode == 2 and 'Traceback' not in done.stderr
  assert "did you mean 'tokens'?" in done.stderr


def test_the_readme_snippet_runs(capsys):
  text = (ROOT / 'sleepjax' / 'growth' / 'README.md').read_text()
  snippet, = re.findall(r'```python\n(.*?)```', text, re.DOTALL)
  exec(compile(snippet, 'README.md', 'exec'), {})
  assert float(capsys.readouterr().out.split()[-1]) < 1e-4
