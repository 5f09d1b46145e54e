"""Hashes of parameters, by which two models are known to be one."""

import hashlib
import json

import jax

from sleepjax.mesh import sharding
from sleepjax.models.config import ModelConfig


def params_sha256(params) -> str:
  """Hash over the names, dtypes, shapes and bytes of a tree, in path order.

  Every process has to call it.
  """
  return _digest(params).hexdigest()


def base_sha256(config: ModelConfig, params) -> str:
  """Hash of a model without the slots of its own MLPs, closed or open.

  Args:
    config: its architecture counts, too.
    params: canonical parameters.
  """
  architecture = config.architecture()
  del architecture['num_slots']
  if not any(config.level_slots):
    del architecture['slot_rank']
  layers = {name: part for name, part in params['layers'].items()
            if name != 'slots'}
  digest = _digest({**params, 'layers': layers})
  digest.update(json.dumps(architecture, sort_keys=True).encode())
  return digest.hexdigest()


def _digest(params):
  digest = hashlib.sha256()
  for path, leaf in jax.tree_util.tree_flatten_with_path(params)[0]:
    leaf = sharding.to_host(leaf)
    digest.update(f'{jax.tree_util.keystr(path)} {leaf.dtype} {leaf.shape}'
                  .encode())
    digest.update(leaf.tobytes())
  return digest
