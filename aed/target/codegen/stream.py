"""A net as an endless stream: each column of features goes through every layer once, with a decision every hop.

A net without padding along time makes row ``y`` of every layer of the same columns in whatever patch it lies. So the
rows of one patch are those of the next, and only the mean over the patch is made anew, of the sums of its last rows.
"""

from dataclasses import replace
from itertools import pairwise

from aed.base.errors import AedError
from aed.target.codegen.program import Layer, Program, Rows
from aed.target.codegen.schedule import Read, Schedule, Stage, Walk, alive_steps, capacity_of, overlaps_of, rings_of

ENDLESS = 1 << 60
"""Rows of a stream, to a simulation."""


def as_stream(program: Program, hop: int) -> Program:
    """``program`` with its mean over the patch in parts: sums of rows, and means of a patch's every ``hop`` columns.

    Args:
        program: Turned: its rows are columns of features.
        hop: Columns between two decisions.

    Raises:
        AedError: A layer needs padding along time or the whole patch, or the hop is no multiple of the total stride.
    """
    strides, layers, tensors = {program.input: 1}, [], dict(program.tensors)
    of_patches: set[str] = set()  # made of a mean
    for layer in program.layers:
        stride = _stride(layer, program, strides)
        every, rest = divmod(hop, stride)
        is_of_patches = not of_patches.isdisjoint(program.views.get(name, name) for name in layer.inputs)
        if layer.parts(program) is None or is_of_patches:
            _check(layer, program)
            layers.append(layer)
            strides[layer.output] = stride
            of_patches |= {layer.output} if is_of_patches else set()
        elif rest or every == 0:
            raise AedError(f"hop: need a multiple of {stride}, the net's stride along time, got {hop}")
        else:
            parts = layer.parts(program, every, hop)
            assert parts is not None
            layers += parts[0]
            tensors[parts[1].name] = parts[1]
            strides[layer.output] = hop
            of_patches.add(layer.output)
    if program.output not in of_patches:
        raise AedError("plan=stream: the net has no mean over the whole patch, which a stream needs to decide")
    return replace(program, layers=layers, tensors=tensors)


def _stride(layer: Layer, program: Program, strides: dict[str, int]) -> int:
    """Columns of features from one row of a layer's output to the next."""
    found = set()
    for index, name in enumerate(layer.inputs):
        if program.views.get(name, name) in strides:
            rows = layer.rows(index, program)
            found.add(strides[program.views.get(name, name)] * (1 if rows is None else rows.stride))
    if len(found) != 1:
        raise AedError(f"plan=stream: {layer.name} joins rows of different strides along time")
    return found.pop()


def _check(layer: Layer, program: Program) -> None:
    """Refuses a layer whose rows depend on where in a patch they lie.

    Raises:
        AedError: Names it.
    """
    height = program.tensors[layer.output].shape[0]
    for index, name in enumerate(layer.inputs):
        given, rows = program.tensors[name].shape[0], layer.rows(index, program)
        if name in program.views or (rows is None and given > 1):
            raise AedError(f"plan=stream: {layer.name} ({layer.kind}) needs the whole patch; only a mean over it may")
        if rows is not None and (rows.pad > 0 or rows.last(height - 1) >= given):
            raise AedError(
                f"plan=stream: {layer.name} ({layer.kind}) has padding along time; train a net with "
                "model.net.time_padding=valid"
            )


def stream_schedule(program: Program, hop: int) -> Schedule:
    """The schedule of an endless stream.

    Args:
        program: As :func:`as_stream` returns it.
        hop: Columns between two decisions.
    """
    rings, names = rings_of(program), (program.input, *(layer.output for layer in program.layers))
    stages = tuple(_stage(layer, program, rings) for layer in program.layers)
    walk, ends = Walk(stages, (ENDLESS,) * len(names)), [0]
    frames = program.tensors[program.input].shape[0]
    while len(ends) <= frames + 4 * hop:
        walk.take(1)
        ends.append(len(walk.steps))
        for row in range(len(walk.dies[-1]) - 1, -1, -1):  # an output is read once all its column makes is made
            if walk.born[-1][row] < ends[-2]:
                break
            walk.dies[-1][row] = ends[-1] - 1
    columns = [tuple(walk.steps[start:end]) for start, end in pairwise(ends)]
    first = len(columns) - hop
    while first > 0 and columns[first - 1] == columns[first - 1 + hop]:
        first -= 1
    assert first + 2 * hop <= len(columns), "the walk is periodic once all rings are filled"
    capacities = [capacity_of(born, dies) for born, dies in zip(walk.born, walk.dies, strict=True)]
    seen = (1 << ends[first + hop]) - 1  # all that ever meets does so until the period is over
    return Schedule(
        stages=stages,
        names=names,
        heights=(0,) * len(names),
        capacities=tuple(capacities),
        alive=tuple(
            seen if capacity > 1 else seen & alive_steps(capacity, born, dies)
            for capacity, born, dies in zip(capacities, walk.born, walk.dies, strict=True)
        ),
        steps=tuple(walk.steps[: ends[first + hop]]),
        overlaps=frozenset(overlaps_of(walk, capacities)),
        feeds=True,
        loop=ends[first],
        hop=hop,
    )


def _stage(layer: Layer, program: Program, rings: dict[str, int]) -> Stage:
    reads = [
        Read(name, rings[name], layer.rows(index, program) or Rows(), whole=False)
        for index, name in enumerate(layer.inputs)
        if name in rings
    ]
    return Stage(layer, tuple(reads), 1)
