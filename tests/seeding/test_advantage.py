"""Rewards of rollouts and their advantages, by hand."""

import numpy as np
import pytest

from sleepjax.sampling import rows as rows_lib
from sleepjax.seeding import objective
from sleepjax.seeding.settings import SeedingConfig


def advantage_of(settings, completions, references, ignored=()):
  content_free = np.zeros(61, bool)
  content_free[list(ignored)] = True
  advantage, metrics = objective.imitation_advantage(
      settings, *rows_lib.pad_right(completions, 5),
      *rows_lib.pad_right(references, 5), content_free)
  return np.asarray(advantage), {k: float(v) for k, v in metrics.items()}


def test_imitation_advantage_by_hand():
  """Groups of two, with the teacher's continuation of each prefix."""
  teacher = [[5, 6, 7, 8]] * 2 + [[9, 10]] * 2
  student = [
      [5, 6, 7, 8],     # The same: r_abs = 1, r_sem = 1, r = 1.
      [5, 6, 9, 9],     # Two of four: r_abs = 1/2, F1 = 1/2, r = 3/4.
      [11, 12, 13],     # Nothing in common: r = 0.
      [14]]
  settings = SeedingConfig(rows=4, group_size=2, gamma=0.5)
  advantage, metrics = advantage_of(settings, student, teacher)
  np.testing.assert_allclose(advantage, [0.25, -0.25, 0, 0], atol=1e-6)
  assert metrics == pytest.approx({
      'reward': 1.75 / 4, 'reward_semantic': 2 / 4,
      'reward_levenshtein': 1.5 / 4, 'constant_groups': 0.5})


def test_imitation_advantage_settings():
  teacher, student = [[5, 6, 7, 8]] * 3, [[5, 6, 9, 9], [8, 7, 6, 5], [1]]
  group = dict(rows=3, group_size=3)
  # r_abs = 1/2, 0, 0: reversed, all four tokens differ but one insertion
  # and deletion spare none.
  advantage, _ = advantage_of(
      SeedingConfig(**group, gamma=0.0), student, teacher)
  np.testing.assert_allclose(advantage, [0.5, -0.25, -0.25], atol=1e-6)
  # r_sem = 1, 1, 0: order does not matter to the judge.
  advantage, _ = advantage_of(
      SeedingConfig(**group, gamma=1.0), student, teacher)
  np.testing.assert_allclose(advantage, [0.5, 0.5, -1.0], atol=1e-6)
  # Stricter thresholds refuse the first completion.
  _, metrics = advantage_of(SeedingConfig(
      **group, levenshtein_threshold=0.4, semantic_threshold=0.6), student,
                            teacher)
  assert metrics['reward_levenshtein'] == 0
  assert metrics['reward_semantic'] == pytest.approx(1 / 3)
  # Without 5 and 6 the first shares no content with the teacher.
  _, metrics = advantage_of(
      SeedingConfig(**group), student, teacher, ignored=(5, 6))
  assert metrics['reward_semantic'] == pytest.approx(1 / 3)


def test_advantage_of_groups_by_name():
  completion = np.array([[5, 6, 7], [5, 6, 8], [5, 9, 9], [1, 2, 3]])
  reference = np.tile([5, 6, 7], (4, 1))
  mask = np.ones((4, 3), bool)
  free = np.zeros(16, bool)
  settings = SeedingConfig(
      rows=4, group_size=4, advantage='group_normalised', gamma=0.0,
      levenshtein_threshold=1.0)
  got, _ = objective.imitation_advantage(
      settings, completion, mask, reference, mask, free)
  reward = np.array([1, 2 / 3, 1 / 3, 0])
  np.testing.assert_allclose(
      got, (reward - reward.mean()) / (reward.std() + 1e-4), rtol=1e-5)
