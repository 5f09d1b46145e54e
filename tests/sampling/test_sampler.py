
import jax
import numpy as np
import pytest

from sleepjax.evals import questions
from sleepjax.losses import divergences
from sleepjax.models import layout, transformer
from sleepjax.sampling import rows as rows_lib
from sleepjax.sampling import sampler
from sleepjax.sampling.sampler import Sampling, Until

sample = jax.jit(
    sampler.sample, static_argnums=0, static_argnames=('until', 'method'))
logits = jax.jit(transformer.logits, static_argnums=0)
read = jax.jit(transformer.hidden_states, static_argnums=0)

N = 10
STOPS = tuple(range(6))  # A tenth of the vocabulary, so that rows do stop.
PROMPTS = [[7, 8, 9, 10, 11, 12], [20], [30, 31, 32], [20]]
DOCUMENT = list(range(40, 50))


def with_document(slotted, unroll):
  """(config, params) with a document read into a segment."""
  config, params = layout.for_compute(*slotted, 'float32', unroll)
  _, segment = read(config, params, *rows_lib.pad_right([DOCUMENT], 16))
  return config, params, segment


@pytest.fixture(scope='module')
def scanned(slotted):
  return with_document(slotted, False)


@pytest.fixture(scope='module')
def unrolled(slotted):
  return with_document(slotted, True)


def rollout_of(model, prompts=PROMPTS, *, seed=0, n=N, stop_ids=STOPS,
               **kwargs):
  config, params, segment = model
  have = sample(
      config, params, *rows_lib.pad_left(prompts, 8), jax.random.key(seed),
      until=Until(n, stop_ids), segments=(segment,), **kwargs)
  return jax.tree.map(np.asarray, have)


def next_token_logits(model, ids):
  """From one whole forward pass over document and ids, without a cache."""
  config, params, _ = model
  tokens = np.zeros((1, 32), np.int32)
  tokens[0, :len(DOCUMENT) + len(ids)] = DOCUMENT + ids
  scores = logits(config, params, tokens)
  return np.asarray(scores[0, len(DOCUMENT) + len(ids) - 1], np.float64)


def log_softmax(x):
  x = x - x.max(-1, keepdims=True)
  return x - np.log(np.exp(x).sum(-1, keepdims=True))


@pytest.mark.parametrize('name', [
    'scanned', pytest.param('unrolled', marks=pytest.mark.slow)])
def test_log_probs_equal_the_scorers(name, request):
  model = request.getfixturevalue(name)
  config, params, segment = model
  rollout = rollout_of(model)
  rows = rows_lib.Rows(
      *rows_lib.pad_left(PROMPTS, 8), rollout.tokens, rollout.mask)
  scored = questions.completion_log_probs(config, params, rows, (segment,))
  np.testing.assert_allclose(rollout.log_probs, scored, atol=1e-5)
  assert (rollout.log_probs[rollout.mask] < -1e-3).all()
  # Without the document they would differ.
  other = questions.completion_log_probs(config, params, rows)
  assert np.abs(other - scored).max() > 0.1


@pytest.mark.parametrize('name', ['scanned', 'unrolled'])
def test_log_probs_equal_whole_forward_passes(name, request):
  model = request.getfixturevalue(name)
  rollout = rollout_of(model)
  for row, prompt in enumerate(PROMPTS):
    tokens = rollout.tokens[row][rollout.mask[row]].tolist()
    for i, token in enumerate(tokens):
      want = log_softmax(next_token_logits(model, prompt + tokens[:i]))
      assert abs(rollout.log_probs[row, i] - want[token]) < 1e-5


def test_greedy_is_argmax_step_by_step(unrolled):
  rollout = rollout_of(unrolled, method=Sampling(0.0), stop_ids=(60,))
  for row, prompt in enumerate(PROMPTS):
    ids = list(prompt)
    for i in range(N):
      scores = next_token_logits(unrolled, ids)
      ids.append(int(scores.argmax()))
      assert rollout.tokens[row, i] == ids[-1]
      # Their log-probability is that at temperature 1.
      assert abs(rollout.log_probs[row, i] - log_softmax(scores).max()) < 1e-5
      if ids[-1] == 60:
        break


