"""Programs of a sleep as shapes, their FLOPs, and compiling them for a TPU."""

import importlib
import importlib.util
import json
import math
import re
import sys

import jax
import pytest
from jax.interpreters import partial_eval

from configs.scale import small
from experiments import compile as command
from experiments.bench import programs
from sleepjax.errors import UserError
from sleepjax.mesh.sharding import MeshConfig
from sleepjax.models import transformer
from sleepjax.roofline import chips, hlo, hlo_memory


@pytest.fixture(scope='module')
def sleep():
  config = small.get_config()
  config.rollout_mesh.tensor = 1
  return programs.Sleep(config, jax.devices()[:1])


# As the makers of each model publish them; slots come on top.
@pytest.mark.parametrize('name, parameters', [
    ('llama3p2_1b', 1_235_814_400), ('qwen3_1p7b', 1_720_574_976),
    ('qwen2p5_7b', 7_615_616_512), ('llama3_8b', 8_030_261_248),
    ('qwen3_8b', 8_190_735_360)])
def test_models_have_their_published_size(name, parameters):
  config = importlib.import_module(f'configs.scale.{name}').get_config()
  model = programs.Sleep(config, jax.devices()[:1]).canonical
  slots = 3 * model.num_layers * model.embed_dim * 64
  assert transformer.parameter_count(
      transformer.abstract_params(model)) == parameters + slots
  assert (model.rope_scaling is not None) == (name == 'llama3p2_1b')
  assert model.qk_norm == name.startswith('qwen3')
  assert model.qkv_bias == name.startswith('qwen2p5')


def _product_flops(jaxpr, turns):
  """FLOPs of all matrix products of a jaxpr, loops by data `turns` times."""
  total = 0
  for equation in jaxpr.eqns:
    kind = equation.primitive.name
    if kind == 'dot_general':
      (contracted, _), _ = equation.params['dimension_numbers']
      inner = [equation.invars[0].aval.shape[axis] for axis in contracted]
      total += 2 * math.prod(inner) * equation.outvars[0].aval.size
    times = {'scan': equation.params.get('length'), 'while': turns}.get(kind, 1)
    for value in equation.params.values():
      for inside in value if isinstance(value, tuple | list) else [value]:
        inside = getattr(inside, 'jaxpr', inside)
        if hasattr(inside, 'eqns'):
          total += times * _product_flops(
              _needed(inside) if kind == 'while' else inside, turns)
  return total


def _needed(jaxpr):
  """Without what no result depends on, as a compiler leaves it out."""
  return partial_eval.dce_jaxpr(jaxpr, [True] * len(jaxpr.outvars))[0]


@pytest.fixture(scope='module')
def leveled():
  """A sleep of a model with four memory levels."""
  config = small.get_config('levels')
  config.rollout_mesh.tensor = 1
  return programs.Sleep(config, jax.devices()[:1])


@pytest.mark.parametrize(
    'levels, name', [(False, 'seeding_update'), (False, 'rollout'),
                     (False, 'dream_inner'), (False, 'growth'),
                     (True, 'wake_update'), (True, 'hand_over')])
def test_program_flops_are_those_of_its_matrix_products(
    sleep, leveled, levels, name):
  sleep = leveled if levels else sleep
  program = sleep.programs()[name]
  mesh = sleep.mesh(program.mesh_config)
  with jax.set_mesh(mesh):
    jaxpr = _needed(program.trace(mesh).jaxpr.jaxpr)
  assert _product_flops(jaxpr, program.unknown_turns) == program.flops


def test_model_flops_by_hand(sleep):
  """Two layers of width 256 over 8 rows of 16 + 32 tokens."""
  layer = 256 * (8 * 32) * 2 + 256 * (4 * 32) * 2 + 3 * 256 * 512
  slot = 3 * 256 * 8
  attention = 2 * 2 * 8 * 32  # FLOPs of a pair, scores and values.
  # The sampler reads 16 tokens at once, 31 one by one; 32 are drawn.
  pairs = 47 * 48 // 2
  assert sleep.programs()['rollout'].model_flops == 8 * (
      2 * 2 * 47 * (layer + slot) + 2 * attention * pairs
      + 32 * 2 * 256 * 512)
  assert sleep.programs()['growth'].model_flops == 0


