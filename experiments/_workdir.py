"""What an earlier run has left in a work directory, and who goes on from it."""

import json
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

from sleepjax.errors import UserError
from sleepjax.training import checkpoints
from sleepjax.training.checkpoints import SavedModel

_CALLED = {'base': 'model', 'base_architecture': 'architecture',
           'document_sha256': 'document', 'config': 'configuration'}


def identity(lineage: Mapping[str, Any], same: Sequence[str]
             ) -> dict[str, Any]:
  """What two runs must have in common to be one, as JSON gives it back.

  Args:
    lineage: what a run saves with its model.
    same: the entries of it that count. Of `config`, how often the run is saved
      and what it keeps does not.
  """
  entries = json.loads(json.dumps({name: lineage.get(name) for name in same}))
  sleep = (entries.get('config') or {}).get('sleep', {})
  for name in 'save_seconds', 'keep':
    sleep.pop(name, None)
  return entries


def is_same_run(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
  """Whether two configurations compute the same, however often they save."""
  often = 'save_every'
  return {**one, often: None} == {**other, often: None}


def resumed_model(folder: pathlib.Path, lineage: Mapping[str, Any],
                  same: Sequence[str]) -> SavedModel | None:
  """The model that an earlier run of the same command has left.

  Args:
    folder: where runs of this kind save their model.
    lineage: what this run would save with it.
    same: the entries of the lineage that both must have in common, of those
      that `_CALLED` lists.

  Returns:
    The model, or None if there is none.

  Raises:
    UserError: another run left it; the message names what differs.
  """
  if not checkpoints.is_saved(folder):
    return None
  saved = checkpoints.load_model(folder)
  theirs, ours = (identity(run, same) for run in (saved.metadata, lineage))
  for name in same:
    if theirs[name] != ours[name]:
      have, want = _different_part(theirs[name], ours[name])
      raise UserError(
          f'{folder} holds the result of another {_CALLED[name]}: it has '
          f'{name}={have}, this run has {want}. Choose another --workdir, or '
          'delete that one.')
  return saved


def _different_part(have, want):
  if not (isinstance(have, dict) and isinstance(want, dict)):
    return have, want
  differ = sorted(k for k in {**have, **want} if have.get(k) != want.get(k))
  return [{k: d.get(k) for k in differ} for d in (have, want)]
