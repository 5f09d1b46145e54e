"""Tests and intervals beside those of statsmodels."""

import numpy as np
import pytest

from sleepjax.evals import interval, paired

pytest.importorskip('statsmodels')
from statsmodels.stats import (  # noqa: E402
    contingency_tables,
    multitest,
    proportion,
    weightstats,
)

RANDOM = np.random.default_rng(0)
BEFORE, AFTER = RANDOM.normal(size=(2, 23)) + [[0.0], [0.4]]


@pytest.mark.parametrize('gained, lost', [
    (0, 1), (1, 0), (3, 3), (9, 2), (2, 11), (40, 61)])
def test_mcnemar(gained, lost):
  theirs = contingency_tables.mcnemar([[5, gained], [lost, 8]], exact=True)
  assert paired.mcnemar_counts(gained, lost)['p'] == pytest.approx(
      theirs.pvalue)


@pytest.mark.parametrize('trials', [1, 7, 100])
@pytest.mark.parametrize('share', [0.0, 0.3, 1.0])
def test_wilson(share, trials):
  successes = round(share * trials)
  assert paired.wilson(successes, trials) == pytest.approx(
      proportion.proportion_confint(successes, trials, method='wilson'))


def test_holm():
  p_values = dict(zip('abcdef', [0.01, 0.04, 0.03, 0.5, 0.005, 0.04]))
  adjusted = multitest.multipletests([*p_values.values()], method='holm')[1]
  assert [*paired.holm(p_values).values()] == pytest.approx([*adjusted])


def test_paired_t_and_interval():
  theirs = weightstats.DescrStatsW(AFTER - BEFORE)
  ours = paired.paired_t(BEFORE, AFTER)
  low, high = theirs.tconfint_mean()
  assert ours['mean'] == pytest.approx(theirs.mean)
  assert ours['half_width'] == pytest.approx((high - low) / 2)
  assert ours['p'] == pytest.approx(theirs.ttest_mean()[1])
  assert interval.interval(AFTER - BEFORE)['half_width'] == pytest.approx(
      ours['half_width'])


@pytest.mark.parametrize('margin', [0.1, 0.6, 2.0])
def test_equivalence(margin):
  theirs = weightstats.ttost_paired(AFTER, BEFORE, -margin, margin)[0]
  assert paired.equivalence(BEFORE, AFTER, margin)['p'] == pytest.approx(
      theirs)
