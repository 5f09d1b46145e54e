"""Each night of a run is written down in the lineage of its model."""

import dataclasses
import datetime
import hashlib
from typing import Any

import jax
import numpy as np

from sleepjax.evals import report as report_lib
from sleepjax.growth import slots
from sleepjax.growth.night_files import slot_sha256
from sleepjax.growth.nights import slot_of
from sleepjax.lifecycle.config import SleepConfig
from sleepjax.lifecycle.cycle import SleepReport
from sleepjax.lifecycle.written import Day
from sleepjax.mesh.sharding import to_host
from sleepjax.model import Model
from sleepjax.models.hashes import base_sha256
from sleepjax.models.night_records import NightRecord, next_number


class NightBook:
  """Writes down night after night of one life."""

  def __init__(self, settings: SleepConfig):
    """Says how all nights are slept.

    Args:
      settings: of every sleep.
    """
    self._prompt = settings.answer_prompt
    self._settings = changed(settings)
    self._leaves, self._base = [], ''

  def written(self, before: Model, after: Model, day: Day,
              report: SleepReport) -> Model:
    """The model after a night, with the night in its lineage.

    Args:
      before, after: canonical, with the same pool.
      day: what was read.
      report: of the sleep.
    """
    record = NightRecord(
        next_number(before.lineage, before.nights()), title=day.document.title,
        document_sha256=hashlib.sha256(day.document.text.encode()).hexdigest(),
        date=datetime.datetime.now(datetime.UTC).date().isoformat(),
        questions=tuple((q.question, q.answer) for q in day.exam),
        answer_prompt=self._prompt, settings=self._settings,
        rolled_back=report.hand_over.rolled_back)
    open_before, open_after = (_open(model) for model in (before, after))
    new = [n for n in open_after if n not in open_before]
    if len(new) == 1:
      slot, layers = slot_of(after, new[0])
      record = dataclasses.replace(
          record, slot=new[0], layers=layers, sha256=slot_sha256(slot, layers),
          parameters=sum(leaf.size for leaf in slot.values()),
          base_sha256=self._base_of(before), learnt_on=tuple(
              slot_sha256(*slot_of(before, n)) for n in open_before))
    return dataclasses.replace(after, lineage={
        **before.lineage, 'nights': [
            *map(dataclasses.asdict, before.nights()),
            dataclasses.asdict(record)]})

  def _base_of(self, model):
    """The base's hash, computed anew only if one of its arrays is another."""
    leaves = jax.tree.leaves({**model.params, 'layers': {
        name: part for name, part in model.params['layers'].items()
        if name != 'slots'}})
    if [*map(id, leaves)] != [*map(id, self._leaves)]:
      # Held, so that none of these ids is given to another array.
      self._leaves = leaves
      self._base = base_sha256(model.config, model.params)
    return self._base


def _open(model):
  """Numbers of the slots that are open somewhere."""
  return np.flatnonzero(to_host(slots.is_open(
      model.config, model.params))).tolist()


def changed(settings: Any, default: Any = None) -> dict[str, Any]:
  """The fields of a dataclass that are not its defaults, by dotted names.

  Args:
    settings: an instance.
    default: what it is compared with; None for one of the same class without
      arguments.
  """
  default = type(settings)() if default is None else default
  found = {}
  for field in dataclasses.fields(settings):
    value, usual = (getattr(part, field.name, None)
                    for part in (settings, default))
    if value == usual:
      continue
    if dataclasses.is_dataclass(value) and type(value) is type(usual):
      found |= {f'{field.name}.{name}': part
                for name, part in changed(value, usual).items()}
    else:
      found[field.name] = _plain(value)
  return found


def _plain(value):
  try:
    return report_lib.plain(value)
  except (TypeError, ValueError):
    return repr(value)
