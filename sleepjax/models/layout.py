"""The same weights, laid out for the machine that multiplies them.

The canonical tree stacks layers and keeps every projection separate: growth,
sharding and checkpoints work on it. Accelerators scan it as it is. A CPU
decodes two to three times as fast with layers unrolled (a scan copies each
layer's weights), query-key-value and gate-up in one matrix each, and matrices
stored outputs first (`ops.matmul`):

  layer_{i}/attn/{qkv [H·K + G·K + G·C, D], out [D, H·C]}
  layer_{i}/mlp/{gate_up [2 F, D], out [D, F]}
  head/{kernel [D, V] for losses, rows [V, D] for sampling}

`for_compute` converts; frozen weights are converted once per sleep, and slots
follow by `insert_slot`.
"""

import dataclasses
import functools
import math
import pathlib

import jax
import jax.numpy as jnp

from sleepjax.leaves import CPU_LEAVES, LEAVES, MATRICES, sized
from sleepjax.mesh import activations, distributed
from sleepjax.models import ops, transformer, weight_map
from sleepjax.models.config import ModelConfig

_MATRICES = {leaf.name for leaf in (*LEAVES, *CPU_LEAVES) if leaf.is_matrix}


def fastest_matmul_dtype(platform: str | None = None) -> str:
  """'bfloat16' where the hardware multiplies it natively, else 'float32'.

  Of several hosts, the first one's: all run the same program.
  """
  if (platform or jax.default_backend()) != 'cpu':
    return 'bfloat16'
  cpuinfo = pathlib.Path('/proc/cpuinfo')
  flags = set(cpuinfo.read_text().split()) if cpuinfo.exists() else set()
  native = flags & {'amx_bf16', 'avx512_bf16'}
  return 'bfloat16' if distributed.agreed(bool(native)) else 'float32'


def _outputs_first(layers):
  """The matrices of attention and of the block's own MLP as CPUs use them."""
  turned = lambda w, inputs: w.reshape(
      w.shape[0], math.prod(w.shape[1:1 + inputs]), -1).swapaxes(1, 2)
  side_by_side = lambda tree, names: jnp.concatenate(
      [turned(tree.pop(name), 1) for name in names], axis=1)
  attn, mlp = dict(layers['attn']), dict(layers['mlp'])
  attn['qkv'] = side_by_side(attn, ('q', 'k', 'v'))
  attn['out'] = turned(attn.pop('o'), 2)
  mlp['gate_up'] = side_by_side(mlp, ('gate', 'up'))
  mlp['out'] = turned(mlp.pop('down'), 1)
  return {**layers, 'attn': attn, 'mlp': mlp}


def _cast(layers, dtype):
  """The matrices of attention and of the block's own MLP in `dtype`."""
  def cast(path, leaf):
    names = [key.key for key in path]
    is_matrix = names[-1] in _MATRICES and not any(
        name == 'slots' or name.startswith('level_') for name in names)
    return jnp.asarray(leaf, dtype if is_matrix else None)

  return jax.tree_util.tree_map_with_path(cast, layers)


@functools.partial(jax.jit, static_argnums=1)
def _unrolled(layers, dtype):
  """Layers apart, outputs first. One program for all sleeps."""
  layers = _cast(_outputs_first(layers), dtype)
  return [jax.tree.map(lambda leaf, i=i: leaf[i], layers)
          for i in range(len(layers['mlp_norm']['scale']))]


