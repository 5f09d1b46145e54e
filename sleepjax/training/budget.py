"""How long a phase may go on."""

import dataclasses
import time

from sleepjax.mesh import distributed


@dataclasses.dataclass(frozen=True)
class Budget:
  """Limits of one phase of one cycle; 0 is no limit.

  The phase ends after the update, or the round of dreaming, with which one is
  reached. What is done until then depends on nothing else; with `seconds` how
  far it comes depends on the machine, and a run does not repeat.

  tokens: read or written by a model.
  steps: updates; in dreaming, its parts (four a round) and updates.
  seconds: of wall-clock time.
  """

  tokens: int = 0
  steps: int = 0
  seconds: float = 0.0

  def __post_init__(self):
    for name in ('tokens', 'steps', 'seconds'):
      if not getattr(self, name) >= 0:
        raise ValueError(
            f'{name}={getattr(self, name)} must not be negative; 0 is no '
            'limit.')


class Meter:
  """What a phase has spent of its budget; the clock starts now."""

  def __init__(self, budget: Budget = Budget()):
    self.budget, self.tokens, self.steps = budget, 0, 0
    self._started = time.monotonic()

  def spend(self, tokens: int, steps: int = 1):
    self.tokens += tokens
    self.steps += steps

  def spent(self) -> dict[str, float]:
    """What a meter needs to go on from here, as JSON types."""
    return {'tokens': self.tokens, 'steps': self.steps,
            'seconds': time.monotonic() - self._started}

  def restore(self, spent: dict[str, float]) -> None:
    """Goes on from what another meter had `spent`."""
    self.tokens, self.steps = spent['tokens'], spent['steps']
    self._started = time.monotonic() - spent['seconds']

  def exhausted(self) -> bool:
    b = self.budget
    return bool(
        b.tokens and self.tokens >= b.tokens
        or b.steps and self.steps >= b.steps
        or b.seconds and distributed.agreed(
            time.monotonic() - self._started >= b.seconds))
