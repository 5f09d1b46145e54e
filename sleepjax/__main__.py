"""Runs a command: `sleepjax NAME` or `python -m sleepjax NAME`."""

import pathlib
import sys


def main() -> None:
  """Ends the process with the command's status.

  Commands and configurations are the packages `experiments` and `configs` that
  came with this one: inside of it where it was installed, beside it in a
  checkout. They are found first, whatever is called so in the current folder.
  """
  package = pathlib.Path(__file__).resolve().parent
  inside = package / 'bundled'
  sys.path.insert(0, str(inside if inside.is_dir() else package.parent))
  from experiments import _start
  own = sys.argv[0] == __file__
  _start.dispatch(sys.argv, 'python -m sleepjax ' if own else 'sleepjax ')


if __name__ == '__main__':
  main()
