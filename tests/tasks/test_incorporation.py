"""Tables of knowledge incorporation by hand."""

import pytest

from sleepjax.lifecycle.config import SleepConfig
from sleepjax.lifecycle.written import Words
from sleepjax.runs.rows import Cell
from sleepjax.seeding.settings import SeedingConfig
from sleepjax.tasks import incorporation

REPORT = {
    'document': 'A mill', 'answers': [
        {'question': 'Who?', 'gold': 'Ann', 'before': 'Bo', 'after': 'Ann',
         'in_view': 'Ann', 'knows_before': False, 'knows_after': True,
         'knows_in_view': True}],
    'choice_after': 0.75, 'choice_before': 0.5, 'choice_in_view': 1.0,
    'margin_after': 0.25, 'margin_before': None, 'margin_in_view': None,
    'knows_before': 0.0, 'knows_in_view': 1.0, 'topic_recovered_net': 0.5,
    'controls_knows_after': 0.25, 'control_nll_before': 4.0,
    'control_nll_after': 4.5, 'in_context_other_nll_before': 2.0,
    'in_context_other_nll_after': 1.75, 'drift_ppl_before': 20.0,
    'drift_ppl_after': 21.0, 'sleeps_rolled_back': 0, 'coverage': 1.0,
    'question_cost': {'after': {'tokens': 30.0}, 'in_view': {'tokens': 300.0}},
    'seconds': {'write': 2.0, 'seed': 40.0, 'evaluate after': 9.0},
    'tokens': {'write': 200, 'seed': 5000}, 'peak_memory_bytes': 5}


def test_a_row_has_changes_and_the_cost_of_its_words():
  row = incorporation.row_of(REPORT, {
      'words': {}, 'seconds': {'write': 60.0}, 'tokens': {'write': 1000}})
  assert row['right'] == [True] and row['answers'] == REPORT['answers']
  assert (row['control_change'], row['context_lost']) == (0.5, -0.25)
  assert row['drift'] == pytest.approx(0.05)
  assert row['seconds'] == {'write': 62.0, 'seed': 40.0, 'evaluate after': 9.0}
  assert (row['night_tokens'], row['night_seconds']) == (6200, 102.0)
  assert row['question_tokens'] == 30
  assert incorporation.row_of(REPORT)['night_tokens'] == 5200


def results(rights, passages=1, **changes):
  """Rows of arms with these right answers, the same for every passage."""
  return {Cell(arm, 0, f'{n:03d}'): {
      'right': right, 'controls_knows': changes.get(arm, 0.5),
      'night_tokens': 0 if arm in incorporation.UNTAUGHT else 1000,
      'question_tokens': {'in_view': 300, 'bm25': 130}.get(arm, 30)}
          for n in range(passages) for arm, right in rights.items()}


def test_the_verdict_is_on_the_best_fine_tuning():
  """Six answers gained and none lost: p = 2 / 2^6, below 0.05; five are not."""
  none, all_, some = [False] * 6, [True] * 6, [True] + [False] * 5
  word = lambda *args, **kw: incorporation.verdict(results(*args, **kw))
  found = word({'sleep': all_, 'base': none, 'sft_a': none, 'sdft': all_})
  assert found == {
      'verdict': 'shown', 'rival': 'sft_a', 'gained': 6, 'lost': 0,
      'p': pytest.approx(2 / 64), 'questions': 6, 'controls_knows_change': 0}
  better = word({'sleep': all_, 'base': none, 'sft_a': none, 'sft_b': some})
  assert (better['verdict'], better['rival']) == ('not shown', 'sft_b')
  assert word({'sleep': none, 'base': none, 'sft_a': all_})[
      'verdict'] == 'refuted'
  assert word({'sleep': all_, 'base': none})['verdict'] == 'not run'
  harmed = word({'sleep': all_, 'base': none, 'sft_a': none}, sleep=0.48)
  assert harmed['verdict'] == 'not shown'
  assert harmed['controls_knows_change'] == pytest.approx(-0.02)


def test_break_even_is_against_the_text_in_view_and_looked_up():
  """1000 + 30 n < 300 n from n = 4 on; < 130 n from n = 11 on."""
  found = incorporation.summary(results({
      'sleep': [True], 'base': [False], 'in_view': [True], 'bm25': [True]}))
  assert found['break_even'] == {'sleep': {'in_view': 4, 'bm25': 11}}
  assert found['against_sleep']['base']['knows']['lost'] == 1


def test_a_text_that_does_not_help_ends_a_run():
  ended = lambda base, viewed, passages: incorporation.text_does_not_help(
      results({'base': base, 'in_view': viewed}, passages))
  half, most = [True, False], [True, True]
  assert '50% right with the text in view, 50% without it' in ended(
      half, half, 5)
  assert not ended(half, half, 4) and not ended(half, most, 5)


def test_words_of_terms_that_are_off_are_dropped():
  words = Words('', [], [], [], [], [], ['r'], ['m'], ['k'], {}, {})
  own = lambda **s: incorporation.without_unused(
      words, SleepConfig(seeding=SeedingConfig(**s)))
  assert own() == words
  assert own(rehearsal=0.0) == words._replace(rehearsed=[])
  assert own(retention=0.0) == words._replace(memories=[], kept=[])
  assert own(retention_rows=0) == words._replace(memories=[], kept=[])
