"""The start for looking things up: where heads look, and what comes of it."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sleepjax.models import ops, transformer
from sleepjax.models.config import ModelConfig
from sleepjax.models.lookup_init import lookup_init

CONFIG = ModelConfig(
    vocab_size=200, num_layers=3, embed_dim=96, mlp_dim=64, num_heads=4,
    num_kv_heads=4, head_dim=32, max_context=256)
COMMON = 20  # Tokens below are not rare.


@pytest.fixture(scope='module')
def params():
  rare = np.arange(CONFIG.vocab_size) >= COMMON
  return lookup_init(
      CONFIG, transformer.init(CONFIG, jax.random.key(0)), rare,
      jax.random.key(1))


def attention_of_layer_0(params, tokens):
  """[H, T, T], by a formula of its own."""
  layer = jax.tree.map(lambda leaf: leaf[0], params['layers'])
  x = ops.rms_norm(params['embed']['table'][tokens][None],
                   layer['attn_norm']['scale'], CONFIG.rms_eps)
  q, k = (jnp.einsum('btd,dhk->bthk', x, layer['attn'][n]) for n in 'qk')
  angles = ops.rotation(
      jnp.arange(len(tokens))[None],
      ops.rope_frequencies(CONFIG.head_dim, CONFIG.rope_theta))
  q, k = (ops.rotate(a, angles) for a in (q, k))
  scores = jnp.einsum('bthk,bshk->hts', q, k) * CONFIG.head_dim ** -0.5
  causal = jnp.tril(jnp.ones((len(tokens), len(tokens)), bool))
  return np.asarray(jax.nn.softmax(jnp.where(causal, scores, -1e9), -1))


@pytest.mark.slow
def test_the_first_layer_looks_a_few_tokens_back(params):
  every_rare = np.random.default_rng(0).integers(COMMON, 200, 20)
  weights = attention_of_layer_0(params, every_rare)
  for head in range(4):
    for at in range(8, 20):
      assert weights[head, at].argmax() == at - head - 2


@pytest.mark.slow
def test_the_first_layer_prefers_rare_tokens(params):
  tokens = np.random.default_rng(0).integers(0, COMMON, 20)
  tokens[10] = 150
  weights = attention_of_layer_0(params, tokens)
  # One token before and one after the place that a head would choose.
  for head in range(4):
    for at in (10 + head + 1, 10 + head + 3):
      assert weights[head, at, 10] > 0.9


def pairs_and_question(rng, asks_name):
  """Tokens like 'n has a v. … who has a v ?', the answer, all answers."""
  chosen = rng.permutation(np.arange(COMMON, 200))[:12]
  names, values = chosen[:6], chosen[6:]
  told = [t for n, v in zip(names, values) for t in (n, 1, 2, v, 0)]
  i = rng.integers(6)
  asked, answers = (values, names) if asks_name else (names, values)
  return np.array([*told, 4, 5, asked[i], 6, 7, 8]), answers[i], answers


@pytest.mark.parametrize('asks_name, least', [(False, 0.35), (True, 0.22)])
@pytest.mark.slow
def test_lookup_begins_above_chance(params, asks_name, least):
  rng = np.random.default_rng(0)
  tokens, gold, answers = map(np.stack, zip(*(
      pairs_and_question(rng, asks_name) for _ in range(400))))
  logits = np.asarray(jax.jit(
      lambda tokens: transformer.logits(CONFIG, params, tokens)[:, -1])(tokens))
  best = np.take_along_axis(logits, answers, 1).argmax(1)
  # By chance: 1/6.
  assert np.mean(answers[np.arange(400), best] == gold) > least


def test_the_rest_is_what_it_was(params):
  plain = transformer.init(CONFIG, jax.random.key(0))
  np.testing.assert_array_equal(
      params['layers']['attn']['q'][2], plain['layers']['attn']['q'][2])
  for name in ('gate', 'up', 'down'):
    np.testing.assert_array_equal(
        params['layers']['mlp'][name], plain['layers']['mlp'][name])
  assert jax.tree.map(jnp.shape, params) == jax.tree.map(jnp.shape, plain)


@pytest.mark.parametrize('changes', [
    {'num_layers': 1}, {'num_kv_heads': 2}, {'qk_norm': True},
    {'value_dim': 16}, {'embed_dim': 64}])
def test_models_without_room_for_it_are_refused(changes):
  config = dataclasses.replace(CONFIG, **changes)
  with pytest.raises(ValueError, match='lookup_init needs two layers'):
    lookup_init(config, {}, np.zeros(200, bool), jax.random.key(0))
