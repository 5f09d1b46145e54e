"""What every command shares: how it begins, and how it ends.

A command is a function

  def main(argv):
    config = _config.from_flags(argv, default='configs/name.py')
    ...

and begins as `experiments._start` says. It is called as
`python -m experiments.name --config.field=value`.
"""

import argparse
import errno
import importlib.util
import logging
import os
import pathlib
import signal
import sys
from collections.abc import Callable, Sequence
from typing import NoReturn

from experiments import _backends, _config, _host_pages, _start
from sleepjax.data import files
from sleepjax.errors import UserError
from sleepjax.training import background, interrupts, preemption

_BROKEN_PIPE = 128 + signal.SIGPIPE
_NO_ROOM = errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS


def run_command(name: str, argv: Sequence[str]) -> NoReturn:
  """Imports a command and runs it; the last part of `experiments._start`."""
  def main(argv):
    module = importlib.import_module(f'experiments.{name}')
    if signal.getsignal(signal.SIGINT) != signal.SIG_IGN:
      signal.signal(signal.SIGINT, interrupts.hear)
    if signal.getsignal(signal.SIGTERM) != signal.SIG_IGN:
      signal.signal(signal.SIGTERM, signal.SIG_DFL)
    if not _start.asks_for_help(argv):
      _backends.check_xla_flags()
      _host_pages.keep_pages()
    return module.main(argv)

  run(main, argv)


def run(main: Callable[[Sequence[str]], int | None],
        argv: Sequence[str]) -> NoReturn:
  """Calls `main(argv)` and ends the process with the status that fits.

  0, or what `main` returns, when it finishes; 2 after a UserError, printed
  without a traceback; 130 after an interrupt; 143 after SIGTERM, also where the
  run has saved its state first (`sleepjax.training.preemption`); 141 if nobody
  reads its output any more. What the machine refuses, room on a disk, a backend
  or another process of the run, is a message and status 2 as well. Every other
  exception keeps its traceback: it is a bug, not a wrong input.
  """
  _show_log()
  try:
    try:
      status = main(argv) or 0
    except SystemExit as end:  # Help was printed.
      status = end.code
    finally:
      background.finish()  # A save that is being written is part of the run.
    sys.stdout.flush()
  except (UserError, TimeoutError) as error:
    status = _say(error)
  except KeyboardInterrupt:
    print('interrupted', file=sys.stderr)
    status = 130
  except preemption.Preempted:
    print('SIGTERM: stopped, and what was finished is saved. The same command '
          'goes on from there.', file=sys.stderr)
    status = preemption.EXIT_STATUS
  except BrokenPipeError:
    _drop_stdout()  # As in `command --help | head`.
    status = _BROKEN_PIPE
  except OSError as error:
    if error.errno not in _NO_ROOM:
      raise
    if error.filename is None:
      _drop_stdout()
    status = _say(files.unwritable(error.filename or 'standard output', error))
  except (RuntimeError, AssertionError, ValueError) as error:
    if (message := _backends.explained(error)) is None:
      raise
    status = _say(message)
  if signal.getsignal(signal.SIGINT) is interrupts.hear:
    # Python's own end would answer with tracebacks.
    signal.signal(signal.SIGINT, lambda *_: os._exit(interrupts.STATUS))
  sys.exit(status)


def _show_log() -> None:
  """Prints what the package logs, such as the files that a model came from."""
  def emit(record):
    from sleepjax.mesh import distributed  # With JAX, which may not start.
    if distributed.is_first():
      print(record.getMessage(), file=sys.stderr)

  handler, logger = logging.Handler(), logging.getLogger('sleepjax')
  handler.emit = emit
  logger.handlers, logger.propagate = [handler], False
  logger.setLevel(logging.INFO)


def _say(error: object) -> int:
  print(f'error: {_start.as_called(error)}', file=sys.stderr)
  return 2


def _drop_stdout() -> None:
  """Python would complain at its end of what stdout has not taken."""
  os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


class Parser(argparse.ArgumentParser):
  """Command line of a command without a configuration; errors are UserErrors.

  Args:
    name: of the command.
    description: the module's docstring, which --help prints.
  """

  def __init__(self, name: str, description: str):
    super().__init__(
        prog=_start.as_called(f'python -m experiments.{name}'),
        description=_start.as_called(description),
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False)

  def parse_args(self, args: Sequence[str]) -> argparse.Namespace:
    """As argparse does it, and refuses what was given as nothing."""
    given = super().parse_args(args)
    for name, value in vars(given).items():
      if isinstance(value, str) and _config.is_empty(value) and (
          value != self.get_default(name)):
        self.error(f'{name} is empty: give it a value, or leave it out')
    return given

  def print_help(self, file=None) -> None:
    """As argparse does it, but what cannot be printed is an error."""
    print(self.format_help(), end='', file=file)

  def error(self, message: str) -> NoReturn:
    raise UserError(f'{message}. See --help.')


def model_folder(folder: str) -> pathlib.Path:
  """The model inside the workdir of a run, or the folder itself."""
  from sleepjax.training import checkpoints
  inside = pathlib.Path(folder).expanduser() / 'model'
  return inside if checkpoints.is_saved(inside) else inside.parent


def tell(line: str) -> None:
  """Prints a line at once."""
  print(line, flush=True)
