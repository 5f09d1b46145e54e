"""Events hold the numbers of metrics.jsonl, also of a run that resumed."""

import struct
import sys

import jax.numpy as jnp
import pytest

from sleepjax.errors import UserError
from sleepjax.runs.session import NightSession, Saving
from sleepjax.training import events
from sleepjax.training.metrics import MetricsWriter


def read(folder):
  """[(step, tag or 'start', value)] of the event files there, in order."""
  from tensorboardX.proto import event_pb2
  found = []
  for path in sorted(folder.iterdir(), key=lambda path: path.suffix):
    data = path.read_bytes()
    while data:  # Length, its checksum, an event, its checksum.
      size, = struct.unpack('<Q', data[:8])
      event = event_pb2.Event.FromString(data[12:12 + size])
      data = data[16 + size:]
      if event.HasField('session_log'):
        found.append((event.step, 'start', None))
      found += [(event.step, value.tag, value.simple_value)
                for value in event.summary.value]
  return found


def test_numbers_of_each_phase_and_night(tmp_path):
  pytest.importorskip('tensorboardX')
  folder = tmp_path / 'tensorboard'
  for first, last in ((0, 2), (1, 3)):  # The second run resumes at step 1.
    with MetricsWriter(tmp_path / 'metrics.jsonl',
                       events.EventsWriter(folder)) as writer:
      for step in range(first, last):
        writer.write('seed', step, {
            'cycle': 4, 'divergence': jnp.bfloat16(step / 2)})
      writer.write('dream', 0, {'cycle': 4, 'reward': float('nan')})
  assert read(folder / 'seed/4') == [
      (0, 'start', None), (0, 'seed/divergence', 0.0),
      (1, 'seed/divergence', 0.5), (1, 'start', None),
      (1, 'seed/divergence', 0.5), (2, 'seed/divergence', 1.0)]
  (_, _, _), (_, tag, value), *_ = read(folder / 'dream/4')
  assert tag == 'dream/reward' and value != value


def test_a_run_writes_them_if_it_is_told_to(tmp_path):
  pytest.importorskip('tensorboardX')
  for folder, saving in (('a', Saving()), ('b', Saving(tensorboard=True))):
    with NightSession(tmp_path / folder, {}, saving) as session:
      session.observer.wrote('seed', 0, {'loss': 2.0})
  assert not (tmp_path / 'a/tensorboard').exists()
  assert read(tmp_path / 'b/tensorboard/seed/0')[-1] == (0, 'seed/loss', 2.0)


def test_what_is_missing_is_named(monkeypatch):
  monkeypatch.setitem(sys.modules, 'tensorboardX.event_file_writer', None)
  with pytest.raises(UserError, match=r'sleepjax\[tensorboard\]'):
    Saving(tensorboard=True)
