"""What the rows of knowledge incorporation say together."""

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np

from sleepjax.evals import cost, paired
from sleepjax.runs import table
from sleepjax.tasks.incorporation import UNTAUGHT

COLUMNS = {
    'knows': table.Column('right', '.0%'),
    'choice': table.Column('choice', '.0%'),
    'margin': table.Column('margin', '.2f'),
    'controls know': table.Column('controls_knows', '.0%', margin=0.01),
    'controls': table.Column('control_change', '+.2f', margin=0.05),
    'theirs in view': table.Column('context_lost', '+.2f', margin=0.05),
    'drift': table.Column('drift', '+.1%', margin=0.01),
    'coverage': table.Column('coverage', '.0%'),
    'undone': table.Column('rolled_back', '.1f'),
    'tokens': table.Column('night_tokens', ',.0f'),
    'seconds': table.Column('night_seconds', ',.0f'),
    'a question': table.Column('question_tokens', ',.0f')}
_LEAST_PASSAGES, _LEAST_HELP = 5, 0.1  # Of the rule that stops a run.
_LEVEL, _HARM = 0.05, 0.01  # Of the verdict.


def summary(results: table.Results) -> dict[str, Any]:
  """The report of all rows that there are.

  Returns:
    arms and against_ARM, of the first arm, see `runs.table`; break_even, after
    how many questions an arm's night takes fewer tokens than the text in view
    for every question, or than the looked-up one; bars and verdict.
  """
  first = next(iter(results)).arm
  arms = table.summary(results, COLUMNS)
  return {
      'arms': arms, f'against_{first}': table.against_first(results, COLUMNS),
      'break_even': {arm: {
          rival: cost.break_even(
              *(row[name]['mean'] for name in ('tokens', 'a question')),
              arms[rival]['a question']['mean'])
          for rival in ('in_view', 'bm25') if rival in arms}
                     for arm, row in arms.items() if arm not in UNTAUGHT},
      'bars': bars([row for cell, row in results.items()
                    if cell.arm == 'sleep']),
      'verdict': verdict(results)}


def bars(rows: Sequence[dict[str, Any]]) -> dict[str, dict[str, Any]]:
  """What is asked of a night, over all passages; {} of no rows.

  Returns:
    name -> value, bar, and whether it is met, of
    of_in_view: right answers closed book over those in view; knows, which is
    only asked where 32 % are right in view; choice and margin, changes from
    before; coverage; and what must not be above its bar: loss of controls and
    of theirs with their own texts in view, right answers to controls lost,
    drift. None of what no row has.
  """
  if not rows:
    return {}
  answers = [answer for row in rows for answer in row['answers']]
  after, viewed = (float(np.mean([answer[f'knows_{when}']
                                  for answer in answers]))
                   for when in ('after', 'in_view'))

  def mean(value):
    known = [number for number in map(value, rows) if number is not None]
    return float(np.mean(known)) if known else None

  change = lambda name: mean(lambda row: None if row[name] is None else (
      row[name] - row[f'{name}_before']))
  least = {
      'of_in_view': (after / viewed if viewed else None, 0.8),
      'knows': (after, 0.25 if viewed >= 0.32 else 0.0),
      'choice': (change('choice'), 0.2), 'margin': (change('margin'), 0.0),
      'coverage': (mean(lambda row: row.get('coverage')), 0.8)}
  most = {
      'controls': (mean(lambda row: row['control_change']), 0.05),
      'controls_lost': (mean(_controls_lost), 1.0),
      'theirs_in_view': (mean(lambda row: row['context_lost']), 0.05),
      'drift': (mean(lambda row: row['drift']), 0.01)}
  return {name: {'value': value, 'bar': bar, 'met': value is not None and (
      value >= bar if name in least else value <= bar)}
          for name, (value, bar) in {**least, **most}.items()}


def _controls_lost(row):
  """How many right answers to controls a night has cost, if it is known."""
  number, before = (row.get(f'controls_{name}')
                    for name in ('questions', 'knows_before'))
  return None if before is None or number is None else (
      number * (before - row['controls_knows']))


def verdict(results: table.Results) -> dict[str, Any]:
  """Whether `sleep` knows more than the best fine-tuning on the same words.

  Of arms whose name begins with sft_ the one with most right answers is the
  rival, over the passages that both have.

  Returns:
    verdict: 'shown' if more answers are right, McNemar p < 0.05, and controls
    are answered no more than a point worse than before; 'refuted' if fewer are
    with p < 0.05; else 'not shown', or 'not run'. Besides the rival, answers
    gained and lost, p, the difference of shares with its interval over
    passages, and the controls' change.
  """
  rights = {}
  for arm in dict.fromkeys(cell.arm for cell in results):
    cells = [c for c in results if c.arm == arm
             and c._replace(arm='sleep') in results]
    if arm.startswith('sft_') and cells:
      rights[arm] = [(cell.item, *pair) for cell in cells for pair in zip(*(
          results[cell._replace(arm=name)]['right']
          for name in (arm, 'sleep')), strict=True)]
  if not rights:
    return {'verdict': 'not run'}
  rival = max(rights, key=lambda arm: np.mean(
      [theirs for _, theirs, _ in rights[arm]]))
  items, theirs, ours = zip(*rights[rival], strict=True)
  found = paired.mcnemar(theirs, ours)
  changes = [row['controls_knows'] - results[base]['controls_knows']
             for cell, row in results.items() if cell.arm == 'sleep'
             and (base := cell._replace(arm='base')) in results
             and row['controls_knows'] is not None]
  harm = float(np.mean(changes or [0.0]))
  told = found['p'] < _LEVEL
  more = found['gained'] > found['lost']
  return {
      'verdict': 'refuted' if told and not more else (
          'shown' if told and harm >= -_HARM else 'not shown'),
      'rival': rival, **found, 'questions': len(ours),
      'difference': paired.bootstrap(
          np.subtract(ours, theirs, dtype=float), items),
      'controls_knows_change': harm}


def text_does_not_help(results: table.Results) -> str:
  """Why a run ends early, or ''.

  With the text in view an arm can learn no more than it says: where that brings
  less than ten points more right answers, over five passages or more, the model
  cannot read these questions and arms cannot be told apart.
  """
  right = {arm: [row['right'] for cell, row in results.items()
                 if cell.arm == arm] for arm in ('base', 'in_view')}
  if min(map(len, right.values())) < _LEAST_PASSAGES:
    return ''
  return no_help(*(list(itertools.chain(*rows)) for rows in right.values()),
                 len(right['base']))


def no_help(base: Sequence[bool], viewed: Sequence[bool], passages: int) -> str:
  """Says that texts in view bring too little, or ''.

  Args:
    base, viewed: which questions are answered right without and with the text.
    passages: how many the questions are about.
  """
  without, within = float(np.mean(base)), float(np.mean(viewed))
  return '' if within - without >= _LEAST_HELP else (
      f'{within:.0%} right with the text in view, {without:.0%} without it: '
      f'less than {_LEAST_HELP:.0%} apart over {passages} passages')
