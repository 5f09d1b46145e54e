r"""How fast every phase is, how fast it could be, and how fast others are.

  python -m experiments.benchmark --workdir=DIR [--peers] \
      [--phases=decode_b1,train_step] [--model=smollm2-135m-instruct] \
      [--without='TRL GKDTrainer'] [--peers_keep_pages] \
      [--dtype=float32] [--repeats=5]

Each phase runs in a process of its own, in turns with what it is compared to
(see `bench.contest`): bare products of the same shapes, one large square
product (2048³ on CPUs, 8192³ elsewhere), and its rivals. Prints a table and
writes DIR/benchmark.json, a list with an entry a phase.

  step_seconds       median of the repeats (`step_spread`: least, greatest)
  tokens_per_second  tokens written where the phase writes (decode_*,
                     seeding_step), else read, over step_seconds
  compile_seconds    what the first step took beyond that; nothing is cached
  peak_bytes         most memory of the process during the repeats; on an
                     accelerator that of its own, for JAX since the start
  model_flops        of a step, by the formulas of `sleepjax.roofline.flops`
  fraction_of_gemm_peak  model FLOPs per second over those of the square product
  fraction_of_wall   time of the bare products over that of the step, with
                     weights stored outputs first (`ops.matmul`) where JAX
                     computes on CPUs
  usual_wall_ratio   how many times as long they take stored inputs first
  peer, ratio        the fastest rival, and how many times as long it takes
                     (`ratio_spread`; all of them under `peers`)

Two rivals are ours: scoring_shared_prefix is compared with reading the prefix
again in each row, dream_inner with one copy after another. --peers (pip install
'.[peers]') adds others' programs on the same shapes: Hugging Face generate, a
PEFT LoRA step of as many trainable parameters, a torch training step, TRL's and
tunix's distillation trainers. They get the same weights and compute where JAX
does; on a GPU, generate with a compiled model and a static cache takes part,
too. Our commands keep freed memory (`_host_pages`), others'
programs do not; --peers_keep_pages lets them.
"""

if __name__ == '__main__':
  from experiments import _start
  _start.command('benchmark')

import json
import os
import pathlib
import tempfile
from typing import NamedTuple

import jax
import rich.console
import rich.table

from experiments import _main
from experiments.bench import contest
from experiments.bench import work as work_lib
from experiments.bench.contest import Entry
from experiments.bench.work import Sizes
from sleepjax.data import files
from sleepjax.errors import UserError
from sleepjax.model import load_pretrained
from sleepjax.models import export, layout
from sleepjax.training.progress import Display

_OURS = 'experiments.bench.phases'


class Phase(NamedTuple):
  """ours: function of `bench.phases` and its own options; own_rivals: name ->
  the same; peers: name -> function of `peer_module` and options;
  accelerated_peers: those that take part on accelerators only."""

  ours: tuple[str, dict]
  own_rivals: dict = {}
  peers: dict = {}
  peer_module: str = 'experiments.bench.peers'
  accelerated_peers: dict = {}


def _decoding(batch):
  options = {'batch': batch}
  return Phase(
      ('decode', options),
      peers={'transformers generate': ('generate', options)},
      accelerated_peers={
          'compiled generate': ('generate', {**options, 'compiled': True})})


PHASES = {
    'prefill': Phase(('prefill', {}), {}, {
        'transformers': ('prefill', {})}),
    'decode_b1': _decoding(1),
    'decode_b8': _decoding(8),
    'decode_b32': _decoding(32),
    'scoring_shared_prefix': Phase(('scoring', {}), {
        'the prefix in every row': ('scoring', {'shared': False})}),
    'seeding_update': Phase(('seeding_update', {}), {}, {
        'PEFT LoRA': ('lora_step', {})}),
    'distillation_update': Phase(('seeding_update', {'scoring': True}), {}, {
        'tunix': ('distillation_step', {})}, 'experiments.bench.tunix_peer'),
    'seeding_step': Phase(('seeding_step', {}), {}, {
        'TRL DistillationTrainer': ('distillation_step', {}),
        'TRL GKDTrainer': ('gkd_step', {})}),
    'dream_inner': Phase(('dream_inner', {}), {
        'one after another': ('dream_inner', {'together': False})}),
    'train_step': Phase(('train_step', {}), {}, {
        'torch': ('train_step', {})}),
    'growth': Phase(('growth_and_step', {})),
}


