import collections
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from rapidfuzz.distance import Levenshtein

from sleepjax.errors import UserError
from sleepjax.losses import imitation

# What lies beyond a length must never be read: these ids exist in no row.
PAD_A, PAD_B = 90, 91


def pad(rows, width, fill):
  out = np.full((len(rows), width), fill, np.int32)
  for i, row in enumerate(rows):
    out[i, :len(row)] = row
  return out, np.array([len(row) for row in rows], np.int32)


def pairs(a, b, width_a=None, width_b=None):
  width_a = width_a or max(map(len, a)) + 1
  width_b = width_b or max(map(len, b)) + 1
  return *pad(a, width_a, PAD_A), *pad(b, width_b, PAD_B)


def letters(*words):
  return [[ord(c) for c in word] for word in words]


def random_rows(rng, count, width, vocab):
  return [
      rng.integers(0, vocab, rng.integers(0, width + 1)).tolist()
      for _ in range(count)]


def random_pairs(seed, vocab, width_a=11, width_b=14):
  """Random rows, and rows that are edits of one another; equal and empty."""
  rng = np.random.default_rng(seed)
  a = random_rows(rng, 120, width_a, vocab)
  b = random_rows(rng, 80, width_b, vocab)
  b += [[t for t in row if rng.random() < 0.8][:width_b] for row in a[80:]]
  a += [[], [], list(range(5))]
  b += [[], [1, 2], list(range(5))]
  return a, b, pairs(a, b, width_a, width_b)


def reference_f1(a, b):
  if not a and not b:
    return 1.0
  overlap = sum((collections.Counter(a) & collections.Counter(b)).values())
  return 2 * overlap / (len(a) + len(b))


def test_distance_of_known_words():
  words = [
      ('kitten', 'sitting', 3), ('saturday', 'sunday', 3), ('', '', 0),
      ('', 'abc', 3), ('abc', '', 3), ('abc', 'abc', 0), ('ab', 'ba', 2),
      ('flaw', 'lawn', 2)]
  a, b, expected = zip(*words, strict=True)
  distance = imitation.levenshtein_distance(*pairs(letters(*a), letters(*b)))
  assert distance.dtype == jnp.int32
  np.testing.assert_array_equal(distance, expected)


@pytest.mark.parametrize('vocab', [2, 5])
@pytest.mark.parametrize('widths', [(11, 14), (14, 11)])
def test_distance_equals_rapidfuzz(vocab, widths):
  a, b, arrays = random_pairs(vocab, vocab, *widths)
  expected = [Levenshtein.distance(x, y) for x, y in zip(a, b, strict=True)]
  for fn in (
      imitation.levenshtein_distance, jax.jit(imitation.levenshtein_distance)):
    np.testing.assert_array_equal(fn(*arrays), expected)


def test_distance_under_vmap_and_with_no_width():
  a, b, arrays = random_pairs(7, 3)
  groups = [x.reshape(3, -1, *x.shape[1:]) for x in arrays]
  np.testing.assert_array_equal(
      jax.vmap(imitation.levenshtein_distance)(*groups).reshape(-1),
      imitation.levenshtein_distance(*arrays))
  empty, none = pad([[], []], 0, PAD_A)
  np.testing.assert_array_equal(
      imitation.levenshtein_distance(empty, none, *pad([[1, 2], []], 3, 0)),
      [2, 0])


def test_levenshtein_reward_worked_by_hand():
  a = letters('abcd', 'abcd', 'abcd', 'abcd', '', '', 'ab')
  b = letters('abcd', 'abcx', 'abxx', 'axxx', '', 'a', 'abcd')
  np.testing.assert_allclose(
      imitation.levenshtein_reward(*pairs(a, b)),
      # Half of the tokens off is still within the threshold.
      [1, 0.75, 0.5, 0, 1, 0, 0.5])
  np.testing.assert_allclose(
      imitation.levenshtein_reward(*pairs(a, b), threshold=0.25),
      [1, 0.75, 0, 0, 1, 0, 0])
  np.testing.assert_allclose(
      imitation.levenshtein_reward(*pairs(a, b), threshold=0.0),
      [1, 0, 0, 0, 1, 0, 0])
  np.testing.assert_allclose(
      imitation.levenshtein_reward(*pairs(a, b), threshold=1.0),
      [1, 0.75, 0.5, 0.25, 1, 0, 0.5])


@pytest.mark.parametrize(
    'num, den', [(1, 3), (2, 3), (3, 10), (7, 10), (1, 7), (29, 30)])
