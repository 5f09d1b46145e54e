"""Our parameter tree filled from the tensors of other programs' files.

A linear map is stored elsewhere as a matrix `[outputs, inputs]`, with the
heads run together, one tensor per layer. Ours are `[inputs, outputs]`, with
heads on an axis of their own and the layers stacked. Each row of
`sleepjax.leaves` says both spellings in dimension letters, so that reading and
writing are the same row taken in two directions.
"""

import functools
import re
from collections.abc import Callable, Iterator, Mapping

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding

from sleepjax import leaves as leaves_lib
from sleepjax.errors import UserError
from sleepjax.leaves import Leaf
from sleepjax.mesh import sharding
from sleepjax.models.config import ModelConfig
from sleepjax.models.named_leaves import nested


def axis_sizes(config: ModelConfig) -> dict[str, int]:
  """Size of each dimension letter of `sleepjax.leaves` but J and A."""
  return {
      'V': config.vocab_size, 'D': config.embed_dim, 'L': config.num_layers,
      'H': config.num_heads, 'G': config.num_kv_heads, 'K': config.head_dim,
      'C': config.value_dim or config.head_dim, 'F': config.mlp_dim,
  }


def weights_of(config: ModelConfig) -> Iterator[Leaf]:
  """The rows that a model of this architecture has in files."""
  has = {'': True, 'untied': not config.tie_embeddings,
         'qkv_bias': config.qkv_bias, 'qk_norm': config.qk_norm,
         'post_norms': config.post_norms,
         'no post_norms': not config.post_norms}
  return (w for w in leaves_lib.STORED if has[w.only])


def stacked_params(
    config: ModelConfig,
    stored_shapes: Mapping[str, tuple[int, ...]],
    read: Callable[[str, Leaf], np.ndarray],
    *,
    names: str,
    where: str,
    mesh: Mesh | None = None,
) -> dict:
  """The canonical parameter tree, filled from one stored tensor at a time.

  Memory in use is that of the result and of one stored tensor; on a mesh, of
  one part of a leaf besides what the devices hold. All names and shapes are
  compared before anything is allocated.

  Args:
    config: the architecture.
    stored_shapes: shape of every tensor in the source, by its stored name.
    read: gives a tensor of any float type in its stored shape; see
      `finite_float32`.
    names: the naming in use, 'hf' or 'gguf'.
    where: the source, for messages.
    mesh: devices that get their parts of each leaf, see
      `sleepjax.mesh.sharding`; None leaves all on the host.

  Returns:
    float32 arrays in the tree of `sleepjax.models.config`, of numpy or, on a
    mesh, of jax.

  Raises:
    UserError: listing every tensor that is missing, of another shape, or
      unknown to this architecture.
  """
  if config.num_layers > len(stored_shapes):
    raise UserError(
        f'{where}: its configuration says {config.num_layers} layers, but it '
        f'holds only {len(stored_shapes)} tensors. The file is incomplete or '
        'belongs to another configuration.')
  sizes = axis_sizes(config)
  plan = {}
  for weight in weights_of(config):
    name = getattr(weight, names)
    for layer in range(config.num_layers) if weight.stacked else (None,):
      plan[name.format(layer)] = (weight, layer)
  _check_names_and_shapes(plan, stored_shapes, sizes, names, where)

  def part(weight, index):
    """A leaf's entries at an index of slices; one stored tensor at a time."""
    whole = weight.shape(sizes)
    out = np.empty([len(range(*entries.indices(size))) for entries, size in zip(
        index, whole, strict=True)], np.float32)
    name = getattr(weight, names)
    if not weight.stacked:
      out[...] = weight.from_stored(read(name, weight), sizes)[index]
      return out
    for i, layer in enumerate(range(config.num_layers)[index[0]]):
      tensor = read(name.format(layer), weight)
      out[i] = weight.from_stored(tensor, sizes)[index[1:]]
    return out

  leaves = {}
  for weight in weights_of(config):
    shape, fill = weight.shape(sizes), functools.partial(part, weight)
    if mesh is None:
      leaves[weight.path] = fill((slice(None),) * len(shape))
    else:
      spec = sharding.param_spec(weight.path, shape, mesh)
      leaves[weight.path] = jax.make_array_from_callback(
          shape, NamedSharding(mesh, spec), fill)
  return nested(leaves)


