import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments import pretrain
from sleepjax.errors import UserError
from sleepjax.models import transformer
from sleepjax.pretraining import next_token
from sleepjax.pretraining.next_token import PretrainingConfig
from tests.conftest import CONFIG

SETTINGS = PretrainingConfig(
    rows=4, window=8, learning_rate=0.01, warmup_steps=1, chunk_rows=5)
STREAM = jnp.asarray(np.random.default_rng(0).integers(0, 61, 50), jnp.int32)


def test_loss_is_that_of_the_logits(plain):
  """Against the definition, in float64."""
  config, params = plain
  tokens = STREAM[:18].reshape(2, 9)
  total, weight = next_token.next_token_loss(
      config, params, tokens, chunk_rows=3)
  logits = np.asarray(
      transformer.logits(config, params, tokens[:, :-1]), np.float64)
  log_z = np.log(np.exp(logits).sum(-1))
  right = np.take_along_axis(
      logits, np.asarray(tokens)[:, 1:, None], axis=2)[..., 0]
  assert weight == 16
  np.testing.assert_allclose(total, (log_z - right).sum(), rtol=1e-5)


@pytest.mark.slow
def test_loss_of_a_stream_counts_each_token_once(plain):
  config, params = plain
  want = [next_token.next_token_loss(
      config, params, STREAM[None, 8 * i:8 * i + 9])[0] for i in range(6)]
  for rows in 2, 4, 16:  # All, a last batch of two, and one of six.
    have = next_token.loss_of_stream(config, params, STREAM, 8, rows=rows)
    np.testing.assert_allclose(have, sum(want) / 48, rtol=1e-5)


def test_batches_of_a_stream_are_one_program(plain):
  config, params = plain
  programs = next_token._row_losses._cache_size
  next_token.loss_of_stream(config, params, STREAM, 5, rows=4)
  before = programs()
  next_token.loss_of_stream(config, params, STREAM[:12], 5, rows=4)
  assert programs() == before


def test_a_stream_without_a_window_is_refused(plain):
  with pytest.raises(UserError, match='8 tokens has no window of 8'):
    next_token.loss_of_stream(*plain, STREAM[:8], 8)


def test_windows_are_stretches_of_the_stream():
  windows = next_token.random_windows(
      jnp.arange(20), 100, 4, jax.random.key(0))
  assert windows.shape == (100, 5)
  assert (jnp.diff(windows, axis=1) == 1).all()
  assert set(windows[:, 0].tolist()) == set(range(16))


@pytest.mark.slow
def test_training_learns_a_text():
  params = transformer.init(CONFIG, jax.random.key(0))
  opt_state = next_token.make_optimizer(SETTINGS).init(params)
  losses = []
  for step in range(60):
    params, opt_state, metrics = next_token.pretraining_step(
        CONFIG, SETTINGS, params, opt_state, STREAM,
        jax.random.fold_in(jax.random.key(1), step))
    losses.append(float(metrics['loss']))
  assert abs(losses[0] - np.log(61)) < 0.3
  assert np.mean(losses[-5:]) < losses[0] / 2


def test_settings_are_checked():
  with pytest.raises(ValueError, match='window=0 must be at least 1'):
    dataclasses.replace(SETTINGS, window=0)
  short = dict(steps=20, warmup_steps=20)
  dataclasses.replace(SETTINGS, **short)
  with pytest.raises(ValueError, match='warmup_steps=20 must be less than'):
    dataclasses.replace(SETTINGS, **short, final_rate=0.1)


@pytest.mark.parametrize('flags, message', [
    (['--config.save_every=0'], 'config.save_every=0 must be at least 1'),
    (['--config.seed=-1'], 'config.seed=-1 must be at least 0'),
    (['--config.pretraining.steps=20', '--config.pretraining.warmup_steps=30'],
     'config.pretraining: warmup_steps=30 must be less than steps=20'),
    (['--config.model.num_heads=5', '--config.model.num_kv_heads=5'],
     'no multiple of num_heads=5: transformers refuses')])
def test_wrong_numbers_are_refused(flags, message, tmp_path):
  with pytest.raises(UserError, match=message):
    pretrain.main(['pretrain', f'--workdir={tmp_path}/run', *flags])
  assert not (tmp_path / 'run').exists()