def test_rows_end_with_their_stop_token(scanned):
  """And until then are what they would be without one."""
  free = rollout_of(scanned, stop_ids=())
  assert free.mask.all()
  rollout = rollout_of(scanned)
  lengths = []
  for row in range(len(PROMPTS)):
    stops = np.flatnonzero(np.isin(free.tokens[row], STOPS))
    n = stops[0] + 1 if len(stops) else N
    lengths.append(n)
    assert rollout.mask[row].tolist() == [True] * n + [False] * (N - n)
    np.testing.assert_array_equal(rollout.tokens[row, :n], free.tokens[row, :n])
    np.testing.assert_allclose(
        rollout.log_probs[row, :n], free.log_probs[row, :n], atol=1e-6)
    assert not rollout.tokens[row, n:].any()
    assert not rollout.log_probs[row, n:].any()
  assert min(lengths) < N and len(set(lengths)) > 1


def test_one_token(scanned):
  one, many = rollout_of(scanned, n=1), rollout_of(scanned)
  assert one.tokens.shape == one.mask.shape == one.log_probs.shape == (4, 1)
  assert one.mask.all()
  for row, prompt in enumerate(PROMPTS):
    want = log_softmax(next_token_logits(scanned, prompt))[one.tokens[row, 0]]
    assert abs(one.log_probs[row, 0] - want) < 1e-5
  assert many.mask[:, 0].all()


def test_a_row_does_not_depend_on_the_others(scanned):
  want = rollout_of(scanned)
  others = [PROMPTS[0], [13, 14], PROMPTS[2], [3] * 8]
  have = rollout_of(scanned, others)
  for row in (0, 2):
    np.testing.assert_array_equal(have.tokens[row], want.tokens[row])
    np.testing.assert_array_equal(have.mask[row], want.mask[row])
    np.testing.assert_allclose(
        have.log_probs[row], want.log_probs[row], atol=1e-6)
  # Equal prompts are different samples, and another key another sample.
  assert (want.tokens[1] != want.tokens[3]).any()
  assert (rollout_of(scanned, seed=1).tokens != want.tokens).any()


ROWS = 4000
V = 8


@pytest.fixture(scope='module')
def tiny(eight_tokens):
  """A model of eight tokens, and its exact distributions in float64."""
  config, params = eight_tokens
  prompt = [1, 5, 2]
  sequences = np.array([prompt + [token] for token in range(V)])
  scores = np.asarray(logits(config, params, sequences), np.float64)
  return config, params, prompt, scores[0, 2], scores[:, 3]


def drawn(tiny, method, n=2):
  """Samples from ROWS equal prompts."""
  config, params, prompt = tiny[:3]
  ids, mask = rows_lib.pad_left([prompt] * ROWS, 4)
  return jax.tree.map(np.asarray, sample(
      config, params, ids, mask, jax.random.key(3), until=Until(n),
      method=method))


def chi_square(tokens, probabilities):
  """Pearson's statistic per degree of freedom; near 1 if they agree.

  With seven degrees, one key in 10^5 would give 5.
  """
  counts = np.bincount(tokens, minlength=V)
  possible = probabilities > 0
  assert not counts[~possible].any()
  expected = len(tokens) * probabilities[possible]
  return (np.square(counts[possible] - expected) / expected).sum() / max(
      possible.sum() - 1, 1)


def most_likely(probabilities, k):
  """The k largest, rescaled to sum to 1; all of them when k is 0."""
  least = np.sort(probabilities)[-k]
  kept = np.where(probabilities >= least, probabilities, 0)
  return kept / kept.sum()


@pytest.mark.parametrize('temperature, k', [
    (1.0, 0), (0.5, 0), (2.0, 3), (1.0, 1)], ids=str)
def test_distribution_of_samples(tiny, temperature, k):
  first, second = tiny[3:]
  rollout = drawn(tiny, Sampling(temperature, k))
  tempered = np.exp(log_softmax(first / temperature))
  tokens = rollout.tokens[:, 0]
  assert chi_square(tokens, most_likely(tempered, k)) < 5
  # The next token has the distribution that follows this one.
  common = np.bincount(tokens).argmax()
  followers = rollout.tokens[tokens == common, 1]
  assert len(followers) > 400
  after = np.exp(log_softmax(second[common] / temperature))
  assert chi_square(followers, most_likely(after, k)) < 5
  # Log-probabilities are of the tempered, untruncated distribution.
  np.testing.assert_allclose(
      rollout.log_probs[:, 0], np.log(tempered)[tokens], atol=1e-5)


