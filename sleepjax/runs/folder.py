"""What an earlier run has left in a work directory, and who goes on from it."""

import json
import os
import pathlib
import weakref
from collections.abc import Mapping, Sequence
from typing import Any, TextIO

from sleepjax.errors import UserError
from sleepjax.mesh import distributed
from sleepjax.model import Model
from sleepjax.training import checkpoints

# What messages call an entry, if not by its name.
_CALLED = {'base': 'model', 'base_architecture': 'architecture',
           'document_sha256': 'document', 'config': 'configuration'}
_NOTHING = object()

# Files that hold a lock for as long as somebody refers to them, by path.
_CLAIMS = weakref.WeakValueDictionary()


def claim(workdir: str | os.PathLike) -> TextIO | None:
  """Makes the folder of a run, for one process at a time.

  Two processes that write the same saves would undo one another's. On a file
  system without locks nobody is refused.

  Returns:
    The locked file, to be referred to for as long as the run writes. None in
    all processes but the first, and where there are no locks.

  Raises:
    UserError: another process that still runs has claimed it, or nobody can
      write there.
  """
  distributed.make_shared(workdir)
  path = pathlib.Path(workdir).resolve() / '.lock'
  if not distributed.is_first():
    return None
  try:
    import fcntl
  except ImportError:  # Not a Unix.
    return None
  try:
    own = _CLAIMS.get(path) or path.open('a')
  except OSError as error:
    raise distributed.unusable(workdir, error) from error
  try:
    fcntl.flock(own, fcntl.LOCK_EX | fcntl.LOCK_NB)
  except BlockingIOError:
    raise UserError(
        f'{workdir}: another process is at work there. Wait until it has ended '
        'and run the same command again, or choose another --workdir.'
    ) from None
  except OSError:
    return None
  _CLAIMS[path] = own
  return own


def identity(lineage: Mapping[str, Any], same: Sequence[str]
             ) -> dict[str, Any]:
  """What two runs must have in common to be one, as JSON gives it back.

  Args:
    lineage: what a run saves with its model.
    same: the entries of it that count. Of `config`, how often the run is saved
      does not.
  """
  entries = json.loads(json.dumps({name: lineage.get(name) for name in same}))
  config = entries.get('config') or {}
  config.pop('save_every', None)
  return entries


def check_same(folder: str | os.PathLike, theirs: Mapping[str, Any],
               ours: Mapping[str, Any]) -> None:
  """Refuses a folder with the results of another run.

  Args:
    folder: where they are.
    theirs: what they are of, by name.
    ours: the same of this run.

  Raises:
    UserError: the two differ; the message names the first entry that does.
  """
  for name in ours:
    if theirs.get(name) != ours[name]:
      have, want = _different_part(theirs.get(name), ours[name])
      raise UserError(
          f'{folder} holds the result of another {_CALLED.get(name, name)}: it '
          f'has {name}={have}, this run has {want}. Choose another --workdir, '
          'or delete that one.')


def resumed_progress(folder: pathlib.Path, config: Mapping[str, Any]
                     ) -> checkpoints.Progress | None:
  """What an interrupted run of the same configuration has left.

  Args:
    folder: where runs of this kind save their progress.
    config: of this run.

  Returns:
    The progress, or None if there is none.

  Raises:
    UserError: a run of another configuration left it.
  """
  if not checkpoints.is_saved(folder):
    return None
  saved = checkpoints.load_progress(folder)
  check_same(folder, *(identity(run, ('config',)) for run in (
      saved.metadata, {'config': config})))
  return saved


def resumed_model(folder: pathlib.Path, lineage: Mapping[str, Any],
                  same: Sequence[str]) -> Model | None:
  """The model that an earlier run of the same command has left.

  Args:
    folder: where runs of this kind save their model.
    lineage: what this run would save with it.
    same: the entries of the lineage that both must have in common.

  Returns:
    The model, or None if there is none.

  Raises:
    UserError: another run left it; the message names what differs.
  """
  if not checkpoints.is_saved(folder):
    return None
  saved = checkpoints.load_model(folder)
  check_same(folder, *(identity(run, same) for run in (
      saved.lineage, lineage)))
  return saved


def _different_part(have, want):
  """What differs of two entries; of dictionaries, by paths of leaves."""
  if not (isinstance(have, dict) and isinstance(want, dict)):
    return have, want
  have, want = _leaves(have), _leaves(want)
  differ = sorted(k for k in {**have, **want}
                  if have.get(k, _NOTHING) != want.get(k, _NOTHING))
  return [{k: d.get(k) for k in differ} for d in (have, want)]


def _leaves(tree, path=''):
  """{'a.b': value} of nested dictionaries."""
  if not isinstance(tree, dict) or not tree:
    return {path: tree}
  return {name: leaf for key, value in tree.items() for name, leaf in _leaves(
      value, f'{path}.{key}' if path else str(key)).items()}
