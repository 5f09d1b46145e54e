r"""A model with several memory levels reads a long stream, sleeping as it goes.

  python -m experiments.read_stream --config=configs/memory/four_level.py \
      --workdir=DIR

The text is read from disk as it is needed, and reading ends where it does.
Every window is scored before anything is learnt from it, so the loss is that of
text the model has not seen. Beside it stands the loss of the same model with
its context only: what the levels gain or cost. Writes DIR/windows.jsonl (loss,
seconds, memory and what was due after each window), DIR/report.json and
DIR/report.png. The same command on the same folder goes on where it stopped.

Several texts are read side by side with

  python -m experiments.read_stream --config=configs/memory/side_by_side.py \
      --document=a.txt --document=b.txt --workdir=DIR

until the shortest ends. Each has fast weights of its own and none knows of
another, so nothing is handed over; `streams` of the report has their losses.
"""

if __name__ == '__main__':
  from experiments import _start
  _start.command('read_stream')

import collections
import dataclasses
import functools
import json
import pathlib
import time

import jax
import numpy as np
from absl import flags

from experiments import _config, _scratch
from sleepjax import seeds
from sleepjax.data import text_stream
from sleepjax.errors import UserError
from sleepjax.evals import pictures
from sleepjax.memory import clock, continuum, streams, wake
from sleepjax.memory.continuum import ContinuumConfig, MemoryState
from sleepjax.memory.wake import WakeState
from sleepjax.model import load_pretrained
from sleepjax.runs.session import StepSession
from sleepjax.training import checkpoints
from sleepjax.training.compilation_cache import enable_compilation_cache
from sleepjax.training.metrics import read_metrics

# Its own flags, so that one process can import several commands.
_FLAGS = flags.FlagValues()
_WORKDIR = flags.DEFINE_string(
    'workdir', None, 'Folder for all results.', flag_values=_FLAGS)
_DOCUMENT = flags.DEFINE_multi_string(
    'document', None, 'Text to read in place of config.text; several are read '
    'side by side.', flag_values=_FLAGS)


def context_only_loss(config, params, settings, previous, window):
  """Loss of a window [W] when nothing but its context is remembered; of a
  window of each of B streams [B, W] their losses [B]."""
  still = dataclasses.replace(
      settings, learning_rates=(0.0,) * len(settings.learning_rates))
  rows = previous.shape[0] if previous.ndim else None
  state = wake.init_wake(config, params, still, rows)._replace(
      previous=previous)
  return wake.read_window(config, params, still, state, window)[1]['loss']


def life_of(config, params, settings, key, number: int):
  """A life that reads one text, or so many side by side.

  Args:
    config, params, settings: of a model with its levels.
    key: typed PRNG key.
    number: of texts.

  Returns:
    (its state, what makes a state of a saved tree, what reads a window of each
    text: (state, tokens) -> (state, metrics)).
  """
  if number > 1:
    state = streams.init_state(config, params, settings, number)
    return state, functools.partial(checkpoints.with_structure, state), (
        functools.partial(streams.read, config, params, settings))
  state = continuum.init_state(config, params, settings)

  def read(state, tokens):
    heard = []
    state = continuum.read(config, settings, state, tokens, key, heard.append)
    return state, heard[0]

  return state, functools.partial(continuum.restored, state), read


def awake(state: MemoryState | WakeState) -> WakeState:
  """What a life carries while it is awake."""
  return state.wake if isinstance(state, MemoryState) else state


