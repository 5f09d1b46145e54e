"""Who watches a run: shows it, writes its metrics, saves it.

Code of the method names a phase and its numbers and nothing else; what becomes
of them is the observer's. One that is silent does none of it.
"""

import contextlib
import dataclasses
import io
from collections.abc import Callable, Mapping
from typing import Any

import rich.console

from sleepjax.training.budget import Budget, Meter
from sleepjax.training.metrics import MetricsWriter
from sleepjax.training.phase_saves import NO_SAVES, PhaseSaves
from sleepjax.training.progress import Display, Phase


@dataclasses.dataclass(frozen=True)
class Watched:
  """A phase that is watched.

  report: gets (step, metrics, tokens) of each step.
  meter: of its budget.
  saves: of what is unfinished in it.
  """

  report: Callable[[int, dict, int], None]
  meter: Meter = dataclasses.field(default_factory=Meter)
  saves: PhaseSaves = NO_SAVES


class Observer:
  """Shows phases, writes metrics, saves what is unfinished.

  Attributes:
    display: of phases; it measures their seconds and tokens.
    saves: of the phases of a cycle.
  """

  def __init__(self, display: Display | None = None,
               metrics: MetricsWriter | None = None,
               saves: PhaseSaves = NO_SAVES):
    """Says who watches.

    Args:
      display: None shows nothing.
      metrics: where a line for every step goes; None keeps none.
      saves: None of what is unfinished by default.
    """
    self.display = display or Display(
        rich.console.Console(file=io.StringIO(), quiet=True))
    self._metrics, self.saves = metrics, saves

  def phase(self, name: str, total: int | None = None
            ) -> contextlib.AbstractContextManager[Phase]:
    """One phase of the run, shown and measured; see `Display.phase`."""
    return self.display.phase(name, total)

  def say(self, line: str) -> None:
    """Shows what a person should know at once."""
    self.display.say(line)

  def wrote(self, phase: str, step: int, values: Mapping[str, Any]) -> None:
    """Notes the numbers of one step of a phase."""
    if self._metrics is not None:
      self._metrics.write(phase, step, values)

  def meter(self, budget: Budget) -> Meter:
    """What a phase may spend; its clock starts now."""
    return Meter(budget)


def shown(after_phase: Callable[[], None] = lambda: None) -> Observer:
  """One that shows phases on the terminal, or as lines in a log."""
  return Observer(Display(after_phase=after_phase))


def silent() -> Observer:
  """One that shows nothing, writes nothing and saves nothing."""
  return Observer()
