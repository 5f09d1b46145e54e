import os
import signal
import subprocess
import sys
import time

import pytest

from experiments import _main
from sleepjax.training import preemption


def term():
  os.kill(os.getpid(), signal.SIGTERM)
  time.sleep(0.01)  # The interpreter runs handlers between its own steps.


def test_a_notice_ends_the_run_at_once():
  with preemption.listen() as notice:
    assert not notice.came()
    notice.check()
    with pytest.raises(preemption.Preempted):
      term()
    assert notice.came()


def test_a_notice_waits_while_it_is_held():
  with preemption.listen() as notice:
    with notice.deferred():
      term()
      finished = True
      assert notice.came()
    assert finished
    with pytest.raises(preemption.Preempted):
      notice.check()


def test_a_second_notice_does_not_wait():
  with preemption.listen() as notice, notice.deferred():
    term()
    with pytest.raises(preemption.Preempted):
      term()


def test_the_signal_is_as_it_was_afterwards():
  before = signal.getsignal(signal.SIGTERM)
  with preemption.listen():
    assert signal.getsignal(signal.SIGTERM) != before
  assert signal.getsignal(signal.SIGTERM) == before


def test_status_and_message(capsys):
  def main(argv):
    raise preemption.Preempted

  with pytest.raises(SystemExit) as end:
    _main.run(main, [])
  assert end.value.code == 143
  assert 'same command goes on' in capsys.readouterr().err


def test_output_that_nobody_reads():
  """As in `command --help | head`: no traceback."""
  command = subprocess.Popen(
      [sys.executable, '-c', 'import sys\nfrom experiments import _main\n'
       '_main.run(lambda argv: print("line\\n" * 100_000), sys.argv)'],
      stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
  assert command.stdout.readline() == 'line\n'
  command.stdout.close()
  assert command.stderr.read() == ''
  assert command.wait() == 141
