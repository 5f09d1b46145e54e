"""How a command starts and ends: signals, streams, and what it imports."""

import json
import os
import pathlib
import signal
import subprocess
import sys

import pytest

from experiments import _start

ROOT = pathlib.Path(__file__).parents[2]
_START = """
import experiments, sys
experiments.__path__.append(sys.argv[1])
from experiments import _start
_start.command('fake', sys.argv[1:])
"""
_TOLD = 'import os, signal, time\n'
_SELF = 'os.kill(os.getpid(), signal.{})\ntime.sleep(0.2)\n'


def start(folder, body, *arguments, **options):
  """A command of that source, which hears SIGINT whoever runs the tests."""
  (folder / 'fake.py').write_text(_TOLD + body)
  return subprocess.run(
      [sys.executable, '-c', _START, folder, *arguments], cwd=ROOT, text=True,
      check=False, **{'capture_output': True, 'preexec_fn': _hears_interrupts,
                      **options})


def _hears_interrupts():
  signal.signal(signal.SIGINT, signal.SIG_DFL)


@pytest.mark.parametrize('name, status, message', [
    ('SIGINT', 130, 'interrupted\n'), ('SIGTERM', 143, 'SIGTERM\n')])
def test_a_signal_while_a_command_is_imported(name, status, message, tmp_path):
  """Also where what is imported would take the exception for its own."""
  done = start(tmp_path, f'''
try:
  {_SELF.format(name).strip().replace(chr(10), '; ')}
except BaseException:
  print('caught')
''')
  assert (done.returncode, done.stdout, done.stderr) == (status, '', message)


def test_a_signal_that_is_ignored_stays_ignored(tmp_path):
  """As under nohup."""
  code = ('import os, signal, sys; signal.signal(signal.SIGINT, '
          'signal.SIG_IGN); os.execv(sys.executable, [sys.executable] + '
          f'["-c", {_START!r}] + sys.argv[1:])')
  (tmp_path / 'fake.py').write_text(
      f'{_TOLD}{_SELF.format("SIGINT")}\ndef main(argv): print("done")\n')
  done = subprocess.run(
      [sys.executable, '-c', code, tmp_path], cwd=ROOT, text=True,
      capture_output=True, check=False)
  assert (done.returncode, done.stdout) == (0, 'done\n')


@pytest.mark.skipif(sys.platform != 'linux', reason='settings of glibc')
def test_a_command_has_huge_pages_where_it_computes_on_cpus(tmp_path):
  """For which it has started once more, with the same arguments."""
  body = 'def main(argv): print(os.environ.get("GLIBC_TUNABLES"), argv[2:])'
  environ = {name: value for name, value in os.environ.items()
             if name != 'GLIBC_TUNABLES'}
  for platforms, pages in ('cpu', 'glibc.malloc.hugetlb=1'), ('tpu', None):
    done = start(tmp_path, body, 'a b', '',
                 env={**environ, 'JAX_PLATFORMS': platforms})
    assert (done.stdout, done.stderr) == (f"{pages} ['']\n", ''), done


# A save that is interrupted when its files are half written.
_SAVE = '''
import numpy as np
from sleepjax.training import checkpoints, saved_folder

def main(argv):
  folder, times = argv[1], int(argv[2])
  then = (lambda: None) if argv[3] == 'background' else None
  checkpoints.save_progress(folder, 1, {'a': np.arange(3)}, {})
  replace = saved_folder._replace
  def interrupted(*args):
    for _ in range(times):
      os.kill(os.getpid(), signal.SIGINT)
      time.sleep(0.2)
    replace(*args)
  saved_folder._replace = interrupted
  checkpoints.save_progress(folder, 2, {'a': np.arange(3)}, {}, then)
  time.sleep(0.4)
  print('went on')
'''


@pytest.mark.parametrize('where', ['foreground', 'background'])
@pytest.mark.parametrize('times, step', [(1, 2), (2, 1)])
def test_an_interrupt_in_a_save(where, times, step, tmp_path):
  """The first one waits for the save, the second one does not."""
  from sleepjax.training import checkpoints
  done = start(tmp_path, _SAVE, tmp_path / 'save', str(times), where)
  assert (done.returncode, done.stdout, done.stderr) == (
      130, '', 'interrupted\n')
  assert checkpoints.load_progress(tmp_path / 'save').step == step


