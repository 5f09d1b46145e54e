"""The stream experiment with the committed configuration, made small."""

import json
import os
import pathlib
import signal
import subprocess
import sys
import time

import pytest

from experiments.kill_test import differences
from sleepjax.training import checkpoints
from sleepjax.training.metrics import read_metrics

pytestmark = pytest.mark.slow

ROOT = pathlib.Path(__file__).parents[2]
SMALL = (
    '--config.tokens=68', '--config.skip_tokens=10', '--config.save_every=12',
    '--config.scratch.vocab_size=300', '--config.scratch.num_layers=1',
    '--config.scratch.embed_dim=32', '--config.scratch.mlp_dim=48',
    '--config.pretraining.steps=3', '--config.pretraining.rows=2',
    '--config.pretraining.window=16', '--config.continuum.level_dims=(8,8)',
    '--config.continuum.slot_rank=4',
    '--config.continuum.sleep.stretches.dreams=4',
    '--config.continuum.sleep.stretches.prompt_tokens=4',
    '--config.continuum.sleep.stretches.dream_tokens=4',
    '--config.continuum.sleep.seeding.steps=1')
CHUNKS = '--config.continuum.wake.chunks='


def read_stream(workdir, data, *flags, config='four_level', small=SMALL):
  return subprocess.run(
      [sys.executable, '-m', 'experiments.read_stream',
       f'--config=configs/memory/{config}.py', f'--workdir={workdir}',
       *small, f'{CHUNKS}(8,16,32,64)', *flags], cwd=ROOT,
      capture_output=True, text=True, timeout=1200, check=False, env={
          **os.environ, 'JAX_PLATFORMS': 'cpu',
          'SLEEPJAX_DATA_DIR': str(data)})


def test_all_clocks_fire_and_the_run_goes_on_where_it_stopped(
    tmp_path, little_text):
  result = read_stream(tmp_path, little_text)
  assert result.returncode == 0, result.stdout + result.stderr
  report = json.loads((tmp_path / 'report.json').read_text())
  # 68 tokens are eight whole windows; Σ⌊64/C⌋ over 8, 16 and 32 tokens.
  assert report['tokens'] == 64 and report['windows'] == 8
  assert report['sleeps'] == report['sleeps_by_the_clock'] == 8 + 4 + 2
  lines = read_metrics(tmp_path / 'windows.jsonl')
  rows = [line for line in lines if line['phase'] == 'read']
  assert [r['hand_overs'] for r in rows] == [1, 2, 1, 3, 1, 2, 1, 4]
  handed = report['hand_overs']
  assert len(handed) == 14 and {h['sender'] for h in handed} == {0, 1, 2}
  assert all(h['receiver'] == h['sender'] + 1 for h in handed)
  assert all({'divergence_before', 'divergence_after'} <= set(h)
             for h in handed)
  # Nothing was learnt before the first window.
  assert rows[0]['loss'] == pytest.approx(rows[0]['loss_context_only'])
  assert rows[-1]['loss'] != rows[-1]['loss_context_only']
  assert (tmp_path / 'report.png').stat().st_size > 10_000
  # 12 tokens are no whole windows: it is saved once the next one is read.
  assert checkpoints.load_progress(tmp_path / 'progress').step == 64

  again = read_stream(tmp_path, little_text, '--config.save_every=16')
  assert again.returncode == 0, again.stdout + again.stderr
  assert json.loads((tmp_path / 'report.json').read_text())['loss'] == (
      report['loss'])
  other = read_stream(tmp_path, little_text, '--config.seed=1')
  assert other.returncode == 2 and 'another' in other.stderr
  never = read_stream(tmp_path, little_text, '--config.save_every=0')
  assert never.returncode == 2
  assert 'config.save_every=0 must be at least 1' in never.stderr


