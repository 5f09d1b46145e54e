"""The nights of a model: listed, saved alone, opened elsewhere, forgotten.

  python -m experiments.nights list --checkpoint=DIR
  python -m experiments.nights save --checkpoint=DIR --night=2 --out=FILE
  python -m experiments.nights open FILE --model=NAME --out=NEW_DIR
  python -m experiments.nights combine FILE FILE … --model=NAME --out=NEW_DIR
  python -m experiments.nights forget --checkpoint=DIR --night=2 --out=NEW_DIR

A night is what one sleep has learnt: a slot in every layer, a few MB. `save`
writes one as a safetensors file; `open` and `combine` add such files to another
copy of the model that they were learnt on (--model, or --checkpoint of one that
has slept), whose function is then the sum of all; `forget` takes nights away
(--night=2,3 of a document that took two), which gives the model that never had
them if they were the last, or learnt apart. NEW_DIR/model is the model, which
`ask` answers from; `combine` and `forget` also write
NEW_DIR/report.json: right answers to the questions about each night, before and
after. --without=DIR names a model that lived the same days without what is
forgotten, to be asked as well. --reseed=40 has the nights that were learnt
while a forgotten one was open learn their own answers once more, in so many
updates; it takes the folder of the run that slept, which knows what they were
asked.
"""

if __name__ == '__main__':
  from experiments import _start
  _start.command('nights')

import argparse
import pathlib
from collections.abc import Sequence

import rich.box
import rich.console
import rich.table

from experiments import _main, _start
from sleepjax import library
from sleepjax.errors import UserError
from sleepjax.evals import report as report_lib
from sleepjax.growth.night_files import card, read_night
from sleepjax.growth.nights import add_nights, save_night
from sleepjax.lifecycle.reseeding import Reseeding
from sleepjax.model import Model, load_pretrained
from sleepjax.models.export import check_new_folder
from sleepjax.runs import night_report
from sleepjax.training import checkpoints
from sleepjax.training.compilation_cache import enable_compilation_cache
from sleepjax.training.observer import shown


def main(argv: Sequence[str]) -> None:
  args = _parse(argv)
  out = None if args.out is None else pathlib.Path(args.out).expanduser()
  if args.action in ('open', 'combine', 'forget'):
    check_new_folder(out)
  enable_compilation_cache()
  {'list': _list, 'save': _save, 'open': _open, 'combine': _combine,
   'forget': _forget}[args.action](args, out)


def _list(args, out):
  del out
  table = rich.table.Table(box=rich.box.SIMPLE)
  for name in ('night', 'slot', 'read', 'date', 'parameters', 'learnt beside',
               'questions'):
    table.add_column(name, no_wrap=' ' not in name and name != 'read')
  for night in _model(args).nights():
    table.add_row(
        str(night.number), '–' if night.slot is None else str(night.slot),
        night.title or '(no title)', night.date, f'{night.parameters:,}',
        str(len(night.learnt_on)), str(len(night.questions)))
  rich.console.Console().print(table)


def _save(args, out):
  number, = args.night
  save_night(_model(args), number, out)
  print(card(read_night(out), with_settings=False), end='')
  print(f'Wrote {out}: {out.stat().st_size / 2**20:.1f} MiB.')


def _open(args, out):
  saved = [read_night(path) for path in args.files]
  _write(add_nights(_model(args), saved), out)


def _combine(args, out):
  saved = [read_night(path) for path in args.files]
  model, report = night_report.combined(_model(args), saved)
  _report(model, report, out)


def _forget(args, out):
  never = None if args.without is None else checkpoints.load_model(
      _main.model_folder(args.without))
  reseed = Reseeding(args.reseed) if args.reseed else None
  model, report = night_report.forgotten(
      _model(args), args.night, never, reseed=reseed,
      observer=shown() if reseed else None)
  _report(model, report, out)
  for entry in report.get('reseeded', ()):
    print(f'Night {entry["night"]} has learnt its answers once more'
          + (', and that was undone: it moved what should stay.'
             if entry['rolled_back'] else '.'))
  print('This is the model that never had them.' if report['exact'] else
        'Other nights were learnt while these were open, or the model has '
        'changed since: what they know may have changed, and something of '
        'what is forgotten may be left in them.')


def _report(model, report, out):
  print('\n'.join(night_report.lines(report)))
  _write(model, out)
  report_lib.write_report(out, report)


def _write(model, out):
  library.save(model, out / 'model')
  number = len(model.nights())
  nights = '1 night' if number == 1 else f'{number} nights'
  print(_start.as_called(
      f'Wrote {out}/model with {nights}; ask it with\n'
      f'  python -m experiments.ask --checkpoint={out} --question="…"'))


def _model(args) -> Model:
  if args.model is not None:
    return load_pretrained(args.model)
  return checkpoints.load_model(_main.model_folder(args.checkpoint))


def _numbers(text: str) -> tuple[int, ...]:
  return tuple(map(int, text.split(',')))


# What each action needs besides a model.
_NEEDS = {'list': (), 'save': ('night', 'out'), 'open': ('files', 'out'),
          'combine': ('files', 'out'), 'forget': ('night', 'out')}


def _parse(argv: Sequence[str]) -> argparse.Namespace:
  parser = _main.Parser('nights', __doc__)
  parser.add_argument('action', choices=_NEEDS)
  parser.add_argument('files', nargs='*', metavar='FILE',
                      help='nights that `save` has written')
  parser.add_argument('--checkpoint', metavar='DIR',
                      help='workdir of a run, or the folder of a saved model')
  parser.add_argument('--model', metavar='NAME',
                      help='a model before all nights: a name, a .gguf file, '
                           'or a Hugging Face folder')
  parser.add_argument('--night', type=_numbers, metavar='N',
                      help='numbers of nights, as `list` has them')
  parser.add_argument('--without', metavar='DIR',
                      help='a model that never had the forgotten nights')
  parser.add_argument('--reseed', type=int, default=0, metavar='UPDATES',
                      help='of each night that leant on the forgotten ones')
  parser.add_argument('--out', metavar='PATH',
                      help='a file for `save`, else a new folder')
  args = parser.parse_args(argv[1:])
  if (args.model is None) == (args.checkpoint is None):
    raise UserError('give --checkpoint=DIR, or --model=NAME of a model before '
                    'all nights. See --help.')
  for name in _NEEDS[args.action]:
    if not getattr(args, name):
      flag = 'a FILE' if name == 'files' else f'--{name}'
      raise UserError(f'nights {args.action}: {flag} is missing. See --help.')
  if args.action == 'save' and len(args.night) > 1:
    raise UserError(f'--night={",".join(map(str, args.night))}: a file holds '
                    'one night. Save one after the other.')
  if args.reseed < 0:
    raise UserError(f'--reseed={args.reseed}: it is a number of updates, and 0 '
                    'for none.')
  if args.files and 'files' not in _NEEDS[args.action]:
    raise UserError(f'nights {args.action}: takes no FILE, got '
                    f'{args.files[0]!r}. See --help.')
  return args