def write(observer, n: int, read, alone, spent) -> float:
  """Writes the lines of a window, and of each of its hand-overs.

  Args:
    observer: of the run.
    n: number of the window.
    read: metrics of `continuum.read`, or of `streams.read`.
    alone: loss of the window, or of that of each stream, with its context only.
    spent: seconds that it took, and those of processors.

  Returns:
    The loss of the window, or their mean.
  """
  loss, now = np.asarray(read['loss']), read['tokens_read']
  for i in range(loss.size):
    which = {'stream': i, 'cycle': i} if loss.ndim else {}
    observer.wrote('read', n, {
        **which, 'loss': float(loss.flat[i]),
        'loss_context_only': float(np.asarray(alone).flat[i]),
        'tokens_read': now, 'hand_overs': len(read['due']),
        'sleeps': read['sleeps'], **spent, 'resident_gib': _resident_gib()})
  for hand_over in read['hand_overs']:
    numbers = numbers_of(hand_over)
    observer.wrote('hand_over', n, {
        'tokens_read': now, **numbers,
        'cycle': numbers['sender']})  # Several hand-overs a window.
  return float(loss.mean())


def numbers_of(hand_over):
  """A hand-over's numbers; sender and receiver are memory levels."""
  number = lambda name: int(name.split()[1]) + 1 if ' ' in name else 0
  return {**{side: number(hand_over[side]) for side in ('sender', 'receiver')},
          **{name: value for name, value in hand_over.items()
             if name.startswith(('divergence_', 'retention_'))
             and value is not None}}


