"""Models and unfinished runs on disk.

A saved folder is complete or not there (`sleepjax.training.saved_folder`). It
holds

  arrays/              an Orbax checkpoint of the tree, keys as written here
  model.json           of a model: architecture and metadata
  progress.json        of an unfinished run: step and metadata
  tokenizer*.json, generation_config.json       of a model: its tokenizer

and the JSON file lists dtype, shape and checksum of every array.
"""

import dataclasses
import os
import pathlib
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp

from sleepjax.data.tokenizer import Tokenizer
from sleepjax.errors import UserError
from sleepjax.model import Model
from sleepjax.models import transformer
from sleepjax.models.config import ModelConfig, RopeScaling
from sleepjax.models.named_leaves import named_leaves, nested
from sleepjax.training import saved_folder

_MODEL, _PROGRESS = 'model.json', 'progress.json'


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


@dataclasses.dataclass(frozen=True)
class Description:
  """What a saved folder says of itself.

  Attributes:
    folder: where it is: `NAME.old` if a replacement was killed.
    format_version: of the way it is written.
    config: architecture of a model; None of a run's state.
    step: of a run's state; None of a model.
    metadata: what was saved with it.
    arrays: path -> (dtype, shape).
  """

  folder: pathlib.Path
  format_version: int
  config: ModelConfig | None
  step: int | str | None
  metadata: dict
  arrays: saved_folder.Specs


def save_model(folder: str | os.PathLike, config: ModelConfig, params,
               tokenizer: Tokenizer, metadata: Mapping[str, Any],
               then: Callable[[], None] | None = None) -> None:
  """Writes a model that needs nothing but its folder to be loaded again.

  On several hosts, every process calls this.

  Args:
    folder: a saved model there is replaced once the new one is complete.
    config: only its architecture is kept.
    params: canonical (stacked) tree, numpy or jax arrays of any float dtype.
    tokenizer: saved beside the parameters.
    metadata: JSON types, for example the lineage of the model.
    then: what follows once it is written; with it, the run goes on meanwhile
      (`sleepjax.training.background`).

  Raises:
    ValueError: the parameters are not those of the architecture.
    UserError: the folder holds something else.
  """
  specs = {name: (leaf.dtype.name, tuple(leaf.shape))
           for name, leaf in named_leaves(params).items()}
  misfits = saved_folder.misfits(specs, _model_specs(config, specs))
  if misfits:
    raise ValueError(f'params do not fit config:\n{misfits}')
  saved_folder.write(
      folder, _MODEL, params,
      {'architecture': config.architecture(), 'metadata': dict(metadata)},
      tokenizer.save, then)


def load_model(folder: str | os.PathLike) -> Model:
  """Reads what `save_model` wrote and checks every array.

  Its lineage is what was saved with it, as JSON gives it back; its name that of
  the model that it comes from.

  Raises:
    UserError: no model is there, a file is missing or damaged, or the arrays
      are not those of the architecture.
  """
  path, manifest = saved_folder.read_manifest(folder, (_MODEL,))
  config = _config(manifest.get('architecture'), path)
  have = saved_folder.specs_of(manifest, path)
  misfits = saved_folder.misfits(have, _model_specs(config, have))
  if misfits:
    raise UserError(
        f'{path.parent}: its arrays do not fit the architecture in its '
        f'{_MODEL}. Copy the whole folder of one model.\n{misfits}')
  params = nested(saved_folder.read_arrays(path.parent, manifest, have))
  lineage = manifest['metadata']
  return Model(config, params, Tokenizer.from_folder(path.parent),
               lineage.get('base', path.parent.name), lineage)


def save_progress(folder: str | os.PathLike, step: int | str, tree,
                  metadata: Mapping[str, Any],
                  then: Callable[[], None] | None = None) -> None:
  """Writes the latest state of a run in place of the one before.

  On several hosts, every process calls this.

  Args:
    folder: used for this run's state only.
    step: where the run is.
    tree: dicts, sequences and named tuples of numpy or jax arrays; None is
      left out.
    metadata: JSON types.
    then: as of `save_model`.

  Raises:
    UserError: the folder holds something else.
  """
  saved_folder.write(folder, _PROGRESS, tree,
                     {'step': step, 'metadata': dict(metadata)}, then=then)


def load_progress(folder: str | os.PathLike) -> Progress:
  """Reads what `save_progress` wrote; `is_saved` tells whether it did.

  Raises:
    UserError: nothing was saved there, or a file is missing or damaged.
  """
  path, manifest = saved_folder.read_manifest(folder, (_PROGRESS,))
  arrays = saved_folder.read_arrays(
      path.parent, manifest, saved_folder.specs_of(manifest, path))
  return Progress(manifest.get('step'), nested(arrays), manifest['metadata'])


def describe(folder: str | os.PathLike) -> Description:
  """What is saved in a folder, as its JSON file says; no array is read.

  Raises:
    UserError: nothing is saved there, its JSON file is damaged or of a newer
      format.
  """
  path, manifest = saved_folder.read_manifest(folder, (_MODEL, _PROGRESS))
  config = None
  if path.name == _MODEL:
    config = _config(manifest.get('architecture'), path)
  return Description(
      path.parent, manifest['format_version'], config, manifest.get('step'),
      manifest['metadata'], saved_folder.specs_of(manifest, path))


def is_saved(folder: str | os.PathLike) -> bool:
  """True if a complete model or state of a run is there."""
  folder = saved_folder.complete_version(folder)
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
  misfits = saved_folder.misfits(
      {name: spec(leaf) for name, leaf in have.items()},
      {name: spec(leaf) for name, leaf in want.items()})
  if misfits:
    raise UserError(
        f'{what} is not what this run needs; it was saved with other settings '
        f'or by another version.\n{misfits}')
  return jax.tree.unflatten(
      jax.tree.structure(like), [have[name] for name in want])


def _config(architecture, path) -> ModelConfig:
  try:
    scaling = architecture['rope_scaling']
    return ModelConfig(**{
        **architecture, 'rope_scaling': scaling and RopeScaling(**scaling)})
  except (TypeError, KeyError, ValueError) as e:
    raise saved_folder.damaged(path, e) from e


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
