"""Nights combined or forgotten, and what that has done to what is known."""

from collections.abc import Callable, Sequence
from typing import Any

from sleepjax.evals import night_scores
from sleepjax.growth import nights
from sleepjax.growth.night_files import SavedNight
from sleepjax.lifecycle import reseeding
from sleepjax.lifecycle.reseeding import Reseeding
from sleepjax.model import Model
from sleepjax.models.night_records import NightRecord
from sleepjax.training.observer import Observer

_Ready = Callable[[Model], Model]


def combined(model: Model, saved: Sequence[SavedNight],
             ready: _Ready = Model.for_compute) -> tuple[Model, dict[str, Any]]:
  """A model with several nights, and how much they disturb one another.

  Args:
    model: canonical, without them.
    saved: nights that were learnt on it, apart from one another or not.
    ready: a canonical model in the layout in which it is asked.

  Returns:
    (the model, its report): for each night the share of its questions that are
    answered right `before`, with this night `alone` (and those that it was
    learnt beside) and `combined`; gained and lost from alone to combined. For
    nights that the model had, alone is before.

  Raises:
    UserError: see `nights.add_nights`.
  """
  whole = nights.add_nights(model, saved)
  had = {night.sha256 for night in model.nights()}
  before, after = ready(model), ready(whole)
  entries = []
  for night in whole.nights():
    said = {'before': night_scores.asked(before, night)}
    if night.sha256 in had:
      said['alone'] = said['before']
    else:
      said['alone'] = night_scores.asked(ready(nights.add_nights(
          model, [one for one in saved if one.record.sha256 in (
              night.sha256, *night.learnt_on)])), night)
    said['combined'] = night_scores.asked(after, night)
    entries.append(night_scores.entry(night, said, ('alone', 'combined')))
  return whole, {'base': model.name, 'nights': entries}


def forgotten(model: Model, numbers: Sequence[int],
              never: Model | None = None, ready: _Ready = Model.for_compute,
              reseed: Reseeding | None = None,
              observer: Observer | None = None
              ) -> tuple[Model, dict[str, Any]]:
  """A model without some nights, and what it still knows of all of them.

  Args:
    model: canonical.
    numbers: of the nights to forget.
    never: canonical; one that has lived the same days without these. What is
      exact is known without it (`nights.forgets_exactly`); where it is not,
      this is what to compare with.
    ready: a canonical model in the layout in which it is asked.
    reseed: nights that leant on these learn their own answers once more; None
      leaves them as they are.
    observer: is shown that.

  Returns:
    (the model, its report): whether it is `exact`, and for each night the share
    of its questions answered right `before` and `after`, and by the one that
    `never` had it; with `reseed` also `closed`, before others were re-seeded,
    and `reseeded`, what that did to which.

  Raises:
    UserError: see `nights.forget` and `reseeding.reseeded`.
  """
  exact = nights.forgets_exactly(model, *numbers)
  closed, done = nights.forget(model, *numbers), None
  after, models = closed, {'before': ready(model)}
  if reseed is not None:
    after, done = reseeding.reseeded(model, closed, reseed, observer)
    models['closed'] = ready(closed)
  models['after'] = ready(after)
  if never is not None:
    models['never'] = ready(never)
  entries = [_forgotten_entry(night, numbers, models)
             for night in model.nights()]
  report = {'base': model.name, 'exact': exact, 'nights': entries}
  if done is not None:
    report['reseeded'] = [
        {'night': number, 'rolled_back': hand_over.rolled_back,
         'retention_divergence': hand_over.retention_divergence}
        for number, hand_over in done.items()]
  return after, report


def _forgotten_entry(night: NightRecord, numbers, models):
  gone = night.number in numbers
  entry = night_scores.entry(
      night, {name: night_scores.asked(one, night)
              for name, one in models.items()}, ('before', 'after'))
  # What is forgotten does not stand in its own report.
  return {**entry, 'forgotten': gone,
          **({'title': '', 'answers': []} if gone else {})}


def lines(report: dict[str, Any]) -> list[str]:
  """A report of either kind, as lines for a terminal."""
  found = []
  for entry in report['nights']:
    shares = ', '.join(
        f'{name} {"–" if share is None else format(share, ".0%")}'
        for name, share in entry['knows'].items())
    title = ', forgotten' if entry.get('forgotten') else f' {entry["title"]!r}'
    found.append(f'night {entry["night"]}{title}, right of '
                 f'{entry["questions"]} questions: {shares}; gained '
                 f'{entry["gained"]}, lost {entry["lost"]}')
  return found