def _parsed(argv):
  parser = _main.Parser('benchmark', __doc__)
  add = parser.add_argument
  add('--workdir', required=True, metavar='DIR',
      help='where benchmark.json goes')
  add('--phases', default=','.join(PHASES), metavar='A,B',
      help='which of them (default all)')
  add('--peers', action='store_true', help='measure other programs, too')
  add('--peers_keep_pages', action='store_true',
      help='let them keep freed memory as our commands do')
  add('--without', default='', metavar='A,B',
      help='rivals to leave out, by the names in the table')
  add('--model', default='smollm2-135m-instruct', metavar='NAME',
      help='see sleepjax.model (default smollm2-135m-instruct)')
  add('--dtype', default='float32', choices=('float32', 'bfloat16', 'auto'),
      help='in which matrices are multiplied, here; auto: what is native')
  add('--peer_dtype', default='float32', choices=('float32', 'bfloat16'),
      help='the same of the peers, which hold their weights in it')
  add('--repeats', type=int, default=5, metavar='N',
      help='timed steps of each (default 5)')
  for name, value in vars(Sizes()).items():
    add(f'--{name}', type=int, default=value, metavar='N',
        help=f'see experiments/bench/work.py (default {value})')
  args = parser.parse_args(argv[1:])
  args.phases = args.phases.split(',')
  args.without = args.without.split(',') if args.without else []
  rivals = [rival for phase in PHASES.values()
            for rival in (*phase.own_rivals, *phase.peers,
                          *phase.accelerated_peers)]
  for name in args.without:
    if name not in rivals:
      raise UserError(f'--without: no rival {name!r}; expected some of '
                      f'{",".join(dict.fromkeys(rivals))}.')
  for name in args.phases:
    if name not in PHASES:
      raise UserError(f'--phases: no phase {name!r}; expected some of '
                      f'{",".join(PHASES)}.')
  for name in ('repeats', *vars(Sizes())):
    if getattr(args, name) < 1:
      raise UserError(f'--{name}={getattr(args, name)} must be at least 1.')
  if args.rows % 4:
    raise UserError(f'--rows={args.rows} must be a multiple of 4: seeding '
                    'compares four rollouts of one prompt.')
  args.sizes = Sizes(**{name: getattr(args, name) for name in vars(Sizes())})
  if args.dtype == 'auto':
    args.dtype = layout.fastest_matmul_dtype()
  return args


def _entries(name: str, args, source: str) -> dict[str, Entry]:
  """Everybody who takes part in a phase, by name."""
  phase = PHASES[name]
  ours = {'source': source, 'dtype': args.dtype, 'sizes': args.sizes}
  theirs = {**ours, 'dtype': args.peer_dtype}

  def entry(module, common, function_and_options, keep_pages=True):
    function, options = function_and_options
    return Entry(module, function, {**common, **options}, keep_pages)

  entries = {'ours': entry(_OURS, ours, phase.ours)}
  entries |= {rival: entry(_OURS, ours, who)
              for rival, who in phase.own_rivals.items()}
  if args.peers:
    peers = phase.peers
    if jax.default_backend() != 'cpu':
      peers = {**peers, **phase.accelerated_peers}
    entries |= {peer: entry(
        phase.peer_module, theirs, who, args.peers_keep_pages)
                for peer, who in peers.items()}
  return {who: e for who, e in entries.items() if who not in args.without}


