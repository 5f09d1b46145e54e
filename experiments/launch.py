r"""Runs a command as several processes of one run, all on this machine.

  python -m experiments.launch --processes=2 --devices-per-process=4 -- \
      python -m experiments.pretrain --config.mesh.fsdp=-1 --workdir=DIR

Each process gets as many CPU devices as asked for and knows the others by the
variables of `sleepjax.mesh.distributed`; what it prints is prefixed with
its number. If one fails, the others are ended in five seconds; SIGTERM is
passed on, so that they save what they have, and a second one ends them. The
status is 0 if all succeeded, otherwise that of the first that failed.
"""

if __name__ == '__main__':
  from experiments import _start
  _start.command('launch')

import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time

from experiments import _main
from sleepjax.errors import UserError
from sleepjax.mesh import distributed

_DEVICES = 'xla_force_host_platform_device_count'
_GRACE = 5.0  # Seconds between asking a process to end and ending it.


def parser():
  p = _main.Parser('launch', __doc__)
  p.add_argument('--processes', type=int, default=2,
                 help='how many to start; %(default)s by default')
  p.add_argument('--devices-per-process', type=int, default=1,
                 help='CPU devices of each; %(default)s by default')
  p.add_argument('command', nargs='+', help='what each of them runs, after --')
  return p


def environment(process: int, processes: int, devices: int, port: int) -> dict:
  """What process number `process` sees."""
  flags = re.sub(rf'--{_DEVICES}=\S*', '', os.environ.get('XLA_FLAGS', ''))
  return {**os.environ, 'JAX_PLATFORMS': 'cpu', 'PYTHONUNBUFFERED': '1',
          'XLA_FLAGS': f'{flags} --{_DEVICES}={devices}'.strip(),
          distributed.COORDINATOR: f'127.0.0.1:{port}',
          distributed.PROCESSES: str(processes),
          distributed.PROCESS: str(process)}


def _free_port() -> int:
  with socket.socket() as s:
    s.bind(('127.0.0.1', 0))
    return s.getsockname()[1]


def _relay(number, stream):
  for line in stream:
    print(f'[{number}] {line}', end='', flush=True)


def _how(status: int) -> str:
  if status >= 0:
    return f'ended with status {status}'
  return f'was killed by signal {-status} ({signal.Signals(-status).name})'


def _end(children) -> None:
  """Asks all to end, and ends those that do not."""
  for number in signal.SIGTERM, signal.SIGKILL:
    for child in children:
      if child.poll() is None:
        os.killpg(child.pid, number)
    deadline = time.monotonic() + _GRACE
    while (time.monotonic() < deadline
           and any(child.poll() is None for child in children)):
      time.sleep(0.05)


def launch(command, processes: int, devices: int) -> int:
  """Runs them all; the status for the shell."""
  port = _free_port()
  children = [
      subprocess.Popen(
          command, env=environment(i, processes, devices, port),
          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
          stderr=subprocess.STDOUT, text=True, errors='replace',
          start_new_session=True)
      for i in range(processes)]
  readers = [threading.Thread(target=_relay, args=(i, child.stdout))
             for i, child in enumerate(children)]
  for reader in readers:
    reader.start()
  told = False

  def pass_on(number, _):
    nonlocal told
    if told:
      raise SystemExit(128 + number)
    told = True
    for child in children:
      if child.poll() is None:
        os.killpg(child.pid, number)

  signal.signal(signal.SIGTERM, pass_on)
  try:
    while True:
      statuses = [child.poll() for child in children]
      failed = [i for i, status in enumerate(statuses) if status]
      if failed or None not in statuses:
        break
      time.sleep(0.05)
    if failed:
      print(f'launch: process {failed[0]} {_how(statuses[failed[0]])}; ending '
            f'the other {processes - 1}.', file=sys.stderr, flush=True)
  finally:  # Another signal would leave them running without us.
    for number in signal.SIGTERM, signal.SIGINT:
      signal.signal(number, signal.SIG_IGN)
    _end(children)
    for reader in readers:
      reader.join()
  if not failed:
    return 0
  status = statuses[failed[0]]
  return status if status > 0 else 128 - status


def _terminated(*_):
  raise KeyboardInterrupt


def main(argv):
  signal.signal(signal.SIGTERM, _terminated)
  given = parser().parse_args(argv[1:])
  for name in ('processes', 'devices_per_process'):
    if getattr(given, name) < 1:
      raise UserError(f'--{name.replace("_", "-")}={getattr(given, name)} must '
                      'be at least 1.')
  return launch(given.command, given.processes, given.devices_per_process)
