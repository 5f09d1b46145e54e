"""A command that trains is the same on one device and in two processes."""

import json
import os
import pathlib
import subprocess
import sys

import jax
import numpy as np
import pytest

from experiments import _config, pretrain
from sleepjax.data import process_batches
from sleepjax.mesh import sharding
from sleepjax.mesh.sharding import MeshConfig
from sleepjax.model import load_pretrained
from sleepjax.models.config import ModelConfig
from sleepjax.pretraining.next_token import PretrainingConfig

pytestmark = pytest.mark.slow

_ROOT = pathlib.Path(__file__).resolve().parents[2]
_SMALL = [
    '--config.model.num_layers=2', '--config.model.embed_dim=32',
    '--config.model.mlp_dim=32', '--config.model.head_dim=8',
    '--config.pretraining.matrix_learning_rate=0.0',
    '--config.pretraining.learning_rate=0.001',
    '--config.pretraining.steps=4', '--config.pretraining.warmup_steps=2',
    '--config.save_every=3', '--config.exam_days=1',
    *(f'--config.stages.{stage}.rows.{value}' for stage in (
        'two', 'some', 'day') for value in ('rows=8', 'length=80'))]


def _trained_here():
  """(metrics, params) of the same run on one device, without the command."""
  config = _config.from_flags(
      ['pretrain', *_SMALL], default='configs/pretrain/tiny_world.py')
  model = _config.to_dataclass(ModelConfig, config.model)
  settings = _config.to_dataclass(PretrainingConfig, config.pretraining)
  stages = [_config.to_dataclass(pretrain.Stage, stage)
            for stage in config.stages.values()]
  mesh, heard = sharding.make_mesh(MeshConfig()), []
  params, _ = pretrain.train(
      model, settings, pretrain.world_rows(stages, settings, config.seed),
      pretrain.born(model, settings, config.seed, True, mesh),
      range(settings.steps),
      lambda step, state, metrics, tokens: heard.append(metrics), mesh)
  return heard, params


def test_two_processes_train_what_one_does(tmp_path):
  flags = '--xla_backend_optimization_level=0'
  done = subprocess.run(
      [sys.executable, '-m', 'experiments.launch', '--devices-per-process=2',
       '--', sys.executable, '-m', 'experiments.pretrain', *_SMALL,
       '--config.mesh.fsdp=-1', '--config.mesh.tensor=2',
       f'--workdir={tmp_path}'], cwd=_ROOT, text=True, capture_output=True,
      env={**os.environ, 'XLA_FLAGS': flags}, timeout=600)
  assert done.returncode == 0, done.stdout[-3000:]
  assert 'process 1/2: pretrain step 3' in done.stdout
  lines = (tmp_path / 'steps.jsonl').read_text().splitlines()
  wanted, params = _trained_here()
  for line, metrics in zip(map(json.loads, lines), wanted, strict=True):
    np.testing.assert_allclose(line['loss'], metrics['loss'], atol=1e-5)
    np.testing.assert_allclose(
        line['gradient_norm'], metrics['gradient_norm'], rtol=1e-5)
  # Adam moves an entry by the sign of its gradient, however small that is: of
  # a few, rounding decides.
  flat = lambda tree: np.concatenate([np.ravel(x) for x in jax.tree.leaves(
      tree)])
  away = np.abs(flat(load_pretrained(str(tmp_path / 'hf')).params)
                - flat(params))
  assert np.mean(away < 1e-5) > 0.97 and away.max() < 0.001
  assert 'in_context_accuracy' in json.loads(
      (tmp_path / 'report.json').read_text())


def test_batches_follow_each_other_from_any_step():
  mesh = sharding.make_mesh(MeshConfig())
  rows_of = lambda step: {'tokens': np.full((4, 3), step)}
  batches = list(process_batches.step_batches(
      range(5, 9), rows_of, lambda rows: int(rows['tokens'].sum()), mesh))
  assert [b.step for b in batches] == [5, 6, 7, 8]
  assert [b.tokens for b in batches] == [60, 72, 84, 96]
  for batch in batches:
    tokens = batch.rows['tokens']
    assert tokens.sharding.spec == sharding.P(('data', 'fsdp'))
    np.testing.assert_array_equal(tokens, np.full((4, 3), batch.step))


def test_own_rows_are_those_of_the_devices_here():
  class TwoOfFour:
    """Devices of this process hold the second and the last quarter."""

    def addressable_devices_indices_map(self, shape):
      quarter = shape[0] // 4
      part = lambda i: (slice(i * quarter, (i + 1) * quarter),)
      return {0: part(3), 1: part(1), 2: part(1)}

  assert process_batches.own_rows(TwoOfFour(), 8).tolist() == [2, 3, 6, 7]
