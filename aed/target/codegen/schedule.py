"""The order in which stages make rows, and the rows that are alive meanwhile.

A stage is a layer that runs as soon as the rows it needs are there. Of several the last runs first: rows are used up as
soon as they can be, so that rings are short. Before ``cut`` stages work row by row and interleave; from it on a stage
waits for the whole of its inputs, which is layer by layer.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

from aed.target.codegen.program import Layer, Program, Rows
from aed.target.codegen.walk import LARGEST


@dataclass(frozen=True)
class Read:
    """Rows that a stage reads of a ring.

    Args:
        name: Of the layer's input.
        ring: 0: the input of the program; else one more than the number of the stage that makes it.
        rows: Those for a row of the output.
        whole: Whether the stage waits for the last row of the patch.
    """

    name: str
    ring: int
    rows: Rows
    whole: bool


@dataclass(frozen=True)
class Stage:
    """A layer and how it is run.

    Args:
        layer: Of the program.
        reads: Of its computed inputs, in order.
        rows: That it makes in one run: one, or all, joined.
    """

    layer: Layer
    reads: tuple[Read, ...]
    rows: int


@dataclass(frozen=True)
class Schedule:
    """Stages and what their run on one patch needs.

    Args:
        stages: In the order of the layers.
        names: Tensor of each ring; the input first, then one a stage.
        heights: Rows of each ring in a patch.
        capacities: Rows that each ring holds.
        alive: Steps at which a ring holds something that is needed, bit by bit.
        steps: Stage that runs at each step; -1: a row of the input comes.
        overlaps: (input ring, stage) where the input's rows die as the stage makes its own of them.
        feeds: Whether the input comes row by row; else the caller holds it.
        loop: In a stream, the step to go on with after the last one; None: a patch then ends.
        hop: In a stream, columns between two decisions; else 0.
    """

    stages: tuple[Stage, ...]
    names: tuple[str, ...]
    heights: tuple[int, ...]
    capacities: tuple[int, ...]
    alive: tuple[int, ...]
    steps: tuple[int, ...]
    overlaps: frozenset[tuple[int, int]]
    feeds: bool
    loop: int | None = None
    hop: int = 0


def in_parts(program: Program, cut: int) -> tuple[Program, int]:
    """``program`` with the layers before ``cut`` in parts that work row by row, where they have some; the new cut."""
    layers, tensors, later = [], dict(program.tensors), cut
    for number, layer in enumerate(program.layers):
        parts = layer.parts(program) if number < cut else None
        if parts is None:
            layers.append(layer)
        else:
            layers += parts[0]
            tensors[parts[1].name] = parts[1]
            later += len(parts[0]) - 1
    return replace(program, layers=layers, tensors=tensors), later


def make_schedule(program: Program, cut: int = 0) -> Schedule:
    """The schedule of a program for one patch.

    Args:
        program: Lowered.
        cut: The first layer that waits for the whole of its inputs. The input comes row by row if ``program`` is turned
            and ``cut`` is not 0.
    """
    names = (program.input, *(layer.output for layer in program.layers))
    rings = rings_of(program)
    stages = tuple(_stage(program, number, rings, cut) for number in range(len(program.layers)))
    return _simulated(
        stages, names, tuple(program.tensors[name].shape[0] for name in names), program.turned and cut > 0
    )


def _stage(program: Program, number: int, rings: dict[str, int], cut: int) -> Stage:
    layer = program.layers[number]
    height, width, _ = program.tensors[layer.output].shape
    joined = number >= cut and layer.is_pixelwise(program) and height * width <= LARGEST
    reads = []
    for index, name in enumerate(layer.inputs):
        if name in rings:  # a constant is in none
            rows = layer.rows(index, program)
            home = program.tensors[program.views.get(name, name)]
            has_other_rows = program.tensors[name].shape[0] != home.shape[0]  # a flattened image is one row of many
            if rows is None or joined or has_other_rows:
                reads.append(Read(name, rings[name], Rows(stride=0), whole=True))
            else:
                reads.append(Read(name, rings[name], rows, whole=number >= cut))
    return Stage(layer, tuple(reads), height if joined else 1)


def rings_of(program: Program) -> dict[str, int]:
    """The ring of each tensor that is made, and of the input."""
    rings = {program.input: 0} | {layer.output: number for number, layer in enumerate(program.layers, 1)}
    return rings | {view: rings[home] for view, home in program.views.items()}


class Walk:
    """The walk over one patch: which stage ran at each step, and when each row was made and last read.

    After a run only readers of what was made can have become ready; hence it goes on at the last of them, and from a
    stage that is not ready to the one before it.
    """

    def __init__(self, stages: tuple[Stage, ...], heights: tuple[int, ...]) -> None:
        self.stages, self.heights = stages, heights
        self.made = [0] * len(heights)
        self.steps: list[int] = []
        self.born: list[list[int]] = [[] for _ in heights]
        self.dies: list[list[int]] = [[] for _ in heights]
        readers: list[list[int]] = [[] for _ in heights]
        for number, stage in enumerate(stages):
            for read in stage.reads:
                readers[read.ring].append(number)
        self.next = [max(found, default=ring - 1) for ring, found in enumerate(readers)]
        # of each read of each stage: the last row for row y is y * stride + lag
        self._needs = [
            [(read.ring, read.whole, read.rows.stride, read.rows.last(0)) for read in stage.reads] for stage in stages
        ]
        # whether a stage makes all its rows at once: what it reads is whole by then, and whoever reads it waits
        by_row = {read.ring for stage in stages for read in stage.reads if not read.whole}
        self._at_once = [
            number + 1 not in by_row and all(read.whole for read in stage.reads) for number, stage in enumerate(stages)
        ]

    def take(self, rows: int) -> None:
        """Rows of the input come, and all stages run that then can."""
        self._add(0, rows, -1)
        number = self.next[0]
        while number >= 0:
            if self._is_ready(number):
                self._run(number)
                while self._at_once[number] and self.made[number + 1] < self.heights[number + 1]:
                    self._run(number)
                number = self.next[number + 1]
            else:
                number -= 1

    def _is_ready(self, number: int) -> bool:
        row = self.made[number + 1]
        if row == self.heights[number + 1]:
            return False
        for ring, whole, stride, lag in self._needs[number]:
            made = self.made[ring]
            if made < self.heights[ring] and (whole or made <= row * stride + lag):
                return False
        return True

    def _run(self, number: int) -> None:
        stage, step = self.stages[number], len(self.steps)
        for read in stage.reads:
            rows = self._rows_of(read, self.made[number + 1])
            self.dies[read.ring][rows.start : rows.stop : rows.step] = [step] * len(rows)
        self._add(number + 1, stage.rows, number)

    def _rows_of(self, read: Read, y: int) -> range:
        """Rows inside the image that a read touches."""
        rows, height = read.rows, self.heights[read.ring]
        if rows.stride == 0:
            return range(height)
        first = y * rows.stride - rows.pad
        stop = min(first + rows.count * rows.dilation, height)
        return range(first if first >= 0 else first % rows.dilation, stop, rows.dilation)

    def _add(self, ring: int, rows: int, stage: int) -> None:
        step = len(self.steps)
        self.born[ring] += [step] * rows
        self.dies[ring] += [step] * rows
        self.made[ring] += rows
        self.steps.append(stage)


def _simulated(stages: tuple[Stage, ...], names: tuple[str, ...], heights: tuple[int, ...], feeds: bool) -> Schedule:
    walk = Walk(stages, heights)
    for _ in range(heights[0] if feeds else 1):
        walk.take(1 if feeds else heights[0])
    walk.dies[-1] = [len(walk.steps)] * heights[-1]  # the output is read once all is done
    whole = {read.ring for stage in stages for read in stage.reads if read.whole}
    capacities = [
        height if ring in whole or (ring == 0 and not feeds) else capacity_of(walk.born[ring], walk.dies[ring])
        for ring, height in enumerate(heights)
    ]
    return Schedule(
        stages=stages,
        names=names,
        heights=heights,
        capacities=tuple(capacities),
        alive=tuple(
            alive_steps(capacity, born, dies)
            for capacity, born, dies in zip(capacities, walk.born, walk.dies, strict=True)
        ),
        steps=tuple(walk.steps),
        overlaps=frozenset(overlaps_of(walk, capacities)),
        feeds=feeds,
    )


def capacity_of(born: list[int], dies: list[int]) -> int:
    """Rows that are alive at once, at most: from the oldest that is still needed to the one being made.

    A row that is read last by the step that makes another one of its ring is overwritten by it.
    """
    most, oldest = 1, 0
    for row, step in enumerate(born):
        while oldest < row and dies[oldest] <= step:
            oldest += 1
        most = max(most, row - oldest + 1)
    return most


def alive_steps(capacity: int, born: list[int], dies: list[int]) -> int:
    """The steps of a ring; between two rows of a ring of one it is free."""
    if capacity > 1:
        return _steps(min(born), max(dies))
    mask = 0
    for start, end in zip(born, dies, strict=True):
        mask |= _steps(start, end)
    return mask


def _steps(first: int, last: int) -> int:
    return (1 << (last + 1)) - (1 << first)


def overlaps_of(walk: Walk, capacities: list[int]) -> Iterator[tuple[int, int]]:
    """Inputs that die with the stage that reads them, both whole images or both rows that are used up at once."""
    for number, stage in enumerate(walk.stages):
        ring = number + 1
        for read in stage.reads:
            if read.ring in (0, ring) or [other.ring for other in stage.reads].count(read.ring) > 1:
                continue
            if all(capacities[each] == walk.heights[each] for each in (read.ring, ring)):
                last = max(walk.born[ring])
            elif capacities[read.ring] == capacities[ring] == 1 and read.rows == Rows():
                last = None
            else:
                continue
            ends = [last] * len(walk.dies[read.ring]) if last is not None else walk.born[ring]
            # in a stream the last rows are not used up yet
            if all(dies <= end for dies, end in zip(walk.dies[read.ring], ends, strict=False)):
                yield read.ring, number
