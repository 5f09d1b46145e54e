"""A tree of arrays and a JSON file, as a folder that is complete or not there.

The one module that touches Orbax. The files are written to `NAME.writing`
beside the folder. When all are there, the folder that is replaced steps aside
to `NAME.old` and the new one takes its name, so that a process killed at any
moment leaves a complete version, which `complete_version` finds under either
name.

  arrays/         an Orbax checkpoint of the tree, keys as written here
  NAME.json       the format's version, what the caller adds, and dtype, shape
                  and checksum of every array
"""

import contextlib
import itertools
import json
import os
import pathlib
import shutil
import zlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from sleepjax.errors import UserError
from sleepjax.models import finite
from sleepjax.models.named_leaves import named_leaves, nested
from sleepjax.training import background, interrupts

FORMAT_VERSION = 1

Specs = dict[str, tuple[str, tuple[int, ...]]]  # path -> (dtype, shape)

_ARRAYS = 'arrays'
_BARRIERS = itertools.count()


def write(folder: str | os.PathLike, manifest_name: str, tree,
          manifest: Mapping[str, Any],
          add_files: Callable[[pathlib.Path], None] | None = None,
          then: Callable[[], None] | None = None) -> None:
  """Puts a tree in place of what was saved in the folder before.

  On several hosts, every process calls this.

  Args:
    folder: holds an earlier save, nothing, or is not there.
    manifest_name: of the JSON file.
    tree: numpy or jax arrays; None is left out.
    manifest: JSON types that the JSON file holds besides the arrays' entries.
    add_files: called with the folder to put further files into.
    then: what follows once all is written. With it, this returns as soon as the
      tree is on the host, and `background` does the rest: errors of writing
      come from whatever touches a saved folder next.

  Raises:
    NotFiniteError: a float of the tree is NaN or infinite.
    UserError: the folder holds something else, or cannot be written; what was
      saved in it before is still there.
  """
  folder = pathlib.Path(folder).expanduser().resolve()
  finite.check_leaves(str(folder), tree)
  arrays = {name: _on_host(leaf, copied=then is not None)
            for name, leaf in named_leaves(tree).items()}
  manifest = {'format_version': FORMAT_VERSION, **manifest, 'arrays': {
      name: {'dtype': leaf.dtype.name, 'shape': list(leaf.shape),
             'crc32': _checksum(leaf)} for name, leaf in arrays.items()}}
  text = json.dumps(manifest, indent=2) + '\n'
  work = lambda: _write(folder, manifest_name, arrays, text, add_files)
  if then is None:
    with interrupts.deferred():
      background.finish()
      work()
  else:
    background.start(lambda: (work(), then()))


def _write(folder, manifest_name, arrays, text, add_files):
  try:
    _replace(folder, manifest_name, arrays, text, add_files)
  except UserError:
    raise
  except OSError as e:
    raise _unwritable(folder, e.strerror or e) from e
  except ValueError as e:
    # TensorStore's, whatever the file system said; that comes last in it.
    raise _unwritable(folder, str(e).rsplit('": ', 1)[-1]) from e


def _replace(folder, manifest_name, arrays, text, add_files):
  """Writes beside the folder what is to be in it, then renames."""
  writing, old = _beside(folder, 'writing'), _beside(folder, 'old')
  first = jax.process_index() == 0
  _check_replaceable(folder, manifest_name)
  _barrier()
  if first:
    if not folder.exists() and old.exists():
      old.rename(folder)
    for leftover in (writing, old):
      if leftover.exists():
        shutil.rmtree(leftover)
    writing.mkdir(parents=True)
  _barrier()
  # Orbax refuses arrays without elements; the manifest says all about them.
  stored = {name: leaf for name, leaf in arrays.items() if leaf.size}
  if stored:
    import orbax.checkpoint as ocp
    with ocp.PyTreeCheckpointer() as checkpointer:
      checkpointer.save(writing / _ARRAYS, nested(stored))
  if first:
    if add_files is not None:
      add_files(writing)
    (writing / manifest_name).write_text(text, encoding='utf-8')
    for path in filter(pathlib.Path.is_file, writing.iterdir()):
      with path.open('rb') as file:
        os.fsync(file.fileno())
    if folder.exists():
      folder.rename(old)
    writing.rename(folder)
    if old.exists():
      shutil.rmtree(old)
  _barrier()