def test_levenshtein_threshold_is_inclusive_at_any_length(num, den):
  a, at, beyond = [], [], []
  for times in range(1, 90 // den + 1):
    a.append([1] * den * times)
    at.append([2] * num * times + [1] * (den - num) * times)
    beyond.append([2] * (num * times + 1) + [1] * ((den - num) * times - 1))
  reward = jax.jit(functools.partial(
      imitation.levenshtein_reward, threshold=num / den))
  np.testing.assert_allclose(
      reward(*pairs(a, at)), 1 - num / den, atol=1e-6)
  np.testing.assert_array_equal(reward(*pairs(a, beyond)), 0)


def test_levenshtein_reward_matches_the_formula():
  a, b, arrays = random_pairs(3, 3)
  def formula(x, y):
    ratio = Levenshtein.distance(x, y) / max(len(x), len(y), 1)
    return 1 - ratio if ratio <= 0.4 else 0
  expected = [formula(x, y) for x, y in zip(a, b, strict=True)]
  assert 20 < np.count_nonzero(expected) < len(expected) - 20
  reward = functools.partial(imitation.levenshtein_reward, threshold=0.4)
  for fn in (reward, jax.jit(reward)):
    np.testing.assert_allclose(fn(*arrays), expected, atol=1e-6)


def test_token_f1_worked_by_hand():
  a = letters('aab', 'aaa', 'abc', 'abc', '', '', 'ab')
  b = letters('abb', 'a', 'cba', 'xyz', '', 'a', 'abab')
  np.testing.assert_allclose(
      imitation.token_f1(*pairs(a, b)),
      [2 / 3, 1 / 2, 1, 0, 1, 0, 2 / 3], rtol=1e-6)


def test_token_f1_matches_counters_and_is_symmetric():
  a, b, arrays = random_pairs(4, 4)
  expected = [reference_f1(x, y) for x, y in zip(a, b, strict=True)]
  np.testing.assert_allclose(
      imitation.token_f1(*arrays), expected, atol=1e-6)
  np.testing.assert_allclose(
      jax.jit(imitation.token_f1)(*arrays[2:], *arrays[:2]), expected,
      atol=1e-6)
  groups = [x.reshape(3, -1, *x.shape[1:]) for x in arrays]
  np.testing.assert_allclose(
      jax.vmap(imitation.token_f1)(*groups).reshape(-1), expected, atol=1e-6)


def test_judge_hears_content_tokens_only():
  ignore = np.zeros(128, bool)
  ignore[[ord(c) for c in 'the ,.']] = True
  a = letters('the cab', 'the cab', 'het.', 'the', '', 'the', 'cab')
  b = letters('cab, the.', 'the fog', 'the', 'eht,', '', 'fog', '')
  args = pairs(a, b)
  judge = functools.partial(
      imitation.content_overlap_judge, ignore_V=ignore, threshold=0.8)
  # Without content on either side, all tokens count (6/7 and 6/7 here).
  expected = [1, 0, 1, 1, 1, 0, 0]
  np.testing.assert_array_equal(judge(*args), expected)
  np.testing.assert_array_equal(jax.jit(judge)(*args), expected)
  everything = judge(*args, ignore_V=np.zeros(128, bool), threshold=0.5)
  np.testing.assert_array_equal(everything, [1, 1, 1, 1, 1, 0, 0])


def test_judge_matches_counters_and_its_threshold_is_inclusive():
  a, b, arrays = random_pairs(5, 6)
  ignore = np.zeros(128, bool)
  ignore[[0, 3]] = True

  def verdict(x, y, threshold):
    kept = [[t for t in row if not ignore[t]] for row in (x, y)]
    f1 = reference_f1(*kept) if any(kept) else reference_f1(x, y)
    return f1 >= threshold - 1e-9

  for threshold in (1 / 3, 0.5, 2 / 3, 6 / 7):
    expected = [verdict(x, y, threshold) for x, y in zip(a, b, strict=True)]
    assert 10 < sum(expected) < len(expected) - 10
    judge = jax.jit(functools.partial(
        imitation.content_overlap_judge, threshold=threshold))
    np.testing.assert_array_equal(judge(*arrays, ignore), expected)


def test_padding_is_never_read():
  a, b, (a_ids, a_len, b_ids, b_len) = random_pairs(6, 4)
  ignore = np.zeros(128, bool)
  ignore[1] = True
  for fn in (
      imitation.levenshtein_reward, imitation.token_f1,
      functools.partial(imitation.content_overlap_judge, ignore_V=ignore)):
    fn, results = jax.jit(fn), []
    for fill_a, fill_b in ((PAD_A, PAD_B), (2, 2), (-1, 10**9)):
      results.append(fn(
          pad(a, a_ids.shape[1], fill_a)[0], a_len,
          pad(b, b_ids.shape[1], fill_b)[0], b_len))
    np.testing.assert_array_equal(results[0], results[1])
    np.testing.assert_array_equal(results[0], results[2])


def test_imitation_reward():
  r_sem, r_abs = jnp.array([1.0, 0.0, 1.0]), jnp.array([0.5, 0.75, 0.0])
  np.testing.assert_allclose(
      imitation.imitation_reward(0.25, r_sem, r_abs), [0.625, 0.5625, 0.25])
  np.testing.assert_array_equal(
      imitation.imitation_reward(0.0, r_sem, r_abs), r_abs)
  np.testing.assert_array_equal(
      imitation.imitation_reward(1.0, r_sem, r_abs), r_sem)


def test_fractions_are_checked():
  args = pairs(letters('ab'), letters('ab'))
  with pytest.raises(UserError, match='threshold'):
    imitation.levenshtein_reward(*args, threshold=5)
  with pytest.raises(UserError, match='threshold'):
    imitation.content_overlap_judge(*args, np.zeros(128, bool), threshold=-1)
  with pytest.raises(UserError, match='gamma'):
    imitation.imitation_reward(1.5, jnp.ones(1), jnp.ones(1))
