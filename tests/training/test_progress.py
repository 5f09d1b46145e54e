import io
import time

import pytest
import rich.console

from sleepjax.training import progress


class Terminal(io.StringIO):
  def isatty(self):
    return True


def plain_display(**kwargs):
  return progress.Display(
      rich.console.Console(file=io.StringIO(), width=80), **kwargs)


def lines_of(display):
  return display._console.file.getvalue().splitlines()


def test_seconds_and_tokens_add_up_over_visits():
  with plain_display() as display:
    for _ in range(2):
      with display.phase('seed', total=2) as phase:
        time.sleep(0.02)
        phase.advance(tokens=300)
        phase.advance(tokens=200)
    with display.phase('grow'):
      pass
  assert list(display.seconds) == ['seed', 'grow']
  assert 0.04 <= display.seconds['seed'] < 5
  assert display.tokens_per_second == {
      'seed': pytest.approx(1000 / display.seconds['seed'])}


def test_a_phase_is_measured_when_it_fails():
  with pytest.raises(KeyError), plain_display() as display:
    with display.phase('seed') as phase:
      phase.advance(tokens=7)
      raise KeyError
  assert display.seconds['seed'] > 0 and display.tokens['seed'] == 7
  assert len(lines_of(display)) == 1


def test_what_is_done_after_every_phase():
  ends = []
  with plain_display(after_phase=lambda: ends.append(
      dict(display.seconds))) as display:
    with display.phase('wake'):
      pass
    with pytest.raises(KeyError), display.phase('seed'):
      raise KeyError
  assert [list(seconds) for seconds in ends] == [['wake'], ['wake', 'seed']]


def test_without_a_terminal_there_is_one_line_per_interval():
  with plain_display(interval=60.0) as display:
    with display.phase('seed', total=50) as phase:
      for step in range(50):
        phase.advance(tokens=10, loss=1.0 / (step + 1), reward=0.5)
  (line,) = lines_of(display)
  assert line.startswith('seed: 50/50  ')
  assert 'tokens/s' in line and 'in all' in line
  assert line.endswith('loss 0.02  reward 0.5')
  with plain_display(interval=0.0) as display:
    with display.phase('seed', total=3) as phase:
      for _ in range(3):
        phase.advance()
  assert len(lines_of(display)) == 4


def test_of_how_many_steps_is_not_known_only_tokens_are_told():
  with plain_display() as display, display.phase('write') as phase:
    for _ in range(3):
      phase.advance(tokens=412)
  (line,) = lines_of(display)
  assert line.startswith('write: 1,236 tokens  ')


def test_a_long_line_is_not_wrapped():
  with plain_display() as display:
    with display.phase('seed', total=1) as phase:
      phase.advance(**{f'metric_{i}': float(i) for i in range(12)})
  (line,) = lines_of(display)
  assert len(line) > 80


def test_a_line_beside_the_phases():
  with plain_display() as display, display.phase('write') as phase:
    display.say('[red] 3 of 4: nothing was asked about')
    phase.advance()
  assert lines_of(display)[0] == '[red] 3 of 4: nothing was asked about'


def test_a_terminal_gets_bars():
  file = Terminal()
  console = rich.console.Console(
      file=file, force_terminal=True, width=100, _environ={'TERM': 'xterm'})
  with progress.Display(console) as display:
    with display.phase('seed', total=4) as phase:
      for _ in range(4):
        phase.advance(tokens=5, loss=0.25)
  shown = file.getvalue()
  assert '4/4' in shown and 'loss 0.25' in shown and '\x1b[' in shown
  assert display.tokens['seed'] == 20


def test_time_left_leaves_the_first_step_out(monkeypatch):
  now = 100.0
  monkeypatch.setattr(progress.time, 'perf_counter', lambda: now)
  phase = progress.Phase('seed', total=10)
  assert phase.seconds_left() is None
  now += 60.0  # Compilation.
  phase.advance()
  assert phase.seconds_left() is None
  now += 2.0
  phase.advance()
  assert phase.seconds_left() == pytest.approx(2.0 * 8)
  phase.advance(steps=8)
  assert phase.seconds_left() == 0.0
  assert progress.Phase('wake', total=None).seconds_left() is None


@pytest.mark.parametrize('seconds, text', [
    (0.04, '0.0s'), (59.9, '59.9s'), (59.97, '1:00'), (61, '1:01'),
    (3599.7, '1:00:00'), (7325, '2:02:05')])
def test_clock(seconds, text):
  assert progress.clock(seconds) == text


def test_a_log_names_what_has_not_said_a_word(monkeypatch):
  monkeypatch.setattr(progress, '_SILENT_SECONDS', 0.05)
  with plain_display() as display, display.phase('exam', total=1):
    time.sleep(0.3)
  first, last = lines_of(display)
  assert first == 'exam: begun' and last.startswith('exam: 0/1')
