"""Tables whose rows are lives: an arm, a seed, and a night after each day."""

import contextlib
import json
import pathlib
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from configs.class_incremental.arms import with_arm
from experiments import _config, _host_pages, _main
from sleepjax.lifecycle.config import SleepConfig
from sleepjax.mesh import distributed
from sleepjax.runs import nights, rows
from sleepjax.runs.rows import Cell
from sleepjax.runs.session import Saving

# Of a configuration, what says which rows there are and not what is in one.
_WHICH = 'arms', 'seeds', 'chosen', 'tried', 'choice_seed', 'sleep', 'mesh'


def identities(config, sleeps, untaught: Sequence[str]) -> dict[str, Any]:
  """What the rows of each arm are of, JSON types.

  More arms and seeds repeat nothing, and neither do other choices but of their
  own arm.

  Args:
    config: of the command.
    sleeps: arm that learns -> its config.sleep.
    untaught: arms that do not.
  """
  same = {name: value for name, value in config.to_dict().items()
          if name not in _WHICH}
  if same['model']:
    same.pop('pretrained', None)
  asked = {'answer_prompt': config.sleep.answer_prompt}
  return {arm: json.loads(json.dumps({**same, 'sleep': (
      sleeps[arm].to_dict() if arm in sleeps else asked)}))
          for arm in (*untaught, *sleeps)}


def settings_of(sleeps) -> dict[str, SleepConfig]:
  """The settings of every arm that learns, checked."""
  return {arm: _config.to_dataclass(
      SleepConfig, sleep, f'config.sleep of {arm}')
          for arm, sleep in sleeps.items()}


@contextlib.contextmanager
def unfinished(workdir: pathlib.Path, cell: Cell, entries: Mapping[str, Any],
               saving: Saving) -> Iterator[nights.Run]:
  """The place of a life, which is removed when its row is made.

  Args:
    workdir: of the table.
    cell: of the row.
    entries: what the row is of.
    saving: of the life.
  """
  place = nights.Run(
      workdir / 'unfinished' / f'{cell.arm}_{cell.seed}_{cell.item}', entries,
      cell.seed, saving, _host_pages.give_back)
  yield place
  if distributed.is_first():
    shutil.rmtree(place.workdir)


def cost(report: Mapping[str, Any]) -> dict[str, float]:
  """Parameters that a life has grown, and what its nights have taken."""
  return {
      'grown': report['params_after'] - report['params_before'],
      **{f'night_{unit}': sum(report[unit].get(phase, 0) for phase in (
          'grow', 'wake', 'write', 'seed')) for unit in ('seconds', 'tokens')}}


def choose(config, make: Callable[..., Any], workdir: pathlib.Path,
           identities_of: Callable[..., dict[str, Any]],
           measure: Callable[[Mapping[str, Any]], float]) -> None:
  """Runs every arm at each value; tells what it had in the end.

  Args:
    config: of the command.
    make: (cell, settings, what its row is of) -> the row.
    workdir: of these rows.
    identities_of: (config, arm -> config.sleep) -> what the rows are of.
    measure: of a row, the higher the better.
  """
  for arm in config.arms:
    ends = {}
    for value in config.tried.get(arm, ()):
      sleep = with_arm(config.sleep, arm, {
          **config.chosen.to_dict(), arm: value})
      chosen = settings_of({arm: sleep})[arm]
      same = identities_of(config, {arm: sleep})[arm]
      made = rows.Rows(workdir, {arm: {'config': same}})
      for _, row in made.fill(
          [Cell(arm, config.choice_seed, f'{value:g}')],
          lambda cell, chosen=chosen, same=same: make(cell, chosen, same)):
        ends[value] = measure(row)
    if ends:
      said = ', '.join(f'{value:g} {end:.3f}' for value, end in ends.items())
      _main.tell(f'{arm}: {said}; best {max(ends, key=ends.get):g}')
