"""docs/report.md has every key of a report, and no other."""

import re

import numpy as np
import pytest

from sleepjax.data import benchmarks, world
from sleepjax.evals import outside
from sleepjax.tasks import world as world_task
from tests.docs import pages
from tests.docs.test_readme import program as program  # A fixture.

# What a run in a folder adds to its task's summary.
OF_EVERY_RUN = {
    'params_before', 'params_after', 'params_open_slots', 'params_sha256',
    'seconds', 'tokens', 'tokens_per_second', 'peak_memory_bytes', 'seed',
    'config', 'document_sha256'}
# And of a document, from the tokens of its phases.
OF_A_NIGHT = {'night_tokens', 'break_even_questions'}
# Only with a second stage.
OF_DREAMING = {
    'dream_rounds', 'dream_success_rate', 'dream_success_rates',
    'dream_tau_before', 'dream_tau_after', 'dream_rolled_back'}


def keys_of(section):
  """Names in the first column of the tables of a section."""
  _, _, text = pages.read('docs/report.md').partition(f'## {section}\n')
  rows = re.findall(r'^\| (`.*?) \|', text.split('\n## ')[0], re.MULTILINE)
  return {name for row in rows for name in re.findall(r'`(\w+)`', row)}


DOCUMENT = ('What is known', 'What is not knowledge', 'Harm',
            'What the sleeps did', 'Of every run')


@pytest.mark.slow
def test_keys_of_a_document(program):
  _, names = program
  said = set().union(*map(keys_of, DOCUMENT))
  assert said == (
      set(names['report']) | OF_EVERY_RUN | OF_A_NIGHT | OF_DREAMING)


def test_keys_of_public_tests():
  right = {'right': True}
  rows = {'hellaswag': [right | {'by_sum': True}],
          'piqa': [right | {'by_sum': True}],
          'lambada': [right | {'nats': 1.0}],
          'gsm8k': [right | {'last_number': True}]}
  assert set(rows) == set(benchmarks.NAMES)
  of_one = {key.replace(f'_{name}_', '_NAME_') for name in rows
            for key in outside.compare({name: rows[name]}, rows)
            if not re.search('perplexity|last_number', key)}
  of_some = {key for key in outside.compare(rows, rows)
             if re.search('perplexity|last_number', key)}
  assert keys_of('On the outside') == of_one | of_some


@pytest.mark.slow
def test_keys_of_days():
  hand_over = {'retention_divergence': 0.0, 'rolled_back': False}
  dreaming = {
      'rounds': [{name: 0.5 for name in (
          'success_rate', 'distinct_2', 'similarity', 'constant_groups',
          'influence_rank_correlation', 'norm_rank_correlation')}],
      'write_back': {'rolled_back': False}}
  progress = {
      'accuracy': {name: np.eye(2).tolist()
                   for name in (*world.FORMS, 'trained')},
      'nll': {'before': [4.0, 4.0], 'after': [1.0, 1.0],
              'in_context': [0.0, 0.0]},
      'in_context': [1.0, 1.0], 'in_context_after': [1.0, 1.0],
      'known': [1.0] * 3, 'first_day': [[True], [False]], 'dreams': [],
      'dreaming': [dreaming] * 2, 'hand_overs': [hand_over] * 2}
  assert keys_of('Days in the tiny world') == {
      *world_task.summary(progress), 'days', 'exam_questions'}
