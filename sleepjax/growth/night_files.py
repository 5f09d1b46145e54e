"""The file of one night: a slot in safetensors, and what is known of it.

Its metadata are texts: `night`, the record as JSON; `base`, the name of the
model that it was learnt on; `card`, a few lines of Markdown for people. Such a
file may come from anywhere: it is read and checked, never run.
"""

import dataclasses
import hashlib
import json
import os
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import safetensors
import safetensors.numpy

from sleepjax.data import files
from sleepjax.errors import UserError
from sleepjax.models.config import SLOT_MATRICES
from sleepjax.models.night_records import NightRecord

_FORMAT = '1'


@dataclasses.dataclass(frozen=True)
class SavedNight:
  """A night apart from its model.

  record: what is known of it.
  slot: its matrices in the layers where it is open, [l, ...] each.
  base: name of the model that it was learnt on.
  where: it comes from, for messages.
  """

  record: NightRecord
  slot: Mapping[str, np.ndarray]
  base: str = ''
  where: str = 'this night'

  @property
  def rank(self) -> int:
    return self.slot['down'].shape[1]


def slot_sha256(slot: Mapping[str, Any], layers: Sequence[int]) -> str:
  """Hash of a slot in its open layers: which layers, names and values."""
  digest = hashlib.sha256(str(list(layers)).encode())
  for name in sorted(slot):
    leaf = np.asarray(slot[name])
    digest.update(f'{name} {leaf.dtype} {leaf.shape}'.encode())
    digest.update(leaf.tobytes())
  return digest.hexdigest()


def write_night(night: SavedNight, path: str | os.PathLike) -> None:
  """Writes a night in place of what is there, whole or not at all.

  Raises:
    UserError: the file cannot be written.
  """
  files.write(path, safetensors.numpy.save(dict(night.slot), {
      'format': 'pt', 'sleepjax_night': _FORMAT, 'base': night.base,
      'night': json.dumps(dataclasses.asdict(night.record)),
      'card': card(night)}))


def card(night: SavedNight, with_settings: bool = True) -> str:
  """What a night is, in lines of Markdown.

  Args:
    night: which.
    with_settings: also name every setting by which it was learnt.
  """
  r = night.record
  beside = (f' beside {len(r.learnt_on)} earlier nights' if r.learnt_on else '')
  lines = [
      f'# A night: {r.title or "a text without a title"}', '',
      f'* learnt on `{night.base}`{beside}; without its slots it has sha256 '
      f'`{r.base_sha256}`',
      f'* {r.parameters:,} parameters: a slot of {night.rank} hidden units in '
      f'each of {len(r.layers)} layers',
      f'* read: a text of sha256 `{r.document_sha256 or "unknown"}`'
      + (f', on {r.date}' if r.date else ''),
      f'* asked: {len(r.questions)} questions of an exam come with it',
      *(f'* `{name}`: {value}' for name, value in r.settings.items()
        if with_settings)]
  if r.rolled_back:
    lines.append('* its seeding was undone: it adds nothing')
  return '\n'.join(lines) + '\n'


def read_night(path: str | os.PathLike) -> SavedNight:
  """Reads what `write_night` wrote.

  Raises:
    UserError: there is no such file, it is no night, or damaged.
  """
  path = pathlib.Path(path).expanduser()
  try:
    data = path.read_bytes()
  except OSError as error:
    raise UserError(f'{path}: cannot be read ({error.strerror or error}); '
                    'expected the file of a night.') from error
  try:
    tensors = safetensors.numpy.load(data)
    notes = json.loads(data[8:8 + int.from_bytes(data[:8], 'little')])[
        '__metadata__']
    if notes.get('sleepjax_night') != _FORMAT:
      raise ValueError('it is no night of this version')
    night = SavedNight(
        NightRecord.from_json(json.loads(notes['night'])), tensors,
        notes['base'], str(path))
    _check_shapes(night)
  except (ValueError, KeyError, TypeError, AttributeError, RecursionError,
          safetensors.SafetensorError) as error:
    reason = ' '.join(str(error).split())[:200]
    raise UserError(
        f'{path}: not the file of a night, or damaged ({reason}). Write it '
        'again with `python -m experiments.nights save`.') from error
  return night


def _check_shapes(night):
  r, slot = night.record, night.slot
  L, R, D = slot['down'].shape
  names = set(slot) - {'router'}
  if names not in map(set, SLOT_MATRICES.values()):
    raise ValueError(f'it has the matrices {sorted(slot)}')
  for name, leaf in slot.items():
    want = {'down': (L, R, D), 'router': (L, D)}.get(name, (L, D, R))
    if leaf.shape != want or leaf.dtype.kind != 'f':
      raise ValueError(f'{name} is {leaf.dtype}{leaf.shape}')
    if not np.isfinite(leaf).all():
      raise ValueError(f'{name} holds what is no finite number')
  if len(r.layers) != L or sorted(set(r.layers)) != list(r.layers):
    raise ValueError(f'{L} layers are said to be {r.layers}')
  if slot_sha256(slot, r.layers) != r.sha256:
    raise ValueError('its numbers are not those that were saved')
