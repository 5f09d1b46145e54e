"""Sequences of passages by hand: what a life is worth, and the verdict."""

import numpy as np
import pytest

from sleepjax.lifecycle.written import Words
from sleepjax.runs.rows import Cell
from sleepjax.tasks import sequence, sequence_table
from sleepjax.writing.dreamer import Dream

# Two passages of two questions: before, and after each night.
RIGHT = [[[False, False], [False, True]],
         [[True, True], [False, True]],
         [[False, True], [True, True]]]
VIEWED = [[True, True], [True, False]]
ELSEWHERE = [{'control_nll': 4.0, 'controls_know': 0.1, 'drift_ppl': 20.0},
             {'control_nll': 4.1, 'controls_know': 0.1, 'drift_ppl': 20.5},
             {'control_nll': 4.5, 'controls_know': 0.0, 'drift_ppl': 21.0}]


def life(last, own=None, passages=8):
  """A row of which every passage has two questions.

  Args:
    last: [passages] how many of the two are right in the end.
    own: the same after their own night; by default as in the end.
    passages: how many.
  """
  answers = lambda number: [number > 0, number > 1]
  own, right = own or last, [[[False, False]] * passages]
  for night in range(passages):
    right.append([answers(last[n] if night == passages - 1 else own[n])
                  if n <= night else [False, False] for n in range(passages)])
  return sequence.row_of(right, [[True, True]] * passages,
                         [ELSEWHERE[0]] * (1 + passages))


def test_a_life_by_hand():
  row = sequence.row_of(RIGHT, VIEWED, ELSEWHERE)
  assert row['untrained'] == [0, 0.5] and row['in_view'] == [1, 0.5]
  assert row['matrix'] == [[1, 0.5], [0.5, 1]]
  assert row['average_accuracy'] == 0.75 and row['learnt'] == 1
  assert row['forgetting'] == row['first_less_last'] == 0.5
  assert row['backward_transfer'] == -0.5
  assert row['forward_transfer'] == 0  # Half was guessed before all nights.
  assert row['so_far'] == [1, 0.75]
  assert row['passage_of'] == [0, 0, 1, 1]
  assert row['right'] == [False, True, True, True]
  assert row['right_before'] == [False, False, False, True]
  assert row['right_in_view'] == [True, True, True, False]
  assert row['forgotten'] == [True, False, False, False]
  assert row['control_change'] == pytest.approx(0.5)
  assert row['drift'] == pytest.approx(0.05)
  assert row['controls_know'] == 0


def test_first_less_last_is_not_max_less_last():
  """One that is learnt the night after its own, and lost in the third."""
  right = [[[False]] * 3, [[False]] * 3, [[True], [False], [False]],
           [[False], [False], [True]]]
  row = sequence.row_of(right, [[True]] * 3, [ELSEWHERE[0]] * 4)
  assert row['first_less_last'] == 0 and row['forgetting'] == 0.5
  assert row['forgotten'] == [True, False, False]


def test_what_is_stored_is_drawn_of_all_earlier_passages():
  words = [Words('', [Dream('short', f'{night} {n}', '', (n,))
                      for n in range(50) for _ in range(2)],
                 [], [], [], [], [], [], [], {}, {}) for night in range(3)]
  assert sequence.stored([], (0, 0)) == []
  assert len(sequence.stored(words[:1], (0, 1))) == 50  # Each prompt once.
  kept = sequence.stored(words, (0, 3))
  assert len({dream.prompt for dream in kept}) == len(kept) == 64
  assert {dream.prompt[0] for dream in kept} == {'0', '1', '2'}
  assert kept == sequence.stored(words, (0, 3)) != sequence.stored(
      words, (1, 3))


def results(**arms):
  """Rows of three sequences, all alike."""
  return {Cell(arm, 0, str(item)): row for item in range(3)
          for arm, row in arms.items()}


def test_the_verdict():
  good, bad = life([2] * 8), life([0] * 8, own=[2] * 8)
  rivals = dict.fromkeys(sequence_table.RIVALS, bad)
  verdict = lambda **arms: sequence_table.verdict(results(**arms))['verdict']
  assert verdict(sleep=good, **rivals) == 'shown'
  found = sequence_table.verdict(results(sleep=good, **rivals))
  one = found['rivals']['static_slot']
  assert (one['gained'], one['lost'], one['questions']) == (48, 0, 48)
  assert one['right']['low'] == 1
  assert one['forgotten']['mean'] == -42 / 48 < one['forgotten']['high'] < 0
  assert verdict(sleep=bad, **rivals) == 'not shown'
  # What nobody learns nobody forgets.
  assert verdict(sleep=good, **{**rivals, 'sft_low_rank': life([0] * 8)}) == (
      'not shown')
  assert verdict(sleep=good, static_slot=bad) == 'not shown'
  assert verdict(sleep=bad, static_slot=good) == 'refuted'
  assert verdict(sleep=good, no_retention=bad) == 'not run'
  two = {cell: row for cell, row in results(sleep=good, **rivals).items()
         if cell.item != '2'}
  assert sequence_table.verdict(two)['verdict'] == 'not shown'


def test_texts_in_view_must_help():
  first = {'right': RIGHT, 'in_view': VIEWED}
  assert sequence_table.text_does_not_help([first]) == ''
  nothing = {'right': RIGHT, 'in_view': RIGHT[0]}
  assert '25% right with the text in view, 25% without it' in (
      sequence_table.text_does_not_help([nothing]))
  assert sequence_table.text_does_not_help([first, nothing]) == ''


def test_the_summary_and_its_picture(tmp_path):
  rows = results(sleep=life([2] * 8), static_slot=life([1, 2] * 4))
  summary = sequence_table.summary(rows)
  assert np.array(summary['matrices']['sleep']['matrix']).shape == (8, 8)
  assert summary['arms']['static_slot']['in the end']['mean'] == 0.75
  beside = summary['against_sleep']['static_slot']
  assert beside['in the end']['mean'] == -0.25
  assert beside['answers']['lost'] == 12
  sequence_table.plot(tmp_path / 'report.png', summary['matrices'])
  assert (tmp_path / 'report.png').stat().st_size > 10_000