def _unwritable(folder, error) -> UserError:
  # A full disk is to have room for the message's own advice.
  shutil.rmtree(_beside(folder, 'writing'), ignore_errors=True)
  kept = ('What was saved there before is still there. '
          if complete_version(folder).exists() else '')
  return UserError(
      f'{folder}: could not be saved ({_short(error)}). {kept}Make room or '
      'grant access, then run the same command again: it goes on from the '
      'last save.')


def _check_replaceable(folder, manifest_name):
  """Only what this module wrote may be deleted."""
  if folder.is_dir() and (
      (folder / manifest_name).is_file() or not any(folder.iterdir())):
    return
  if folder.exists():
    raise UserError(
        f'{folder}: would be replaced, but holds something other than an '
        f'earlier save (it has no {manifest_name}). Choose another folder.')


def _beside(folder, suffix):
  return folder.with_name(f'{folder.name}.{suffix}')


def complete_version(folder: str | os.PathLike) -> pathlib.Path:
  """The folder, or where its last version is if a replacement was killed.

  Waits for a save that is still being written.

  Raises:
    UserError: nobody may look there.
  """
  background.finish()
  folder = pathlib.Path(folder).expanduser().resolve()
  old = _beside(folder, 'old')
  try:
    return old if old.exists() and not folder.exists() else folder
  except OSError as error:
    raise UserError(
        f'{folder}: cannot be looked at ({error.strerror or error}). Grant '
        'access, or name another folder.') from error


def discard(folder: pathlib.Path) -> None:
  """Deletes the folder and what unfinished saves have left beside it.

  Killed at any moment, it leaves complete versions and what the next save or
  the next call deletes. Without permission it deletes nothing.
  """
  writing = _beside(folder, 'writing')
  shutil.rmtree(writing, ignore_errors=True)
  for version in (folder, _beside(folder, 'old')):
    with contextlib.suppress(OSError):
      version.rename(writing)
      shutil.rmtree(writing)


def read_manifest(folder: str | os.PathLike, names: Sequence[str]
                  ) -> tuple[pathlib.Path, dict[str, Any]]:
  """(the JSON file, its contents); its folder is where to read from.

  Args:
    folder: as given to `write`.
    names: of JSON files; the first that is there is read.

  Raises:
    UserError: none is there, or it is damaged or of a newer format.
  """
  asked, folder = folder, complete_version(folder)
  of_others = ('a program loads it by sleepjax.load(PATH), and a run by '
               '--config.model=PATH.')
  if not folder.is_dir():
    raise UserError(
        f'{asked}: no such folder; expected one that holds {names[0]}.'
        + f' It is a file: {of_others}' * folder.is_file())
  paths = [folder / name for name in names if (folder / name).is_file()]
  if not paths:
    advice = 'A run has one after its first sleep, or its first save.'
    if (folder / 'config.json').is_file():
      advice = f'It is a Hugging Face folder: {of_others}'
    raise UserError(f'{asked}: not a checkpoint: it has no '
                    f'{" or ".join(names)}. {advice}')
  try:
    manifest = json.loads(paths[0].read_text(encoding='utf-8'))
    version = manifest['format_version']
    if type(version) is not int or version < 1:
      raise ValueError(f'format_version is {version!r}')
    newer = version > FORMAT_VERSION
    if not newer and not isinstance(manifest['metadata'], dict):
      raise TypeError('metadata is not an object')
  except (OSError, ValueError, KeyError, TypeError, RecursionError) as e:
    raise damaged(paths[0], e) from e
  if newer:
    raise UserError(
        f'{paths[0]}: has format version {version}, and this sleepjax reads '
        f'versions up to {FORMAT_VERSION}. Install a newer sleepjax.')
  return paths[0], manifest


