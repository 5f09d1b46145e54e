"""The guard against numbers that are none: a run stops at the first of them.

The loss of a step is on the host anyway and is checked every time; the leaves
are looked at only once it is not finite, to say which, and before anything is
saved. The state that was saved last is therefore finite.
"""

import math

import jax
import jax.numpy as jnp
import numpy as np

from sleepjax.errors import NotFiniteError
from sleepjax.models.named_leaves import named_leaves

_LISTED = 5


def check_loss(phase: str, step: int | str, loss: float, tree,
               advice: str) -> None:
  """Stops a run whose loss is not a number.

  Args:
    phase: of the run, e.g. 'seed'.
    step: within it.
    loss: of this step.
    tree: what the step has made; searched for its part.
    advice: what may help, a sentence.

  Raises:
    NotFiniteError: naming phase, step and the paths of leaves.
  """
  if math.isfinite(loss):
    return
  found = not_finite(tree)
  where = f'Not finite: {found}.' if found else (
      'All leaves are finite: the loss itself overflows.')
  raise NotFiniteError(
      f'{phase}, step {step}: the loss is {loss}. {where} {advice} What was '
      'saved before is untouched.')


def check_state(phase: str, step: int | str, tree, advice: str) -> None:
  """Stops a run where no single loss tells whether all went well.

  Raises:
    NotFiniteError: naming phase, step and the paths of leaves.
  """
  found = not_finite(tree)
  if found:
    raise NotFiniteError(f'{phase}, step {step}: not finite: {found}. {advice} '
                         'What was saved before is untouched.')


def check_leaves(what: str, tree) -> None:
  """Refuses a tree with a float that is not finite.

  Raises:
    NotFiniteError: with the paths.
  """
  found = not_finite(tree)
  if found:
    raise NotFiniteError(
        f'{what} is not saved, because it is not finite: {found}. Lower the '
        'learning rate or find what overflows; what was saved before is '
        'untouched.')


@jax.jit
def _number_not_finite(leaf):
  return (~jnp.isfinite(leaf)).sum()


def not_finite(tree) -> str:
  """The leaves that hold NaN or infinity and how much of it; '' if none does.

  On several hosts all of them have to ask.
  """
  rows = []
  for name, leaf in named_leaves(tree).items():
    if not jnp.issubdtype(jnp.result_type(leaf), jnp.floating):
      continue
    here = getattr(leaf, 'is_fully_addressable', True)
    bad = int(np.sum(~np.isfinite(np.asarray(leaf))) if here
              else _number_not_finite(leaf))
    if bad:
      rows.append(f'{name} ({bad} of {np.size(leaf)})')
  more = f' and {len(rows) - _LISTED} more' if len(rows) > _LISTED else ''
  return ', '.join(rows[:_LISTED]) + more
