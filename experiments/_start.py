"""How a command starts, before anything large is imported.

Every command begins with

  if __name__ == '__main__':
    from experiments import _start
    _start.command('NAME')

so that `python -m experiments.NAME` does what `sleepjax NAME` does: Ctrl-C and
SIGTERM end it quietly from the first moment on, the C library gets huge pages
(`_host_pages`), for which the process starts itself once more, and only then
the command is imported, as a module, and runs. Importing `experiments` or a
command does none of this.
"""

import ast
import contextlib
import difflib
import os
import pathlib
import signal
import sys
from collections.abc import Mapping, Sequence
from typing import NoReturn

from experiments import _host_pages

_FOLDER = pathlib.Path(__file__).parent
_SIGNALS = signal.SIGINT, signal.SIGTERM
_HELP = frozenset(('--help', '-h', '-help'))
# What one does with a model and documents of one's own; others are experiments.
_FIRST = ('quickstart', 'consolidate', 'ask', 'report', 'chat', 'nights',
          'export')
_prefix = 'python -m experiments.'  # Of command lines, before a NAME.


def command(name: str, argv: Sequence[str] = sys.argv) -> NoReturn:
  """Runs `experiments.NAME` and ends the process.

  Args:
    name: of the command.
    argv: program name and arguments.
  """
  _open_standard_streams()
  for number in _SIGNALS:
    if signal.getsignal(number) != signal.SIG_IGN:  # As under nohup.
      signal.signal(number, _leave)
  signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
  if not asks_for_help(argv):
    # What comes meanwhile waits until the handlers are there again.
    signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
    _host_pages.restart_with_huge_pages()
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
  from experiments import _main
  _main.run_command(name, argv)


def dispatch(argv: Sequence[str], prefix: str) -> NoReturn:
  """Runs the command that the first argument names, or lists all of them.

  Args:
    argv: program name, name of the command, its arguments.
    prefix: what a command line says before the name of a command.
  """
  global _prefix
  _prefix, names, name = prefix, commands(), ''.join(argv[1:2])
  if name in names:
    command(name, argv[1:])
  if name in ('', 'help', *_HELP):
    from experiments import _main
    _main.run(lambda _: print(_list(names)), argv)
  close = difflib.get_close_matches(name, names, n=1)
  hint = f'did you mean {close[0]!r}? ' if close else ''
  print(f'error: no command {name!r}; {hint}{prefix}--help lists all.',
        file=sys.stderr)
  sys.exit(2)


def _list(names: Mapping[str, str]) -> str:
  width = max(map(len, names))
  lines = {name: f'  {name:{width}}  {line}' for name, line in names.items()}
  return '\n'.join([
      f'{_prefix}NAME [flags]\n\nSleep for language models. NAME is one of\n',
      *(lines.pop(name) for name in _FIRST), '', *lines.values(),
      f'\n{_prefix}NAME --help says more of each.'])


def as_called(text: object) -> str:
  """A text in which command lines begin as that of this process did."""
  return str(text).replace('python -m experiments.', _prefix)


def asks_for_help(argv: Sequence[str]) -> bool:
  """Whether a command is only to say what it does."""
  own = argv[1:argv.index('--')] if '--' in argv else argv[1:]
  return bool(_HELP.intersection(own))


def commands() -> dict[str, str]:
  """The first line of every command's documentation, by its name."""
  return {
      path.stem: ast.get_docstring(ast.parse(path.read_bytes())).split('\n')[0]
      for path in sorted(_FOLDER.glob('[a-z]*.py'))}


def _leave(number, _) -> NoReturn:
  """Nothing is begun yet, and imports do not survive an exception."""
  os.write(2, b'interrupted\n' if number == signal.SIGINT else b'SIGTERM\n')
  os._exit(128 + number)


def _open_standard_streams() -> None:
  """Makes sure that they are there and take every character.

  A process may have been started without some of them. Else the next file that
  is opened would take the number, and what is meant for the terminal would go
  there. In the C locale they take ASCII only, and into no columns tables are
  not written at all.
  """
  if os.environ.get('COLUMNS') == '0':
    del os.environ['COLUMNS']
  for number, name in enumerate(('stdin', 'stdout', 'stderr')):
    try:
      os.fstat(number)
    except OSError:
      os.open(os.devnull, os.O_RDWR)  # Takes the lowest number.
      setattr(sys, name, open(number, 'r' if name == 'stdin' else 'w',
                              closefd=False))
    stream = getattr(sys, name)
    with contextlib.suppress(AttributeError):  # Not a stream of Python's own.
      stream.reconfigure(
          encoding='utf-8' if 'ascii' in stream.encoding else None,
          errors='replace' if name == 'stdin' else 'backslashreplace')
