r"""A model with several memory levels reads a long stream, sleeping as it goes.

  python -m experiments.read_stream --config=configs/memory/four_level.py \
      --workdir=DIR

The text is read from disk as it is needed, and reading ends where it does.
Every window is scored before anything is learnt from it, so the loss is that of
text the model has not seen. Beside it stands the loss of the same model with
its context only: what the levels gain or cost. Writes DIR/windows.jsonl (loss,
seconds, memory and what was due after each window), DIR/report.json and
DIR/report.png. The same command on the same folder goes on where it stopped.
"""

if __name__ == '__main__':
  from experiments import _start
  _start.command('read_stream')

import collections
import dataclasses
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
from sleepjax.memory import clock, continuum, wake
from sleepjax.memory.continuum import ContinuumConfig
from sleepjax.model import load_pretrained
from sleepjax.runs.session import StepSession
from sleepjax.training.compilation_cache import enable_compilation_cache
from sleepjax.training.metrics import read_metrics

# Its own flags, so that one process can import several commands.
_FLAGS = flags.FlagValues()
_WORKDIR = flags.DEFINE_string(
    'workdir', None, 'Folder for all results.', flag_values=_FLAGS)


def context_only_loss(config, params, settings, previous, window) -> float:
  """Loss of a window [W] when nothing but its context is remembered."""
  still = dataclasses.replace(
      settings, learning_rates=(0.0,) * len(settings.learning_rates))
  state = wake.init_wake(config, params, still)._replace(previous=previous)
  return float(wake.read_window(
      config, params, still, state, window)[1]['loss'])


def write(observer, n: int, read, alone: float, spent) -> float:
  """Writes the lines of a window, and of each of its hand-overs.

  Args:
    observer: of the run.
    n: number of the window.
    read: metrics of `continuum.read`.
    alone: loss of the window with its context only.
    spent: seconds that it took, and those of processors.

  Returns:
    The loss of the window.
  """
  loss, now = float(read['loss']), read['tokens_read']
  observer.wrote('read', n, {
      'loss': loss, 'loss_context_only': alone, 'tokens_read': now,
      'hand_overs': len(read['due']), 'sleeps': read['sleeps'],
      **spent, 'resident_gib': _resident_gib()})
  for hand_over in read['hand_overs']:
    numbers = numbers_of(hand_over)
    observer.wrote('hand_over', n, {
        'tokens_read': now, **numbers,
        'cycle': numbers['sender']})  # Several hand-overs a window.
  return loss


def numbers_of(hand_over):
  """A hand-over's numbers; sender and receiver are memory levels."""
  number = lambda name: int(name.split()[1]) + 1 if ' ' in name else 0
  return {**{side: number(hand_over[side]) for side in ('sender', 'receiver')},
          **{name: value for name, value in hand_over.items()
             if name.startswith(('divergence_', 'retention_'))
             and value is not None}}


def summarise(rows, chunks):
  """Plain numbers of a finished run."""
  tokens = int(rows[-1]['tokens_read'])
  quarter = max(len(rows) // 4, 1)
  mean = lambda name, part: float(np.mean([r[name] for r in part]))
  return {
      'tokens': tokens, 'windows': len(rows),
      'sleeps': int(rows[-1]['sleeps']),
      'sleeps_by_the_clock': clock.sleeps(tokens, chunks),
      'loss': mean('loss', rows),
      'loss_context_only': mean('loss_context_only', rows),
      'loss_last_quarter': mean('loss', rows[-quarter:]),
      'loss_context_only_last_quarter': mean(
          'loss_context_only', rows[-quarter:]),
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
  text = text_stream.find(config.text)
  enable_compilation_cache()
  key = seeds.key_of(config.seed)
  with StepSession(workdir, resolved, 'windows.jsonl') as session:
    if config.model is None:
      model = _scratch.trained(config, workdir / 'base', session.observer)
    else:
      model = load_pretrained(config.model)
    grown, params = continuum.add_levels(
        model.config, model.params, settings, jax.random.fold_in(key, 2**20))
    state = continuum.init_state(grown, params, settings)
    if session.saved:
      state = continuum.restored(state, session.saved.tree)
    left = range(session.step // window, config.tokens // window)
    windows = text_stream.windows(
        model.tokenizer, text, window, config.skip_tokens + session.step)
    with session.observer.phase('read', total=left.stop) as phase:
      phase.advance(left.start)
      for n, tokens in zip(left, windows, strict=False):
        alone = context_only_loss(
            grown, params, settings.wake, state.wake.previous, tokens)
        began, heard = _clocks(), []
        with session.deferred():
          state = continuum.read(
              grown, settings, state, tokens, key, heard.append)
          jax.block_until_ready(state)
          loss = write(session.observer, n, heard[0], alone, {
              name: now - began[name] for name, now in _clocks().items()})
          phase.advance(tokens=window, loss=loss)
          now = heard[0]['tokens_read']
          session.done(now, state, now % config.save_every < window)
    lines = read_metrics(workdir / 'windows.jsonl')
    rows = [line for line in lines if line['phase'] == 'read']
    if not rows:
      raise UserError(f'{text} has less than a window of {window} tokens after '
                      f'the first {config.skip_tokens}.')
    report = session.report({
        **summarise(rows, settings.wake.chunks),
        'hand_overs': hand_overs(lines)})
  plot(rows, workdir / 'report.png')
  print(json.dumps({k: v for k, v in report.items() if k != 'config'},
                   indent=2, ensure_ascii=False))
