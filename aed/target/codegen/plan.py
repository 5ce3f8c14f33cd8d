"""The place of each ring in one arena: lifetimes, and outputs written over the part of an input that is used up.

A kernel goes through its output from first byte to last and never returns to an input row it has left. So the output
may overlap an input that no later layer reads, as long as the input lies at least
:meth:`aed.target.codegen.program.Layer.overlap_offset` bytes further up.
"""

import random
from collections.abc import Iterable
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np

from aed.target.codegen.program import Layer, Program, Tensor, aligned
from aed.target.codegen.schedule import Schedule, make_schedule
from aed.target.codegen.stream import stream_schedule

ORDERS = 200
"""Orders in which rings are placed, tried one after the other; the same each time."""


@dataclass(frozen=True)
class Plan:
    """How a program is run, and where its activations lie.

    Args:
        schedule: Of its stages.
        offsets: Of each ring in the arena by its tensor, bytes; an input that the caller holds has none.
        size: Of the arena, bytes.
        peak_layer: The first layer that runs while the arena is used to its top.
    """

    schedule: Schedule
    offsets: dict[str, int]
    size: int
    peak_layer: str

    @property
    def streams(self) -> bool:
        """Whether the input never ends."""
        return self.schedule.loop is not None

    @property
    def feeds(self) -> bool:
        """Whether the input comes row by row; else the caller holds all of it."""
        return self.schedule.feeds


def make_plan(
    program: Program, cut: int = 0, overlap: bool = True, orders: int = ORDERS, hop: int | None = None
) -> Plan:
    """The smallest arena of all orders of placement.

    Args:
        program: Lowered.
        cut: The first layer that waits for the whole of its inputs; those before it work row by row.
        overlap: Whether outputs may overwrite inputs that no later layer reads.
        orders: Number of orders drawn, besides the obvious ones.
        hop: Columns between two decisions of a stream; None: a patch at a time.
    """
    schedule = make_schedule(program, cut) if hop is None else stream_schedule(program, hop)
    arena = _Arena(program, schedule, overlap)
    chain = list(arena.sizes)
    by_size = sorted(chain, key=lambda ring: -arena.sizes[ring])
    generator = random.Random(0)
    offsets = min(map(arena.place, (by_size, chain, chain[::-1])), key=arena.height)
    least = arena.least() if orders else 0
    for _ in range(orders):
        if arena.height(offsets) == least:
            break
        order = by_size[:]
        for first, second in pairwise(range(len(order))):
            if generator.random() < 0.3:
                order[first], order[second] = order[second], order[first]
        offsets = min(offsets, arena.place(order), key=arena.height)
    size = arena.height(offsets)
    named = {schedule.names[ring]: offset for ring, offset in offsets.items()}
    return Plan(schedule, named, size, arena.peak_layer(offsets, size))


def rows_of(layer: Layer, program: Program, joined: bool) -> Program:
    """``program`` as a pixelwise layer sees it: its tensors as one row, of all pixels where rows are ``joined``."""

    def flat(tensor: Tensor) -> Tensor:
        height, width, channels = tensor.shape
        return replace(tensor, shape=(1, height * width if joined else width, channels))

    own = {name: flat(program.tensors[name]) for name in (*layer.inputs, layer.output)}
    return replace(program, tensors=program.tensors | own)


class _Arena:
    """What may overlap what, by ring.

    Args:
        program: Has the sizes of rows.
        schedule: Has the lifetimes.
        overlap: Whether an output may overwrite an input that dies with it.
    """

    def __init__(self, program: Program, schedule: Schedule, overlap: bool) -> None:
        self.schedule = schedule
        row_bytes = [program.tensors[name].size // program.tensors[name].shape[0] for name in schedule.names]
        self.sizes = {
            ring: aligned(schedule.capacities[ring] * row_bytes[ring])
            for ring in range(0 if schedule.feeds else 1, len(row_bytes))
        }
        distances = dict(self._distances(program)) if overlap else {}
        alive, runs = schedule.alive, [0] * len(schedule.stages)
        for step, number in enumerate(schedule.steps):
            if number >= 0:
                runs[number] |= 1 << step
        # of each ring: others that live at its time, and how many bytes before and after their offset it may not begin
        self.rivals: dict[int, list[tuple[int, int, int]]] = {ring: [] for ring in self.sizes}
        self.rules: dict[tuple[int, int], int] = {}
        for ring, size in self.sizes.items():
            for other in range(ring + 1, len(alive)):
                both = alive[ring] & alive[other]
                if both:
                    above = self.sizes[other]
                    if (ring, other) in distances and not both & ~runs[other - 1]:  # it is overwritten by the other
                        self.rules[ring, other] = distances[ring, other]
                        above = min(above, distances[ring, other])
                    self.rivals[ring].append((other, size, above))
                    self.rivals[other].append((ring, above, size))

    def _distances(self, program: Program) -> Iterable[tuple[tuple[int, int], int]]:
        """Bytes by which an input must lie above the output that overwrites it."""
        for ring, number in self.schedule.overlaps:
            stage = self.schedule.stages[number]
            seen, capacity = program, self.schedule.capacities[ring]
            if capacity < seen.tensors[self.schedule.names[ring]].shape[0]:
                seen = rows_of(stage.layer, program, joined=False)
            x, y = (seen.tensors[name] for name in (self.schedule.names[ring], stage.layer.output))
            distance = stage.layer.overlap_offset(x, y)
            if distance is not None:
                yield (ring, number + 1), distance

    def place(self, order: list[int]) -> dict[int, int]:
        """Offsets: each ring, in this order, at the lowest offset that is free."""
        offsets: dict[int, int] = {}
        for ring in order:
            taken = [  # it may not begin between these
                (offsets[other] - before, offsets[other] + after)
                for other, before, after in self.rivals[ring]
                if other in offsets
            ]
            offset = 0
            for low, high in sorted(taken):
                if offset <= low:
                    break
                offset = max(offset, high)
            offsets[ring] = offset
        return offsets

    def least(self) -> int:
        """Bytes that no arena can be under: what is alive at once, as if all that may overlap did."""
        alive, bytes_of = self.schedule.alive, -(-len(self.schedule.steps) // 8)
        used = np.zeros(8 * bytes_of, np.int64)  # at each step

        def add(steps: int, size: int) -> None:
            raw = np.frombuffer((steps & ((1 << 8 * bytes_of) - 1)).to_bytes(bytes_of, "little"), np.uint8)
            used[:] += size * np.unpackbits(raw, bitorder="little").astype(np.int64)

        for ring, size in self.sizes.items():
            add(alive[ring], size)
        for ring, other in self.rules:
            add(alive[ring] & alive[other], -min(self.sizes[ring], self.sizes[other]))
        return int(used[: len(self.schedule.steps)].max(initial=0))

    def height(self, offsets: dict[int, int]) -> int:
        """Bytes of an arena."""
        return max((offset + self.sizes[ring] for ring, offset in offsets.items()), default=0)

    def peak_layer(self, offsets: dict[int, int], size: int) -> str:
        """The first layer that runs while the arena is used to its top."""
        top = 0
        for ring, offset in offsets.items():
            if offset + self.sizes[ring] == size:
                top |= self.schedule.alive[ring]
        runs = (number for step, number in enumerate(self.schedule.steps) if top >> step & 1 and number >= 0)
        return next((self.schedule.stages[number].layer.name for number in runs), "")
