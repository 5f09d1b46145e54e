r"""Memory of a divergence: all logits at once, or one chunk of rows at a time.

  python -m experiments.divergence_memory [--vocab=151936 --rows=512 \
      --embed=896 --chunk_rows=64] [--run] [--out=FILE.json]

Compiles value and gradient of the forward KL in the student's hidden states,
teacher and student sharing one frozen float32 head, in the direct form (the
[N, V] logits of both models) and in the chunked form that seeding uses. Prints
for each the temporary memory that XLA has planned: one figure for the whole
program, with buffers that are never alive together sharing their place. It
leaves out arguments and results, which are the same in both forms (the head is
the largest), and whatever kernels allocate on their own. The direct form grows
with N, the chunked one with C: on a CPU the default sizes plan 1484 MiB and
117 MiB, and C = 192 plans 340 MiB.

--run also runs each form in a process of its own and prints by how much the
resident memory rose above what it was with the arguments in place (Linux). It
counts everything, also what the process would have taken for its first matrix
product.
"""

if __name__ == '__main__':
  from experiments import _start
  _start.command('divergence_memory')

import concurrent.futures
import functools
import json
import multiprocessing
import pathlib
import re

import jax
import jax.numpy as jnp
import rich.console
import rich.table

from experiments import _main
from sleepjax.data import files
from sleepjax.errors import UserError
from sleepjax.evals import report as report_lib
from sleepjax.losses import divergences, from_hidden

FORMS = ('direct', 'chunked')


def _parsed(argv):
  parser = _main.Parser('divergence_memory', __doc__)
  add = parser.add_argument
  add('--vocab', type=int, default=151936, metavar='V',
      help='tokens (default 151936, those of Qwen2.5 and Qwen3)')
  add('--rows', type=int, default=512, metavar='N',
      help='positions compared (default 512)')
  add('--embed', type=int, default=896, metavar='D',
      help='width of the hidden states (default 896)')
  add('--chunk_rows', type=int, default=64, metavar='C',
      help='rows projected at once in the chunked form (default 64)')
  add('--run', action='store_true',
      help='also run both forms and measure resident memory')
  add('--out', metavar='FILE.json', help='where to write the numbers')
  args = parser.parse_args(argv[1:])
  for name in ('vocab', 'rows', 'embed', 'chunk_rows'):
    if getattr(args, name) < 1:
      raise UserError(f'--{name}={getattr(args, name)} must be at least 1.')
  return args


def loss_of(form: str, chunk_rows: int):
  """Forward KL summed over rows, (student, teacher [N, D], head [D, V])."""
  forward_kl = divergences.ForwardKL()

  def direct(student_NxD, teacher_NxD, head_DxV):
    return jnp.sum(divergences.of_logits(
        forward_kl, teacher_NxD @ head_DxV, student_NxD @ head_DxV))

  def in_chunks(student_NxD, teacher_NxD, head_DxV):
    weight_N = jnp.ones(len(student_NxD))
    return from_hidden.divergence_from_hidden(
        forward_kl, (teacher_NxD, head_DxV),
        (student_NxD, head_DxV), weight_N, chunk_rows=chunk_rows)[0]

  return {'direct': direct, 'chunked': in_chunks}[form]


def compiled(form: str, rows: int, embed: int, vocab: int, chunk_rows: int):
  """Value and gradient in the student's hidden states, compiled, not run."""
  hidden = jax.ShapeDtypeStruct((rows, embed), jnp.float32)
  head = jax.ShapeDtypeStruct((embed, vocab), jnp.float32)
  step = jax.jit(jax.value_and_grad(loss_of(form, chunk_rows)))
  return step.lower(hidden, hidden, head).compile()


def planned_bytes(*shape) -> dict[str, int]:
  """What XLA plans for `compiled(*shape)`: temporary, argument, output."""
  analysis = compiled(*shape).memory_analysis()
  if analysis is None:
    raise UserError('This backend does not report what a program needs.')
  return {name: getattr(analysis, f'{name}_size_in_bytes')
          for name in ('temp', 'argument', 'output')}


@functools.partial(jax.jit, static_argnums=0)
def _waves(shape):
  """Numbers in [-1, 1] that fill `shape` and nothing else on the way.

  A buffer freed a little late would count as the program's.
  """
  row, column = (
      jax.lax.broadcasted_iota(jnp.float32, shape, axis) for axis in (0, 1))
  return jnp.cos(0.7 * row * row + 1.3 * column)


def resident_bytes(*shape) -> int:
  """By how much running `compiled(*shape)` raises this process's memory."""
  _, rows, embed, vocab, _ = shape
  step = compiled(*shape)
  arguments = jax.block_until_ready([
      _waves(of) for of in ((rows, embed), (rows, embed), (embed, vocab))])
  try:
    pathlib.Path('/proc/self/clear_refs').write_text('5')  # Forgets the peak.
    status = pathlib.Path('/proc/self/status').read_text()
  except OSError as error:
    raise UserError(
        f'--run measures through /proc/self, which fails here: {error}.'
    ) from None
  before = int(re.search(r'VmRSS:\s*(\d+) kB', status)[1]) * 1024
  value, _ = jax.block_until_ready(step(*arguments))
  if not jnp.isfinite(value):
    raise FloatingPointError(f'the {shape[0]} form returned {value}.')
  return report_lib.peak_memory_bytes() - before


def _in_own_process(function, *args):
  context = multiprocessing.get_context('spawn')
  with concurrent.futures.ProcessPoolExecutor(1, mp_context=context) as pool:
    return pool.submit(function, *args).result()


def measure(args) -> dict:
  """The numbers of both forms, and chunked over direct."""
  report = {'backend': jax.default_backend(), 'jax': jax.__version__,
            'vocab': args.vocab, 'rows': args.rows, 'embed': args.embed,
            'chunk_rows': args.chunk_rows}
  shape = args.rows, args.embed, args.vocab, args.chunk_rows
  for form in FORMS:
    report[form] = planned_bytes(form, *shape)
    if args.run:
      report[form]['resident'] = _in_own_process(resident_bytes, form, *shape)
  for name in ('temp', 'resident') if args.run else ('temp',):
    report[f'{name}_ratio'] = report['chunked'][name] / report['direct'][name]
  return report


def main(argv):
  args = _parsed(argv)
  report = measure(args)
  table = rich.table.Table('MiB', *FORMS, 'chunked / direct')
  names = {'temp': 'temporary, planned', 'argument': 'arguments',
           'output': 'results', 'resident': 'resident rise, measured'}
  for name, title in names.items():
    if name in report['direct']:
      ratio = report.get(f'{name}_ratio')
      table.add_row(title, *(f'{report[form][name] / 2**20:.1f}'
                             for form in FORMS),
                    '' if ratio is None else f'{ratio:.3f}')
  rich.console.Console().print(table)
  print(f'{args.rows} rows, V = {args.vocab}, D = {args.embed}, chunks of '
        f'{args.chunk_rows}; {report["backend"]}, jax {report["jax"]}')
  if args.out is not None:
    files.write(args.out, json.dumps(report, indent=1) + '\n')