def read_arrays(folder: pathlib.Path, manifest: Mapping[str, Any],
                specs: Specs) -> dict[str, np.ndarray]:
  """{path: array}, every one compared with its entry in the manifest.

  Raises:
    UserError: an array is missing or damaged.
  """
  arrays = {name: np.zeros(shape, jnp.dtype(dtype))
            for name, (dtype, shape) in specs.items() if 0 in shape}
  stored = [name for name in specs if name not in arrays]
  if stored:
    import orbax.checkpoint as ocp
    as_numpy = nested({
        name: ocp.RestoreArgs(restore_type=np.ndarray) for name in stored})
    try:
      with ocp.PyTreeCheckpointer() as checkpointer:
        tree = checkpointer.restore(folder / _ARRAYS, restore_args=as_numpy)
    except MemoryError:
      raise
    except Exception as e:  # A damaged checkpoint fails in many ways.
      raise damaged(folder / _ARRAYS, e) from e
    arrays |= named_leaves(tree)
  for name, (dtype, shape) in specs.items():
    array = arrays.get(name)
    if array is None or (array.dtype.name, array.shape) != (dtype, shape):
      raise damaged(folder / _ARRAYS, f'{name} is missing or has another form')
    if manifest['arrays'][name].get('crc32') not in (None, _checksum(array)):
      raise damaged(folder / _ARRAYS, f'{name} has another checksum')
  return {name: arrays[name] for name in specs}


def damaged(path: pathlib.Path, error: object) -> UserError:
  """The error that says so."""
  return UserError(
      f'{path}: missing or damaged. Restore the folder from a copy, or delete '
      f'it and run again. ({_short(error)})')


def _short(error):
  if isinstance(error, Exception):
    error = f'{type(error).__name__}: {error}'
  return ' '.join(str(error).split())[:200]


def specs_of(manifest: Mapping[str, Any], path: pathlib.Path) -> Specs:
  """Of a manifest's arrays.

  Raises:
    UserError: naming `path`, if the manifest is damaged.
  """
  try:
    return {name: _spec(array['dtype'], array['shape'])
            for name, array in manifest['arrays'].items()}
  except (KeyError, TypeError, ValueError, AttributeError) as e:
    raise damaged(path, e) from e


def _spec(dtype, shape):
  dtype = jnp.dtype(dtype)
  if dtype.hasobject or any(
      type(size) is not int or size < 0 for size in shape):
    raise ValueError(f'no array is {dtype} of shape {shape}')
  return dtype.name, tuple(shape)


def misfits(have: Specs, want: Specs) -> str:
  """A line for each array that is not as wanted; '' if all are."""
  show = lambda spec: 'nothing' if spec is None else shown(*spec)
  return ';\n'.join(
      f'  {name}: have {show(have.get(name))}, want {show(want.get(name))}'
      for name in sorted({*have, *want}) if have.get(name) != want.get(name))


def shown(dtype: str, shape: Sequence[int]) -> str:
  """As in 'float32[2, 3]'."""
  return f'{dtype}[{", ".join(map(str, shape))}]'


def _on_host(leaf, copied):
  """A numpy array, except of arrays whose parts lie on other hosts.

  On a CPU it shares the memory of a jax array, which may be given away
  (donated) while the run goes on: then it has to be a copy.
  """
  spread = isinstance(leaf, jax.Array) and not (
      leaf.is_fully_addressable or leaf.is_fully_replicated)
  return leaf if spread else np.array(leaf) if copied else np.asarray(leaf)


def _checksum(array) -> int | None:
  if not isinstance(array, np.ndarray):
    return None  # Its other parts are not here.
  return zlib.crc32(np.ascontiguousarray(array).reshape(-1).view(np.uint8))


def _barrier():
  """Waits until all hosts are here."""
  if jax.process_count() > 1:
    import orbax.checkpoint as ocp
    # Every barrier of a process needs a name of its own.
    ocp.multihost.sync_global_processes(f'sleepjax_save_{next(_BARRIERS)}')
