"""What a compiled program moves from and to a chip's memory.

Every scheduled instruction reads its operands and writes its result, as often
as the loops around it turn; what the compiler keeps in on-chip memory is free.
Slices count with their own size: a loop over layers reads one layer of a stack
at a time, and writes one entry of it.
"""

import re
from typing import NamedTuple

from sleepjax.training.hlo import KINDS, Program

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
        program.computations[instruction.called()[0]], instruction, operands)
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


def _moved_by_fusion(body, instruction, operands):
  """Reads of the parts that are used, writes of the parts that change."""
  users = {}
  for inner in body.values():
    for name in inner.operands:
      users.setdefault(name, []).append(inner)
  root = next(inner for inner in body.values() if inner.is_root)
  results = ([body[name] for name in root.operands]
             if root.opcode == 'tuple' else [root])
  results = [_behind(body, result) for result in results]
  updated = {_behind(body, body[result.operands[0]]).name
             for result in results if result.opcode == 'dynamic-update-slice'}
  total = 0
  for inner in body.values():
    if inner.opcode != 'parameter' or not inner.inside.isdigit():
      continue
    operand = operands[int(inner.inside)]
    uses = [use for use in users.get(inner.name, ()) if use is not root
            or root.opcode != 'tuple']
    if not operand.memory_bytes or inner.name in updated or not uses:
      continue
    if all(use.opcode in _SLICES for use in uses):
      total += min(operand.memory_bytes, sum(use.bytes for use in uses))
    elif not all(use.opcode in KINDS for use in uses):
      total += operand.memory_bytes
  arrays = instruction.arrays
  for result, array in zip(results, arrays, strict=False):
    if array.on_chip or result.opcode == 'parameter':
      continue
    if result.opcode == 'dynamic-update-slice':
      total += body[result.operands[1]].bytes
    elif result.opcode not in (*KINDS, 'custom-call'):
      total += array.bytes
  return total


def _behind(body, instruction):
  """What an instruction that only changes the look of an array looks at."""
  while instruction.opcode in _PARTS and instruction.operands:
    instruction = body[instruction.operands[0]]
  return instruction
