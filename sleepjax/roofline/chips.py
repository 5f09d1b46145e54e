"""TPU chips as their makers publish them, and what a roofline makes of that.

Numbers are of one chip, from Google Cloud's pages of each generation
(cloud.google.com/tpu/docs/v5e and so on, read in 2025): peak of bfloat16
products, high-bandwidth memory, and interchip bandwidth, which is published as
bits per second of a whole chip and divided here by its links. A roofline is a
bound: a program cannot be faster, and no program is as fast.
"""

import dataclasses
import math
import re
from collections.abc import Iterable, Mapping, Sequence

from sleepjax.errors import UserError
from sleepjax.roofline.hlo import Collective


@dataclasses.dataclass(frozen=True)
class Chip:
  """One chip of a generation.

  flops: bfloat16, per second.
  hbm_bytes: of memory.
  hbm_bandwidth: bytes per second.
  link_bandwidth: bytes per second that one link brings in.
  dimensions: of the torus or grid; two links each.
  wrap: an axis of a slice closes to a ring where its length is a multiple of
    this (in three dimensions if all three are).
  """

  flops: float
  hbm_bytes: int
  hbm_bandwidth: float
  link_bandwidth: float
  dimensions: int
  wrap: int


def _chip(teraflops, gib, gbytes, gbits, dimensions, wrap):
  return Chip(teraflops * 1e12, int(gib * 2**30), gbytes * 1e9,
              gbits * 1e9 / 8 / (2 * dimensions), dimensions, wrap)


# Peak TFLOP/s, GiB, GB/s of memory, Gbit/s between chips.
CHIPS = {
    'v4': _chip(275, 32, 1228, 2400, 3, 4),
    'v5e': _chip(197, 16, 819, 1600, 2, 16),
    'v5p': _chip(459, 95, 2765, 4800, 3, 4),
    'v6e': _chip(918, 32, 1640, 3584, 2, 16),
}


@dataclasses.dataclass(frozen=True)
class Slice:
  """Chips of one generation in a grid, as `v5e:8x8`."""

  generation: str
  shape: tuple[int, ...]

  @property
  def chip(self) -> Chip:
    return CHIPS[self.generation]

  @property
  def num_chips(self) -> int:
    return math.prod(self.shape)

  def rings(self) -> tuple[bool, ...]:
    """Which axes close to a ring."""
    wrap = self.chip.wrap
    if self.chip.dimensions == 3:
      return (all(n % wrap == 0 for n in self.shape),) * 3
    return tuple(n % wrap == 0 for n in self.shape)

  def bandwidth(self, coordinates: Iterable[Sequence[int]]) -> float:
    """Bytes per second that the worst placed chip of a group can receive.

    Two links for each axis along which the group's chips differ, or one at the
    end of an axis that does not close.

    Args:
      coordinates: of the group's chips in the grid.
    """
    along = [len(set(values)) > 1
             for values in zip(*coordinates, strict=True)]
    links = sum(1 + ring for used, ring in zip(
        along, self.rings(), strict=False) if used)
    return max(links, 1) * self.chip.link_bandwidth


def parse_slice(topology: str) -> Slice:
  """The slice that `v5e:8x8` names.

  Raises:
    UserError: an unknown generation, or a shape it does not come in.
  """
  generation, _, shape = topology.partition(':')
  if generation not in CHIPS:
    raise UserError(
        f'--topology={topology}: expected GENERATION:SHAPE such as v5e:8x8, '
        f'with one of the generations {", ".join(CHIPS)}.')
  dimensions = CHIPS[generation].dimensions
  if not re.fullmatch('x'.join([r'[1-9]\d*'] * dimensions), shape):
    raise UserError(
        f'--topology={topology}: a slice of {generation} has {dimensions} '
        f'dimensions, as {generation}:{"x".join(["4"] * dimensions)}.')
  return Slice(generation, tuple(int(n) for n in shape.split('x')))


@dataclasses.dataclass(frozen=True)
class Roofline:
  """Least seconds of a program by what could hold it up.

  compute: its FLOPs at the chip's peak.
  memory: its bytes at the bandwidth of memory.
  network: received bytes of its collectives, one after the other.
  """

  compute: float
  memory: float
  network: float

  @property
  def seconds(self) -> float:
    """Of a step in which all three overlap completely."""
    return max(self.compute, self.memory, self.network)

  @property
  def bound(self) -> str:
    parts = dataclasses.asdict(self)
    return max(parts, key=parts.get)


def roofline(chips: Slice, flops: float, memory_bytes: float,
             collectives: Iterable[Collective],
             coordinates: Mapping[int, Sequence[int]] | Sequence) -> Roofline:
  """The roofline of a program on a slice.

  Args:
    chips: the slice.
    flops: of the whole program, on all chips together.
    memory_bytes: that each chip moves from and to its memory.
    collectives: as of `hlo.Program`.
    coordinates: of each partition's chip in the grid.
  """
  network = 0.0
  for collective in collectives:
    group = [coordinates[i] for i in collective.group]
    network += collective.bytes / chips.bandwidth(group)
  return Roofline(flops / chips.num_chips / chips.chip.flops,
                  memory_bytes / chips.chip.hbm_bandwidth, network)


def utilisation(chips: Slice, model_flops: float, seconds: float) -> float:
  """Model FLOPs over what the slice could do in the time (PaLM, arXiv
  2204.02311, appendix B): recomputation takes time and does not count."""
  return model_flops / (seconds * chips.num_chips * chips.chip.flops)
