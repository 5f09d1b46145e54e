"""Earlier versions of what a run saves: the latest few, and the best one.

The newest save is all that a run needs to go on. On request others stay beside
it, each a saved folder like it (`sleepjax.training.checkpoints`):

  DIR/kept/000003     what was saved with number 3: a night, a step
  DIR/kept/kept.json  {"measures": {"000003": 0.97, …}, "best": "000003"}

Files are linked, not copied, where the file system can do that: a save is never
written into again.
"""

import dataclasses
import json
import os
import shutil

from sleepjax.errors import UserError
from sleepjax.mesh import distributed
from sleepjax.training import saved_folder


@dataclasses.dataclass(frozen=True)
class KeepConfig:
  """Which saves stay.

  latest: so many of the last ones; 0 keeps none besides the newest save itself.
  best: also the one with the highest measure, the first of equal ones.
  """

  latest: int = 0
  best: bool = False

  def __post_init__(self):
    if self.latest < 0:
      raise ValueError(f'latest={self.latest} must not be negative.')


def retain(saved: str | os.PathLike, number: int, measure: float | None,
           settings: KeepConfig) -> None:
  """Keeps a save, and drops those that no longer are to be kept.

  To be called after every save, and by a run that goes on with the save that it
  goes on from: then what is kept does not depend on when a run was killed. Of
  several processes, which all call this, the first one does it.

  Args:
    saved: the folder that was just saved.
    number: of the save, larger every time.
    measure: higher is better; None is never the best.
    settings: which stay.

  Raises:
    UserError: the folder of kept saves cannot be written.
  """
  if not (settings.latest or settings.best and measure is not None):
    return
  if distributed.is_first():
    _retain(saved, number, measure, settings)
  distributed.barrier(f'kept {number}')


def _retain(saved, number, measure, settings):
  saved = saved_folder.complete_version(saved)
  kept = saved.parent / 'kept'
  try:
    kept.mkdir(exist_ok=True)
    for leftover in kept.glob('*.part'):
      shutil.rmtree(leftover)
    name, index = f'{number:06d}', kept / 'kept.json'
    measures = (json.loads(index.read_text(encoding='utf-8'))['measures']
                if index.exists() else {})
    if not _same(saved, kept / name):
      part = kept / f'{name}.part'
      shutil.copytree(saved, part, copy_function=_link)
      shutil.rmtree(kept / name, ignore_errors=True)
      part.rename(kept / name)
    # What has a larger number was kept by a run that is no longer here.
    numbers = sorted({int(n) for n in measures if int(n) < number} | {number})
    measures = {f'{n:06d}': measures.get(f'{n:06d}') for n in numbers}
    measures[name] = measure
    stay = list(measures)[max(0, len(measures) - settings.latest):]
    known = [n for n in measures if measures[n] is not None]
    best = max(known, key=measures.get) if settings.best and known else None
    measures = {n: m for n, m in measures.items() if n in stay or n == best}
    # The index last but for deleting: what it names is there.
    written = index.with_suffix('.writing')
    written.write_text(json.dumps(
        {'measures': measures, 'best': best}, indent=1) + '\n',
        encoding='utf-8')
    os.replace(written, index)
    for old in kept.iterdir():
      if old.is_dir() and old.name not in measures:
        shutil.rmtree(old)
  except (OSError, ValueError, KeyError) as error:
    raise UserError(
        f'{kept}: {saved.name} could not be kept there ({error}). The newest '
        f'save is complete in {saved}. Make room, grant access or delete '
        f'{kept}, then run the same command again.') from error


def _same(saved, kept):
  """Whether it is this save that is kept: its JSON has all checksums."""
  return all((kept / path.name).is_file()
             and (kept / path.name).read_bytes() == path.read_bytes()
             for path in saved.glob('*.json'))


def _link(source, target):
  try:
    os.link(source, target)
  except OSError:  # Another file system, or one without links.
    shutil.copy2(source, target)
