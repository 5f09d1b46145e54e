"""Low-rank changes of a model in the format of PEFT.

  adapter_config.json        r, lora_alpha, which matrices
  adapter_model.safetensors  for each a pair: W + (lora_alpha / r) lora_B lora_A
"""

import json
import os
from collections.abc import Mapping

import numpy as np

from sleepjax.errors import UserError
from sleepjax.growth.adapters import LowRank
from sleepjax.leaves import MATRICES
from sleepjax.model import Model
from sleepjax.models import export, tensor_files, weight_map
from sleepjax.models.named_leaves import named_leaves

# Singular values up to which a change is what rounding to float32 has made of
# it, by the largest entry and the root of each size: some last digits in every
# entry, of random sign.
_ROUNDING = 2.0 ** -22


def low_rank_change(base: Model, model: Model) -> tuple[LowRank, dict]:
  """What a model has learnt, as factors of the least rank that holds all of it.

  A night of low rank is added to the weights; the change of several is as wide
  as all of them together.

  Args:
    base: canonical, before.
    model: canonical, after.

  Returns:
    (an adapter of alpha = rank, its value for `export_peft`).

  Raises:
    UserError: the models differ in shape, in something else than matrices, or
      in matrices whose change has no low rank.
  """
  config = model.config
  if config.architecture() != base.config.architecture():
    raise UserError(
        f'{model.name} has {config.num_slots} slots, and another shape than '
        f'{base.name}: that is no change of low rank. Export a folder or a '
        'GGUF file, where slots are folded into the MLPs.')
  before, after = named_leaves(base.params), named_leaves(model.params)
  paths = {leaf.path: name for name, leaf in MATRICES.items()}
  changed = [path for path in after if not np.array_equal(
      before[path], after[path])]
  if others := [path for path in changed if path not in paths]:
    raise UserError(
        f'{", ".join(others)}: differ from those of {base.name}. An adapter '
        'changes matrices of the layers alone: is it what this model learnt '
        'on?')
  if not changed:
    raise UserError(f'{model.name} and {base.name} are the same model.')
  sizes, factors = weight_map.axis_sizes(config), {}
  for path in changed:
    leaf = MATRICES[paths[path]]
    factors[paths[path]] = [
        _factors(*(leaf.to_stored(layer, sizes).T for layer in layers))
        for layers in zip(np.asarray(before[path], np.float32),
                          np.asarray(after[path], np.float32))]
  rank = max(a.shape[1] for pairs in factors.values() for a, _ in pairs)
  for name, pairs in factors.items():
    a, b = pairs[0]
    if rank * (a.shape[0] + b.shape[1]) > a.shape[0] * b.shape[1]:
      raise UserError(
          f'{name}: its change since {base.name} has rank {rank}, so that an '
          'adapter would be larger than the matrix. Name the model that it '
          'learnt on, or export all of the model.')
  widened = lambda array, axis: np.pad(array, [
      (0, rank - array.shape[axis] if axis == i else 0) for i in range(2)])
  return LowRank(rank, float(rank), tuple(factors)), {
      name: {'a': np.stack([widened(a, 1) for a, _ in pairs]),
             'b': np.stack([widened(b, 0) for _, b in pairs])}
      for name, pairs in factors.items()}


def _factors(old, new):
  """(a [in, r], b [r, out]) of the change between two matrices [in, out]."""
  u, s, v = np.linalg.svd(new - old, full_matrices=False)
  rounding = _ROUNDING * np.abs(new).max() * sum(map(np.sqrt, new.shape))
  kept = s > rounding
  root = np.sqrt(s[kept])
  return u[:, kept] * root, root[:, None] * v[kept]


def export_peft(part: LowRank, value: Mapping[str, Mapping], base: str,
                folder: str | os.PathLike, dtype: str = 'float32') -> None:
  """Writes an adapter that PEFT puts onto a Hugging Face folder of the base.

  Args:
    part: rank, alpha and matrices.
    value: {matrix: {a [L, in…, r], b [L, r, out…]}}, see `LowRank.init`.
    base: the folder of the model before, as the file will name it.
    folder: must not exist, or be empty.
    dtype: of the factors: 'float32', 'bfloat16' or 'float16', rounded.

  Raises:
    UserError: the folder is in use or cannot be written, or a factor does not
      fit into the type.
  """
  tensors = {}
  for name, pair in value.items():
    prefix = 'base_model.model.' + MATRICES[name].hf.removesuffix('weight')
    for i, (a, b) in enumerate(zip(pair['a'], pair['b'])):
      a, b = np.asarray(a), np.asarray(b)
      tensors[f'{prefix.format(i)}lora_A.weight'] = a.reshape(-1, part.rank).T
      tensors[f'{prefix.format(i)}lora_B.weight'] = b.reshape(part.rank, -1).T
  settings = {
      'peft_type': 'LORA', 'task_type': 'CAUSAL_LM', 'r': part.rank,
      'lora_alpha': part.alpha, 'lora_dropout': 0.0, 'bias': 'none',
      'target_modules': sorted(
          MATRICES[name].hf.split('.')[-2] for name in value),
      'base_model_name_or_path': base, 'fan_in_fan_out': False,
      'inference_mode': True, 'modules_to_save': None, 'use_rslora': False}
  with export.new_folder(folder) as writing:
    tensor_files.write(
        writing, tensor_files.rounded(tensors, dtype), stem='adapter_model')
    (writing / 'adapter_config.json').write_text(
        json.dumps(settings, indent=2) + '\n')
