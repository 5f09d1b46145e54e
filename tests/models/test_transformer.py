import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sleepjax.models import layout, transformer
from sleepjax.models.config import ModelConfig, RopeScaling
from sleepjax.models.named_leaves import named_leaves
from sleepjax.models.transformer import Segment
from tests.conftest import CONFIG

logits = jax.jit(transformer.logits, static_argnums=0)
read = jax.jit(transformer.hidden_states, static_argnums=0)

B, T = 3, 12
TOKENS = np.random.default_rng(0).integers(0, 61, (B, T))


@pytest.fixture(scope='module', params=[
    'every_part scanned', 'every_part unrolled', 'kinds scanned',
    *(pytest.param(name, marks=pytest.mark.slow) for name in (
        'kinds unrolled', 'levels scanned', 'levels unrolled'))])
def model(request):
  """(config, params) in each layout, in float32."""
  name, way = request.param.split()
  return layout.for_compute(
      *request.getfixturevalue(name), 'float32', unroll=way == 'unrolled')


@pytest.fixture(scope='module')
def whole(model):
  """Hidden states of TOKENS, read at once."""
  return read(*model, TOKENS)[0]


def assert_close(have, want, tolerance=1e-5):
  scale = np.abs(np.asarray(want)).max()
  np.testing.assert_allclose(have, want, rtol=0, atol=tolerance * scale)


def test_initial_tree_is_that_of_the_documentation():
  config = ModelConfig(
      vocab_size=11, num_layers=3, embed_dim=8, mlp_dim=12, num_heads=4,
      num_kv_heads=2, head_dim=6, max_context=16, tie_embeddings=False,
      qkv_bias=True, qk_norm=True, num_slots=5, slot_rank=2)
  params = jax.jit(lambda: transformer.init(config, jax.random.key(0)))()
  shapes = jax.tree.map(lambda leaf: leaf.shape, params)
  assert shapes == {
      'embed': {'table': (11, 8)},
      'layers': {
          'attn_norm': {'scale': (3, 8)},
          'attn': {
              'q': (3, 8, 4, 6), 'k': (3, 8, 2, 6), 'v': (3, 8, 2, 6),
              'o': (3, 4, 6, 8), 'q_bias': (3, 4, 6), 'k_bias': (3, 2, 6),
              'v_bias': (3, 2, 6), 'q_norm': (3, 6), 'k_norm': (3, 6)},
          'mlp_norm': {'scale': (3, 8)},
          'mlp': {'gate': (3, 8, 12), 'up': (3, 8, 12), 'down': (3, 12, 8)},
          'slots': {'gate': (3, 5, 8, 2), 'up': (3, 5, 8, 2),
                    'down': (3, 5, 2, 8), 'open': (3, 5)}},
      'final_norm': {'scale': (8,)},
      'head': {'kernel': (8, 11)}}
  assert params['layers']['slots']['open'].dtype == bool
  abstract = transformer.abstract_params(config)
  assert jax.tree.map(lambda x: (x.shape, x.dtype), abstract) == jax.tree.map(
      lambda x: (x.shape, x.dtype), params)
  # New slots write nothing, and layers do not start alike.
  assert not params['layers']['slots']['down'].any()
  assert not params['layers']['slots']['open'].any()
  gate = params['layers']['mlp']['gate']
  assert (gate[0] != gate[1]).all()


def test_parameter_count(plain, slotted):
  D, F, H, G, K, V, L = 32, 48, 4, 2, 8, 61, 2
  layer = 2 * D + D * K * (2 * H + 2 * G) + 3 * D * F
  assert transformer.parameter_count(plain[1]) == V * D + D + L * layer
  assert transformer.parameter_count(slotted[1]) == (
      V * D + D + L * (layer + 2 * 3 * D * 4))


def test_unembedding(plain, every_part):
  table = plain[1]['embed']['table']
  np.testing.assert_array_equal(transformer.unembedding(plain[1]), table.T)
  head = every_part[1]['head']['kernel']
  np.testing.assert_array_equal(transformer.unembedding(every_part[1]), head)


def test_logits_are_hidden_states_times_head(every_part):
  config, params = every_part
  hidden, _ = read(config, params, TOKENS)
  have = logits(config, params, TOKENS)
  assert have.dtype == hidden.dtype == jnp.float32
  assert_close(have, np.asarray(hidden) @ params['head']['kernel'])


def test_segments_equal_one_reading(model, whole):
  """What was read before, in parts, as if it were all read at once."""
  segments, parts, cuts = (), [], (5, 11)
  for tokens in np.split(TOKENS, cuts, axis=1):
    hidden, segment = read(*model, tokens, None, segments)
    segments += segment,
    parts.append(hidden)
  assert_close(np.concatenate(parts, 1), whole)
  assert [int(s.length()[0]) for s in segments] == np.diff(
      [0, *cuts, T]).tolist()


