"""The guard against numbers that are none: a run stops at the first of them.

The loss of a step is on the host anyway and is checked every time; the leaves
are looked at only once it is not finite, to say which, and before anything is
saved. The state that was saved last is therefore finite. What a step was made
from is looked at before what it has made: the first that is not finite is the
cause, and the advice is that of the cause.
"""

import math
from collections.abc import Iterable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from sleepjax.errors import NotFiniteError
from sleepjax.models.named_leaves import named_leaves

_LISTED = 5


class Cause(NamedTuple):
  """Something that a step was made from.

  what: its name in a message, e.g. "the model's weights".
  tree: its numbers.
  advice: what may help if they are not finite, a sentence.
  """

  what: str
  tree: Any
  advice: str


def check_loss(phase: str, step: int | str, loss: float, tree,
               advice: str, causes: Iterable[Cause] = (),
               what: str = 'the loss') -> None:
  """Stops a run whose loss is not a number.

  Args:
    phase: of the run, e.g. 'seed'.
    step: within it.
    loss: of this step.
    tree: what the step has made; searched for its part.
    advice: what may help if nothing that came before is to blame, a sentence.
    causes: what the step was made from, in the order in which it came to be; a
      generator is asked only if the loss is not finite.
    what: the number that `loss` is.

  Raises:
    NotFiniteError: naming phase, step and the first cause that is not finite,
      with the paths of its leaves, or those of `tree`.
  """
  if math.isfinite(loss):
    return
  where = _first(causes)
  if not where:
    found = not_finite(tree)
    where = (f'Not finite: {found}.' if found else
             f'All leaves are finite: {what} itself overflows.')
    where = f'{where} {advice}'
  raise NotFiniteError(
      f'{phase}, step {step}: {what} is {loss}. {where} What was saved before '
      'is untouched.')


def _first(causes):
  """The first cause that is not finite, with its advice; '' if all are."""
  for cause in causes:
    found = not_finite(cause.tree)
    if found:
      return (f'The first that is not finite: {cause.what}: {found}. '
              f'{cause.advice}')
  return ''


def check_hidden(reader: str, hidden, mask, params) -> None:
  """Refuses what a model has made of rows, if it is not finite.

  Args:
    reader: whose hidden states they are, e.g. 'the old self'.
    hidden: [n, N, D] on the host.
    mask: [n, N] bool, true where they count.
    params: of the model that has read.

  Raises:
    NotFiniteError: naming the first row, and the weights that are not finite.
  """
  bad = ~np.isfinite(hidden).all(-1) & np.asarray(mask)
  if not bad.any():
    return
  row = int(np.argmax(bad.any(-1)))
  found = not_finite(params)
  why = (f'The weights are not: {found}. Load another copy of the model.'
         if found else 'All its weights are finite: they overflow as it reads. '
         'Leave this text out, or multiply in float32.')
  raise NotFiniteError(
      f'{reader} reads row {row} of {len(bad)}: the hidden states of '
      f'{bad[row].sum()} of its {np.sum(mask[row])} tokens are not finite. '
      f'{why}')


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