def test_recomputation_takes_time_and_counts_nothing(sleep):
  plain = small.get_config()
  plain.remat = 'none'
  plain.rollout_mesh.tensor = 1
  before = programs.Sleep(plain, jax.devices()[:1]).seeding_update()
  after = sleep.seeding_update()
  assert before.model_flops == after.model_flops < before.flops < after.flops


def test_meshes_use_all_chips(sleep):
  with pytest.raises(UserError, match='need 6 devices, and there are 1'):
    sleep.mesh(MeshConfig(fsdp=6))
  wide = programs.Sleep(small.get_config(), list(range(4)))
  with pytest.raises(UserError, match='4 devices do not divide by 3'):
    wide.mesh(MeshConfig(fsdp=-1, tensor=3))


def _report(**changes):
  return {'mesh': {'data': 1, 'fsdp': 4, 'tensor': 1}, 'rows': 16,
          'hbm_bytes_per_chip': 40 * 2**30, 'largest_buffers': [
              {'bytes': 20 * 2**30, 'shapes': 'f32[16,8,1152]'}], **changes}


def test_advice_names_buffers_and_a_mesh():
  slice_ = chips.parse_slice('v5e:2x2')
  assert command.advice(_report(), slice_) == (
      'needs 40.0 GiB a chip of 16. Largest buffers: 20.00 GiB '
      'f32[16,8,1152]. Try 16 chips, mesh data=1, fsdp=16, tensor=1, or 1/4 '
      'of the rows.')
  assert 'mesh data=1, fsdp=4, tensor=1' in command.advice(
      _report(mesh={'data': 2, 'fsdp': 2, 'tensor': 1}), slice_)
  assert 'Try mesh data=1, fsdp=2, tensor=2: a batch of rows that 4 parts ' in (
      command.advice(_report(rows=6), slice_))


def test_usage_report():
  usage = hlo_memory.read_usage(
      'Memory Space: default (color=0)\nTotal bytes: 3072 (3.00KiB)\n'
      '  cumulative_size;       size;       offset; used_by; shapes_list\n'
      '    2.00KiB( 67%);    2.00KiB;      0;    5; 5×f32[16,32]\n'
      '    3.00KiB(100%);    1.00KiB;   2048;    1; f32[16,16], pred[4]\n')
  assert usage == (
      3072, [(2048, '5×f32[16,32]'), (1024, 'f32[16,16], pred[4]')])


_STACK = """HloModule m, num_partitions=1

%layer (p0: f32[6,8,8], p1: s32[], p2: f32[8]) -> f32[8] {
  %p0 = f32[6,8,8]{2,1,0} parameter(0)
  %p1 = s32[] parameter(1)
  %p2 = f32[8]{0} parameter(2)
  %w = f32[1,8,8]{2,1,0} dynamic-slice(%p0, %p1, %p1, %p1)
  %m = f32[8,8]{1,0} bitcast(%w)
  ROOT %y = f32[8]{0} dot(%p2, %m)
}

%body (p: (s32[], f32[8], f32[6,8,8])) -> (s32[], f32[8], f32[6,8,8]) {
  %p = (s32[], f32[8]{0}, f32[6,8,8]{2,1,0}) parameter(0)
  %i = s32[] get-tuple-element(%p), index=0
  %x = f32[8]{0} get-tuple-element(%p), index=1
  %all = f32[6,8,8]{2,1,0} get-tuple-element(%p), index=2
  %one = s32[] constant(1)
  %next = s32[]{:S(1)} add(%i, %one)
  %y.1 = f32[8]{0} fusion(%all, %i, %x), kind=kLoop, calls=%layer
  %copy = f32[8]{0:S(1)} copy(%y.1)
  ROOT %t = (s32[], f32[8]{0}, f32[6,8,8]{2,1,0}) tuple(%next, %y.1, %all)
}

%cond (q: (s32[], f32[8], f32[6,8,8])) -> pred[] {
  %q = (s32[], f32[8]{0}, f32[6,8,8]{2,1,0}) parameter(0)
  %j = s32[] get-tuple-element(%q), index=0
  %six = s32[] constant(6)
  ROOT %less = pred[]{:S(1)} compare(%j, %six), direction=LT
}

ENTRY %main (a: f32[8], b: f32[6,8,8]) -> f32[8] {
  %a = f32[8]{0} parameter(0)
  %b = f32[6,8,8]{2,1,0} parameter(1)
  %zero = s32[] constant(0)
  %start = (s32[], f32[8]{0}, f32[6,8,8]{2,1,0}) tuple(%zero, %a, %b)
  %loop = (s32[], f32[8]{0}, f32[6,8,8]{2,1,0}) while(%start), @
  ROOT %out = f32[8]{0} get-tuple-element(%loop), index=1
}
"""