def finite_float32(array: np.ndarray, name: str, file) -> np.ndarray:
  """The tensor as float32, checked to hold numbers only.

  Args:
    array: of any float type.
    name, file: where it was read, for messages.

  Raises:
    UserError: an entry is NaN or infinite, also because it is too large for
      float32.
  """
  with np.errstate(all='ignore'):
    array = np.asarray(array, np.float32)
    # A sum costs a part of what `isfinite` does and is not finite if an entry
    # is not; that it may overflow by itself costs time alone.
    if np.isfinite(array.sum()):
      return array
  wrong = np.argwhere(~np.isfinite(array))
  if wrong.size:
    raise UserError(
        f'{file}: tensor {name} has {len(wrong):,} of {array.size:,} entries '
        f'that are NaN or infinite in float32, the first at '
        f'{wrong[0].tolist()}. Download it again; if that is what was saved, '
        'the training that made it has diverged: take an earlier checkpoint.')
  return array


def leaf_at(params: Mapping, path: str) -> np.ndarray:
  """The array at 'a/b/c' of a nested dict."""
  for key in path.split('/'):
    params = params[key]
  return params


def _check_names_and_shapes(plan, stored_shapes, sizes, names, where):
  misfits = []
  for name, (weight, _) in plan.items():
    want, have = weight.stored_shape(sizes), stored_shapes.get(name)
    if have is None:
      misfits.append((name, 'missing', str(list(want))))
    elif tuple(have) != want:
      misfits.append((name, str(list(have)), str(list(want))))
  for name in sorted(stored_shapes.keys() - plan.keys()):
    misfits.append((name, str(list(stored_shapes[name])), 'no such tensor'))
  if not misfits:
    return
  rows = [('tensor', 'have', 'want'), *_layers_together(misfits)]
  widths = [max(len(row[i]) for row in rows) for i in range(2)]
  table = '\n'.join(
      f'  {name:{widths[0]}}  {have:{widths[1]}}  {want}'
      for name, have, want in rows)
  raise UserError(
      f'{where}: {len(misfits)} tensor(s) do not fit the architecture that '
      'its configuration describes. Use the weights and the configuration of '
      f'one model.{_likely_causes(stored_shapes, sizes, names)}\n{table}')


def _likely_causes(stored_shapes, sizes, names):
  """What one wrong number of the configuration would explain."""
  vocabulary, depth = {
      'hf': ('vocab_size', 'num_hidden_layers'),
      'gguf': ('the vocabulary', 'block_count')}[names]
  causes = ''
  table = tuple(stored_shapes.get(getattr(leaves_lib.LEAVES[0], names), ()))
  if table[1:] == (sizes['D'],) and table[0] != sizes['V']:
    causes += (f' {vocabulary} is {sizes["V"]}, but the embedding has '
               f'{table[0]} rows.')
  layer = {'hf': leaves_lib.HF_LAYER, 'gguf': leaves_lib.GGUF_LAYER}[names]
  prefix = layer.format(r'(\d+)').replace('.', r'\.')
  layers = [int(found[1]) for name in stored_shapes
            if (found := re.match(prefix, name)) and len(found[1]) < 7]
  if layers and max(layers) + 1 != sizes['L']:
    causes += (f' {depth} is {sizes["L"]}, but there are tensors of '
               f'{max(layers) + 1} layers.')
  return causes


def _layers_together(misfits):
  """One row for all layers that have the same misfit."""
  layers = {}
  for name, have, want in misfits:
    # 'model.layers.7.mlp.up_proj.weight': around the number of the layer.
    before, number, after = re.fullmatch(
        r'(\D*)(\d*)(.*)', name, re.DOTALL).groups()
    layers.setdefault((before, after, have, want), []).append(number)
  for (before, after, have, want), numbers in layers.items():
    span = [str(i) for i in range(len(numbers))]
    if len(numbers) > 2 and numbers == span:
      numbers = [f'0-{span[-1]}']
    yield before + ','.join(numbers) + after, have, want
