import json
import math
import subprocess
import sys

import jax.numpy as jnp
import numpy as np
import pytest

from sleepjax.errors import UserError
from sleepjax.training import metrics


@pytest.fixture
def path(tmp_path):
  return tmp_path / 'run' / 'metrics.jsonl'


def test_every_kind_of_scalar_comes_back_as_a_python_number(path):
  with metrics.MetricsWriter(path) as writer:
    writer.write('seed', jnp.int32(3), {
        'f32': jnp.float32(0.5), 'bf16': jnp.bfloat16(1.5),
        'one': np.array([2.0]), 'count': np.int64(7), 'ok': jnp.bool_(True),
        'plain': 0.25})
  (line,) = metrics.read_metrics(path)
  assert line == {'phase': 'seed', 'step': 3, 'f32': 0.5, 'bf16': 1.5,
                  'one': 2.0, 'count': 7, 'ok': True, 'plain': 0.25}
  assert type(line['count']) is int and line['ok'] is True


def test_lines_are_on_disk_before_the_writer_closes(path):
  writer = metrics.MetricsWriter(path)
  writer.write('seed', 0, {'loss': 1.0})
  assert len(metrics.read_metrics(path)) == 1
  writer.close()


def test_numbers_that_are_not_finite_stay_json_and_come_back(path):
  with metrics.MetricsWriter(path) as writer:
    writer.write('seed', 0, {
        'a': jnp.nan, 'b': -np.inf, 'c': jnp.bfloat16(jnp.inf), 'd': 1.0})
  def refuse(name):
    raise AssertionError(f'{name} is not JSON')
  line = json.loads(path.read_text(), parse_constant=refuse)
  assert line['a'] is None and line['_nonfinite']['b'] == '-inf'
  (line,) = metrics.read_metrics(path)
  assert math.isnan(line['a'])
  assert (line['b'], line['c'], line['d']) == (-math.inf, math.inf, 1.0)
  assert '_nonfinite' not in line


def test_reopening_drops_only_a_line_that_was_cut_off(path):
  with metrics.MetricsWriter(path) as writer:
    writer.write('seed', 0, {'loss': 1.0})
    writer.write('seed', 1, {'loss': 2.0})
  whole = path.read_bytes()
  for cut in range(1, len(whole)):
    path.write_bytes(whole[:cut])
    finished = whole[:cut].count(b'\n')
    assert len(metrics.read_metrics(path)) == finished
    with metrics.MetricsWriter(path) as writer:
      writer.write('seed', 9, {'loss': 3.0})
    lines = metrics.read_metrics(path)
    assert [line['step'] for line in lines] == [0, 1][:finished] + [9]


def test_a_resumed_run_measures_steps_again(path):
  """It goes on from a save before the last lines; each step stands once."""
  def write(places, loss):
    with metrics.MetricsWriter(path) as writer:
      for phase, cycle, step in places:
        writer.write(phase, step, {'cycle': cycle, 'loss': loss})
  night = [('seed', 0, 0), ('seed', 0, 1), ('seed', 0, 2), ('dream', 0, 0)]
  write([*night, ('seed', 1, 0), ('seed', 1, 1)], 1.0)
  write([*night[2:], ('seed', 1, 0)], 2.0)
  lines = metrics.read_metrics(path)
  assert [metrics.place(line) for line in lines] == [*night, ('seed', 1, 0)]
  assert [line['loss'] for line in lines] == [1.0, 1.0, 2.0, 2.0, 2.0]
  assert path.read_text().count('\n') == 5
  write([('seed', 1, 1)], 3.0)  # The next step replaces nothing.
  assert path.read_text().count('\n') == 6
  with metrics.MetricsWriter(path):
    pass
  assert path.read_text().count('\n') == 6


def test_of_a_file_with_steps_twice_the_last_ones_are_read(path):
  with metrics.MetricsWriter(path) as writer:
    for step, loss in ((0, 1.0), (1, 1.0), (0, 2.0), (1, 2.0)):
      writer.write('seed', step, {'loss': loss})
  assert [(line['step'], line['loss'])
          for line in metrics.read_metrics(path)] == [(0, 2.0), (1, 2.0)]


def test_a_file_that_cannot_be_opened(tmp_path):
  (tmp_path / 'run').touch()
  with pytest.raises(UserError, match='metrics.jsonl: cannot be written'):
    metrics.MetricsWriter(tmp_path / 'run' / 'metrics.jsonl')


@pytest.mark.parametrize('scalars, message', [
    ({'loss': np.zeros(2)}, r"'loss': expected a real scalar, .*\(2,\)"),
    ({'loss': 'low'}, "'loss': expected a real scalar"),
    ({'loss': 1j}, "'loss': expected a real scalar"),
    ({'step': 1}, "'step' has a name that every line uses"),
])
def test_what_is_no_scalar_is_refused_and_leaves_no_line(
    path, scalars, message):
  with metrics.MetricsWriter(path) as writer:
    with pytest.raises(ValueError, match=message):
      writer.write('seed', 0, scalars)
  assert metrics.read_metrics(path) == []


def test_a_full_disk_ends_the_run_with_a_message(path):
  """A process of its own gets the limit; the lines before are still there."""
  done = subprocess.run([sys.executable, '-c', f'''
import resource
from experiments import _main
from sleepjax.training import metrics

def main(argv):
  resource.setrlimit(resource.RLIMIT_FSIZE, (100, resource.RLIM_INFINITY))
  with metrics.MetricsWriter({str(path)!r}) as writer:
    for step in range(10):
      writer.write('seed', step, {{'loss': 0.5}})

_main.run(main, [])
'''], capture_output=True, text=True, check=False)
  assert done.returncode == 2, done.stderr
  assert done.stderr == (
      f'error: {path}: cannot be written (File too large). Make room or grant '
      'access, then run the same command again.\n')
  assert [line['step'] for line in metrics.read_metrics(path)] == [0, 1]


def test_reading_explains_what_is_wrong(path):
  with pytest.raises(UserError, match='no metrics here'):
    metrics.read_metrics(path)
  path.parent.mkdir()
  line = '{"phase": "seed", "step": 1}\n'
  path.write_text(f'{line}not json\n{line}')
  with pytest.raises(UserError, match="line 2: expected a JSON object"):
    metrics.read_metrics(path)
