"""Tasks of ARC-AGI-1, as those of generated grids come."""

import os
from collections.abc import Callable

import numpy as np

from sleepjax.data import grids, prepared
from sleepjax.data.grids import Pair, Task
from sleepjax.errors import UserError

DATA = 'arc_agi1/all', 'arc_agi1/seal'
# The split of each part. SEAL has no others to choose by than those that its
# writer is trained on.
_SPLITS = {'train': 'training', 'choice': 'training', 'exam': 'evaluation'}


def from_data(name: str, data_dir: str | os.PathLike | None = None
              ) -> Callable[[str, int, int], list[Task]]:
  """(part, how many, seed) -> tasks of a data set, drawn without repetition.

  Args:
    name: one of `DATA`.
    data_dir: where tensorflow-datasets keeps its data; its default if None.

  Raises:
    UserError: an unknown name; later, that there are not so many tasks.
  """
  if name not in DATA:
    raise UserError(
        f'data={name!r} must be one of generated, {", ".join(DATA)}.')

  def tasks(part: str, count: int, seed: int) -> list[Task]:
    # Registers them, and takes half a second.
    from sleepjax.data import builders  # noqa: F401
    rows = prepared.rows(name, _SPLITS[part], data_dir)
    if count > len(rows):
      raise UserError(f'{name} has {len(rows)} tasks for {part}, not {count}: '
                      'lower it in config.bed.')
    return [_task(rows[int(place)]) for place in
            np.random.default_rng(seed).permutation(len(rows))[:count]]

  return tasks


def _task(row) -> Task:
  return Task(prepared.text(row['id']), *(
      [Pair(*(grids.read_grid(prepared.text(text)) for text in pair))
       for pair in zip(row[part]['input'], row[part]['output'], strict=True)]
      for part in ('train', 'test')))
