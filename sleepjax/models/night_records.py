"""What is written down of each night that a model has slept.

A record is plain data: it lies in the model's lineage, under 'nights', and in
the file of a night that is saved alone (`sleepjax.growth.nights`).
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np


@dataclasses.dataclass(frozen=True)
class NightRecord:
  """A night, and which slot it has learnt.

  number: of the night in its model, from 1; it stays when others are forgotten.
  slot: entry of the pool of the blocks' own MLPs; None if the night has changed
    other weights than those of a slot of its own.
  layers: where the slot is open.
  parameters: of the slot in these layers.
  title, document_sha256: of what was read; '' where nobody wrote it down.
  date: of the night, as in 2026-11-29.
  questions: (question, answer) of the exam about it, from which nothing was
    learnt.
  answer_prompt: how questions were put, with {question}.
  settings: of the sleep, those that are not the defaults; name -> value.
  rolled_back: whether its seeding was undone.
  sha256: of the slot.
  base_sha256: of the model without its slots (`hashes.base_sha256`).
  learnt_on: hashes of the slots that were open while it was learnt.
  """

  number: int
  slot: int | None = None
  layers: tuple[int, ...] = ()
  parameters: int = 0
  title: str = ''
  document_sha256: str = ''
  date: str = ''
  questions: tuple[tuple[str, str], ...] = ()
  answer_prompt: str = '{question}'
  settings: Mapping[str, Any] = dataclasses.field(default_factory=dict)
  rolled_back: bool = False
  sha256: str = ''
  base_sha256: str = ''
  learnt_on: tuple[str, ...] = ()

  @classmethod
  def from_json(cls, entries: Any) -> 'NightRecord':
    """The record that `dataclasses.asdict` and JSON have made of one.

    Raises:
      ValueError: it is not of this form.
    """
    if not isinstance(entries, dict):
      raise ValueError(f'{entries!r:.40} is no record of a night')
    given = {name: value for name, value in entries.items() if name in _FORMS}
    for name, value in given.items():
      if not _FORMS[name](value):
        raise ValueError(f'{name} is {value!r:.40}')
    if 'number' not in given:
      raise ValueError('it has no number')
    for name in ('layers', 'learnt_on', 'questions'):
      given[name] = tuple(tuple(item) if isinstance(item, list) else item
                          for item in given.get(name, ()))
    return cls(**given)


def _all(kind):
  return lambda value: isinstance(value, list | tuple) and all(
      map(kind, value))


_text = lambda value: isinstance(value, str)
_number = lambda value: type(value) is int and value >= 0
_FORMS = {
    'number': _number, 'slot': lambda v: v is None or _number(v),
    'layers': _all(_number), 'parameters': _number, 'title': _text,
    'document_sha256': _text, 'date': _text,
    'questions': lambda v: _all(_all(_text))(v) and all(
        len(pair) == 2 for pair in v),
    'answer_prompt': lambda v: _text(v) and '{question}' in v,
    'settings': lambda v: isinstance(v, dict),
    'rolled_back': lambda v: isinstance(v, bool), 'sha256': _text,
    'base_sha256': _text, 'learnt_on': _all(_text)}


def next_number(lineage: Mapping[str, Any],
                nights: Sequence[NightRecord] = ()) -> int:
  """The number of the next night of a model.

  Args:
    lineage: of the model, with the nights that were forgotten.
    nights: all others.
  """
  return 1 + max(
      (*(entries['number'] for name in ('nights', 'forgotten')
         for entries in _entries(lineage, name)),
       *(night.number for night in nights)), default=0)


def _entries(lineage, name):
  """A list in the lineage; what other programs call so is none."""
  found = lineage.get(name)
  return found if isinstance(found, list | tuple) else []


def records(lineage: Mapping[str, Any], opened, slot_parameters: int
            ) -> tuple[NightRecord, ...]:
  """All nights of a model, in order.

  Open slots of which the lineage says nothing, as of models that were saved by
  an earlier version, are nights without a title.

  Args:
    lineage: of the model.
    opened: [L, N] bool, where its slots are open.
    slot_parameters: of one slot in one layer.
  """
  written = [NightRecord.from_json(entries)
             for entries in _entries(lineage, 'nights')]
  opened, number = np.asarray(opened), next_number(lineage)
  known = {night.slot for night in written}
  for slot in np.flatnonzero(opened.any(axis=0)).tolist():
    if slot not in known:
      written.append(NightRecord(
          number, slot,
          answer_prompt=lineage.get('answer_prompt', '{question}')))
      number += 1
  return tuple(
      night if night.slot is None else _placed(night, opened, slot_parameters)
      for night in written)


def _placed(night, opened, slot_parameters):
  layers = tuple(np.flatnonzero(opened[:, night.slot]).tolist())
  return dataclasses.replace(
      night, layers=layers, parameters=len(layers) * slot_parameters)


def chosen(nights: Sequence[NightRecord], numbers: Sequence[int]
           ) -> list[NightRecord]:
  """The nights of these numbers.

  Raises:
    KeyError: naming the first that is not there.
  """
  by_number = {night.number: night for night in nights}
  return [by_number[number] for number in numbers]