def for_compute(config: ModelConfig, params, matmul_dtype: str = 'auto',
                unroll: bool | None = None, stored_dtype: str | None = None):
  """Canonical parameters in the layout this machine computes fastest.

  Args:
    config: canonical config (layers scanned, projections separate).
    params: canonical parameter tree, numpy or jax arrays.
    matmul_dtype: 'float32', 'bfloat16', or 'auto' for what is native here.
      Matrices of attention and of the block's own MLP are stored in it; slots,
      extra levels, norms and the embedding table stay float32.
    unroll: unrolled layers, outputs first; by default on CPU only.
    stored_dtype: of those matrices, if it is not matmul_dtype. 'float32' where
      something is to be added to them (`add_to_layers`): of a sum with a
      rounded matrix, rounded again, all is lost that is less than half a unit
      in the matrix's last place, and the model that is trained is not the one
      that is saved.

  Returns:
    (config, params) for the functions of `transformer`.
  """
  if not config.scan_layers or config.cpu_layout:
    raise ValueError('for_compute expects the canonical layout: scan_layers='
                     'True and cpu_layout=False.')
  dtype = (fastest_matmul_dtype() if matmul_dtype == 'auto' else matmul_dtype)
  unroll = jax.default_backend() == 'cpu' if unroll is None else unroll
  params = dict(params)
  layers = params.pop('layers')
  if unroll:
    for i, layer in enumerate(_unrolled(layers, stored_dtype or dtype)):
      params[f'layer_{i}'] = layer
    params = jax.tree.map(jnp.asarray, params)
    head = transformer.unembedding(params)
    # The rows of a tied float32 head are the table itself, no copy.
    rows = head.T if 'head' in params else params['embed']['table']
    params['head'] = {'kernel': head.astype(dtype), 'rows': rows.astype(dtype)}
  else:
    params['layers'] = _cast(layers, stored_dtype or dtype)
    if 'head' in params:
      params['head'] = {'kernel': jnp.asarray(params['head']['kernel'], dtype)}
  config = dataclasses.replace(
      config, scan_layers=not unroll, cpu_layout=unroll,
      matmul_dtype=dtype)
  return config, jax.tree.map(jnp.asarray, params)


def unembedding_matmul(config: ModelConfig):
  """(x [..., D], unembedding [D, V]) -> float32 logits, as losses need them."""
  return lambda x, w: ops.matmul(x, w, config.matmul_dtype)


def frozen_unembedding(config: ModelConfig, params):
  """[D, V] for losses that loop over chunks of rows; gets no gradient.

  In the dtype that it is multiplied in, and brought together on a mesh but for
  the vocabulary, before the loop and not once for every chunk.
  """
  head = jax.lax.stop_gradient(transformer.unembedding(params))
  return activations.gathered(head.astype(config.matmul_dtype), 1)


def insert_slot(config: ModelConfig, params, slot, index, level: int = -1):
  """Parameters in which pool entry `index` of every layer holds `slot`.

  Args:
    config: names the layout of `params`.
    params: parameters with slots, in either layout.
    slot: the entry's leaves, each [L, …], see `sleepjax.growth.slots`; of
      fewer layers, it belongs to the last ones of its level.
    index: which of the N slots; may be traced.
    level: whose pool, see `transformer.level_name`.

  Returns:
    New parameters; every other leaf is shared with `params`.
  """
  name = transformer.level_name(config, level)

  def replace(layer, leaf_at):
    """`layer` with its pool's leaves changed by leaf_at(old, slot's leaf)."""
    owner = layer if name is None else layer[name]
    pool = {**owner['slots'], **{
        k: leaf_at(owner['slots'][k], v) for k, v in slot.items()}}
    owner = {**owner, 'slots': pool}
    return owner if name is None else {**layer, name: owner}

  stop = config.layers_of(level).stop
  first = stop - len(slot['down'])
  if config.scan_layers:
    return {**params, 'layers': replace(
        params['layers'], lambda old, new: old.at[first:stop, index].set(new))}
  params, slot = dict(params), jax.tree.map(_by_layer, slot)
  for i in range(first, stop):
    params[f'layer_{i}'] = replace(
        params[f'layer_{i}'],
        lambda old, new, i=i: old.at[index].set(new[i - first]))
  return params


