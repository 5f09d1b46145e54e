"""Models and unfinished runs on disk; the one module that touches Orbax.

A saved folder is complete or not there. It holds

  arrays/              an Orbax checkpoint of the tree, keys as written here
  model.json           of a model: architecture and metadata
  progress.json        of an unfinished run: step and metadata
  tokenizer*.json, generation_config.json       of a model: its tokenizer

and the JSON file lists dtype, shape and checksum of every array. The files are
written to `NAME.writing` beside the folder. When all are there, the folder
that is replaced steps aside to `NAME.old` and the new one takes its name, so
that a process killed at any moment leaves a complete version, which the
functions here find under either name.
"""

import dataclasses
import itertools
import json
import os
import pathlib
import shutil
import zlib
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp

from sleepjax.data.tokenizer import Tokenizer
from sleepjax.errors import UserError
from sleepjax.models import transformer
from sleepjax.models.config import ModelConfig, RopeScaling
from sleepjax.models.named_leaves import named_leaves, nested

FORMAT_VERSION = 1

_MODEL, _PROGRESS = 'model.json', 'progress.json'
_ARRAYS = 'arrays'
_BARRIERS = itertools.count()


@dataclasses.dataclass(frozen=True)
class SavedModel:
  """A model as `save_model` wrote it.

  Attributes:
    config: its architecture, in the canonical layout.
    params: canonical parameter tree of numpy arrays.
    tokenizer: its vocabulary and chat form.
    metadata: what was saved with it, as JSON gives it back.
  """

  config: ModelConfig
  params: dict
  tokenizer: Tokenizer
  metadata: dict


@dataclasses.dataclass(frozen=True)
class Progress:
  """The latest state of an unfinished run.

  Attributes:
    step: a number or a name.
    tree: nested dicts of numpy arrays; elements of sequences are under '0',
      '1', ... `with_structure` gives them their own form back.
    metadata: what was saved with it, as JSON gives it back.
  """

  step: int | str
  tree: dict
  metadata: dict


def save_model(folder: str | os.PathLike, config: ModelConfig, params,
               tokenizer: Tokenizer, metadata: Mapping[str, Any]) -> None:
  """Writes a model that needs nothing but its folder to be loaded again.

  On several hosts, every process calls this.

  Args:
    folder: a saved model there is replaced once the new one is complete.
    config: only its architecture is kept.
    params: canonical (stacked) tree, numpy or jax arrays of any float dtype.
    tokenizer: saved beside the parameters.
    metadata: JSON types, for example the lineage of the model.

  Raises:
    ValueError: the parameters are not those of the architecture.
    UserError: the folder holds something else.
  """
  specs = {name: (leaf.dtype.name, tuple(leaf.shape))
           for name, leaf in named_leaves(params).items()}
  misfits = _misfits(specs, _model_specs(config, specs))
  if misfits:
    raise ValueError(f'params do not fit config:\n{misfits}')
  _write(pathlib.Path(folder), _MODEL, params, tokenizer, {
      'architecture': config.architecture(), 'metadata': dict(metadata)})


def load_model(folder: str | os.PathLike) -> SavedModel:
  """Reads what `save_model` wrote and checks every array.

  Raises:
    UserError: no model is there, a file is missing or damaged, or the arrays
      are not those of the architecture.
  """
  folder, manifest = _read_manifest(folder, (_MODEL,))
  config = _config(manifest.get('architecture'), folder / _MODEL)
  have = _specs(manifest, folder / _MODEL)
  misfits = _misfits(have, _model_specs(config, have))
  if misfits:
    raise UserError(
        f'{folder}: its arrays do not fit the architecture in its {_MODEL}. '
        f'Copy the whole folder of one model.\n{misfits}')
  params = nested(_read_arrays(folder, manifest, have))
  return SavedModel(config, params, Tokenizer.from_folder(folder),
                    manifest['metadata'])


def save_progress(folder: str | os.PathLike, step: int | str, tree,
                  metadata: Mapping[str, Any]) -> None:
  """Writes the latest state of a run in place of the one before.

  On several hosts, every process calls this.

  Args:
    folder: used for this run's state only.
    step: where the run is.
    tree: dicts, sequences and named tuples of numpy or jax arrays; None is
      left out.
    metadata: JSON types.

  Raises:
    UserError: the folder holds something else.
  """
  _write(pathlib.Path(folder), _PROGRESS, tree, None, {
      'step': step, 'metadata': dict(metadata)})