# The same, the slice in a fusion inside the fusion.
_PICK = """%pick (q0: f32[6,8,8], q1: s32[]) -> f32[8,8] {
  %q0 = f32[6,8,8]{2,1,0} parameter(0)
  %q1 = s32[] parameter(1)
  %v = f32[1,8,8]{2,1,0} dynamic-slice(%q0, %q1, %q1, %q1)
  ROOT %r = f32[8,8]{1,0} bitcast(%v)
}

"""
_SLICED = """
  %w = f32[1,8,8]{2,1,0} dynamic-slice(%p0, %p1, %p1, %p1)
  %m = f32[8,8]{1,0} bitcast(%w)
"""
_NESTED = _STACK.replace('%layer (', _PICK + '%layer (').replace(_SLICED, """
  %m = f32[8,8]{1,0} fusion(%p0, %p1), kind=kLoop, calls=%pick
""")


@pytest.mark.parametrize('text', [_STACK, _NESTED])
def test_a_loop_over_layers_reads_one_layer_at_a_time(text):
  program = hlo.Program(text.replace('@', 'condition=%cond, body=%body'))
  layer, vector, index = 8 * 8 * 4, 8 * 4, 4
  turn = ((layer + index + vector) + vector  # The fusion.
          + vector  # The copy into on-chip memory.
          + 2 * index + 2 * index)  # The counter, twice.
  assert program.turns['body'] == 6
  assert hlo_memory.memory_bytes(program) == 6 * turn
  assert hlo_memory.argument_bytes(program) == vector + 6 * layer


def _run(monkeypatch, *arguments, config='small.py'):
  monkeypatch.setattr(sys, 'argv', ['compile'])
  return command.main(
      ['compile', f'--config=configs/scale/{config}', *arguments])


@pytest.mark.parametrize('arguments, message', [
    ([], r'expected --topology=v5e:8x8'),
    (['--topology=v9:1x1'], 'generations v4, v5e'),
    (['--topology=v5e:8x8x8'], 'has 2 dimensions')])
def test_wrong_commands(monkeypatch, arguments, message):
  with pytest.raises(UserError, match=message):
    _run(monkeypatch, *arguments)


def test_without_the_compiler_it_says_what_to_install(monkeypatch):
  monkeypatch.setattr(importlib.util, 'find_spec', lambda name: None)
  with pytest.raises(UserError, match=re.escape(
      "pip install -e '.[tpu]'")):
    _run(monkeypatch, '--topology=v5e:2x2')


needs_libtpu = pytest.mark.skipif(
    importlib.util.find_spec('libtpu') is None,
    reason='libtpu is not installed: pip install -e .[tpu]')


@needs_libtpu
@pytest.mark.parametrize('config, names', [
    ('small.py', ['seeding_update', 'rollout', 'dream_inner', 'growth']),
    ('small.py:levels', ['wake_update', 'hand_over'])])
def test_compiles_for_a_slice_that_is_not_there(
    monkeypatch, tmp_path, capsys, config, names):
  out = tmp_path / 'report.json'
  _run(monkeypatch, '--topology=v5e:2x2', f'--out={out}',
       f'--programs={",".join(names)}', config=config)
  report = json.loads(out.read_text())
  assert report['chips'] == 4 and report['model'] == 'small'
  assert list(report['programs']) == names
  for program in report['programs'].values():
    assert program['fits']
    assert 0 < program['hbm_bytes_per_chip'] < 2**30
    assert program['step_seconds_estimate'] > 0
    assert 0 <= program['mfu_estimate'] < 1
  if 'growth' in names:
    assert not report['programs']['growth']['collective_bytes']
  assert names[0] in capsys.readouterr().out


@needs_libtpu
def test_a_slice_that_the_compiler_does_not_know():
  with pytest.raises(UserError, match='libtpu knows no such slice'):
    command.topology_devices(chips.parse_slice('v5e:3x3'))
