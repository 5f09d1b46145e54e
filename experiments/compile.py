"""Compiles the programs of a sleep for a TPU slice that is not there.

  python -m experiments.compile --config=configs/scale/llama3_8b.py \\
      --topology=v5e:8x8 [--programs=seeding_update,rollout] [--out=FILE.json]

Needs `pip install -e '.[tpu]'` and no TPU: the compiler is in the package
libtpu. Nothing is allocated; a model of eight billion parameters takes minutes
on two cores. Reports for every program the memory of a chip as the compiler
has planned it, FLOPs, the bytes that a chip receives by kind of collective, and
the least time of a step: the longest of what its FLOPs, its traffic with memory
and its collectives would take at the chip's published peaks. MFU is that of
such a step, so a bound as well. docs/results/scale.md has tables.

FLOPs come from formulas (`experiments.bench.programs`), bytes from the compiled
program, with loops counted as often as they turn (`sleepjax.roofline.hlo`).
"""

if __name__ == '__main__':
  from experiments import _start
  _start.command('compile')

import dataclasses
import importlib.metadata
import importlib.util
import json
import math
import os
import pathlib
import re
import tempfile
import time
import warnings

import jax
import numpy as np
import rich.console
import rich.table
from absl import flags

from experiments import _config
from experiments.bench.programs import Program, Sleep
from sleepjax.data import files
from sleepjax.errors import UserError
from sleepjax.mesh.sharding import AXES
from sleepjax.models import transformer
from sleepjax.roofline import chips as chips_lib
from sleepjax.roofline import hlo, hlo_memory

# Its own flags, so that one process can import several commands.
_FLAGS = flags.FlagValues()
_TOPOLOGY = flags.DEFINE_string(
    'topology', None, 'slice to compile for, as v5e:8x8', flag_values=_FLAGS)
_PROGRAMS = flags.DEFINE_list(
    'programs', [], 'names of programs; all by default', flag_values=_FLAGS)
_OUT = flags.DEFINE_string(
    'out', None, 'where to write the report, as JSON', flag_values=_FLAGS)


def topology_devices(slice_: chips_lib.Slice) -> list:
  """Devices of a slice that is not there.

  Raises:
    UserError: libtpu is missing, or knows no such slice.
  """
  if importlib.util.find_spec('libtpu') is None:
    raise UserError(
        'the compiler for TPUs is missing: install the package libtpu with '
        "pip install -e '.[tpu]'.")
  # No question to a metadata server about the machine this would be.
  os.environ.update(TPU_SKIP_MDS_QUERY='1', TPU_WORKER_HOSTNAMES='localhost',
                    ALLOW_MULTIPLE_LIBTPU_LOAD='1',
                    TPU_ACCELERATOR_TYPE='v5litepod-4')
  from jax.experimental import topologies
  name = f'{slice_.generation}:{"x".join(map(str, slice_.shape))}'
  try:
    return topologies.get_topology_desc(
        platform='tpu', topology_name=name).devices
  except jax.errors.JaxRuntimeError as error:
    raise UserError(f'--topology={name}: libtpu knows no such slice: '
                    f'{str(error).splitlines()[0]}') from None


def compiled_report(program: Program, mesh,
                    slice_: chips_lib.Slice) -> dict:
  """What compiling a program for a mesh of the slice tells."""
  report = {'mesh': dict(mesh.shape), 'flops': program.flops,
            'model_flops': program.model_flops, 'rows': program.rows}
  start = time.monotonic()
  with jax.set_mesh(mesh), tempfile.TemporaryDirectory() as folder:
    with warnings.catch_warnings():
      # A pool that becomes larger cannot stay where it was.
      warnings.filterwarnings('ignore', 'Some donated buffers')
      lowered = program.trace(mesh).lower()
    report['seconds_to_lower'] = round(time.monotonic() - start, 1)
    try:
      compiled = lowered.compile(compiler_options={
          'xla_dump_to': folder, 'xla_dump_hlo_as_text': True})
    except jax.errors.JaxRuntimeError as error:
      if 'RESOURCE_EXHAUSTED' not in str(error):
        raise
      # It was compiled all the same: what it needs lies in the folder.
      report['refused'] = str(error).splitlines()[0]
      compiled = None
    dumped = lambda name: next(pathlib.Path(folder).glob(
        f'*.after_optimizations{name}.txt')).read_text()
    parsed = hlo.Program(dumped(''), program.unknown_turns)
    usage = hlo_memory.read_usage(dumped('-memory-usage-report'))
  report['seconds_to_compile'] = round(time.monotonic() - start, 1)
  if compiled is None:
    sizes = {'argument': hlo_memory.argument_bytes(parsed),
             'temp': usage.total}
  else:
    memory = compiled.memory_analysis()
    sizes = {name: getattr(memory, f'{name}_size_in_bytes') for name in (
        'argument', 'output', 'temp', 'alias', 'generated_code')}
  total = sum(sizes.values()) - 2 * sizes.get('alias', 0)
  traffic = hlo_memory.memory_bytes(parsed)
  bound = chips_lib.roofline(
      slice_, program.flops, traffic, parsed.collectives,
      [device.coords for device in np.ravel(mesh.devices)])
  report.update(
      fits=compiled is not None and total <= slice_.chip.hbm_bytes,
      hbm_bytes_per_chip=total, hbm_bytes=sizes, hbm_traffic_bytes=traffic,
      collective_bytes=parsed.collective_bytes(),
      loops_by_data=parsed.unknown, step_seconds_estimate=bound.seconds,
      bound_by=bound.bound, roofline_seconds=dataclasses.asdict(bound),
      mfu_estimate=chips_lib.utilisation(
          slice_, program.model_flops, bound.seconds),
      largest_buffers=[{'bytes': size, 'shapes': shapes}
                       for size, shapes in usage.largest])
  if not report['fits']:
    report['advice'] = advice(report, slice_)
  return report


