"""Several processes, one program: starting, waiting for each other, writing.

Each process of a run sees its own devices and computes its part of every array;
whatever they exchange, they exchange inside jitted functions. Outside of these
they only meet at named barriers, and process 0 alone writes what people read.
"""

import functools
import glob
import importlib.util
import itertools
import logging
import math
import os
import pathlib
import queue
import secrets
import sys
import threading
from collections.abc import Mapping

import jax

from sleepjax.errors import UserError

COORDINATOR, PROCESSES, PROCESS = (
    'JAX_COORDINATOR_ADDRESS', 'JAX_NUM_PROCESSES', 'JAX_PROCESS_ID')
_SLURM = ('SLURM_JOB_ID', 'SLURM_STEP_NODELIST', 'SLURM_PROCID',
          'SLURM_LOCALID', 'SLURM_NTASKS')
_HEARTBEAT = 30  # Seconds after which a silent process counts as dead.
_PATIENCE = 'SLEEPJAX_PEER_SECONDS'  # How long to wait for the first time.
_DAY = 24 * 3600
_THREADS = ('PJRT_NPROC', 16)  # Of XLA's pools on a CPU, at least.
_QUESTIONS = itertools.count()


def initialize(environ: Mapping[str, str] = os.environ,
               timeout: float | None = None) -> bool:
  """Joins the other processes of this run, if the environment names any.

  To be called before anything asks for a device: a CPU also gets more threads
  than it has cores. There a collective holds the thread that runs it until the
  other processes come, each of which may begin with another one; where all
  threads are held, nobody ever comes. In this order:

  * JAX_COORDINATOR_ADDRESS (host:port), JAX_NUM_PROCESSES and JAX_PROCESS_ID:
    as they say.
  * A step of SLURM (`srun`) with several tasks: one process a task.
  * A host with TPUs: all hosts of its slice. libtpu knows them.

  Before it waits, a process says on stderr for whom and where. One that stops
  answering ends all others within half a minute. Called again, it does nothing.

  Args:
    environ: where to look.
    timeout: seconds to wait for the others; None for SLEEPJAX_PEER_SECONDS, or
      120.

  Returns:
    Whether there are others: false where nothing was found.

  Raises:
    UserError: some of the three variables are missing or wrong, or the others
      did not come.
  """
  if jax.distributed.is_initialized():
    return jax.process_count() > 1
  how = _explicit(environ) or _slurm(environ) or _tpu(environ)
  if how is None:
    return False
  name, least = _THREADS
  os.environ.setdefault(name, str(max(least, os.cpu_count() or 1)))
  _meet(how, _who(environ), _patience(environ) if timeout is None else timeout)
  return jax.process_count() > 1


def _meet(how, who, timeout):
  """Joins the others, or gives up with a message.

  JAX waits in a call that nothing interrupts and that ends the process with a
  stack of C++. So it waits in a thread of its own, and for longer.
  """
  print(f'{who}: waiting for the others, up to {timeout:g} s.',
        file=sys.stderr, flush=True)
  outcome = queue.SimpleQueue()

  def join():
    try:
      jax.distributed.initialize(
          **how, initialization_timeout=int(timeout) + _DAY,
          heartbeat_timeout_seconds=_HEARTBEAT,
          shutdown_timeout_seconds=2 * _HEARTBEAT)
      outcome.put(None)
    except BaseException as error:  # Handed to whoever waits.
      outcome.put(error)

  threading.Thread(target=join, name='join', daemon=True).start()
  try:
    error = outcome.get(timeout=timeout)
  except queue.Empty:
    raise UserError(
        f'{who}: the others did not come in {timeout:g} s. Start all of them '
        f'at about the same time ({_PATIENCE} allows more); to run alone, '
        'unset the variables that are named.') from None
  if error is not None:
    raise error


def _who(environ) -> str:
  """Which process this is, of how many, where they meet, and who says so."""
  named = lambda *names: ' '.join(
      f'{name}={environ[name]}' for name in names if environ.get(name))
  if environ.get(PROCESSES):
    return (f'process {environ[PROCESS]} of {environ[PROCESSES]}, at '
            f'{environ[COORDINATOR]} '
            f'({named(PROCESSES, PROCESS, COORDINATOR)})')
  if _slurm(environ):
    return (f'process {environ["SLURM_PROCID"]} of {environ["SLURM_NTASKS"]}, '
            'at the first host of the step '
            f'({named("SLURM_NTASKS", "SLURM_PROCID", "SLURM_STEP_NODELIST")})')
  return 'a host of a TPU slice, at the first host of the slice'


def _patience(environ) -> float:
  try:
    seconds = float(environ.get(_PATIENCE) or 120)
  except ValueError:
    seconds = math.nan
  if not 0 < seconds < _DAY:
    raise UserError(f'{_PATIENCE}={environ[_PATIENCE]!r}: expected a number of '
                    'seconds, at most a day.')
  return seconds


def _explicit(environ):
  names = COORDINATOR, PROCESSES, PROCESS
  missing = [name for name in names if not environ.get(name)]
  if len(missing) == 3:
    return None
  if missing:
    raise UserError(
        f'{", ".join(missing)} not set: a process of several needs '
        f'{COORDINATOR}=HOST:PORT of process 0, {PROCESSES} and {PROCESS}.')
  numbers = {}
  for name in (PROCESSES, PROCESS):
    try:
      numbers[name] = int(environ[name])
    except ValueError:
      raise UserError(
          f'{name}={environ[name]!r}: expected a whole number.') from None
  if not 0 <= numbers[PROCESS] < numbers[PROCESSES]:
    raise UserError(
        f'{PROCESS}={numbers[PROCESS]} must be between 0 and '
        f'{PROCESSES} - 1 = {numbers[PROCESSES] - 1}.')
  return dict(coordinator_address=environ[COORDINATOR],
              num_processes=numbers[PROCESSES], process_id=numbers[PROCESS])


