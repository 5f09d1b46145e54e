import dataclasses
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from configs.pretrain import tiny_world
from experiments import pretrain
from sleepjax.data import world_tokenizer
from sleepjax.data.prompts import ChatPrompts
from sleepjax.model import load_pretrained
from sleepjax.models import transformer
from sleepjax.pretraining import next_token, world_batches
from sleepjax.pretraining.next_token import PretrainingConfig
from sleepjax.pretraining.world_batches import WorldRows
from tests.conftest import CONFIG, random_params

MODEL = dataclasses.replace(CONFIG, vocab_size=576)
ROWS = WorldRows(rows=3, length=120, turns=5, min_facts=2, max_facts=4,
                 closed_share=0.3)


def test_every_turn_has_the_loss_it_has_alone():
  """Against each turn read in a row of its own, after its context."""
  params = random_params(MODEL)
  rows = world_batches.sample_rows(ROWS, 0)
  B, J, T = ROWS.rows, ROWS.turns + 1, ROWS.length
  alone, weight = np.zeros((B * J, T), int), np.zeros((B * J, T))
  for row in range(B * J):
    b, j = divmod(row, J)
    where = np.flatnonzero((rows.turn[b] == 0) | (rows.turn[b] == j))
    alone[row, :len(where)] = rows.tokens[b][where]
    weight[row, :len(where)] = np.where(
        rows.turn[b] == j, rows.weight[b], 0)[where]
  log_probs = jax.nn.log_softmax(
      jax.jit(transformer.logits, static_argnums=0)(MODEL, params, alone))
  losses = -np.take_along_axis(
      np.asarray(log_probs)[:, :-1], alone[:, 1:, None], 2)[..., 0]
  have, total = next_token.packed_loss(MODEL, params, rows, chunk_rows=50)
  np.testing.assert_allclose(total, weight[:, 1:].sum(), rtol=1e-5)
  np.testing.assert_allclose(have, (losses * weight[:, 1:]).sum(), rtol=1e-4)


def test_muon_takes_the_matrices_of_layers_and_leaves_the_rest():
  """Its updates are orthogonal: singular values are about equal."""
  settings = PretrainingConfig(
      learning_rate=0.0, matrix_learning_rate=0.1, warmup_steps=0,
      weight_decay=0.0, steps=1)
  params = random_params(CONFIG)
  optimizer = next_token.make_optimizer(settings)
  gradient = jax.tree.map(
      lambda x: jax.random.normal(jax.random.key(x.size), x.shape), params)
  updates, _ = jax.jit(optimizer.update)(
      gradient, optimizer.init(params), params)
  D = CONFIG.embed_dim
  attn, mlp = updates['layers']['attn'], updates['layers']['mlp']
  for matrix in (attn['q'].reshape(2, D, -1), attn['o'].reshape(2, -1, D),
                 mlp['gate'], mlp['down']):
    values = np.linalg.svd(matrix, compute_uv=False)
    assert np.percentile(values, 10) > 0.3 * values.max() > 0
  for rest in (updates['embed'], updates['final_norm'],
               updates['layers']['mlp_norm']):
    assert all((leaf == 0).all() for leaf in jax.tree.leaves(rest))


def test_muon_leaves_biases_to_adamw():
  config = dataclasses.replace(CONFIG, qkv_bias=True)
  params = random_params(config)
  optimizer = next_token.make_optimizer(PretrainingConfig(
      learning_rate=0.0, matrix_learning_rate=0.1, warmup_steps=0, steps=1))
  updates, _ = jax.jit(optimizer.update)(
      jax.tree.map(jnp.ones_like, params), optimizer.init(params), params)
  attn = updates['layers']['attn']
  for name in ('q', 'k', 'v'):
    assert attn[name].any() and not attn[f'{name}_bias'].any()


def test_cosine_ends_at_its_share_and_constant_stays():
  def rate(final, step):
    settings = PretrainingConfig(
        steps=100, learning_rate=1.0, warmup_steps=10, final_rate=final,
        weight_decay=0.0)
    optimizer = next_token.make_optimizer(settings)
    params = {'x': jnp.ones(())}
    state, size = optimizer.init(params), None
    update_fn = jax.jit(optimizer.update)
    for _ in range(step + 1):
      update, state = update_fn({'x': jnp.ones(())}, state, params)
      size = -float(update['x'])
    return size

  np.testing.assert_allclose(
      [rate(1.0, 0), rate(1.0, 10), rate(1.0, 99)], [0.1, 1, 1], rtol=1e-4)
  np.testing.assert_allclose(
      [rate(0.05, 0), rate(0.05, 10), rate(0.05, 100)], [0.1, 1, 0.05],
      rtol=1e-4)


def test_stages_follow_each_other():
  stages = [pretrain.Stage(1.0, WorldRows(rows=3)),
            pretrain.Stage(0.25, WorldRows(rows=1)),
            pretrain.Stage(0.5, WorldRows(rows=2))]
  rows = [pretrain.stage_at(stages, step, 8).rows for step in range(9)]
  assert rows == [1, 1, 2, 2, 3, 3, 3, 3, 3]


SMALL = [
    '--config.model.num_layers=2', '--config.model.embed_dim=20',
    '--config.model.mlp_dim=24', '--config.model.num_heads=2',
    '--config.model.num_kv_heads=2', '--config.model.head_dim=8',
    '--config.pretraining.matrix_learning_rate=0.05',
    '--config.pretraining.steps=16', '--config.pretraining.warmup_steps=2',
    '--config.save_every=4', '--config.exam_days=1',
    *(f'--config.stages.{stage}.rows.{value}'
      for stage in tiny_world.get_config().stages
      for value in ('rows=8', 'length=80'))]


def small_run(workdir, *flags):
  pretrain.main(['pretrain', f'--workdir={workdir}', *SMALL, *flags])
  return json.loads((workdir / 'report.json').read_text())


@pytest.mark.slow
def test_a_run_learns_and_goes_on_where_it_was_interrupted(
    monkeypatch, tmp_path):
  report = small_run(tmp_path / 'whole')
  steps = [json.loads(line) for line in (
      tmp_path / 'whole/steps.jsonl').read_text().splitlines()]
  losses = [step['loss'] for step in steps]
  assert len(losses) == 16 and losses[-1] < 0.96 * losses[0]
  assert set(report['in_context_accuracy']) == {
      'direct', 'paraphrase', 'reversed'}
  model = load_pretrained(str(tmp_path / 'whole/hf'))
  chat = ChatPrompts(model.tokenizer)
  assert chat.closed_book('Who?') == ChatPrompts(
      world_tokenizer.build_tokenizer()).closed_book('Who?')

  class Killed(Exception):
    pass

  step = next_token.packed_step
  count = iter(range(100))

  def dying(*arguments):
    if next(count) == 7:
      raise Killed
    return step(*arguments)

  monkeypatch.setattr(next_token, 'packed_step', dying)
  with pytest.raises(Killed):
    small_run(tmp_path / 'killed')
  monkeypatch.setattr(next_token, 'packed_step', step)
  resumed = small_run(tmp_path / 'killed', '--config.save_every=3')
  assert resumed['tokens'] == report['tokens']
  again = load_pretrained(str(tmp_path / 'killed/hf'))
  jax.tree.map(np.testing.assert_array_equal, model.params, again.params)
