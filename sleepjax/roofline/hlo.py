"""What a compiled program moves between chips, read from its HLO text.

XLA's own cost analysis counts the body of a loop once. Here every instruction
counts as often as the loops around it turn, which the text says: a loop over
layers or chunks compares a counter with a constant. Works on the text of
`compiled.as_text()`, for any backend.
"""

import dataclasses
import functools
import itertools
import math
import re
from typing import NamedTuple

KINDS = ('all-gather', 'all-reduce', 'reduce-scatter', 'all-to-all',
         'collective-permute', 'collective-broadcast', 'ragged-all-to-all')

_BITS = {'pred': 8, 's4': 4, 'u4': 4, 'bf16': 16, 'c64': 64, 'c128': 128}
_ARRAY = re.compile(r'([a-z]+\d*(?:e\d+m\d+\w*)?)\[([\d,]*)\](\{[^}]*\})?')
_HEADER = re.compile(r'^(ENTRY )?%?([\w.\-]+) \(.*\) -> .* \{$')
_NAME = re.compile(r'%([\w.\-]+)')
_CALLED = re.compile(
    r'(?:calls|to_apply|body|condition|true_computation|false_computation)='
    r'%?([\w.\-]+)|branch_computations=\{([^}]*)\}')

_IOTA = r'\[([\d,]+)\](?:T\(([\d,]+)\))?'


class Array(NamedTuple):
  """Of a result: its bytes, and whether it stays in on-chip memory."""

  bytes: int
  on_chip: bool


@dataclasses.dataclass(frozen=True)
class Instruction:
  """One line of a computation; `rest` is all that follows the operands."""

  name: str
  opcode: str
  arrays: tuple[Array, ...]
  operands: tuple[str, ...]
  inside: str
  rest: str
  is_root: bool

  @property
  def bytes(self) -> int:
    return sum(array.bytes for array in self.arrays)

  @property
  def memory_bytes(self) -> int:
    """Of the arrays that are not in on-chip memory."""
    return sum(array.bytes for array in self.arrays if not array.on_chip)

  def called(self) -> list[str]:
    names = []
    for one, several in _CALLED.findall(self.rest):
      names += [one] if one else _NAME.findall(several)
    return names


class Collective(NamedTuple):
  """Of one collective instruction, all its turns together.

  kind: of `KINDS`.
  bytes: that a chip receives.
  group: partitions that take part with the first one, itself among them.
  """

  kind: str
  bytes: int
  group: tuple[int, ...]


def _array_bytes(dtype, dims):
  bits = _BITS.get(dtype) or int(re.search(r'\d+', dtype)[0])
  return math.prod(int(d) for d in dims.split(',') if d) * bits // 8


def _arrays(text):
  return tuple(
      Array(_array_bytes(dtype, dims), 'S(1)' in (layout or ''))
      for dtype, dims, layout in _ARRAY.findall(text)
      if dtype not in ('token', 'opaque'))


def _closing(text, start):
  """Index of the parenthesis that closes the one at `start`."""
  depth = 0
  for i in range(start, len(text)):
    depth += (text[i] == '(') - (text[i] == ')')
    if not depth:
      return i
  raise ValueError(f'unbalanced parentheses: {text[:80]}')


def _instruction(line):
  is_root = line.startswith('ROOT ')
  name, _, right = line.removeprefix('ROOT ').partition(' = ')
  end = _closing(right, 0) + 1 if right.startswith('(') else right.index(' ')
  opcode, _, _ = right[end:].lstrip().partition('(')
  opening = right.index('(', end)
  closing = _closing(right, opening)
  inside = right[opening + 1:closing]
  return Instruction(
      name.lstrip('%'), opcode, _arrays(right[:end]),
      tuple(_NAME.findall(inside)), inside, right[closing + 1:], is_root)


