"""The command of the stream bed: arms, its report, what is not repeated."""

import json

import numpy as np
import pytest
from ml_collections import ConfigDict

from configs.long_context import babi, needles, small
from configs.pretrain import fast_level
from experiments import long_context, pretrain_level
from experiments.beds import with_arm
from sleepjax.errors import UserError
from sleepjax.evals.paired import wilson

FEW = ['--config.stream.windows=8', '--config.stream.window=40',
       '--config.stream.facts=2', '--config.stream.distances=(1,2)',
       '--config.seeds=(0,)', '--config.asking.memories=4',
       '--config.asking.questions=4', '--config.asking.scouted=2',
       '--config.asking.scouts=1', '--config.asking.dreams.batch_rows=8',
       '--config.continuum.sleep.seeding.steps=2',
       '--config.continuum.sleep.seeding.retention_rows=2',
       '--config.continuum.wake.chunks=(40,80)',
       '--config.changes.sleep_1.continuum.wake.chunks=(40,80)']


def test_all_arms_can_be_built():
  config = small.get_config()
  assert set(config.changes) - set(config.arms) == {'wake', 'wake_newborn'}
  for arm in config.changes:
    read, _, levels, _ = long_context.settings_of(
        ConfigDict(with_arm(config, arm)), arm)
    assert (levels.sleep is None) == (read == 'wake')
    if arm.startswith('sleep_'):
      assert len(levels.wake.chunks) - 1 == int(arm.split('_')[1])
      assert levels.wake.chunks[-1] == (512 if arm.endswith('512') else 2048)


def test_needles_of_any_length():
  for tokens, last in (('2048', 8), ('65536', 256)):
    config = needles.get_config(tokens)
    assert config.stream.windows * config.stream.window == int(tokens)
    assert config.stream.distances[0] == 1
    assert config.stream.distances[-1] == last
    assert config.stream.alike == config.stream.facts == 8
    for arm in config.arms:
      long_context.settings_of(ConfigDict(with_arm(config, arm)), arm)
  for wrong in ('1024', '2100', 'many'):
    with pytest.raises(UserError, match=f'needles.py:{wrong}: expected a num'):
      needles.get_config(wrong)


def test_what_is_hidden_in_books():
  for what, found in (('qa1-2048', 1), ('qa3-65536', 3), ('needles-512', 1)):
    config = babi.get_config(what)
    assert set(config.changes) == set(config.arms)
    for arm in config.arms:
      _, stream, _, asking = long_context.settings_of(
          ConfigDict(with_arm(config, arm)), arm)
      assert f'{stream.kind}-{stream.tokens}' == what
      assert stream.found == found
      assert '{sentence}' in asking.dreams.question_prompt
  for wrong in ('qa4-2048', 'qa1-2000', 'qa1', 'needles-0'):
    with pytest.raises(UserError, match=f'babi.py:{wrong}: expected what is'):
      babi.get_config(wrong)


@pytest.mark.slow
def test_a_small_book(tmp_path):
  (tmp_path / 'book.txt').write_text('\n'.join(
      f'This is the sentence of number {n} in it.' for n in range(200)))
  long_context.main([
      'x', '--config=configs/long_context/babi.py:needles-512',
      '--config.model=tiny-world', '--config.stream.window=128',
      '--config.stream.texts=2', f'--config.stream.book={tmp_path}/book.txt',
      '--config.arms=("nothing","truncated")', '--config.seeds=(0,)',
      f'--workdir={tmp_path}/run'])
  report = json.loads((tmp_path / 'run/report.json').read_text())
  assert {name: row['at the end']['questions'] for name, row in
          report['arms'].items()} == {'nothing': 8, 'truncated': 8}
  assert report['recall_far'] == {} and report['hand_overs'] == []


@pytest.mark.slow
def test_a_small_bed(tmp_path, capsys):
  run = lambda *flags: long_context.main([
      'x', *FEW, f'--workdir={tmp_path}', *flags])
  run("--config.arms=('sleep_1','bm25')")
  report = json.loads((tmp_path / 'report.json').read_text())
  row = json.loads((tmp_path / 'rows/sleep_1/seed_0/all.json').read_text())
  assert report['recall_far'] == {'1': np.mean(row['row']['far'])}
  assert len(report['hand_overs']) == len(row['row']['hand_overs'])
  for handed in report['hand_overs']:
    assert (handed['sender'], handed['receiver']) == (0, 1)
    assert handed['divergence_before'] > 0 <= handed['divergence_after']
    assert handed['asked'] > 0 and set(handed['facts']) <= {0, 1}
  assert (tmp_path / 'report.png').stat().st_size > 5_000
  assert 'sleep_1' in (tmp_path / 'table.md').read_text()
  # What is finished is not repeated.
  before = (tmp_path / 'rows/bm25/seed_0/all.json').stat().st_mtime_ns
  run("--config.arms=('sleep_1','bm25','nothing')")
  assert (tmp_path / 'rows/bm25/seed_0/all.json').stat().st_mtime_ns == before
  assert 'nothing' in capsys.readouterr().out
  with pytest.raises(UserError, match='another'):
    run("--config.arms=('sleep_1',)", '--config.asking.scouts=2')


def test_recall_by_the_number_of_levels():
  entry = lambda right, of: {'far, answers': {
      'mean': right / of, **dict(zip(('low', 'high'), wilson(right, of)))}}
  assert long_context.recall_far({
      'sleep_1': entry(3, 4), 'sleep_3': entry(1, 4),
      'sleep_3_512': entry(2, 4), 'wake': entry(0, 4),
      'sleep_4': {'far, answers': None}}) == {'1': 0.75, '3': 0.25}


def test_how_a_life_reads_is_checked():
  entries = ConfigDict(with_arm(small.get_config(), 'nothing'))
  entries.read = 'books'
  with pytest.raises(UserError, match="config.read='books' of nothing must be"):
    long_context.settings_of(entries, 'nothing')
  entries.read, entries.bed = 'nothing', 'sofa'
  with pytest.raises(UserError, match="config.bed='sofa' of nothing must be"):
    long_context.settings_of(entries, 'nothing')


@pytest.mark.slow
def test_a_level_is_trained_and_read(tmp_path):
  flags = ['--config.level_dim=8', '--config.exam_streams=2',
           '--config.save_every=1', '--config.fast_weights.warmup_steps=1',
           '--config.fast_weights.streams=2',
           '--config.fast_weights.window=40', '--config.fast_weights.facts=2']
  run = lambda name, steps: pretrain_level.main([
      'x', f'--workdir={tmp_path / name}', *flags,
      f'--config.fast_weights.steps={steps}'])
  run('level', 2)
  report = json.loads((tmp_path / 'level/report.json').read_text())
  assert report['rate'] != fast_level.get_config().fast_weights.rate
  value = long_context.read_fast_level(str(tmp_path / 'level'), 8)
  assert np.exp(value['log_rate']) == pytest.approx(report['rate'])
  with pytest.raises(UserError, match='a level of 8 hidden units'):
    long_context.read_fast_level(str(tmp_path / 'level'), 9)
  with pytest.raises(UserError, match='no initial weights there'):
    long_context.read_fast_level(str(tmp_path / 'none'), 8)

