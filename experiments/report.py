"""What runs have done, as one HTML page to look at.

  python -m experiments.report RUN [RUN …] [--out=PAGE.html]

RUN is the folder of a run that has ended, its --workdir. The page has every
sentence that was read with what was asked about it, verified and given up;
every question with its answers before, after and in view; losses and rewards
over steps; hand-overs, harm and cost; of days and nights, what is known of each
day after each night. It is one file that asks for nothing else: no network, no
script. Without --out it is RUN/report.html of the first run.
"""

if __name__ == '__main__':
  from experiments import _start
  _start.command('report')

import pathlib
from collections.abc import Sequence

from experiments import _main
from sleepjax.evals import page


def main(argv: Sequence[str]) -> None:
  parser = _main.Parser('report', __doc__)
  parser.add_argument('runs', nargs='+', metavar='RUN',
                      help='folder of a run that has ended')
  parser.add_argument('--out', metavar='FILE', help='the page')
  args = parser.parse_args(argv[1:])
  out = pathlib.Path(args.out or pathlib.Path(args.runs[0]) / 'report.html')
  page.write(out, [page.read_run(folder) for folder in args.runs])
  print(f'Wrote {out.expanduser()}')
