"""Where each tensor lies in one arena: lifetimes, and outputs written over the part of an input that is used up.

A kernel goes through its output from first byte to last and never returns to an input row it has left. So the output
may end where the input begins to be needed: it overlaps an input that dies there as long as the input lies at least
:func:`lead` bytes further up.
"""

import random
from dataclasses import dataclass
from itertools import pairwise

from aed.target.codegen.lower import Layer, Program, Tensor

ALIGNMENT = 4
"""Bytes: kernels load four int8 at once."""

ORDERS = 200
"""Orders of placing that are tried, the same each time."""


@dataclass(frozen=True)
class Plan:
    """Offsets of an arena.

    Args:
        offsets: Of each tensor but input and output, bytes.
        size: Of the arena, bytes.
        peak_layer: The layer that needs most.
    """

    offsets: dict[str, int]
    size: int
    peak_layer: str


def lead(layer: Layer, given: Tensor, made: Tensor) -> int | None:
    """Bytes by which an input must lie above the output that overwrites it; None: they may not overlap.

    Args:
        layer: The layer between them.
        given: Its input.
        made: Its output.
    """
    if layer.kind in ("dense", "global_average_pool", "mean", "concat", "softmax"):
        return None
    if layer.kind in ("add", "multiply", "lookup"):
        return 0 if given.size == made.size else None  # a row that is added to all is read again and again
    height, width, channels = made.shape
    row = given.shape[1] * given.shape[2]
    least = 0
    same = given.shape[:2] == made.shape[:2]  # no padding, not even on the right or below
    if layer.kind == "conv" and layer.kernel == (1, 1) == layer.stride and same:
        # two pixels are read before either is written, so only what the output is longer by counts
        return _aligned(max(0, height * width * (channels - given.shape[2])))
    for down in range(height):
        first = max(0, down * layer.stride[0] - layer.pad[0])
        if first >= given.shape[0]:  # padding alone
            break
        least = max(least, (down + 1) * width * channels - first * row)
    return _aligned(least)


def _aligned(size: int) -> int:
    return -(-size // ALIGNMENT) * ALIGNMENT


@dataclass
class _Life:
    """A tensor's bytes and the steps at which they are needed."""

    name: str
    size: int
    born: int
    dies: int


def _lives(program: Program) -> dict[str, _Life]:
    """Lifetimes of what lies in the arena: neither the caller's input nor its output."""
    home = {name: program.views.get(name, name) for name in program.tensors}
    lives: dict[str, _Life] = {}
    outside = {program.input, program.output}
    for step, layer in enumerate(program.layers):
        name = layer.output
        if home[name] not in outside:
            lives[name] = _Life(name, _aligned(program.tensors[name].size), step, step)
        for used in layer.inputs:
            if home[used] in lives:
                lives[home[used]].dies = step
    return lives


def make_plan(program: Program, overlap: bool = True) -> Plan:
    """The smallest arena found for ``program``.

    Args:
        program: Lowered.
        overlap: Whether outputs may overwrite inputs that die.
    """
    lives = _lives(program)
    rules = _overlaps(program, lives) if overlap else {}
    chain = list(lives)
    by_size = sorted(chain, key=lambda name: -lives[name].size)
    generator = random.Random(0)
    orders = [by_size, chain, chain[::-1]]
    for _ in range(ORDERS):
        order = by_size[:]
        for first, second in pairwise(range(len(order))):
            if generator.random() < 0.3:
                order[first], order[second] = order[second], order[first]
        orders.append(order)
    best = min((_place(order, lives, rules) for order in orders), key=lambda offsets: _height(offsets, lives))
    size = _height(best, lives)
    return Plan(best, size, _blame(program, lives, best, size))


def _height(offsets: dict[str, int], lives: dict[str, _Life]) -> int:
    return max((offset + lives[name].size for name, offset in offsets.items()), default=0)


def _overlaps(program: Program, lives: dict[str, _Life]) -> dict[tuple[str, str], int]:
    """(input, output) -> lead, for inputs that die in the layer that makes the output."""
    rules: dict[tuple[str, str], int] = {}
    for step, layer in enumerate(program.layers):
        for used in layer.inputs:
            home = program.views.get(used, used)
            if home in lives and layer.output in lives and lives[home].dies == step and layer.inputs.count(used) == 1:
                distance = lead(layer, program.tensors[used], program.tensors[layer.output])
                if distance is not None:
                    rules[home, layer.output] = distance
    return rules


def _place(order: list[str], lives: dict[str, _Life], rules: dict[tuple[str, str], int]) -> dict[str, int]:
    """First fit in this order."""
    offsets: dict[str, int] = {}
    for name in order:
        rivals = [other for other in offsets if _meet(lives[name], lives[other])]
        wanted = {0}
        for other in rivals:
            wanted.add(offsets[other] + lives[other].size)
            if (name, other) in rules:
                wanted.add(offsets[other] + rules[name, other])
            if (other, name) in rules:
                wanted.add(offsets[other] - rules[other, name])
        fits = (place for place in sorted(wanted) if place >= 0)
        offsets[name] = next(
            place for place in fits if all(_apart(name, place, other, offsets, lives, rules) for other in rivals)
        )
    return offsets


def _meet(one: _Life, other: _Life) -> bool:
    return one.born <= other.dies and other.born <= one.dies


def _apart(
    name: str,
    place: int,
    other: str,
    offsets: dict[str, int],
    lives: dict[str, _Life],
    rules: dict[tuple[str, str], int],
) -> bool:
    if place >= offsets[other] + lives[other].size or place + lives[name].size <= offsets[other]:
        return True
    if (name, other) in rules:  # name is overwritten by other
        return place >= offsets[other] + rules[name, other]
    if (other, name) in rules:
        return offsets[other] >= place + rules[other, name]
    return False


def _blame(program: Program, lives: dict[str, _Life], offsets: dict[str, int], size: int) -> str:
    """The first layer at which the arena is used to its top."""
    for step, layer in enumerate(program.layers):
        alive = [life for life in lives.values() if life.born <= step <= life.dies]
        if any(offsets[life.name] + life.size == size for life in alive):
            return layer.name
    return ""