def advice(report: dict, slice_: chips_lib.Slice) -> str:
  """What takes the memory, and a mesh that would take less of it."""
  mesh, gib = report['mesh'], 2**30
  largest = '; '.join(
      f'{buffer["bytes"] / gib:.2f} GiB {buffer["shapes"]}'
      for buffer in report['largest_buffers'][:3])
  have = slice_.chip.hbm_bytes / gib
  parts = mesh['data'] * mesh['fsdp']
  if report['rows'] % parts:
    fewer = math.gcd(report['rows'], parts)
    mesh_text = (
        f'mesh data=1, fsdp={fewer}, tensor={slice_.num_chips // fewer}: a '
        f'batch of rows that {parts} parts do not divide lies whole on every '
        'chip')
  elif mesh['data'] > 1:
    better = {**mesh, 'data': 1, 'fsdp': mesh['data'] * mesh['fsdp']}
    mesh_text = ('weights that are split further: mesh ' + ', '.join(
        f'{axis}={better[axis]}' for axis in AXES))
  else:
    factor = 2 ** int(np.ceil(np.log2(
        max(report['hbm_bytes_per_chip'] / slice_.chip.hbm_bytes, 1.01))))
    mesh_text = (
        f'{slice_.num_chips * factor} chips, mesh data=1, '
        f'fsdp={mesh["fsdp"] * factor}, tensor={mesh["tensor"]}, or '
        f'1/{factor} of the rows')
  return (f'needs {report["hbm_bytes_per_chip"] / gib:.1f} GiB a chip of '
          f'{have:.0f}. Largest buffers: {largest}. Try {mesh_text}.')


def table(report: dict) -> rich.table.Table:
  """The programs of a report, one a row; what is received, per chip."""
  shown = rich.table.Table(
      rich.table.Column('program', no_wrap=True), 'mesh', 'GiB', 'fits',
      'PFLOP', 'GB received', 'seconds', 'bound by', 'MFU %', 'compiled in s',
      title=f'{report["model"]} on {report["topology"]}')
  for name, p in report['programs'].items():
    received = sum(p['collective_bytes'].values()) / 1e9
    shown.add_row(
        name, '×'.join(str(n) for n in p['mesh'].values()),
        f'{p["hbm_bytes_per_chip"] / 2**30:.2f}',
        'yes' if p['fits'] else 'no', f'{p["flops"] / 1e15:.2f}',
        f'{received:.2f}', f'{p["step_seconds_estimate"]:.3f}',
        p['bound_by'], f'{100 * p["mfu_estimate"]:.0f}',
        f'{p["seconds_to_compile"]:.0f}')
  return shown


def main(argv):
  config = _config.from_flags(
      argv, description=__doc__, flag_values=_FLAGS, needs=(
          'model', 'slot_rank', 'slots', 'matmul_dtype', 'remat',
          'attention_queries', 'mesh', 'rollout_mesh', 'seeding', 'wake',
          'dreaming'))
  if _TOPOLOGY.value is None:
    raise UserError('no slice to compile for: expected --topology=v5e:8x8.')
  slice_ = chips_lib.parse_slice(_TOPOLOGY.value)
  devices = topology_devices(slice_)
  sleep = Sleep(config, devices)
  programs = sleep.programs()
  wanted = _PROGRAMS.value or list(programs)
  for name in wanted:
    if name not in programs:
      raise UserError(f'--programs={name}: expected some of '
                      f'{", ".join(programs)}.')
  report = {
      'model': re.sub(r'.*/|\.py.*', '', next(
          a for a in argv if 'config' in a and '.py' in a)),
      'parameters': transformer.parameter_count(
          transformer.abstract_params(sleep.canonical)),
      'topology': _TOPOLOGY.value, 'chips': slice_.num_chips,
      'chip': dataclasses.asdict(slice_.chip), 'config': config.to_dict(),
      'jax': jax.__version__,
      'libtpu': importlib.metadata.version('libtpu'),
      'date': time.strftime('%Y-%m-%d'), 'programs': {}}
  for name in wanted:
    program = programs[name]
    report['programs'][name] = compiled_report(
        program, sleep.mesh(program.mesh_config), slice_)
    if _OUT.value:  # What is done is kept, whatever happens to the rest.
      files.write(_OUT.value, json.dumps(report, indent=1) + '\n')
  rich.console.Console().print(table(report))
  for name, one in report['programs'].items():
    if 'advice' in one:
      print(f'{name} does not fit: {one["advice"]}')
