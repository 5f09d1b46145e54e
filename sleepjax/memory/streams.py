"""Several streams side by side, each with fast weights of its own.

They share a model, which stays as it is, and read a window each at a time. What
one of them handed over would be a slot of a level that all share, and so be
known in the others: here levels only learn awake, and nothing leaks.
"""

import jax
import numpy as np

from sleepjax.errors import UserError
from sleepjax.memory import clock, wake
from sleepjax.memory.continuum import ContinuumConfig
from sleepjax.memory.wake import WakeState
from sleepjax.models.config import ModelConfig


def check_awake(settings: ContinuumConfig, streams: int) -> None:
  """Refuses settings that hand over what several streams say.

  Raises:
    UserError: they do.
  """
  if settings.sleep is not None:
    raise UserError(
        f'{streams} streams side by side, and levels that hand over: slots '
        'that one stream fills are open in all, which would then know of each '
        'other. Set continuum.sleep = None, as configs/memory/side_by_side.py '
        'does, so that levels only learn awake; or read one stream at a time.')


def init_state(config: ModelConfig, params, settings: ContinuumConfig,
               streams: int) -> WakeState:
  """The state of so many streams before their first token, leaves [B, ...].

  Args:
    config, params: of a model with these levels, see `continuum.add_levels`.
    settings: with sleep=None.
    streams: B.

  Raises:
    UserError: `settings` hand over.
  """
  check_awake(settings, streams)
  return wake.init_wake(config, params, settings.wake, rows=streams)


def read(config: ModelConfig, params, settings: ContinuumConfig,
         state: WakeState, windows_BxT) -> tuple[WakeState, dict]:
  """Reads the next window of every stream; levels step as they fall due.

  A stream gives what `continuum.read` gives for it alone.

  Args:
    config, params, settings: as of `init_state`.
    state: where reading goes on; stays as it is.
    windows_BxT: token ids, of each stream as many as the attention chunk has.

  Returns:
    (state, metrics): `loss` [B] in nats per token, `tokens` [B] with a loss,
    and what `continuum.read` reports besides, `tokens_read` of each stream.

  Raises:
    ValueError: windows of another length, or of another number of streams.
  """
  size = settings.wake.chunks[0]
  if windows_BxT.shape[-1] != size:
    raise ValueError(f'windows of shape {windows_BxT.shape} must have the '
                     f'{size} tokens of the attention chunk.')
  state, metrics = wake.read_window(
      config, params, settings.wake, state, windows_BxT)
  wake.check_read(config, params, state, metrics)
  now = int(np.max(state.tokens_read))
  due = clock.due(now, settings.wake.chunks)
  for sender, _ in due:
    if sender:
      state = wake.updated(settings.wake, state, sender - 1)
  return state, {**metrics, 'tokens_read': now, 'due': due, 'hand_overs': [],
                 'sleeps': 0}


def model_of(config: ModelConfig, params, state: WakeState, stream: int):
  """Canonical parameters of the model that has read one of the streams."""
  return wake.merge_levels(config, params, jax.tree.map(
      lambda leaf: leaf[stream], state.weights))
