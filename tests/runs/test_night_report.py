"""What combining and forgetting nights do to what is known."""

import pytest

from sleepjax import library
from sleepjax.data import world
from sleepjax.growth import nights
from sleepjax.model import load_pretrained
from sleepjax.runs import night_report
from tests.some_nights import slept

ASKED = 16
# What the model learnt in its pretraining.
KNOWN = world.questions(world.known_facts()[:2 * ASKED], 'direct')


@pytest.fixture(scope='module')
def base():
  return load_pretrained('tiny-world')


@pytest.fixture(scope='module')
def both(base):
  """A night that changes next to nothing, and one that harms."""
  return (slept(base, 1, (0,), exam=KNOWN[:ASKED], scale=1e-6),
          slept(base, 2, (0,), exam=KNOWN[ASKED:], scale=30.0))


@pytest.fixture(scope='module')
def combined(base, both):
  return night_report.combined(
      base, [nights.take_out(model, 1) for model in both])


def by_title(report):
  return {entry['title']: entry for entry in report['nights']}


@pytest.mark.slow
def test_nights_that_disturb_one_another(combined, both):
  model, report = combined
  assert [night.title for night in model.nights()] == [
      entry['title'] for entry in report['nights']]
  quiet, loud = (by_title(report)[f'Day {n}'] for n in (1, 2))
  assert quiet['questions'] == loud['questions'] == ASKED
  # Long-known facts are known, and the second night undoes that.
  assert quiet['knows']['before'] == quiet['knows']['alone'] > 0.7
  assert quiet['knows']['combined'] < 0.4
  assert quiet['gained'] == 0 and quiet['p'] < 0.05
  right = [row['knows_alone'] for row in quiet['answers']]
  assert quiet['lost'] == sum(
      row['knows_alone'] and not row['knows_combined']
      for row in quiet['answers'])
  assert sum(right) == quiet['knows']['alone'] * ASKED
  # The other way round there is nothing to disturb.
  assert loud['knows']['before'] > 0.7
  assert loud['knows']['alone'] == loud['knows']['combined'] < 0.4
  assert loud['gained'] == loud['lost'] == 0 and loud['p'] == 1


def test_forgetting_is_measured(base, combined):
  model, _ = combined
  number = {night.title: night.number for night in model.nights()}
  less, report = library.forget(model, number['Day 2'], never=slept(
      base, 1, (0,), exam=KNOWN[:ASKED], scale=1e-6))
  assert report['exact']
  assert [night.title for night in less.nights()] == ['Day 1']
  quiet = by_title(report)['Day 1']
  assert quiet['knows']['after'] == quiet['knows']['never'] > 0.7
  assert quiet['knows']['before'] < 0.4 and quiet['gained'] > 0
  gone, = (entry for entry in report['nights'] if entry['forgotten'])
  assert gone['night'] == number['Day 2']
  assert gone['knows']['after'] == gone['knows']['never'] > 0.7
  # What it was asked is forgotten, too.
  assert gone['answers'] == [] and gone['title'] == ''
  assert str(report).splitlines()[number['Day 2'] - 1].startswith(
      f"night {number['Day 2']}, forgotten, right of {ASKED} questions: "
      'before ')


def test_a_night_without_questions(base):
  _, report = night_report.combined(base, [nights.take_out(
      slept(base, 3, exam=[]), 1)])
  entry, = report['nights']
  assert entry['questions'] == 0 and entry['answers'] == []
  assert set(entry['knows'].values()) == {None}
  assert night_report.lines(report) == [
      "night 1 'Day 3', right of 0 questions: before –, alone –, combined –; "
      'gained 0, lost 0']
