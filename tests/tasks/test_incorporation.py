"""Rows of knowledge incorporation by hand."""

import pytest

from sleepjax.lifecycle.config import SleepConfig
from sleepjax.lifecycle.written import Words
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
    'controls_knows_after': 0.25, 'controls_knows_before': 0.5,
    'controls_questions': 8, 'control_nll_before': 4.0,
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


def test_words_of_terms_that_are_off_are_dropped():
  words = Words('', [], [], [], [], [], ['r'], ['m'], ['k'], {}, {})
  own = lambda **s: incorporation.without_unused(
      words, SleepConfig(seeding=SeedingConfig(**s)))
  assert own() == words
  assert own(rehearsal=0.0) == words._replace(rehearsed=[])
  assert own(retention=0.0) == words._replace(memories=[], kept=[])
  assert own(retention_rows=0) == words._replace(memories=[], kept=[])