def load_progress(folder: str | os.PathLike) -> Progress:
  """Reads what `save_progress` wrote; `is_saved` tells whether it did.

  Raises:
    UserError: nothing was saved there, or a file is missing or damaged.
  """
  folder, manifest = _read_manifest(folder, (_PROGRESS,))
  arrays = _read_arrays(
      folder, manifest, _specs(manifest, folder / _PROGRESS))
  return Progress(manifest.get('step'), nested(arrays), manifest['metadata'])


def is_saved(folder: str | os.PathLike) -> bool:
  """True if a complete model or state of a run is there."""
  folder = _settled(pathlib.Path(folder))
  return any((folder / name).is_file() for name in (_MODEL, _PROGRESS))


def with_structure(like, tree, what: str = 'the saved state'):
  """The arrays of a loaded tree in the structure of another one.

  Args:
    like: arrays or `jax.ShapeDtypeStruct`s, for example from
      `jax.eval_shape`.
    tree: from `load_progress`, or a part of it.
    what: how messages call the tree.

  Returns:
    The arrays of `tree` in the structure of `like`.

  Raises:
    UserError: listing what is missing, left over, or of another shape or
      dtype.
  """
  spec = lambda leaf: (jnp.dtype(leaf.dtype).name, tuple(leaf.shape))
  have, want = named_leaves(tree), named_leaves(like)
  misfits = _misfits({name: spec(leaf) for name, leaf in have.items()},
                     {name: spec(leaf) for name, leaf in want.items()})
  if misfits:
    raise UserError(
        f'{what} is not what this run needs; it was saved with other settings '
        f'or by another version.\n{misfits}')
  return jax.tree.unflatten(
      jax.tree.structure(like), [have[name] for name in want])


def check_same_architecture(
    folder: str | os.PathLike, config: ModelConfig) -> None:
  """Refuses to go on from what another model left in a folder.

  A model grows during a run, so what is compared is the architecture it had
  before: `metadata['base_architecture']`, or that of the saved model itself
  where it never grew. Nothing there is fine.

  Args:
    folder: of a model or of a run's state.
    config: the model that the run starts from.

  Raises:
    UserError: listing the fields that differ.
  """
  if not is_saved(folder):
    return
  folder, manifest = _read_manifest(folder, (_MODEL, _PROGRESS))
  have = manifest['metadata'].get(
      'base_architecture', manifest.get('architecture'))
  if have is None:
    return
  rows = [f'  {name}: have {have.get(name)}, want {value}'
          for name, value in config.architecture().items()
          if have.get(name) != value]
  if rows:
    raise UserError(
        f'{folder} was written by a run of another model. Use another folder, '
        'or the model and settings that it was started with.\n'
        + ';\n'.join(rows))


def _write(folder, manifest_name, tree, tokenizer, manifest):
  """Writes beside the folder what is to be in it, then renames."""
  folder = folder.expanduser().resolve()
  writing, old = _beside(folder, 'writing'), _beside(folder, 'old')
  arrays = {name: _on_host(leaf) for name, leaf in named_leaves(tree).items()}
  manifest = {'format_version': FORMAT_VERSION, **manifest, 'arrays': {
      name: {'dtype': leaf.dtype.name, 'shape': list(leaf.shape),
             'crc32': _checksum(leaf)} for name, leaf in arrays.items()}}
  text = json.dumps(manifest, indent=2) + '\n'
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
    with ocp.PyTreeCheckpointer() as checkpointer:
      checkpointer.save(writing / _ARRAYS, nested(stored))
  if first:
    if tokenizer is not None:
      tokenizer.save(writing)
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


def _settled(folder):
  """The folder, or where its last version is if a replacement was killed."""
  folder = folder.expanduser().resolve()
  old = _beside(folder, 'old')
  return old if old.exists() and not folder.exists() else folder


def _read_manifest(folder, names):
  """(folder to read from, contents of its JSON file)."""
  asked, folder = folder, _settled(pathlib.Path(folder))
  if not folder.is_dir():
    raise UserError(
        f'{asked}: no such folder; expected one that holds {names[0]}.')
  paths = [folder / name for name in names if (folder / name).is_file()]
  if not paths:
    raise UserError(
        f'{asked}: not a checkpoint: it has no {" or ".join(names)}.')
  try:
    manifest = json.loads(paths[0].read_text(encoding='utf-8'))
    version = manifest['format_version']
    newer = version > FORMAT_VERSION
    if not newer and not isinstance(manifest['metadata'], dict):
      raise TypeError('metadata is not an object')
  except (OSError, ValueError, KeyError, TypeError) as e:
    raise _damaged(paths[0], e) from e
  if newer:
    raise UserError(
        f'{paths[0]}: has format version {version}, and this sleepjax reads '
        f'versions up to {FORMAT_VERSION}. Install a newer sleepjax.')
  return folder, manifest