def test_an_interrupt_at_the_very_end(tmp_path):
  done = start(tmp_path, f'''
import atexit
atexit.register(lambda: exec({_SELF.format("SIGINT")!r}))
def main(argv):
  {_SELF.format("SIGINT").strip().replace(chr(10), '; ')}
''')
  assert (done.returncode, done.stderr) == (130, 'interrupted\n')


def test_streams_that_are_not_there(tmp_path):
  """What is meant for the terminal does not go into a file."""
  code = ('import os, sys; os.close(0); os.close(1); os.execv(sys.executable, '
          f'[sys.executable, "-c", {_START!r}] + sys.argv[1:])')
  (tmp_path / 'fake.py').write_text(f'''
import os
def main(argv):
  with open({str(tmp_path / "file")!r}, 'w') as file:
    print('to nobody', flush=True)
    os.write(1, b'to nobody')
    file.write('to the file')
''')
  done = subprocess.run(
      [sys.executable, '-c', code, tmp_path], cwd=ROOT, text=True, check=False,
      stderr=subprocess.PIPE)
  assert (done.returncode, done.stderr) == (0, '')
  assert (tmp_path / 'file').read_text() == 'to the file'


def test_a_locale_without_umlauts(tmp_path):
  """And a table where a terminal says that it has no columns."""
  done = start(tmp_path, '''
from sleepjax.evals import report
def main(argv):
  report.print_table({'params_before': 5, 'topic_recovered': 0.5})
  print('\\u2026 \\udc80')
''', env={**os.environ, 'LC_ALL': 'C', 'PYTHONUTF8': '0', 'COLUMNS': '0'},
               encoding='utf-8')
  assert (done.returncode, done.stderr) == (0, '')
  assert done.stdout.endswith('… \\udc80\n')
  assert 'topic recovered: 50.0%' in done.stdout


@pytest.mark.skipif(not os.path.exists('/dev/full'), reason='no full device')
@pytest.mark.parametrize('arguments', [
    ['quickstart', '--help'], ['ask', '--help'], ['--help']])
@pytest.mark.slow
def test_help_that_cannot_be_printed(arguments):
  with open('/dev/full', 'w') as full:
    done = subprocess.run(
        [sys.executable, '-m', 'sleepjax', *arguments], cwd=ROOT, text=True,
        stdout=full, stderr=subprocess.PIPE, check=False)
  assert done.returncode == 2
  assert done.stderr == (
      'error: standard output: cannot be written (No space left on device). '
      'Make room or grant access, then run the same command again.\n')


def test_importing_a_command_starts_nothing_and_loads_little():
  """Neither the process again nor what is needed by some runs alone."""
  done = subprocess.run([sys.executable, '-c', '''
import json, os, signal, sys
sys.orig_argv[1:] = ['-m', 'experiments.quickstart']
os.execve = os.execv = lambda *_: print('started again')
before = signal.getsignal(signal.SIGINT)
import sleepjax
light = sorted(sys.modules)
from experiments import quickstart
assert signal.getsignal(signal.SIGINT) is before
print(json.dumps([light, sorted(sys.modules)]))
'''], cwd=ROOT, text=True, capture_output=True, check=True)
  light, all_of_it = map(set, json.loads(done.stdout))
  assert not light & {'jax', 'numpy', 'sleepjax.lifecycle'}
  assert not all_of_it & {'tensorflow_datasets', 'matplotlib', 'scipy.stats',
                          'orbax.checkpoint'}


def test_every_public_name_is_there():
  import sleepjax
  assert len(sleepjax.__all__) > 25
  for name in sleepjax.__all__:
    assert getattr(sleepjax, name).__name__
  with pytest.raises(AttributeError, match="'sleepjax' has no attribute 'nap'"):
    sleepjax.nap  # noqa: B018
  with pytest.raises(ImportError):
    from sleepjax import nap  # noqa: F401


def test_all_commands_are_listed():
  names = _start.commands()
  assert {'quickstart', 'ask', 'launch'} <= names.keys()
  assert all(line.endswith(('.', '?')) or ':' in line
             for line in names.values())


def test_commands_of_ones_own_documents_are_listed_first():
  done = subprocess.run(
      [sys.executable, '-m', 'sleepjax'], cwd=ROOT, text=True, check=True,
      capture_output=True)
  _, _, first, others, _ = done.stdout.split('\n\n')
  names = lambda lines: [line.split()[0] for line in lines.splitlines()]
  assert names(first)[:3] == ['quickstart', 'consolidate', 'ask']
  assert sorted(names(first) + names(others)) == sorted(_start.commands())
