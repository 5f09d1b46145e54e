"""Pictures drawn straight to files.

Nothing here has a window or a global backend: a backend that the environment
names, as notebooks do for the commands that they start, may not be there.
"""

import contextlib
import io
import os
import pathlib
import sys
from collections.abc import Callable, Iterator
from typing import Any

from sleepjax.data import files

_BACKEND = 'MPLBACKEND'


def draw(path: str | os.PathLike, fill: Callable[[Any], None], dpi: int,
         note: str = '', **options) -> None:
  """Draws a PNG picture into a file; draw after what it shows is written.

  A drawing that fails is one line on stderr: a run is worth more.

  Args:
    path: where to.
    fill: draws into the matplotlib `Figure` that it is given.
    dpi: pixels an inch.
    note: kept in the file, as its description.
    options: of the figure.

  Raises:
    UserError: the file system refuses the picture.
  """
  buffer = io.BytesIO()
  try:
    with _no_backend():
      from matplotlib.backends.backend_agg import FigureCanvasAgg
      from matplotlib.figure import Figure
    figure = Figure(**options)
    FigureCanvasAgg(figure)
    fill(figure)
    figure.savefig(buffer, format='png', dpi=dpi,
                   metadata={'Description': note} if note else None)
  except Exception as error:  # Of matplotlib, its settings, its fonts.
    reason = ' '.join(f'{type(error).__name__}: {error}'.split())[:200]
    print(f'{path}: not drawn ({reason}). All numbers are in '
          f'{pathlib.Path(path).parent}; the same command draws it again.',
          file=sys.stderr)
    return
  files.write(path, buffer.getvalue())


def note_of(path: str | os.PathLike) -> str | None:
  """Reads the note of a PNG picture; None without one, or without a picture."""
  from PIL import Image, UnidentifiedImageError
  try:
    with Image.open(path) as image:
      return image.info.get('Description')
  except (FileNotFoundError, UnidentifiedImageError):
    return None


@contextlib.contextmanager
def _no_backend() -> Iterator[None]:
  """matplotlib does not even import where the environment's is unknown."""
  named = os.environ.pop(_BACKEND, None)
  try:
    yield
  finally:
    if named is not None:
      os.environ[_BACKEND] = named
