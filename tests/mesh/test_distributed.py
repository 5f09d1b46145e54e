"""Real processes on 127.0.0.1 that meet, wait in vain, and die."""

import os
import re
import signal
import socket
import subprocess
import sys
import time

import pytest

from sleepjax.errors import UserError
from sleepjax.mesh import distributed

_LAUNCH = (sys.executable, '-m', 'experiments.launch', '--processes=2')
_WORKER = (sys.executable, '-m', 'tests.process_worker')


def test_variables_are_checked():
  assert distributed.initialize({}) is False
  given = {distributed.COORDINATOR: '127.0.0.1:9', distributed.PROCESS: '1'}
  with pytest.raises(UserError, match='JAX_NUM_PROCESSES not set'):
    distributed.initialize(given)
  with pytest.raises(UserError, match="JAX_NUM_PROCESSES='two': expected a wh"):
    distributed.initialize({**given, distributed.PROCESSES: 'two'})
  with pytest.raises(UserError, match='JAX_PROCESS_ID=1 must be between 0'):
    distributed.initialize({**given, distributed.PROCESSES: '1'})


def test_a_batch_script_of_slurm_is_no_step():
  outside = {'SLURM_JOB_ID': '7', 'SLURM_NTASKS': '4', 'SLURM_PROCID': '0'}
  assert distributed.initialize(outside) is False


_ALONE = """
import sys
from experiments import _main
from sleepjax.mesh import distributed
_main.run(lambda argv: distributed.initialize(), [])
"""


@pytest.mark.parametrize('environ, who', [
    ({'JAX_COORDINATOR_ADDRESS': '127.0.0.1:{port}', 'JAX_NUM_PROCESSES': '2',
      'JAX_PROCESS_ID': '1'},
     'process 1 of 2, at 127.0.0.1:{port} (JAX_NUM_PROCESSES=2 JAX_PROCESS_ID=1'
     ' JAX_COORDINATOR_ADDRESS=127.0.0.1:{port})'),
    ({'SLURM_JOB_ID': '7', 'SLURM_STEP_NODELIST': '127.0.0.1',
      'SLURM_NTASKS': '2', 'SLURM_PROCID': '0', 'SLURM_LOCALID': '0'},
     'process 0 of 2, at the first host of the step (SLURM_NTASKS=2 '
     'SLURM_PROCID=0 SLURM_STEP_NODELIST=127.0.0.1)')])
@pytest.mark.slow
def test_peers_that_never_come(environ, who):
  """Variables that are left over in a shell: said at once, and then refused."""
  with socket.socket() as free:
    free.bind(('127.0.0.1', 0))
    port = free.getsockname()[1]
  who = who.format(port=port)
  done = subprocess.run(
      [sys.executable, '-c', _ALONE], text=True, capture_output=True,
      timeout=120, check=False, env={
          **os.environ, 'JAX_PLATFORMS': 'cpu', 'SLEEPJAX_PEER_SECONDS': '0.5',
          **{name: value.format(port=port) for name, value in environ.items()}})
  assert done.returncode == 2, done.stderr
  assert done.stderr.startswith(
      f'{who}: waiting for the others, up to 0.5 s.\n'
      f'error: {who}: the others did not come in 0.5 s. Start all of them at '
      'about the same time (SLEEPJAX_PEER_SECONDS allows more); to run alone, '
      'unset the variables that are named.\n')
  assert 'Traceback' not in done.stderr and 'stack trace' not in done.stderr


def test_how_long_to_wait_is_a_number():
  for given in 'soon', '0', '-1', '1e9':
    with pytest.raises(UserError, match=f"PEER_SECONDS='{given}': expected a"):
      distributed.initialize({
          distributed.COORDINATOR: '127.0.0.1:9', distributed.PROCESSES: '2',
          distributed.PROCESS: '1', 'SLEEPJAX_PEER_SECONDS': given})


def test_one_process_has_nobody_to_wait_for():
  distributed.barrier('alone', 0.001)
  assert distributed.is_first()