def _slurm(environ):
  """Inside `srun`; a batch script itself has no step and runs alone."""
  if not all(environ.get(name) for name in _SLURM):
    return None
  if int(environ['SLURM_NTASKS']) < 2:
    return None
  how = dict(cluster_detection_method='slurm')
  gpus = environ.get('SLURM_GPUS_ON_NODE', '')
  if environ.get('SLURM_NTASKS_PER_NODE') == '1' and gpus.isdecimal():
    # Else a process takes the one GPU of its number on the node.
    how['local_device_ids'] = list(range(int(gpus)))
  return how


def _tpu(environ):
  # A notebook has one kernel, and has used its devices by now.
  if 'cpu' in environ.get('JAX_PLATFORMS', '') or 'ipykernel' in sys.modules:
    return None
  here = glob.glob('/dev/accel*') or glob.glob('/dev/vfio/[0-9]*')
  if not here or not importlib.util.find_spec('libtpu'):
    return None
  return {}


def is_first() -> bool:
  """Whether this is the process that writes what people read.

  >>> if is_first(): write_report(folder, report)
  """
  return not jax.distributed.is_initialized() or jax.process_index() == 0


def barrier(name: str, timeout: float = 600) -> None:
  """Waits until every process is here; nothing with one process.

  Args:
    name: the same in all of them; processes that wait under different names
      both time out.
    timeout: seconds.

  Raises:
    TimeoutError: some process did not come; the message names the barrier.
  """
  if jax.process_count() == 1:
    return
  import orbax.checkpoint as ocp
  log(f'barrier {name}')
  try:
    ocp.multihost.get_barrier_sync_fn()(
        key=name, timeout_ms=int(1000 * timeout))
  except jax.errors.JaxRuntimeError as error:
    raise TimeoutError(
        f'process {jax.process_index()} waited up to {timeout:g} s at barrier '
        f'{name!r} of {jax.process_count()} processes. One of them has died or '
        'is stuck: the last line that it logged says where. '
        f'({str(error).splitlines()[0]})') from error


def agreed(value: bool, timeout: float = 600) -> bool:
  """What process 0 says, in all processes.

  For what a clock decides, which is never quite the same twice: whether it is
  time to save, whether a budget is spent. All processes have to ask the same
  questions in the same order.

  Args:
    value: of this process.
    timeout: seconds to wait for process 0.

  Raises:
    TimeoutError: process 0 did not come to this question.
  """
  return value if jax.process_count() == 1 else _from_first(
      str(int(value)), timeout) == '1'


def _from_first(text: str, timeout: float) -> str:
  """The text of process 0."""
  import orbax.checkpoint as ocp
  client = ocp.multihost.get_jax_distributed_client()
  key = f'sleepjax_{next(_QUESTIONS)}'
  if is_first():
    client.key_value_set(key, text)
    return text
  try:
    return client.blocking_key_value_get(key, int(1000 * timeout))
  except jax.errors.JaxRuntimeError as error:
    raise TimeoutError(
        f'process {jax.process_index()} waited up to {timeout:g} s for process '
        '0, which has died or is stuck: the last line that it logged says '
        f'where. ({str(error).splitlines()[0]})') from error


def make_shared(folder: str | os.PathLike, timeout: float = 600) -> None:
  """Makes a folder that all processes have to see.

  Raises:
    UserError: it cannot be made or written to, or a process does not see what
      process 0 writes there.
  """
  folder, refused = pathlib.Path(folder), None
  try:
    folder.mkdir(parents=True, exist_ok=True)
  except OSError as error:
    refused = error
  if jax.process_count() > 1:  # All of them come to each barrier.
    mark = folder / f'.shared_{_from_first(secrets.token_hex(8), timeout)}'
    try:
      if is_first() and not refused:
        mark.touch()
    except OSError as error:
      refused = error
    barrier(f'marked {mark.name}', timeout)
    seen = os.path.exists(mark)
    barrier(f'seen {mark.name}', timeout)
    if is_first() and seen:
      mark.unlink()
  if refused:
    raise unusable(folder, refused) from refused
  if jax.process_count() > 1 and not seen:
    raise UserError(
        f'{folder.resolve()}: process {jax.process_index()} of '
        f'{jax.process_count()} does not see what process 0 writes there. All '
        'of them need the same folder: choose a --workdir on a file system '
        'that the hosts share, or one process.')


def unusable(folder: str | os.PathLike, error: OSError) -> UserError:
  """What says that a run cannot write in its work directory."""
  return UserError(
      f'{folder}: cannot be used as a work directory '
      f'({error.strerror or error}). Choose another --workdir.')


def log(phase: str, step: int | None = None) -> None:
  """Says on stderr where this process is, before it waits for others.

  When a run hangs, the process whose last line is behind is the one to look at.
  Silent with one process.
  """
  if jax.distributed.is_initialized() and jax.process_count() > 1:
    _logger().info('%s%s', phase, '' if step is None else f' step {step}')


@functools.cache
def _logger():
  logger = logging.getLogger('sleepjax.process')
  handler = logging.StreamHandler()
  handler.setFormatter(logging.Formatter(
      f'%(asctime)s process {jax.process_index()}/{jax.process_count()}: '
      '%(message)s'))
  logger.addHandler(handler)
  logger.setLevel(logging.INFO)
  logger.propagate = False
  return logger
