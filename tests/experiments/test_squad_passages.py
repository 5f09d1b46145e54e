"""Means and intervals over passages, by hand."""

import re

import pytest

from experiments import squad_passages
from sleepjax.errors import UserError


def report(before, after, in_context, controls_after, drift):
  """Of a passage whose controls cost 4 nats before; contexts help as before."""
  scores = {'exact': 0.0, 'contains': 0.5, 'f1': 0.25}
  known = {'before': 0, 'after': 1, 'in_view': 2}  # Of four questions.
  return {
      'answers': [{f'knows_{when}': i < right for when, right in known.items()}
                  for i in range(4)],
      **{f'knows_{when}': right / 4 for when, right in known.items()},
      'document': 'A page', 'questions': 4,
      'seconds': {'seed': 90.0, 'report': 30.0},
      'topic_recovered': None, 'topic_recovered_net': None,
      'sleeps_rolled_back': 0,
      'closed_book_nll_before': before, 'closed_book_nll_after': after,
      'in_context_nll': in_context, 'in_context_nll_after': in_context,
      'control_nll_before': 4.0, 'control_nll_after': controls_after,
      'in_context_other_nll_before': 2.0, 'in_context_other_nll_after': 2.25,
      'drift_ppl_before': 20.0, 'drift_ppl_after': 20.0 * (1 + drift),
      'closed_book_accuracy_before': scores,
      'closed_book_accuracy_after': scores, 'in_context_accuracy': scores}


REPORTS = [report(6.0, 4.0, 3.0, 3.5, 0.01),  # Controls gain half a nat.
           report(5.0, 4.0, 4.0, 4.5, 0.03)]  # Here they lose as much.


def test_changes():
  first, second = map(squad_passages.changes, REPORTS)
  assert first == pytest.approx({
      'gap': 3, 'gained': 2, 'gained_net': 1.5, 'control_change': -0.5,
      'context_lost': 0.25, 'drift': 0.01})
  assert second == pytest.approx({
      'gap': 1, 'gained': 1, 'gained_net': 1, 'control_change': 0.5,
      'context_lost': 0.25, 'drift': 0.03})


def test_summary():
  summary = squad_passages.summarise(REPORTS)
  assert summary['topic_recovered'] == pytest.approx(3 / 4)
  assert summary['topic_recovered_net'] == pytest.approx(2.5 / 4)
  assert summary['closed_book_nll_after'] == 4
  assert summary['drift'] == pytest.approx(0.02)
  assert summary['closed_book_accuracy_after']['f1'] == 0.25
  assert (summary['passages'], summary['questions']) == (2, 8)
  assert (summary['knows_before'], summary['knows_after'],
          summary['knows_in_view']) == (0, 0.25, 0.5)
  assert (summary['knows_gained'], summary['knows_lost'],
          summary['knows_p']) == (2, 0, 0.5)
  assert summary['minutes_a_passage'] == summary['longest_minutes'] == 2


def test_intervals():
  """t of one degree of freedom at 97.5 % is 12.706."""
  found = squad_passages.intervals(REPORTS)
  assert found['control_change']['mean'] == 0
  # Standard deviation 0.707 over sqrt(2).
  assert found['control_change']['half_width'] == pytest.approx(
      12.7062 * 0.5, rel=1e-4)
  # Of 1.5 - 0.625 * 3 = -0.375 and 1 - 0.625 = 0.375, over a mean gap of 2.
  assert found['topic_recovered_net']['mean'] == pytest.approx(0.625)
  assert found['topic_recovered_net']['half_width'] == pytest.approx(
      12.7062 * 0.375 / 2, rel=1e-4)
  only = squad_passages.intervals(REPORTS[:1])
  assert only['topic_recovered']['half_width'] is None


def test_texts_that_do_not_help():
  for in_context in (3.5, 2.995, 2.71):
    helpless = [report(3.0, 2.0, in_context, 4.0, 0.0)]
    assert squad_passages.summarise(helpless)['topic_recovered'] is None
    assert squad_passages.intervals(helpless)['topic_recovered'] is None


def test_table(capsys):
  squad_passages.print_summary(REPORTS, {
      **squad_passages.summarise(REPORTS),
      'intervals': squad_passages.intervals(REPORTS)})
  rows = [re.split(r' {2,}', line.strip())
          for line in capsys.readouterr().out.splitlines() if line.strip()]
  assert rows[2] == ['A page', '0%', '25%', '50%', '–', '-0.50', '+0.25',
                     '+1.0%']
  assert rows[-3] == ['all', '0%', '25%', '50%', '62%', '+0.00', '+0.25',
                      '+2.0%']
  assert rows[-2] == ['95 % ±', '238%', '6.35', '0.00', '12.7%']
  assert rows[-1] == ['right answers: 2 gained, 0 lost of 8, p = 0.5 (McNemar)']


@pytest.mark.parametrize('first, number', [(0, 0), (0, -1), (-1, 2)])
def test_numbers_of_passages_that_cannot_be(first, number):
  with pytest.raises(UserError, match=f'{number} passages from number {first}'):
    squad_passages.read_passages('val', first, number)
