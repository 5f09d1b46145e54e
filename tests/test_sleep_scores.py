"""Shares of context recovered, by hand."""

import pytest

from sleepjax.evals import sleep_scores


@pytest.mark.parametrize('control_after, net', [
    (5.0, 0.5),  # Nothing happened to controls.
    (4.5, 0.25),  # Half a nat was answer style.
    (6.0, 0.5)])  # Controls were harmed: that is no gain.
def test_what_controls_gain_is_subtracted_and_what_they_lose_is_not(
    control_after, net):
  assert sleep_scores.recovered(4.0, 3.0, 2.0, 5.0, control_after) == (0.5, net)


def test_a_text_that_does_not_help_has_no_share():
  for in_context in (4.0, 4.5, float('nan')):
    assert sleep_scores.recovered(4.0, 3.0, in_context, 5.0, 5.0) == (
        None, None)
