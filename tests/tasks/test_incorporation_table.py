"""Tables of knowledge incorporation by hand."""

import pytest

from sleepjax.runs.rows import Cell
from sleepjax.tasks import incorporation, incorporation_table


def results(rights, passages=1, **changes):
  """Rows of arms with these right answers, the same for every passage."""
  return {Cell(arm, 0, f'{n:03d}'): {
      'right': right, 'controls_knows': changes.get(arm, 0.5),
      'controls_knows_before': 0.5, 'controls_questions': 10,
      'answers': [{'knows_before': False, 'knows_after': known,
                   'knows_in_view': True} for known in right],
      'choice': 0.75, 'choice_before': 0.5, 'margin': None,
      'margin_before': None, 'coverage': 0.5, 'control_change': 0.02,
      'context_lost': 0.06, 'drift': -0.01,
      'night_tokens': 0 if arm in incorporation.UNTAUGHT else 1000,
      'question_tokens': {'in_view': 300, 'bm25': 130}.get(arm, 30)}
          for n in range(passages) for arm, right in rights.items()}


def test_the_verdict_is_on_the_best_fine_tuning():
  """Six answers gained and none lost: p = 2 / 2^6, below 0.05; five are not."""
  none, all_, some = [False] * 6, [True] * 6, [True] + [False] * 5
  word = lambda *args, **kw: incorporation_table.verdict(results(*args, **kw))
  found = word({'sleep': all_, 'base': none, 'sft_a': none, 'sdft': all_})
  assert found == {
      'verdict': 'shown', 'rival': 'sft_a', 'gained': 6, 'lost': 0,
      'p': pytest.approx(2 / 64), 'questions': 6, 'difference': {
          'mean': 1.0, 'low': None, 'high': None}, 'controls_knows_change': 0}
  better = word({'sleep': all_, 'base': none, 'sft_a': none, 'sft_b': some})
  assert (better['verdict'], better['rival']) == ('not shown', 'sft_b')
  assert word({'sleep': none, 'base': none, 'sft_a': all_})[
      'verdict'] == 'refuted'
  assert word({'sleep': all_, 'base': none})['verdict'] == 'not run'
  two = word({'sleep': all_, 'base': none, 'sft_b': some}, passages=2)
  assert two['difference'] == pytest.approx(
      {'mean': 5 / 6, 'low': 5 / 6, 'high': 5 / 6})
  harmed = word({'sleep': all_, 'base': none, 'sft_a': none}, sleep=0.48)
  assert harmed['verdict'] == 'not shown'
  assert harmed['controls_knows_change'] == pytest.approx(-0.02)


def test_break_even_is_against_the_text_in_view_and_looked_up():
  """1000 + 30 n < 300 n from n = 4 on; < 130 n from n = 11 on."""
  found = incorporation_table.summary(results({
      'sleep': [True], 'base': [False], 'in_view': [True], 'bm25': [True]}))
  assert found['break_even'] == {'sleep': {'in_view': 4, 'bm25': 11}}
  assert found['against_sleep']['base']['knows']['lost'] == 1


def test_the_bars_of_a_night():
  """Three of four right closed book, all in view."""
  rows = results({'sleep': [True, True, True, False]}, sleep=0.2)
  found = incorporation_table.bars([*rows.values()])
  values = {name: entry['value'] for name, entry in found.items()}
  assert values == pytest.approx({
      'of_in_view': 0.75, 'knows': 0.75, 'choice': 0.25, 'margin': None,
      'coverage': 0.5, 'controls': 0.02, 'controls_lost': 3.0,
      'theirs_in_view': 0.06, 'drift': -0.01})
  assert {name for name, entry in found.items() if entry['met']} == {
      'knows', 'choice', 'controls', 'drift'}
  assert incorporation_table.bars([]) == {}
  (row,) = rows.values()
  del row['controls_questions']
  lost = incorporation_table.bars([row])['controls_lost']
  assert lost == {'value': None, 'bar': 1.0, 'met': False}


def test_a_text_that_does_not_help_ends_a_run():
  ended = lambda base, viewed, passages: incorporation_table.text_does_not_help(
      results({'base': base, 'in_view': viewed}, passages))
  half, most = [True, False], [True, True]
  assert '50% right with the text in view, 50% without it' in ended(
      half, half, 5)
  assert not ended(half, half, 4) and not ended(half, most, 5)
