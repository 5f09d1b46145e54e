"""What a compiled program moves from and to a chip's memory.

Every scheduled instruction reads its operands and writes its result, as often
as the loops around it turn; what the compiler keeps in on-chip memory is free.
Slices count with their own size: a loop over layers reads one layer of a stack
at a time, and writes one entry of it.
"""

import re
from typing import NamedTuple

from sleepjax.roofline.hlo import KINDS, Program

_FREE = frozenset((
    'parameter', 'constant', 'tuple', 'get-tuple-element', 'bitcast', 'while',
    'conditional', 'call', 'after-all', 'partition-id', 'replica-id',
    'opt-barrier', 'async-start', 'iota'))
_SLICES = ('dynamic-slice', 'slice', 'gather')
_PARTS = ('bitcast', 'reshape', 'transpose', 'copy', 'convert')


def memory_bytes(program: Program) -> int:
  """Bytes that one chip reads and writes in its memory, all turns together."""
  total = 0
  for name in program.scheduled:
    computation = program.computations[name]
    moved = sum(_moved(program, computation, instruction)
                for instruction in computation.values()
                if instruction.opcode not in _FREE
                and not instruction.opcode.endswith('-done'))
    total += moved * program.turns[name]
  for name, instruction in program.collective_instructions:
    if name not in program.scheduled:  # In a fusion, perhaps in several.
      total += program.turns[name] * (instruction.memory_bytes + sum(
          program.computations[name][operand].memory_bytes
          for operand in instruction.operands))
  return total


def argument_bytes(program: Program) -> int:
  """Of the arguments of the program, on one chip."""
  return sum(instruction.bytes
             for instruction in program.computations[program.entry].values()
             if instruction.opcode == 'parameter')


class Usage(NamedTuple):
  """What a compiler for TPUs says of temporary buffers in a chip's memory.

  total: bytes.
  largest: (bytes, shapes that lie there one after the other), largest first.
  """

  total: int
  largest: list[tuple[int, str]]


def read_usage(text: str, count: int = 5) -> Usage:
  """Of the text of a memory-usage-report, which XLA dumps."""
  units = {'B': 1, 'KiB': 2**10, 'MiB': 2**20, 'GiB': 2**30}
  total = int(re.search(r'Total bytes: (\d+)', text)[1])
  lines = re.findall(
      r'^[^;\n]*%\);\s*([\d.]+)([KMG]?i?B);[^;]*;[^;]*;\s*(.*)$', text, re.M)
  return Usage(total, [(int(float(size) * units[unit]), shapes)
                       for size, unit, shapes in lines[:count]])


def _moved(program, computation, instruction):
  operands = [computation[name] for name in instruction.operands]
  if instruction.opcode == 'fusion':
    return _moved_by_fusion(
        program, program.computations[instruction.called()[0]], instruction,
        operands)
  if instruction.opcode in _SLICES:
    return 2 * instruction.memory_bytes
  if instruction.opcode == 'dynamic-update-slice':
    return 2 * operands[1].memory_bytes
  read = sum(operand.memory_bytes for operand in operands)
  if instruction.opcode == 'copy-start':  # (to, from, context)
    return read + sum(
        array.bytes for array in instruction.arrays[:1] if not array.on_chip)
  if instruction.opcode.endswith('-start'):  # (operands, results, context)
    return read + max(0, instruction.memory_bytes - read)
  return read + instruction.memory_bytes


def _moved_by_fusion(program, body, instruction, operands):
  """Reads of the parts that are used, writes of the parts that change."""
  parameters = {int(inner.inside): inner for inner in body.values()
                if inner.opcode == 'parameter' and inner.inside.isdigit()}
  total = sum(
      min(operands[number].memory_bytes, _read(program, body, inner))
      for number, inner in parameters.items())
  for result, array in zip(_results(body), instruction.arrays, strict=False):
    if not array.on_chip:
      total += _written(program, body, result, array)
  return total


def _results(body):
  root = next(inner for inner in body.values() if inner.is_root)
  return ([body[name] for name in root.operands]
          if root.opcode == 'tuple' else [root])


def _read(program, body, array):
  """Bytes of an array that the instructions of a fusion read.

  A fusion may be made of fusions: whoever slices, however deep, reads a slice.
  """
  total = 0
  for use in body.values():
    if array.name not in use.operands or use.opcode == 'tuple':
      continue
    if use.opcode in _SLICES:
      total += use.bytes
    elif use.opcode == 'bitcast':
      total += _read(program, body, use)
    elif use.opcode == 'fusion':
      inner = program.computations[use.called()[0]]
      total += sum(
          _read(program, inner, part) for part in inner.values()
          if part.opcode == 'parameter' and part.inside.isdigit()
          and use.operands[int(part.inside)] == array.name)
    elif use.opcode == 'dynamic-update-slice' and (
        array.name not in use.operands[1:]):
      pass  # In place.
    elif use.opcode not in KINDS:
      total += array.bytes
  return total


def _written(program, body, result, array):
  """Bytes of a result of a fusion that change."""
  result = _behind(body, result)
  if result.opcode == 'fusion':
    inner = program.computations[result.called()[0]]
    results = _results(inner)
    if len(results) == 1:
      return _written(program, inner, results[0], array)
  if result.opcode == 'dynamic-update-slice':
    return body[result.operands[1]].bytes
  free = result.opcode in ('parameter', 'custom-call', *KINDS)
  return 0 if free else array.bytes


def _behind(body, instruction):
  """What an instruction that only changes the look of an array looks at."""
  while instruction.opcode in _PARTS and instruction.operands:
    instruction = body[instruction.operands[0]]
  return instruction