def measure(name: str, args, source: str, config) -> dict:
  """The entry of one phase in benchmark.json."""
  work = work_lib.work_of(name, config, args.sizes)
  entries = _entries(name, args, source)
  rivals = [entry for entry in entries if entry != 'ours']
  walls = {'wall': jax.default_backend() == 'cpu'}
  if walls['wall']:
    walls['usual wall'] = False
  for wall, outputs_first in walls.items():
    entries[wall] = Entry('experiments.bench.work', 'wall', {
        'passes': work.passes, 'dtype': args.dtype,
        'outputs_first': outputs_first})
  entries['gemm'] = Entry(
      'experiments.bench.work', 'gemm', {'dtype': args.dtype})
  results = contest.compete(entries, args.repeats)
  ours = results['ours']
  speed = work.flops / ours.median
  peak = 2 * work_lib.gemm_size() ** 3 / results['gemm'].median
  wall = contest.ratios(results['wall'], ours)
  report = {
      'name': name, 'tokens_per_second': work.tokens / ours.median,
      'step_seconds': ours.median,
      'step_spread': [min(ours.seconds), max(ours.seconds)],
      'compile_seconds': ours.compile_seconds, 'peak_bytes': ours.peak_bytes,
      'model_flops': work.flops, 'fraction_of_gemm_peak': speed / peak,
      'gemm_flops_per_second': peak, 'fraction_of_wall': wall.median,
      'fraction_of_wall_spread': [wall.least, wall.most],
      'usual_wall_ratio': contest.ratios(
          results.get('usual wall', results['wall']), results['wall']).median,
      'peer': None, 'ratio': None, 'ratio_spread': None, 'peers': {},
      'dtype': args.dtype, 'model': args.model, 'repeats': args.repeats}
  for rival in rivals:
    ratio = contest.ratios(results[rival], ours)
    report['peers'][rival] = {
        'step_seconds': results[rival].median,
        'tokens_per_second': work.tokens / results[rival].median,
        'peak_bytes': results[rival].peak_bytes, 'ratio': ratio.median,
        'ratio_spread': [ratio.least, ratio.most],
        'memory_ratio': ours.peak_bytes / results[rival].peak_bytes}
  if rivals:
    fastest = min(report['peers'], key=lambda r: report['peers'][r]['ratio'])
    report |= {'peer': fastest, **{
        field: report['peers'][fastest][field]
        for field in ('ratio', 'ratio_spread')}}
  return report


def table_of(reports) -> rich.table.Table:
  table = rich.table.Table(*(
      rich.table.Column(title, no_wrap=True) for title in (
          'phase', 'tokens/s', 'step, s', 'compile', 'GiB', 'GFLOP', '% GEMM',
          '% wall', 'usual', 'rival', 'ratio', 'GiB')))
  for r in reports:
    low, high = r['step_spread']
    peers = r['peers'] or {'': None}
    for i, (peer, p) in enumerate(peers.items()):
      own = [
          r['name'], f'{r["tokens_per_second"]:.1f}',
          f'{r["step_seconds"]:.3f} ({low:.3f}-{high:.3f})',
          f'{r["compile_seconds"]:.1f}', f'{r["peak_bytes"] / 2**30:.2f}',
          f'{r["model_flops"] / 1e9:.1f}',
          f'{100 * r["fraction_of_gemm_peak"]:.0f}',
          f'{100 * r["fraction_of_wall"]:.0f}',
          f'{r["usual_wall_ratio"]:.2f}'] if i == 0 else [''] * 9
      theirs = ['', '', ''] if p is None else [
          peer, f'{p["ratio"]:.2f} ({p["ratio_spread"][0]:.2f}-'
          f'{p["ratio_spread"][1]:.2f})', f'{p["peak_bytes"] / 2**30:.2f}']
      table.add_row(*own, *theirs)
  return table


def main(argv):
  args = _parsed(argv)
  workdir = pathlib.Path(args.workdir)
  workdir.mkdir(parents=True, exist_ok=True)
  # Contestants share an accelerator's memory: nobody takes most of it at once.
  os.environ.setdefault('XLA_PYTHON_CLIENT_PREALLOCATE', 'false')
  model = load_pretrained(args.model)
  config, reports = model.config, []
  with tempfile.TemporaryDirectory() as folder, Display() as display:
    # Peers load it, and it loads faster than a quantised file.
    source = os.path.join(folder, 'model')
    export.export_hf(config, model.params, model.tokenizer, source)
    del model
    with display.phase('measure', total=len(args.phases)) as phase:
      for name in args.phases:
        reports.append(measure(name, args, source, config))
        files.write(workdir / 'benchmark.json',
                    json.dumps(reports, indent=1) + '\n')
        phase.advance()
  table = table_of(reports)
  console = rich.console.Console()
  if not console.is_terminal:  # A log keeps the table in one piece.
    console.width = 180
  console.print(table)
  print(f'{args.model}, products in {args.dtype}, {args.repeats} repeats; '
        f'{workdir / "benchmark.json"}')