def test_texts_side_by_side_are_read_as_each_alone(tmp_path, little_text):
  documents = [f'--document={ROOT}/sleepjax/data/text/rehearsal_{name}.txt'
               for name in ('bees', 'tides')]
  run = lambda name, *flags: read_stream(
      tmp_path / name, little_text, *flags, config='side_by_side',
      small=[flag for flag in SMALL if '.sleep.' not in flag])
  for name, given in (('both', documents), ('tides', documents[1:])):
    result = run(name, *given)
    assert result.returncode == 0, result.stdout + result.stderr
  both, tides = (json.loads((tmp_path / name / 'report.json').read_text())
                 for name in ('both', 'tides'))
  assert both['windows'] == tides['windows'] == 8
  assert both['sleeps'] == both['sleeps_by_the_clock'] == 0
  assert both['streams'][1].keys() == tides['streams'][0].keys()
  for key, value in tides['streams'][0].items():
    assert both['streams'][1][key] == (
        value if key == 'document' else pytest.approx(value, rel=1e-5))
  assert tides['loss'] != tides['loss_context_only']
  assert both['streams'][0]['loss'] == both['loss'] != tides['loss']
  lines = read_metrics(tmp_path / 'both/windows.jsonl')
  assert [line['stream'] for line in lines] == [0, 1] * 8
  again = run('both', *documents)
  assert again.returncode == 0, again.stdout + again.stderr
  assert json.loads((tmp_path / 'both/report.json').read_text())[
      'streams'] == both['streams']
  # Of other texts it is another run; and levels that hand over are refused.
  other = run('both', *documents[::-1])
  assert other.returncode == 2 and 'another' in other.stderr
  refused = read_stream(tmp_path / 'refused', little_text, *documents)
  assert refused.returncode == 2
  assert '2 streams side by side' in refused.stderr
  assert not (tmp_path / 'refused').exists()


def test_a_run_that_is_killed_in_a_long_stream_ends_the_same(tmp_path):
  """SIGKILL in 32,000 tokens, behind a save.

  At that save two levels have seen what they have not handed over.
  """
  text, windows = tmp_path / 'books.txt', tmp_path / 'killed/windows.jsonl'
  texts = ''.join(path.read_text() for path in sorted(
      ROOT.glob('sleepjax/data/text/*.txt')))
  text.write_text(texts * (-(-80_000 // len(texts))))
  (tmp_path / 'wikitext2').mkdir()
  (tmp_path / 'wikitext2/valid.txt').write_text(texts)
  command = [
      sys.executable, '-m', 'experiments.read_stream',
      '--config=configs/memory/four_level.py', *SMALL, '--config.tokens=32000',
      f'--config.text={text}', '--config.save_every=7000',
      f'{CHUNKS}(1000,2000,8000,16000)']
  run = lambda name: subprocess.Popen(
      [*command, f'--workdir={tmp_path / name}'], cwd=ROOT, env={
          **os.environ, 'JAX_PLATFORMS': 'cpu',
          'SLEEPJAX_DATA_DIR': str(tmp_path)})
  read = lambda path: [{k: v for k, v in line.items() if k not in (
      'seconds', 'cpu_seconds', 'resident_gib')}
                        for line in read_metrics(path)]
  process = run('killed')
  while not (windows.exists() and '"tokens_read": 17000' in
             windows.read_text()):
    assert process.poll() is None
    time.sleep(0.01)
  process.kill()
  assert process.wait() == -signal.SIGKILL
  assert read(windows)[-1]['tokens_read'] < 32_000
  assert 0 < checkpoints.load_progress(tmp_path / 'killed/progress').step < (
      17_000)
  assert [run(name).wait() for name in ('killed', 'whole')] == [0, 0]
  found = differences(tmp_path / 'killed', tmp_path / 'whole')
  assert [name for name in found if 'resident_gib' not in name
          and 'seconds' not in name] == []
  lines = read(windows)
  assert lines == read(tmp_path / 'whole/windows.jsonl')
  assert sum(line['phase'] == 'read' for line in lines) == 32