class Program:
  """Parsed HLO text.

  computations: name -> {name of instruction: Instruction}.
  entry: name of the computation that is run.
  partitions: devices that run it together.
  turns: how often each computation runs.
  scheduled: computations whose results are buffers, not parts of a fusion.
  unknown: loops whose number of turns the text does not say.
  """

  def __init__(self, text: str, unknown_turns: int = 1):
    """Parses `text`; loops that stop by their data count unknown_turns times.
    """
    self.computations, self.entry, self.unknown = {}, None, []
    found = re.search(r'num_partitions=(\d+)', text)
    self.partitions = int(found[1]) if found else 1
    self._unknown_turns = unknown_turns
    current = None
    for line in text.splitlines():
      header = _HEADER.match(line)
      if header:
        current = self.computations.setdefault(header[2], {})
        self.entry = header[2] if header[1] else self.entry
      elif line == '}':
        current = None
      elif current is not None and ' = ' in line:
        instruction = _instruction(line.strip())
        current[instruction.name] = instruction
    if self.entry is None:
      raise ValueError('the text has no ENTRY computation: it is not HLO.')
    self.turns = dict.fromkeys(self.computations, 0)
    self.scheduled = set()
    self._count(self.entry, 1, True)

  def _count(self, computation, times, scheduled):
    self.turns[computation] += times
    if scheduled:
      self.scheduled.add(computation)
    for instruction in self.computations[computation].values():
      loops = 1
      if instruction.opcode == 'while':
        loops = self._turns_of(computation, instruction)
        if loops is None:
          self.unknown.append(instruction.name)
          loops = self._unknown_turns
      buffers = scheduled and instruction.opcode in (
          'while', 'conditional', 'call', 'async-start')
      for name in instruction.called():
        self._count(name, times * loops, buffers)

  def _turns_of(self, computation, loop):
    """How often a loop's body runs, or None."""
    known = re.search(r'"known_trip_count":\{"n":"(\d+)"\}', loop.rest)
    if known:
      return int(known[1])
    part = {kind: self.computations[re.search(
        rf'{kind}=%?([\w.\-]+)', loop.rest)[1]] for kind in (
            'condition', 'body')}
    root = _root(part['condition'])
    direction = re.search(r'direction=(LT|LE)', root.rest)
    if root.opcode != 'compare' or not direction:
      return None
    counter, bound = (part['condition'].get(name) for name in root.operands)
    limit = self._integer(part['condition'], bound)
    index = re.search(r'index=(\d+)', counter.rest)
    if limit is None or counter.opcode != 'get-tuple-element' or not index:
      return None
    index = int(index[1])
    start = self._integer(
        self.computations[computation],
        self._element(self.computations[computation], loop, index))
    step = self._step(part['body'], index)
    if start is None or not step:
      return None
    return max(0, -(-(limit + (direction[1] == 'LE') - start) // step))

  def _element(self, computation, loop, index):
    """What a loop starts with at `index` of its tuple."""
    start = computation[loop.operands[0]]
    return computation[start.operands[index]] if (
        start.opcode == 'tuple') else None

  def _integer(self, computation, instruction):
    """Value of a constant, perhaps copied, or None."""
    while instruction is not None and instruction.opcode in (
        'copy', 'bitcast', 'convert'):
      instruction = computation[instruction.operands[0]]
    if instruction is None or instruction.opcode != 'constant':
      return None
    return int(instruction.inside) if re.fullmatch(
        r'-?\d+', instruction.inside) else None

  def _step(self, body, index):
    """What a turn adds to element `index` of the loop's tuple, or None."""
    changed = body[_root(body).operands[index]]
    while changed.opcode in ('copy', 'bitcast'):
      changed = body[changed.operands[0]]
    if changed.opcode == 'fusion':
      inner = self.computations[changed.called()[0]]
      root = _root(inner)
      constants = [self._integer(inner, inner[n]) for n in root.operands]
      outer = [self._integer(body, body[n]) for n in changed.operands]
      steps = [c for c in constants + outer if c is not None]
      return steps[0] if root.opcode == 'add' and len(steps) == 1 else None
    if changed.opcode != 'add':
      return None
    steps = [self._integer(body, body[name]) for name in changed.operands]
    steps = [step for step in steps if step is not None]
    return steps[0] if len(steps) == 1 else None

  @functools.cached_property
  def collective_instructions(self) -> list[tuple[str, Instruction]]:
    """All collectives, each with the name of its computation.

    On a TPU one may go on inside several fusions, under one channel: the first
    of them stands for all.
    """
    found, continued = [], set()
    for name, computation in self.computations.items():
      for instruction in computation.values():
        kind = instruction.opcode.removesuffix('-start')
        if kind not in KINDS or not self.turns[name]:
          continue
        if 'async_collective_fusion_config' in instruction.rest:
          channel = re.search(r'channel_id=(\d+)', instruction.rest)[1]
          if channel in continued:
            continue
          continued.add(channel)
        found.append((name, instruction))
    return found

  @functools.cached_property
  def collectives(self) -> list[Collective]:
    """All collectives, each with what its chip receives in all its turns.

    Of a group of n, bytes b in a chip's operand: all-gather (n − 1) b,
    reduce-scatter and all-to-all b (n − 1) / n, all-reduce twice that, and
    collective-permute b.
    """
    found = []
    for name, instruction in self.collective_instructions:
      kind = instruction.opcode.removesuffix('-start')
      own = sum(self.computations[name][operand].bytes
                for operand in instruction.operands)
      group = _group(instruction.rest, self.partitions)
      n = len(group)
      received = {
          'all-gather': (n - 1) * own, 'all-reduce': 2 * own * (n - 1) // n,
          'collective-permute': own, 'collective-broadcast': own}.get(
              kind, own * (n - 1) // n)
      found.append(Collective(kind, received * self.turns[name], group))
    return found

  def collective_bytes(self) -> dict[str, int]:
    """Bytes that a chip receives, by kind."""
    total = {}
    for collective in self.collectives:
      total[collective.kind] = total.get(
          collective.kind, 0) + collective.bytes
    return total


def _root(computation):
  return next(i for i in computation.values() if i.is_root)


def _group(rest, partitions):
  """The partitions of the first group of a collective."""
  pairs = re.search(r'source_target_pairs=\{(\{.*?\})\}', rest)
  if pairs:
    return tuple(sorted({int(n) for n in re.findall(r'\d+', pairs[1])}))
  listed = re.search(r'replica_groups=\{\{([\d,]*)\}', rest)
  if listed:
    return tuple(int(n) for n in listed[1].split(','))
  tiled = re.search(rf'replica_groups=\[([\d,]+)\]<={_IOTA}', rest)
  if tiled:
    size = _numbers(tiled[1])[-1]
    return tuple(_iota(tiled[2], tiled[3])[:size])
  named = re.search(
      rf'replica_groups=mesh\[([^\]]*)\](?:, device_ids=\({_IOTA}\))?'
      r'\s*\{([^}]*)\}', rest)
  if named:
    axes = re.findall(r"'(\w+)'=(\d+)", named[1])
    dims = [int(size) for _, size in axes]
    chosen = re.findall(r"'(\w+)'", named[4])
    ids = _iota(named[2] or str(math.prod(dims)), named[3])
    along = [range(size if name in chosen else 1)
             for (name, _), size in zip(axes, dims, strict=True)]
    return tuple(sorted(ids[_position(at, dims)]
                        for at in itertools.product(*along)))
  return tuple(range(partitions))


def _numbers(text):
  return [int(number) for number in text.split(',')]


def _position(at, dims):
  """Place of an element in an array that is laid out row by row."""
  place = 0
  for i, size in zip(at, dims, strict=True):
    place = place * size + i
  return place


def _iota(dims, order):
  """Numbers 0, 1, ... laid out in `dims` and read in another order of axes."""
  dims = _numbers(dims)
  order = _numbers(order) if order else range(len(dims))
  read = []
  for at in itertools.product(*(range(dims[axis]) for axis in order)):
    where = [0] * len(dims)
    for axis, i in zip(order, at, strict=True):
      where[axis] = i
    read.append(_position(where, dims))
  return read