def _read_arrays(folder, manifest, specs):
  """{name: array}, every one compared with its entry in the manifest."""
  arrays = {name: np.zeros(shape, jnp.dtype(dtype))
            for name, (dtype, shape) in specs.items() if 0 in shape}
  stored = [name for name in specs if name not in arrays]
  if stored:
    as_numpy = nested({
        name: ocp.RestoreArgs(restore_type=np.ndarray) for name in stored})
    try:
      with ocp.PyTreeCheckpointer() as checkpointer:
        tree = checkpointer.restore(folder / _ARRAYS, restore_args=as_numpy)
    except MemoryError:
      raise
    except Exception as e:  # A damaged checkpoint fails in many ways.
      raise _damaged(folder / _ARRAYS, e) from e
    arrays |= named_leaves(tree)
  for name, (dtype, shape) in specs.items():
    array = arrays.get(name)
    if array is None or (array.dtype.name, array.shape) != (dtype, shape):
      raise _damaged(folder / _ARRAYS, f'{name} is missing or has another form')
    if manifest['arrays'][name].get('crc32') not in (None, _checksum(array)):
      raise _damaged(folder / _ARRAYS, f'{name} has another checksum')
  return {name: arrays[name] for name in specs}


def _damaged(path, error) -> UserError:
  if isinstance(error, Exception):
    error = f'{type(error).__name__}: {error}'
  return UserError(
      f'{path}: missing or damaged. Restore the folder from a copy, or delete '
      f'it and run again. ({" ".join(error.split())[:200]})')


def _config(architecture, path) -> ModelConfig:
  try:
    scaling = architecture['rope_scaling']
    return ModelConfig(**{
        **architecture, 'rope_scaling': scaling and RopeScaling(**scaling)})
  except (TypeError, KeyError, ValueError) as e:
    raise _damaged(path, e) from e


def _specs(manifest, path):
  """{name: (dtype, shape)} of a manifest's arrays."""
  try:
    return {name: (jnp.dtype(array['dtype']).name, tuple(array['shape']))
            for name, array in manifest['arrays'].items()}
  except (KeyError, TypeError, AttributeError) as e:
    raise _damaged(path, e) from e


def _model_specs(config, have):
  """{name: (dtype, shape)} of a model, in the float dtypes that it has."""
  canonical = ModelConfig(**{
      **config.architecture(), 'rope_scaling': config.rope_scaling})
  is_float = lambda dtype: jnp.issubdtype(jnp.dtype(dtype), jnp.floating)
  specs = {}
  for name, leaf in named_leaves(
      transformer.abstract_params(canonical)).items():
    dtype = have[name][0] if name in have else leaf.dtype.name
    if not (is_float(dtype) and is_float(leaf.dtype)):
      dtype = leaf.dtype.name
    specs[name] = dtype, tuple(leaf.shape)
  return specs


def _misfits(have, want) -> str:
  """A line for each array that is not as wanted; '' if all are."""
  show = lambda spec: 'nothing' if spec is None else (
      f'{spec[0]}[{", ".join(map(str, spec[1]))}]')
  return ';\n'.join(
      f'  {name}: have {show(have.get(name))}, want {show(want.get(name))}'
      for name in sorted({*have, *want}) if have.get(name) != want.get(name))


def _on_host(leaf):
  """A numpy array, except of arrays whose parts lie on other hosts."""
  spread = isinstance(leaf, jax.Array) and not (
      leaf.is_fully_addressable or leaf.is_fully_replicated)
  return leaf if spread else np.asarray(leaf)


def _checksum(array) -> int | None:
  if not isinstance(array, np.ndarray):
    return None  # Its other parts are not here.
  return zlib.crc32(np.ascontiguousarray(array).reshape(-1).view(np.uint8))


def _barrier():
  """Waits until all hosts are here."""
  if jax.process_count() > 1:
    # Every barrier of a process needs a name of its own.
    ocp.multihost.sync_global_processes(f'sleepjax_save_{next(_BARRIERS)}')
