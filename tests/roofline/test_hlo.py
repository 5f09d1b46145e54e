"""Bytes between chips, counted in real programs for eight CPU devices."""

import json
import os
import pathlib
import subprocess
import sys

import pytest

from sleepjax.roofline import hlo


@pytest.fixture(scope='module')
def moved():
  script = pathlib.Path(__file__).parents[1] / 'eight_devices.py'
  done = subprocess.run(
      [sys.executable, str(script)], capture_output=True, text=True, env={
          **os.environ, 'JAX_PLATFORMS': 'cpu',
          'XLA_FLAGS': '--xla_force_host_platform_device_count=8'},
      timeout=300)
  assert not done.returncode, done.stderr[-2000:]
  return json.loads(done.stdout)


@pytest.mark.slow
def test_a_gather_in_a_loop_counts_as_often_as_the_loop_turns(moved):
  # [16, 16] float32 in four parts, three of which come from elsewhere.
  assert moved['loop'] == {
      'bytes': {'all-gather': 5 * 3 * 16 * 4 * 4}, 'groups': [4]}


@pytest.mark.slow
def test_a_sum_over_all_devices(moved):
  # [10] float32, reduced and spread again.
  assert moved['summed'] == {
      'bytes': {'all-reduce': 2 * 10 * 4 * 7 // 8}, 'groups': [8]}


@pytest.mark.slow
def test_a_sharded_step_moves_weights_twice_and_no_rows(moved):
  few, many = moved['step']['32'], moved['step']['128']
  assert few['all-gather'] == many['all-gather']
  # Once forward, once backward, the table and the head besides.
  assert few['all-gather'] < 2.2 * few['weights']
  assert few['all-reduce'] < 0.2 * few['weights']


@pytest.mark.slow
def test_units_of_several_slots_stay_split(moved):
  """Sums of activations, as many for four slots as for one; no weights."""
  assert list(moved['slots']['4']) == ['all-reduce']
  assert moved['slots']['4'] == moved['slots']['1']


_LOOP = """HloModule m, num_partitions=4

%body (p: (s32[], f32[8])) -> (s32[], f32[8]) {
  %p = (s32[], f32[8]{0}) parameter(0)
  %i = s32[] get-tuple-element(%p), index=0
  %x = f32[8]{0} get-tuple-element(%p), index=1
  %two = s32[] constant(2)
  %next = s32[] add(%i, %two)
  %y = f32[8]{0} all-reduce(%x), replica_groups={{0,2},{1,3}}, to_apply=%sum
  ROOT %t = (s32[], f32[8]{0}) tuple(%next, %y)
}

%cond (p.1: (s32[], f32[8])) -> pred[] {
  %p.1 = (s32[], f32[8]{0}) parameter(0)
  %i.1 = s32[] get-tuple-element(%p.1), index=0
  %limit = s32[] LIMIT
  ROOT %less = pred[] compare(%i.1, %limit), direction=LT
}

%sum (a: f32[], b: f32[]) -> f32[] {
  %a = f32[] parameter(0)
  %b = f32[] parameter(1)
  ROOT %c = f32[] add(%a, %b)
}

ENTRY %main (arg: f32[8], n: s32[]) -> f32[8] {
  %arg = f32[8]{0} parameter(0)
  %zero = s32[] constant(1)
  %start = (s32[], f32[8]{0}) tuple(%zero, %arg)
  %loop = (s32[], f32[8]{0}) while(%start), condition=%cond, body=%body
  ROOT %out = f32[8]{0} get-tuple-element(%loop), index=1
}
"""


def test_turns_come_from_start_limit_and_step():
  program = hlo.Program(_LOOP.replace('LIMIT', 'constant(8)'))
  assert program.turns['body'] == 4  # 1, 3, 5, 7.
  assert program.collectives == [hlo.Collective('all-reduce', 4 * 32, (0, 2))]
  assert not program.unknown


def test_a_loop_that_stops_by_its_data_turns_as_often_as_is_said():
  program = hlo.Program(_LOOP.replace('LIMIT', 'parameter(1)'), 17)
  assert program.unknown == ['loop']
  assert program.collective_bytes() == {'all-reduce': 17 * 32}


@pytest.mark.parametrize('text, group', [
    ('replica_groups={{0,2},{1,3}}', (0, 2)),
    ('replica_groups={}', (0, 1, 2, 3)),
    ('replica_groups=[2,2]<=[4]', (0, 1)),
    ('replica_groups=[2,2]<=[2,2]T(1,0)', (0, 2)),
    ("replica_groups=mesh['a'=2,'b'=2] {'a'}", (0, 2)),
    ("replica_groups=mesh['a'=2,'b'=2] {'a','b'}", (0, 1, 2, 3)),
    ("replica_groups=mesh['a'=2,'b'=2], device_ids=([2,2]T(1,0)) {'a'}",
     (0, 1)),
    ('source_target_pairs={{0,1},{1,0}}', (0, 1))])
def test_groups(text, group):
  program = hlo.Program(_LOOP.replace('LIMIT', 'constant(8)').replace(
      'replica_groups={{0,2},{1,3}}', text))
  assert program.collectives[0].group == group


def test_a_collective_that_goes_on_in_several_fusions_counts_once():
  piece = ('  %g.{0} = f32[32]{{0}} all-gather(%arg), channel_id=5, '
           'replica_groups=[1,4]<=[4], backend_config={{'
           '"async_collective_fusion_config":{{"flag_start":"{0}"}}}}\n')
  line = '  %zero = s32[] constant(1)\n'
  text = _LOOP.replace('LIMIT', 'constant(1)')
  text = text.replace(line, line + piece.format(1) + piece.format(2))
  assert hlo.Program(text).collective_bytes() == {
      'all-gather': 3 * 32}


def test_what_is_no_hlo_is_refused():
  with pytest.raises(ValueError, match='no ENTRY computation'):
    hlo.Program('module @jit_f {}')
