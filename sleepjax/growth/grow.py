"""grow(plan)(state) -> state: a whole training state becomes a larger one.

  larger = grow([MlpWidth(512), AppendSlot(64)])(state, key)

Parameters, the moments of the optimizer and the lineage grow together, so that
training goes on where it was. The function is pure and can be jitted; on a mesh
it leaves a sharded state sharded.
"""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np
import optax

from sleepjax.errors import UserError
from sleepjax.growth import exchange
from sleepjax.growth import expansion as lib
from sleepjax.growth.expansion import Expansion
from sleepjax.models import finite, transformer
from sleepjax.models.config import ModelConfig
from sleepjax.sampling import rows as rows_lib

Operator = Callable[[ModelConfig], Expansion]

# Fields of optimizers' states that are like the parameters: 1 for sums of
# gradients, 2 for sums of their squares.
_ORDERS = {'mu': 1, 'trace': 1, 'acc_grads': 1,
           'nu': 2, 'nu_max': 2, 'sum_of_squares': 2}


@flax.struct.dataclass
class ModelState:
  """What growth changes together.

  params: canonical parameters.
  opt_state: of an optax optimizer that keeps nothing but numbers, moments of
    gradients and moments of their squares for all parameters: SGD, momentum,
    Lion, Adam and its like, AdaGrad, RMSProp without momentum, chains of them.
    Others are refused, but for Adamax, whose state looks like Adam's and is not
    scaled rightly. Or None.
  config: of the parameters.
  lineage: the operators that led here, as text, in order.
  """

  params: Any
  opt_state: Any
  config: ModelConfig = flax.struct.field(pytree_node=False)
  lineage: tuple[str, ...] = flax.struct.field(
      pytree_node=False, default=())


def validate(plan: Sequence[Operator], config: ModelConfig, params=None):
  """The expansions of a plan, if they fit: needs no memory for parameters.

  Args:
    plan: operators, applied in order.
    config: of the model before.
    params: its parameters or their shapes; those of `config` by default.

  Returns:
    list of Expansion, one for each operator.

  Raises:
    UserError: an operator refuses, or the leaves do not come out as the larger
      config needs them; the message is a table path / have / want.
  """
  have = transformer.abstract_params(config)
  if params is not None:
    wrong = lib.misfits(params, have)
    if wrong:
      raise UserError(f'the parameters do not fit their config:\n{wrong}')
  expansions = []
  for operator in plan:
    step = operator(config)
    have, config = lib.expand_shapes(step.changes, have), step.config
    wrong = lib.misfits(have, transformer.abstract_params(config))
    if wrong:
      raise UserError(f'{operator} does not lead to its config:\n{wrong}')
    expansions.append(step)
  return expansions


def _map_moments(function, opt_state, params):
  """opt_state with function(tree, order) in place of each params-like tree."""
  shapes = lambda tree: jax.tree.map(jnp.shape, tree)
  like = shapes(params)
  matches = lambda node: shapes(node) == like
  orders = []

  def changed(path, node):
    if matches(node):
      name = getattr(path[-1], 'name', '') if path else ''
      order = _ORDERS.get(name)
      if order is None:
        refuse(path, 'is not known to be a moment of gradients')
      if name == 'trace' and 2 in orders:
        refuse(path, 'sums updates that are divided by a second moment')
      orders.append(order)
      return function(node, order)
    if np.ndim(node):
      refuse(path, f'of shape {np.shape(node)} is neither a number nor shaped '
             'like the parameters')
    return node

  def refuse(path, why):
    raise ValueError(
        f'optimizer state {jax.tree_util.keystr(path)} {why}: growth does not '
        'know how it should grow. Use SGD, momentum or Adam, or start the '
        'optimizer anew.')

  return jax.tree_util.tree_map_with_path(changed, opt_state, is_leaf=matches)


def grow(plan: Sequence[Operator], mesh=None):
  """The function (state, key) -> larger state that a plan stands for.

  Each operator draws from `key` folded with its place in the plan.

  Args:
    plan: operators, applied in order.
    mesh: where the state lies as `sleepjax.mesh.sharding` says; so does
      the larger one, and no device ever holds a whole leaf that is split. Jit
      the function then: a plan is one program.

  Raises:
    UserError, from the function: see `validate` and `exchange`; nothing was
      computed then.
  """
  plan = tuple(plan)

  def grown(state: ModelState, key) -> ModelState:
    params, opt_state = state.params, state.opt_state
    steps = validate(plan, state.config, params)
    for i, step in enumerate(steps):
      opt_state = _map_moments(
          lambda tree, order, step=step: lib.expand_moments(
              step.changes, tree, order, mesh), opt_state, params)
      params = lib.expand_params(
          step.changes, params, jax.random.fold_in(key, i), mesh)
    config = steps[-1].config if steps else state.config
    larger = dataclasses.replace(
        state, params=params, opt_state=opt_state, config=config,
        lineage=(*state.lineage, *map(str, plan)))
    return larger if mesh is None else exchange.resharded(state, larger, mesh)

  return grown


def new_entries(plan: Sequence[Operator], config: ModelConfig):
  """Masks like the larger parameters, true where an entry was not there."""
  masks = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, bool),
                       transformer.abstract_params(config))
  for step in validate(plan, config):
    masks = lib.expand_is_new(step.changes, masks)
  return masks


class WarmUpState(NamedTuple):
  updates: jax.Array


def warm_up_new(masks, steps: int) -> optax.GradientTransformation:
  """Scales the updates of new entries by min(1, (t + 1) / steps).

  Put it last in a chain, after the learning rate.

  Args:
    masks: of `new_entries`.
    steps: updates until new entries learn as fast as the others.
  """
  if steps < 1:
    raise ValueError(f'steps={steps} must be at least 1.')

  def update(updates, state, params=None):
    del params
    factor = jnp.minimum(1.0, (state.updates + 1) / steps)
    updates = jax.tree.map(
        lambda u, new: jnp.where(new, u * factor.astype(u.dtype), u),
        updates, masks)
    return updates, WarmUpState(state.updates + 1)

  return optax.GradientTransformation(
      lambda params: WarmUpState(jnp.int32(0)), update)


def max_logit_change(before: ModelState, after: ModelState, tokens) -> float:
  """max |Δlogit| on token ids [T], in float32: what growth must keep small.

  Padded to a multiple of 64 tokens, so that few programs are compiled.

  Raises:
    NotFiniteError: of either model, naming the leaves.
  """
  rows = rows_lib.pad_right([tokens], rows_lib.bucket(len(tokens), 64))
  change = jnp.abs(_logits(before.config, before.params, *rows)
                   - _logits(after.config, after.params, *rows))
  change = float(change[0, :len(tokens)].max())
  finite.check_loss(
      'grow', len(after.lineage), change, after.params,
      'Too large numbers were duplicated, or new ones are not finite.',
      [finite.Cause('the model before it grew', before.params,
                    'Growth is not to blame: load another copy of the model.')],
      'the largest change of a logit')
  return change


_logits = jax.jit(transformer.logits, static_argnums=0)
