"""Paired statistics, by hand and against scipy."""


import numpy as np
import pytest
import scipy.stats

from sleepjax.evals import paired


def test_mcnemar():
  """Six gained, one lost: 2 (1 + 7) / 2^7."""
  before = [0] * 6 + [1] + [1, 1, 0]
  after = [1] * 6 + [0] + [1, 1, 0]
  assert paired.mcnemar(before, after) == {
      'gained': 6, 'lost': 1, 'p': pytest.approx(16 / 128)}
  assert paired.mcnemar(after, before)['p'] == pytest.approx(16 / 128)
  assert paired.mcnemar(before, before)['p'] == 1
  assert paired.mcnemar_counts(5, 0)['p'] == pytest.approx(2 / 32)
  # Three of three passages.
  assert paired.mcnemar_counts(3, 0)['p'] == pytest.approx(0.25)


def test_paired_t():
  """Differences 1, 2, 3: t = 2 √3 = 3.464; t of two degrees is 4.3027."""
  found = paired.paired_t([5, 5, 5], [6, 7, 8])
  assert found['mean'] == 2
  assert found['half_width'] == pytest.approx(4.302653 / 3 ** 0.5)
  # The t distribution with two degrees of freedom has a closed form.
  t = 12 ** 0.5
  assert found['p'] == pytest.approx(1 - t / (2 + t * t) ** 0.5)
  assert found['p'] == pytest.approx(
      scipy.stats.ttest_rel([6, 7, 8], [5, 5, 5]).pvalue)
  assert paired.paired_t([1, 2], [1, 2])['p'] == 1
  assert paired.paired_t([1, 2], [2, 3])['p'] == 0
  assert paired.paired_t([1], [2]) == {
      'mean': 1, 'half_width': None, 'p': None}


def test_equivalence():
  """Differences -1, 0, 1 within ± 2: t = ± 2 √3 on either side."""
  found = paired.equivalence([0, 0, 0], [-1, 0, 1], 2.0)
  t = 12 ** 0.5
  assert found == {'mean': 0, 'p': pytest.approx(
      (1 - t / (2 + t * t) ** 0.5) / 2)}
  # A difference as large as the margin is not within it.
  assert paired.equivalence([0, 0, 0], [1, 2, 3], 2.0)['p'] == (
      pytest.approx(0.5))
  assert paired.equivalence([0, 0], [0, 0], 0.1)['p'] == 0
  assert paired.equivalence([0, 0], [1, 1], 1.0)['p'] == 1
  with pytest.raises(ValueError, match='above 0'):
    paired.equivalence([0, 0], [0, 0], 0.0)
  with pytest.raises(ValueError, match='at least two'):
    paired.equivalence([0], [0], 1.0)


def test_wilson():
  """Of none in ten: 0 to z² / (10 + z²), z = 1.96."""
  z2 = 1.959964 ** 2
  assert paired.wilson(0, 10) == pytest.approx((0, z2 / (10 + z2)))
  assert paired.wilson(10, 10) == pytest.approx((10 / (10 + z2), 1))
  centre, half = (5 + z2 / 2) / (20 + z2), (
      z2 ** 0.5 / (20 + z2) * (5 * 15 / 20 + z2 / 4) ** 0.5)
  assert paired.wilson(5, 20) == pytest.approx((centre - half, centre + half))
  with pytest.raises(ValueError):
    paired.wilson(0, 0)


def test_bootstrap():
  values = np.random.default_rng(0).normal(3.0, 1.0, 200)
  found = paired.bootstrap(values)
  assert found == paired.bootstrap(values)
  assert found['low'] != paired.bootstrap(values, seed=1)['low']
  # Close to the normal interval of 200 values.
  half = 1.96 * values.std() / 200 ** 0.5
  assert found['mean'] == values.mean()
  assert found['low'] == pytest.approx(values.mean() - half, abs=0.02)
  assert found['high'] == pytest.approx(values.mean() + half, abs=0.02)


def test_bootstrap_draws_whole_groups():
  """Copies of a question tell nothing new: two groups give two means."""
  found = paired.bootstrap([0] * 50 + [1] * 50, [0] * 50 + [1] * 50)
  assert (found['low'], found['mean'], found['high']) == (0, 0.5, 1)
  apart = paired.bootstrap([0] * 50 + [1] * 50)
  assert apart['low'] > 0.35 and apart['high'] < 0.65
  # Groups weigh as much as they have questions, and a name is any value.
  assert paired.bootstrap([1, 0, 0], ['a', 'b', 'b'])['mean'] == (
      pytest.approx(1 / 3))
  assert paired.bootstrap([1, 0], ['a', 'a']) == {
      'mean': 0.5, 'low': None, 'high': None}
  for values, groups in (([], None), ([1.0], [0, 1])):
    with pytest.raises(ValueError, match='a group for each'):
      paired.bootstrap(values, groups)


def test_holm():
  """0.01 · 4, 0.02 · 3, 0.03 · 2 and 0.8, as they rise."""
  assert paired.holm({'a': 0.03, 'b': 0.01, 'c': 0.8, 'd': 0.02}) == (
      pytest.approx({'a': 0.06, 'b': 0.04, 'c': 0.8, 'd': 0.06}))
  assert paired.holm({'a': 0.6, 'b': 0.7}) == {'a': 1, 'b': 1}
  assert paired.holm({}) == {}


@pytest.mark.parametrize('before, after', [([], []), ([1], [1, 2]), (1, 1)])
def test_pairs_that_are_none(before, after):
  for test in (paired.mcnemar, paired.paired_t):
    with pytest.raises(ValueError, match='a number before and one after'):
      test(before, after)
