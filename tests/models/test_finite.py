import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from sleepjax.errors import NotFiniteError, UserError
from sleepjax.growth import grow
from sleepjax.growth.slot_operators import AppendSlot
from sleepjax.memory import wake
from sleepjax.models import finite
from sleepjax.pretraining import next_token
from sleepjax.training import checkpoints


def test_which_leaves_and_how_much_of_them():
  tree = {'a': np.array([1, np.nan, np.inf]),
          'b': (jnp.array([-jnp.inf], jnp.bfloat16), np.arange(3)),
          'good': np.array([1e38, -1e308]), 'none': None,
          'key': jax.random.key(0), 'flag': np.array([True])}
  assert finite.not_finite(tree) == 'a (2 of 3), b/0 (1 of 1)'
  many = {f'{i}': np.float32('nan') for i in range(7)}
  assert finite.not_finite(many).endswith('4 (1 of 1) and 2 more')
  assert finite.not_finite({'good': tree['good']}) == ''


def test_a_loss_that_is_no_number():
  finite.check_loss('seed', 3, 1e30, {'a': np.nan}, '')
  with pytest.raises(NotFiniteError, match=(
      'seed, step 3: the loss is nan. Not finite: a .1 of 1.. Rest.')) as e:
    finite.check_loss('seed', 3, float('nan'), {'a': np.nan}, 'Rest.')
  assert isinstance(e.value, UserError)  # No traceback: settings do this.
  with pytest.raises(NotFiniteError, match='the loss itself overflows'):
    finite.check_loss('seed', 3, float('inf'), {'a': 1.0}, '')


def test_the_first_cause_is_named_with_its_own_advice():
  asked = []

  def causes():
    for name, value in (('the judge', 1.0), ('the text', -np.inf),
                        ('the optimizer', np.nan)):
      asked.append(name)
      yield finite.Cause(name, {'x': np.float32(value)}, f'Mend {name}.')

  finite.check_loss('seed', 1, 0.5, {}, 'Lower it.', causes())
  assert not asked
  with pytest.raises(NotFiniteError) as e:
    finite.check_loss('seed', 1, np.nan, {'slot': np.nan}, 'Lower it.',
                      causes(), 'the gradient')
  assert str(e.value) == (
      'seed, step 1: the gradient is nan. The first that is not finite: the '
      'text: x (1 of 1). Mend the text. What was saved before is untouched.')
  assert asked == ['the judge', 'the text']


def test_hidden_states_name_the_row_and_the_weights():
  hidden, mask = np.zeros((3, 4, 2)), np.ones((3, 4), bool)
  hidden[0, 3] = np.nan
  mask[0, 3] = False
  finite.check_hidden('the old self', hidden, mask, {})
  hidden[1, 2, 1] = np.inf
  for params, why in (({'w': np.ones(2)}, 'its weights are finite'),
                      ({'w': np.full(2, np.nan)}, r'are not: w \(2 of 2\)')):
    with pytest.raises(NotFiniteError, match=(
        f'the old self reads row 1 of 3: .* of 1 of its 4 tokens .*{why}')):
      finite.check_hidden('the old self', hidden, mask, params)


def test_a_state_without_a_loss():
  finite.check_state('dream', 2, {'slot': np.ones(3), 'generator': None}, '')
  with pytest.raises(NotFiniteError, match=(
      'dream, step 2: not finite: slot/up .1 of 2.. Lower it.')):
    finite.check_state(
        'dream', 2, {'slot': {'up': np.array([1, np.nan])}}, 'Lower it.')


def test_what_is_not_finite_is_never_saved(plain, byte_tokenizer, tmp_path):
  config, params = plain
  folder = tmp_path / 'model'
  checkpoints.save_model(folder, config, params, byte_tokenizer, {'n': 1})
  broken = jax.tree.map(np.array, params)
  broken['layers']['mlp']['up'][1, 2, 3] = np.nan
  with pytest.raises(NotFiniteError, match=(
      'model is not saved, .*: layers/mlp/up .1 of 3072.')):
    checkpoints.save_model(folder, config, broken, byte_tokenizer, {'n': 2})
  assert checkpoints.load_model(folder).lineage == {'n': 1}
  with pytest.raises(NotFiniteError, match='0/count|0/mu/a'):
    checkpoints.save_progress(tmp_path / 'p', 1, optax.adam(1.0).update(
        {'a': jnp.float32('inf')}, optax.adam(1.0).init({'a': 1.0}))[1], {})


def test_growth_of_a_broken_model(plain):
  config, params = plain
  broken = jax.tree.map(jnp.asarray, params)
  broken['layers']['attn']['o'] = broken['layers']['attn']['o'].at[0].set(
      jnp.nan)
  before = grow.ModelState(broken, None, config)
  after = grow.grow([AppendSlot(4)])(before, jax.random.key(0))
  with pytest.raises(NotFiniteError, match=(
      r'grow, step 1: the largest change of a logit is nan. The first that is '
      r'not finite: the model before it grew: layers/attn/o \(1024 of .*'
      'not to blame')):
    grow.max_logit_change(before, after, np.arange(5))


def test_reading_that_breaks_a_level(plain):
  config, params = plain
  settings = wake.WakeConfig(chunks=(4, 4), learning_rates=(1e-3,))
  state = wake.init_wake(config, params, settings)
  tokens = np.arange(4)
  state, metrics = wake.read_window(config, params, settings, state, tokens)
  wake.check_read(config, params, state, metrics)
  broken = state._replace(weights=jax.tree.map(
      lambda w: w.at[0, 0, 0].set(jnp.inf), state.weights))
  state, metrics = wake.read_window(config, params, settings, broken, tokens)
  with pytest.raises(NotFiniteError, match=(
      'wake, step window up to token 8: the loss is nan.*'
      'weights/0/mlp/down .1 of 3072.')):
    wake.check_read(config, params, state, metrics)
  # Weights that do not learn here are named first, with another advice.
  dead = {**params, 'embed': {'table': jnp.full_like(
      params['embed']['table'], jnp.nan)}}
  with pytest.raises(NotFiniteError, match=(
      "not finite: the model's weights: embed/table .*another copy")):
    wake.check_read(config, dead, state, metrics)
  state = state._replace(tokens_read=jnp.int32(-2**31 + 3))  # Wrapped round.
  with pytest.raises(UserError, match='stream of more than 21464.* tokens'):
    wake.check_read(config, params, state, metrics)


def test_a_learning_rate_that_is_too_high(plain):
  """The guard fires on a real run that diverges, not only on planted NaN."""
  config, params = plain[0], jax.tree.map(jnp.copy, plain[1])
  settings = next_token.PretrainingConfig(
      rows=2, window=8, learning_rate=1e30, warmup_steps=1, chunk_rows=8)
  opt_state = next_token.make_optimizer(settings).init(params)
  stream = jnp.arange(50) % 7
  with pytest.raises(NotFiniteError, match=r'pretrain, step \d: .*embed/table'):
    for step in range(9):
      params, opt_state, metrics = next_token.pretraining_step(
          config, settings, params, opt_state, stream,
          jax.random.fold_in(jax.random.key(0), step))
      finite.check_loss(
          'pretrain', step, float(metrics['loss']), params, 'Lower it.')