def test_shared_segment_equals_a_tiled_one(model):
  _, shared = read(*model, TOKENS[:1, :5])
  repeat = lambda axis: lambda x: np.repeat(x, B, axis)
  axis = 1 if model[0].scan_layers else 0
  k, v = jax.tree.map(repeat(axis), (shared.k, shared.v))
  tiled = Segment(k, v, repeat(0)(shared.mask))
  have, _ = read(*model, TOKENS, None, (shared,))
  want, _ = read(*model, TOKENS, None, (tiled,))
  assert_close(have, want, 1e-6)
  without, _ = read(*model, TOKENS)
  assert np.abs(have - without).max() > 0.1


def padded(side, lengths, width, fill):
  ids = np.full((B, width), fill)
  mask = np.zeros((B, width), bool)
  for row, n in enumerate(lengths):
    where = {'left': np.arange(width - n, width), 'right': np.arange(n),
             'spread': np.sort(np.random.default_rng(row).permutation(
                 width)[:n])}[side]
    ids[row, where] = TOKENS[row, :n]
    mask[row, where] = True
  return ids, mask


@pytest.mark.parametrize('side', ['left', 'right', 'spread'])
def test_padding_anywhere_equals_none(model, whole, side):
  lengths = [T, 7, 1]
  hidden, segment = read(*model, *padded(side, lengths, 16, 0))
  mask = padded(side, lengths, 16, 0)[1]
  for row, n in enumerate(lengths):
    assert_close(hidden[row][mask[row]], whole[row, :n])
  assert segment.length().tolist() == lengths
  # Nor does it matter what stands there, to the last bit.
  other, _ = read(*model, *padded(side, lengths, 16, 60))
  np.testing.assert_array_equal(
      np.asarray(hidden)[mask], np.asarray(other)[mask])
  assert np.isfinite(hidden).all()


def test_padded_segment_equals_none(model, whole):
  ids, mask = padded('left', [5, 5, 5], 8, 0)
  _, segment = read(*model, ids, mask)
  hidden, _ = read(*model, TOKENS[:, 5:], None, (segment,))
  assert_close(hidden, whole[:, 5:])


@pytest.mark.slow
def test_what_each_kind_of_layer_sees(kinds):
  """One layer: what is out of the window, and where a text begins."""
  def outputs(kind, tokens, before=()):
    config, params = kinds
    config = dataclasses.replace(
        config, num_layers=1, layer_kinds=(kind,),
        window=config.window * (kind == 'window'))
    params = {**params, 'layers': jax.tree.map(
        lambda leaf: leaf[:1], params['layers'])}
    segments = (read(config, params, before)[1],) if len(before) else ()
    return np.asarray(read(config, params, tokens, None, segments)[0])

  changed = TOKENS.copy()
  changed[:, 6] = (changed[:, 6] + 1) % 61
  for kind, last in (('window', 10), ('full', 11), ('unrotated', 11)):
    moved = np.abs(outputs(kind, TOKENS) - outputs(kind, changed)).max((0, 2))
    # The fifth token from the sixth on is the last that a window has.
    assert np.flatnonzero(moved > 1e-6).tolist() == [*range(6, last + 1)]
    # The same by keys in a segment.
    split = [outputs(kind, t[:, 8:], t[:, :8]) for t in (TOKENS, changed)]
    moved = np.abs(split[0] - split[1]).max((0, 2))
    assert np.flatnonzero(moved > 1e-6).tolist() == [*range(last - 7)]
  # Without rotation the order of what came before does not matter.
  turned = np.concatenate([TOKENS[:, 10::-1], TOKENS[:, 11:]], axis=1)
  last = lambda kind, tokens: outputs(kind, tokens)[:, -1]
  assert_close(last('unrotated', turned), last('unrotated', TOKENS))
  assert np.abs(last('full', turned) - last('full', TOKENS)).max() > 0.01


def test_later_tokens_are_not_seen(model, whole):
  changed = TOKENS.copy()
  changed[:, 6] = (changed[:, 6] + 1) % 61
  hidden, _ = read(*model, changed)
  np.testing.assert_array_equal(hidden[:, :6], whole[:, :6])
  assert (np.abs(hidden[:, 6:] - whole[:, 6:]).max((0, 2)) > 1e-3).all()


def test_layouts_agree(every_part):
  canonical = logits(*every_part, TOKENS)
  for unroll in (True, False):
    model = layout.for_compute(*every_part, 'float32', unroll)
    assert_close(logits(*model, TOKENS), canonical, 2e-6)


def parameter_gradient(config, params):
  def loss(params):
    hidden, _ = transformer.hidden_states(config, params, TOKENS)
    scores = hidden @ transformer.unembedding(params)
    return jnp.square(scores).mean() + scores[..., 0].mean()
  return jax.jit(jax.grad(loss, allow_int=True))(params)


