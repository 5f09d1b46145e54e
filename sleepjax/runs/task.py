"""What a benchmark is: days to live, and an exam after every night."""

from collections.abc import Mapping
from typing import Any, Protocol

from sleepjax.lifecycle.cycle import SleepReport
from sleepjax.lifecycle.written import Day
from sleepjax.model import Model
from sleepjax.training.observer import Observer

# All that a task has found out so far, in JSON types; it is saved every night.
Progress = dict[str, Any]


class Task(Protocol):
  """Days, an exam after every night, a summary.

  Attributes:
    nights: how many there are.
    retains_base: whether the model before all sleeps writes what later nights
      rehearse and retain.
  """

  nights: int
  retains_base: bool

  def identity(self) -> Mapping[str, Any]:
    """What two runs must share besides model and configuration, JSON types."""
    ...

  def prepare(self, model: Model) -> Model:
    """The model with room for what it will grow; the same function.

    Raises:
      UserError: the task cannot be run with this model.
    """
    ...

  def with_room(self, model: Model, night: int) -> Model:
    """The model with room for this night's slot, if it has none left."""
    ...

  def before(self, model: Model, ready: Model, observer: Observer) -> Progress:
    """The first exam, before all nights.

    Args:
      model, ready: the same model, canonical and in compute layout.
      observer: is shown phases.
    """
    ...

  def day(self, night: int, progress: Progress) -> Day:
    """What is read before a night; it may depend on what came before."""
    ...

  def morning(self, night: int, model: Model, ready: Model,
              report: SleepReport, progress: Progress, observer: Observer
              ) -> float | None:
    """The exam after a night; adds to `progress` what it finds.

    Returns:
      The measure by which the best night is kept; higher is better. None if
      there is none.
    """
    ...

  def summary(self, progress: Progress, ready: Model, observer: Observer
              ) -> dict[str, Any]:
    """Entries of the report, from all that was found out.

    Args:
      progress: after the last night, which is saved.
      ready: the model then, in compute layout.
      observer: is shown phases.
    """
    ...

  def files(self, progress: Progress) -> Mapping[str, Any]:
    """Name -> contents of JSON files beside the report."""
    ...
