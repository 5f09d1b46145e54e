"""Renders the results that documentation keeps: JSON into pages and pictures.

  python -m experiments.results

Every docs/results/NAME.json, whose format `sleepjax.runs.results` has, becomes
a page of tables with configuration, commit, machine, date and seeds beside each
row. With --check nothing is written: what is not as its JSON renders it is
named, and the status is 1.
"""

if __name__ == '__main__':
  from experiments import _start
  _start.command('results')

import argparse
import pathlib
from collections.abc import Sequence

from experiments import _main
from sleepjax.runs import results


def main(argv: Sequence[str]) -> int:
  args = _parse(argv)
  folder = pathlib.Path(args.folder).expanduser()
  if not args.check:
    for path in results.render(folder):
      print(path)
    return 0
  stale = results.stale(folder)
  for name in stale:
    print(f'{folder / name}: not what its JSON renders to; '
          'run python -m experiments.results.')
  return 1 if stale else 0


def _parse(argv: Sequence[str]) -> argparse.Namespace:
  parser = _main.Parser('results', __doc__)
  parser.add_argument('--folder', default='docs/results',
                      help='where the JSON files are')
  parser.add_argument('--check', action='store_true',
                      help='write nothing, name what is out of date')
  return parser.parse_args(argv[1:])