@pytest.mark.slow
def test_layouts_agree_on_gradients(every_part):
  want = parameter_gradient(*every_part)
  # Every parameter matters, so the other tests compare all of the model.
  for leaf in jax.tree.leaves(want):
    assert leaf.dtype == jax.dtypes.float0 or np.abs(leaf).max() > 1e-4
  have = parameter_gradient(*layout.for_compute(*every_part, 'float32', True))
  assert_close(have['embed']['table'], want['embed']['table'])
  assert_close(have['head']['kernel'], want['head']['kernel'])
  for i in range(2):
    layer = jax.tree.map(lambda leaf, i=i: leaf[i], want['layers'])
    for name in ('gate', 'up', 'down'):
      assert_close(have[f'layer_{i}']['slots'][name], layer['slots'][name])
    assert_close(
        have[f'layer_{i}']['attn']['qkv'],
        np.concatenate([layer['attn'][name].reshape(CONFIG.embed_dim, -1).T
                        for name in 'qkv']))


@pytest.mark.parametrize('unroll', [True, False])
def test_bfloat16_is_close(every_part, unroll):
  exact = np.asarray(logits(*every_part, TOKENS))
  config, params = layout.for_compute(*every_part, 'bfloat16', unroll)
  hidden, segment = read(config, params, TOKENS)
  have = layout.unembedding_matmul(config)(
      hidden, transformer.unembedding(params))
  assert hidden.dtype == have.dtype == jnp.float32
  error = np.sqrt(np.square(have - exact).mean() / np.square(exact).mean())
  assert 1e-4 < error < 0.03
  assert jax.tree.leaves(segment.k)[0].dtype == jnp.bfloat16


@pytest.mark.parametrize('field, value, message', [
    ('num_kv_heads', 3, 'num_heads=4 must be a multiple of num_kv_heads=3'),
    ('num_kv_heads', 0, 'num_heads=4 must be a multiple of num_kv_heads=0'),
    ('head_dim', 7, 'head_dim=7 must be even'),
    ('mlp_activation', 'relu', "mlp_activation='relu' must be 'silu' or"),
    ('layer_kinds', ('full',), 'for each of the 2 layers'),
    ('layer_kinds', ('full', 'odd'), 'one of full, window, unrotated'),
    ('layer_kinds', ('full', 'window'), 'window=0 must be positive'),
    ('matmul_dtype', 'int8', "matmul_dtype='int8' must be 'float32' or"),
    ('remat', 'some', "remat='some' must be one of none, full")])
def test_config_refuses(plain, field, value, message):
  with pytest.raises(ValueError, match=message):
    dataclasses.replace(plain[0], **{field: value})


@pytest.mark.parametrize('fields, message', [
    ((4.0, 1.0), 'give all of low_freq_factor'),
    ((4.0, 4.0, 1.0, 16), 'low_freq_factor=4.0 must be below')])
def test_scaling_refuses(fields, message):
  with pytest.raises(ValueError, match=message):
    RopeScaling(*fields)


def test_architecture_is_not_how_it_is_computed(every_part):
  config, _ = every_part
  computed, _ = layout.for_compute(*every_part, 'bfloat16', True)
  assert computed != config
  assert computed.architecture() == config.architecture()
  assert dataclasses.replace(config, qk_norm=False).architecture() != (
      config.architecture())


# Two unrolled layers hold little at once either way.
@pytest.mark.slow
@pytest.mark.parametrize('scan, share', [(True, 0.8), (False, 1.0)])
def test_recomputation_changes_memory_and_nothing_else(every_part, scan, share):
  config, params = layout.for_compute(*every_part, 'float32', not scan)
  many = jnp.tile(TOKENS, (8, 8))

  def gradient_of(config):
    loss = lambda params: jnp.square(read(config, params, many)[0]).mean()
    return jax.jit(jax.grad(loss, allow_int=True)).lower(params).compile()

  plain, full = gradient_of(config), gradient_of(
      dataclasses.replace(config, remat='full'))
  saved, recomputed = plain(params), full(params)
  jax.tree.map(
      lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-7),
      *({k: v for k, v in named_leaves(tree).items() if 'open' not in k}
        for tree in (saved, recomputed)))
  temporary = lambda program: program.memory_analysis().temp_size_in_bytes
  assert temporary(full) < share * temporary(plain)
  assert dataclasses.replace(config, remat='full').architecture() == (
      config.architecture())


@pytest.mark.slow
@pytest.mark.parametrize('queries', [1, 5, 6])
def test_attention_of_some_queries_at_a_time(every_part, queries):
  config, params = layout.for_compute(*every_part, 'float32', False)
  some = dataclasses.replace(config, attention_queries=queries)
  mask = np.arange(T) >= np.arange(B)[:, None]  # Left padding of each row.
  _, before = read(config, params, TOKENS)
  shared = Segment(before.k[:, :1], before.v[:, :1], before.mask[:1])
  want, have = (jax.jit(jax.value_and_grad(lambda table, config=config: jnp.sin(
      read(config, {**params, 'embed': {'table': table}}, TOKENS, mask,
           (shared,))[0] * mask[..., None]).sum()))(params['embed']['table'])
                for config in (config, some))
  np.testing.assert_allclose(have[0], want[0], rtol=1e-5)
  np.testing.assert_allclose(have[1], want[1], rtol=1e-4, atol=1e-4)
  assert some.architecture() == config.architecture()
