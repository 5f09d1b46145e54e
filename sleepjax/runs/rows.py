"""Rows of a table: one for each arm, seed and item, found or made."""

import dataclasses
import itertools
import json
import pathlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from sleepjax.errors import UserError
from sleepjax.evals import report as report_lib
from sleepjax.mesh import distributed
from sleepjax.runs import folder as folder_lib


class Cell(NamedTuple):
  """Which row: an arm, a seed, and what it is of (a passage, a task)."""

  arm: str
  seed: int
  item: str = 'all'


@dataclasses.dataclass(frozen=True)
class Comparison:
  """What is compared.

  arms: their names; the others are compared with the first.
  seeds: one run of every arm for each.
  """

  arms: tuple[str, ...]
  seeds: tuple[int, ...]

  def __post_init__(self):
    for name in ('arms', 'seeds'):
      values = getattr(self, name)
      if not values or len(set(values)) < len(values):
        raise ValueError(f'{name}={values} must be different, at least one.')
    if min(self.seeds) < 0:
      raise ValueError(f'seeds={self.seeds} must not be negative.')


def cells(arms: Iterable[str], seeds: Iterable[int],
          items: Iterable[str] = ('all',)) -> list[Cell]:
  """Every arm once before the next item, every item before the next seed.

  So that an early end leaves a fair table.
  """
  return [Cell(arm, seed, item)
          for seed, item, arm in itertools.product(seeds, items, arms)]


class Rows:
  """Finished rows, a JSON file each, that a later run skips.

  DIR/rows/ARM/seed_SEED/ITEM.json holds {"same": ..., "row": ...}.
  """

  def __init__(self, folder: pathlib.Path,
               same: Mapping[str, Mapping[str, Any]]):
    """Says where they are, and of what.

    Args:
      folder: of the table.
      same: arm -> what every row of it must have been made with, JSON types.
    """
    self._folder = pathlib.Path(folder) / 'rows'
    self._same = json.loads(json.dumps(dict(same)))

  def path(self, cell: Cell) -> pathlib.Path:
    return (self._folder / cell.arm / f'seed_{cell.seed}'
            / f'{cell.item}.json')

  def get(self, cell: Cell) -> dict[str, Any] | None:
    """The finished row, or None.

    Raises:
      UserError: the file is damaged, or a row of other settings.
    """
    path = self.path(cell)
    if not path.exists():
      return None
    try:
      found = json.loads(path.read_text(encoding='utf-8'))
      row, same = found['row'], found['same']
    except (ValueError, KeyError, TypeError) as error:
      raise UserError(
          f'{path}: no row of a table ({error}). Delete it to have it made '
          'again.') from error
    folder_lib.check_same(path, same, self._same[cell.arm])
    return row

  def put(self, cell: Cell, row: Mapping[str, Any]) -> dict[str, Any]:
    """Keeps a row; as JSON gives it back."""
    contents = report_lib.plain({'same': self._same[cell.arm], 'row': row})
    report_lib.write_json(self.path(cell), contents)
    return contents['row']

  def fill(self, wanted: Iterable[Cell],
           make: Callable[[Cell], Mapping[str, Any]]
           ) -> Iterator[tuple[Cell, dict[str, Any]]]:
    """Every wanted cell with its row, made where there is none yet."""
    for cell in wanted:
      row = self.get(cell)
      if distributed.agreed(row is None) or row is None:
        row = self.put(cell, make(cell))
      yield cell, row