def layers_from(config: ModelConfig, params, first: int, stop: int):
  """A model of the layers from `first` to before `stop`, and its config.

  Args:
    config, params: a model, in either layout.
    first, stop: 0 <= first < stop <= L.

  Returns:
    (config, params); everything beside the layers is that model's own.
  """
  if not 0 <= first < stop <= config.num_layers:
    raise ValueError(
        f'layers {first} to {stop} of {config.num_layers}: expected 0 <= first '
        '< stop <= the number of layers.')
  params = dict(params)
  if config.scan_layers:
    params['layers'] = jax.tree.map(
        lambda leaf: leaf[first:stop], params['layers'])
  else:
    layers = [params.pop(f'layer_{i}') for i in range(config.num_layers)]
    params |= {f'layer_{i}': layer
               for i, layer in enumerate(layers[first:stop])}
  return config.of_layers(first, stop), params


def _by_layer(x):
  """x[0], x[1], ...: their gradients are put side by side in the backward pass;
  those of indexing would each be padded to the size of x and added up."""
  return [part[0] for part in jnp.split(x, len(x))]


def with_extra_slots(config: ModelConfig, params, extra_LxBxN):
  """Parameters with which every row of a batch uses more slots.

  Args:
    config: names the layout of `params`.
    params: parameters with N slots in the block's own MLP, in either layout.
    extra_LxBxN: [L, B, N] bool, by layer and row; closed slots stay closed.

  Returns:
    New parameters, for batches of B rows only.
  """
  def extended(layer, extra):
    return {**layer, 'slots': {**layer['slots'], 'extra': extra}}

  if config.scan_layers:
    return {**params, 'layers': extended(params['layers'], extra_LxBxN)}
  return {**params, **{
      f'layer_{i}': extended(params[f'layer_{i}'], extra)
      for i, extra in enumerate(extra_LxBxN)}}


def add_to_layers(config: ModelConfig, params, deltas):
  """Parameters with something added to matrices of the layers.

  Args:
    config: names the layout of `params`.
    params: parameters in either layout.
    deltas: part of the canonical params['layers']: {attn: {q [L, D, H, K], …},
      mlp: {gate [L, D, F], …}}, float32, of the matrices that change.

  Returns:
    New parameters; matrices that change are float32.
  """
  if config.cpu_layout:
    deltas = _deltas_outputs_first(config, deltas)

  def add(layer, at):
    changed = {module: {**layer[module], **{
        name: layer[module][name] + at(delta)
        for name, delta in matrices.items()}}
               for module, matrices in deltas.items()}
    return {**layer, **changed}

  if config.scan_layers:
    return {**params, 'layers': add(params['layers'], lambda delta: delta)}
  params, deltas = dict(params), jax.tree.map(_by_layer, deltas)
  for i in range(config.num_layers):
    params[f'layer_{i}'] = add(params[f'layer_{i}'], lambda d, i=i: d[i])
  return params


def _deltas_outputs_first(config, deltas):
  """The same as CPUs use them; of q, k, v and of gate, up, those that are
  missing are zero."""
  L, D = config.num_layers, config.embed_dim
  sizes = weight_map.axis_sizes(config)
  width = lambda name: math.prod(sized(MATRICES[name].outputs, sizes))

  def side_by_side(matrices, names):
    return jnp.concatenate(
        [matrices[name].reshape(L, D, -1).swapaxes(1, 2) if name in matrices
         else jnp.zeros((L, width(name), D), jnp.float32)
         for name in names], axis=1)

  turned = {}
  for module, wide, names, last in (
      ('attn', 'qkv', ('q', 'k', 'v'), 'o'),
      ('mlp', 'gate_up', ('gate', 'up'), 'down')):
    matrices = deltas.get(module, {})
    new = {}
    if any(name in matrices for name in names):
      new[wide] = side_by_side(matrices, names)
    if last in matrices:
      new['out'] = matrices[last].reshape(L, -1, D).swapaxes(1, 2)
    if new:
      turned[module] = new
  return turned