def test_similar_distributions_are_told_apart(tiny):
  """So that the test above can fail."""
  first = tiny[3]
  tokens = drawn(tiny, Sampling(1.0)).tokens[:, 0]
  for temperature in (0.8, 1.25):
    assert chi_square(tokens, np.exp(log_softmax(first / temperature))) > 5
  tokens = drawn(tiny, Sampling(2.0, 3)).tokens[:, 0]
  tempered = np.exp(log_softmax(first / 2))
  flat = most_likely(tempered, 3) > 0
  assert chi_square(tokens, flat / 3) > 5


def nucleus(probabilities, p):
  """The fewest largest that reach p together, rescaled."""
  order = np.argsort(-probabilities)
  number = 1 + int((np.cumsum(probabilities[order]) < p).sum())
  kept = np.zeros_like(probabilities)
  kept[order[:number]] = probabilities[order[:number]]
  return kept / kept.sum()


@pytest.mark.parametrize('p, k', [(0.75, 0), (0.95, 0), (0.95, 4)])
def test_top_p_draws_from_the_nucleus(tiny, p, k):
  tempered = np.exp(log_softmax(tiny[3] / 1.5))
  want = nucleus(most_likely(tempered, k), p)
  assert 1 < (want > 0).sum() < (tempered > 0).sum()
  rollout = drawn(tiny, Sampling(1.5, k, p))
  tokens = rollout.tokens[:, 0]
  assert chi_square(tokens, want) < 5
  np.testing.assert_allclose(
      rollout.log_probs[:, 0], np.log(tempered)[tokens], atol=1e-5)
  same = drawn(tiny, Sampling(1.5, k, p, truncated_log_probs=True))
  np.testing.assert_array_equal(same.tokens, rollout.tokens)
  np.testing.assert_allclose(
      same.log_probs[:, 0], np.log(want[tokens]), atol=1e-5)


def test_a_nucleus_has_the_likeliest_token_at_least(tiny):
  rollout = drawn(tiny, Sampling(1.0, top_p=1e-6, truncated_log_probs=True))
  assert (rollout.tokens[:, 0] == tiny[3].argmax()).all()
  np.testing.assert_allclose(rollout.log_probs[:, 0], 0, atol=1e-6)


@pytest.mark.parametrize('kwargs', [
    {'temperature': -0.1}, {'top_k': -1}, {'top_p': 0.0}, {'top_p': 1.1}],
                         ids=str)
def test_sampling_refuses(kwargs):
  with pytest.raises(ValueError, match='must'):
    Sampling(**kwargs)


@pytest.mark.parametrize('axis', [0, 1])
@pytest.mark.parametrize('temperature', [0.0, 0.1, 1.0])
def test_a_common_offset_of_logits_changes_nothing(axis, temperature):
  """Log-probabilities of a whole vocabulary, against float64 and the scorer."""
  rng = np.random.default_rng(0)
  plain = (3 * rng.normal(size=(4, 49_152))).astype(np.float32)
  uniform = rng.random(4).astype(np.float32)
  run = jax.jit(lambda x, temperature: sampler._draw(
      x.T if axis == 0 else x, axis, uniform, Sampling(temperature)))
  for offset in (0, 1e3, 1e5):
    scores = plain + np.float32(offset)
    tokens, have = run(scores, temperature)
    want = log_softmax(np.float64(scores) / (temperature or 1))
    chosen = np.arange(4), np.asarray(tokens)
    np.testing.assert_allclose(have, want[chosen], atol=4e-6)
    scored = divergences.log_softmax(scores, temperature or 1.0)
    np.testing.assert_allclose(have, scored[chosen], atol=4e-6)
    if temperature == 0:
      np.testing.assert_array_equal(tokens, scores.argmax(-1))
    # What is drawn is that of the same numbers without the offset.
    same, _ = run(scores - np.float32(offset), temperature)
    np.testing.assert_array_equal(tokens, same)
