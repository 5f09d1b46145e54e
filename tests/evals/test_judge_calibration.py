"""Thresholds of judges and their errors, by hand."""

import numpy as np
import pytest

from sleepjax.evals import judge_calibration as calibration
from sleepjax.evals import judges
from sleepjax.evals.judge_calibration import Pair


def balanced_accuracy(positives, negatives, threshold):
  return (np.mean(np.array(positives) >= threshold)
          + np.mean(np.array(negatives) < threshold)) / 2


def test_threshold_worked_by_hand():
  calibrated = calibration.calibrated_threshold
  assert calibrated([3, 4], [1, 2]) == 2.5
  assert calibrated([0.9, 0.2], [0.1, 0.3, 0.4]) == pytest.approx(0.65)
  # Nothing to tell them by, or the wrong way round: never yes.
  assert calibrated([0.5], [0.5]) > 0.5
  assert calibrated([1.0, 1.0], [2.0]) > 2
  with pytest.raises(ValueError, match='both kinds'):
    calibrated([], [1])


def test_threshold_is_the_best_there_is():
  random = np.random.default_rng(0)
  for _ in range(50):
    positives = random.integers(2, 9, random.integers(1, 12))
    negatives = random.integers(0, 7, random.integers(1, 12))
    threshold = calibration.calibrated_threshold(positives, negatives)
    every = np.arange(-0.5, 10)
    assert balanced_accuracy(positives, negatives, threshold) == pytest.approx(
        max(balanced_accuracy(positives, negatives, t) for t in every))


def test_separation():
  assert calibration.separation([3, 2], [1, 2]) == (2 + 1 + 0.5) / 4
  assert calibration.separation([1.0], [2.0, 3.0]) == 0


def test_error_is_counted():
  judge = judges.AnswerJudge()
  positives = [Pair('a cat', 'cat'), Pair('x', 'y'), Pair('x', 'x'),
               Pair('x', 'x.')]
  negatives = [Pair('cat', 'dog', 'which?'), Pair('the end', 'End', 'when?')]
  error = calibration.error_of_verdicts(*(
      calibration.on_pairs(judge, pairs) for pairs in (positives, negatives)))
  assert error == (0.25, 0.5, 4, 2)
  empty = calibration.error_of_verdicts([1.0], ())
  assert np.isnan(empty.false_positive_rate) and empty.negatives == 0


def test_wilson_interval():
  interval = calibration.wilson_interval
  np.testing.assert_allclose(interval(0.5, 10), (0.2366, 0.7634), atol=1e-4)
  np.testing.assert_allclose(interval(0.0, 10), (0, 0.2775), atol=1e-4)
  np.testing.assert_allclose(interval(1.0, 10), (0.7225, 1), atol=1e-4)