def losses(rows):
  """Mean losses of a stream's windows, in nats per token."""
  last = rows[-max(len(rows) // 4, 1):]
  mean = lambda name, part: float(np.mean([r[name] for r in part]))
  return {
      'loss': mean('loss', rows),
      'loss_context_only': mean('loss_context_only', rows),
      'loss_last_quarter': mean('loss', last),
      'loss_context_only_last_quarter': mean('loss_context_only', last)}


def summarise(rows, settings):
  """Plain numbers of a finished run, its first stream's where it has more."""
  tokens, chunks = int(rows[-1]['tokens_read']), settings.wake.chunks
  quarter = max(len(rows) // 4, 1)
  return {
      'tokens': tokens, 'windows': len(rows),
      'sleeps': int(rows[-1]['sleeps']),
      'sleeps_by_the_clock':
          clock.sleeps(tokens, chunks) if settings.sleep else 0,
      **losses(rows),
      **{f'median_{name}_first_and_second_half': medians_of_halves(rows, name)
         for name in ('seconds', 'cpu_seconds')},
      'resident_gib_after_first_quarter': rows[quarter - 1]['resident_gib'],
      'resident_gib_at_the_end': rows[-1]['resident_gib']}


def medians_of_halves(rows, name):
  """Of a time of windows, by how much was due: compare like with like."""
  times = collections.defaultdict(list)
  for r in rows:
    times[int(r['hand_overs'])].append(r[name])
  return {due: [float(np.median(half)) for half in (
      some[:len(some) // 2], some[len(some) // 2:])]
          for due, some in times.items() if len(some) >= 8}


def hand_overs(lines):
  """Those of a run, as its report has them."""
  return [{k: v for k, v in line.items() if k not in ('phase', 'cycle', 'step')}
          for line in lines if line['phase'] == 'hand_over']


def plot(rows, path):
  """Loss against context only, seconds a window, and memory."""
  pictures.draw(path, lambda figure: _draw(figure, rows), dpi=150,
                figsize=(8, 8))


def _draw(figure, rows):
  read = np.array([r['tokens_read'] for r in rows]) / 1000
  axes = figure.subplots(3, 1, sharex=True)
  smooth = max(len(rows) // 20, 1)
  running = lambda values: np.convolve(
      values, np.ones(smooth) / smooth, mode='valid')
  gain = np.array([r['loss_context_only'] - r['loss'] for r in rows])
  axes[0].axhline(0, color='0.7', linewidth=1)
  axes[0].plot(read, gain, '.', color='0.75', markersize=3)
  axes[0].plot(read[smooth - 1:], running(gain), color='C0')
  axes[0].set_ylabel('loss saved by memory,\nnats per token')
  for due in sorted({r['hand_overs'] for r in rows}):
    chosen = [r for r in rows if r['hand_overs'] == due]
    axes[1].plot([r['tokens_read'] / 1000 for r in chosen],
                 [r['seconds'] for r in chosen], '.', markersize=4,
                 label=f'hand-overs: {due:.0f}')
  axes[1].set_yscale('log')
  axes[1].set_ylabel('seconds a window')
  axes[1].legend(fontsize=7, frameon=False, ncols=2)
  axes[2].plot(read, [r['resident_gib'] for r in rows])
  axes[2].set_ylim(bottom=0)
  axes[2].set_ylabel('resident memory, GiB')
  axes[2].set_xlabel('tokens read, thousands')
  for a in axes:
    a.spines[['top', 'right']].set_visible(False)
  figure.tight_layout()


def _clocks():
  return {'seconds': time.perf_counter(), 'cpu_seconds': time.process_time()}


def _resident_gib():
  status = pathlib.Path('/proc/self/status').read_text()
  kib = [line.split()[1] for line in status.splitlines()
         if line.startswith('VmRSS')]
  return int(kib[0]) / 2**20


def main(argv):
  config = _config.from_flags(
      argv, default='configs/memory/four_level.py', description=__doc__,
      flag_values=_FLAGS, needs=('model', 'seed', 'text', 'tokens',
                                 'skip_tokens', 'save_every', 'continuum'))
  workdir = _config.path(_WORKDIR)
  resolved = json.loads(config.to_json())
  settings = _config.to_dataclass(
      ContinuumConfig, config.continuum, 'config.continuum')
  window = settings.wake.chunks[0]
  _config.check_numbers(config, save_every=1, skip_tokens=0, tokens=window)
  names = _DOCUMENT.value or [config.text]
  if _DOCUMENT.value:
    resolved['documents'] = names
  texts = [text_stream.find(name) for name in names]
  if len(texts) > 1:
    streams.check_awake(settings, len(texts))
  enable_compilation_cache()
  key = seeds.key_of(config.seed)
  with StepSession(workdir, resolved, 'windows.jsonl') as session:
    if config.model is None:
      model = _scratch.trained(config, workdir / 'base', session.observer)
    else:
      model = load_pretrained(config.model)
    grown, params = continuum.add_levels(
        model.config, model.params, settings, jax.random.fold_in(key, 2**20))
    state, restored, read = life_of(
        grown, params, settings, key, len(texts))
    if session.saved:
      state = restored(session.saved.tree)
    left = range(session.step // window, config.tokens // window)
    windows = zip(*(text_stream.windows(
        model.tokenizer, text, window, config.skip_tokens + session.step)
                    for text in texts), strict=False)
    with session.observer.phase('read', total=left.stop) as phase:
      phase.advance(left.start)
      for n, tokens in zip(left, windows, strict=False):
        tokens = tokens[0] if len(texts) == 1 else np.stack(tokens)
        alone = context_only_loss(
            grown, params, settings.wake, awake(state).previous, tokens)
        began = _clocks()
        with session.deferred():
          state, heard = read(state, tokens)
          jax.block_until_ready(state)
          loss = write(session.observer, n, heard, alone, {
              name: now - began[name] for name, now in _clocks().items()})
          phase.advance(tokens=tokens.size, loss=loss)
          now = heard['tokens_read']
          session.done(now, state, now % config.save_every < window)
    lines = read_metrics(workdir / 'windows.jsonl')
    rows = [[line for line in lines if line['phase'] == 'read'
             and line.get('stream', 0) == i] for i in range(len(texts))]
    if not rows[0]:
      raise UserError(
          f'{", ".join(map(str, texts))}: less than a window of {window} '
          f'tokens after the first {config.skip_tokens}.')
    report = session.report({
        **summarise(rows[0], settings), 'hand_overs': hand_overs(lines),
        'streams': [{'document': name, **losses(own)}
                    for name, own in zip(names, rows, strict=True)]})
  plot(rows[0], workdir / 'report.png')
  print(json.dumps({k: v for k, v in report.items() if k != 'config'},
                   indent=2, ensure_ascii=False))