def _slurm_task(number: int):
  """A process as `srun --ntasks=2` on this host would start it."""
  environ = {
      **os.environ, 'JAX_PLATFORMS': 'cpu', 'SLURM_JOB_ID': str(os.getpid()),
      'SLURM_STEP_NODELIST': '127.0.0.1', 'SLURM_NTASKS': '2',
      'SLURM_PROCID': str(number), 'SLURM_LOCALID': '0'}
  return subprocess.Popen(
      [*_WORKER, 'late'], env=environ, text=True, stdout=subprocess.PIPE,
      stderr=subprocess.STDOUT)


def test_tasks_of_slurm_meet_and_a_barrier_times_out():
  tasks = [_slurm_task(0), _slurm_task(1)]
  texts = [task.communicate(timeout=120)[0] for task in tasks]
  assert [task.returncode for task in tasks] == [0, 0], texts
  assert 'is 1 of 2 with 1 of 2 devices' in texts[1]
  assert "waited up to 0.5 s at barrier 'everybody' of 2 proc" in texts[0]
  assert 'process 1/2: barrier end' in texts[1]


def test_processes_agree_and_need_one_folder(tmp_path):
  (tmp_path / 'not_0').touch()
  done = subprocess.run(
      [*_LAUNCH, '--', *_WORKER, 'meet', str(tmp_path)], text=True,
      capture_output=True, timeout=120)
  assert done.returncode == 0, done.stdout + done.stderr
  for process in range(2):
    assert f'[{process}] agreed [True, False]' in done.stdout
    # With as few as two cores have, collectives wait for each other for ever.
    assert int(re.search(
        rf'\[{process}\] threads (\d+)', done.stdout)[1]) >= 16
    # Also the one that does not have the number.
    assert f'[{process}] not finite: split (1 of 4)' in done.stdout
  assert f'[1] {tmp_path}/1: process 1 of 2 does not see what pro' in (
      done.stdout)
  assert '[0] /' not in done.stdout
  # Where process 0 can make no folder, nobody waits for it.
  assert f'[0] refused {tmp_path}/not_0/run: cannot be used as a wor' in (
      done.stdout)
  assert f'[1] refused {tmp_path}/not_1/run: process 1 of 2 does not' in (
      done.stdout)
  assert not list((tmp_path / 'ours').iterdir())


@pytest.mark.slow
def test_a_dead_process_ends_the_others_with_a_message():
  launched = subprocess.Popen(
      [*_LAUNCH, '--devices-per-process=4', '--', *_WORKER, 'steps'],
      text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
  pids, steps = {}, 0
  for line in launched.stdout:
    found = re.search(r'pid (\d+) is (\d) of 2 with 4 of 8 devices', line)
    if found:
      pids[int(found[2])] = int(found[1])
    steps += 'process 0/2: train step' in line
    if steps == 3:
      break
  os.kill(pids[1], signal.SIGKILL)
  began = time.monotonic()
  text, _ = launched.communicate(timeout=60)
  assert time.monotonic() - began < 20
  assert 'process 1 was killed by signal 9 (SIGKILL); ending the other 1' in (
      text)
  assert launched.returncode == 128 + signal.SIGKILL
  with pytest.raises(ProcessLookupError):
    os.kill(pids[0], 0)


def test_launch_passes_statuses_on():
  run = lambda *code: subprocess.run(
      [*_LAUNCH, '--', *code], capture_output=True, text=True, timeout=60)
  good = run('sh', '-c', 'echo $JAX_PROCESS_ID of $JAX_NUM_PROCESSES')
  assert good.returncode == 0
  assert sorted(good.stdout.split('\n')) == ['', '[0] 0 of 2', '[1] 1 of 2']
  bad = run('sh', '-c', '[ $JAX_PROCESS_ID = 0 ] && exec sleep 60; exit 3')
  assert bad.returncode == 3
  assert 'process 1 ended with status 3; ending the other 1' in bad.stderr
