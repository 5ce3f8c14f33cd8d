"""The offset of each tensor in one arena: lifetimes, and outputs written over the part of an input that is used up.

A kernel goes through its output from first byte to last and never returns to an input row it has left. So the output
may overlap an input that no later layer reads, as long as the input lies at least
:meth:`aed.target.codegen.program.Layer.overlap_offset` bytes further up.
"""

import random
from dataclasses import dataclass
from itertools import pairwise

from aed.target.codegen.program import Program, aligned

ORDERS = 200
"""Orders in which tensors are placed, tried one after the other; the same each time."""


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


@dataclass
class _Life:
    """A tensor's size and the steps between which its bytes are needed."""

    name: str
    size: int
    born: int
    dies: int


def _lives(program: Program) -> dict[str, _Life]:
    """Lifetimes of the tensors in the arena; the caller's input and output are not."""
    home = {name: program.views.get(name, name) for name in program.tensors}
    lives: dict[str, _Life] = {}
    outside = {program.input, program.output}
    for step, layer in enumerate(program.layers):
        name = layer.output
        if home[name] not in outside:
            lives[name] = _Life(name, aligned(program.tensors[name].size), step, step)
        for used in layer.inputs:
            if home[used] in lives:
                lives[home[used]].dies = step
    return lives


def make_plan(program: Program, overlap: bool = True) -> Plan:
    """The smallest arena of all orders of placement.

    Args:
        program: Lowered.
        overlap: Whether outputs may overwrite inputs that no later layer reads.
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
    best = min((_first_fit(order, lives, rules) for order in orders), key=lambda offsets: _height(offsets, lives))
    size = _height(best, lives)
    return Plan(best, size, _peak_layer(program, lives, best, size))


def _height(offsets: dict[str, int], lives: dict[str, _Life]) -> int:
    return max((offset + lives[name].size for name, offset in offsets.items()), default=0)


def _overlaps(program: Program, lives: dict[str, _Life]) -> dict[tuple[str, str], int]:
    """(input, output) -> overlap offset, for inputs that are last read by the layer that writes the output."""
    rules: dict[tuple[str, str], int] = {}
    for step, layer in enumerate(program.layers):
        for used in layer.inputs:
            home = program.views.get(used, used)
            if home in lives and layer.output in lives and lives[home].dies == step and layer.inputs.count(used) == 1:
                distance = layer.overlap_offset(program.tensors[used], program.tensors[layer.output])
                if distance is not None:
                    rules[home, layer.output] = distance
    return rules


def _first_fit(order: list[str], lives: dict[str, _Life], rules: dict[tuple[str, str], int]) -> dict[str, int]:
    """Offsets: each tensor, in this order, at the lowest offset that is free."""
    offsets: dict[str, int] = {}
    for name in order:
        rivals = [other for other in offsets if _meet(lives[name], lives[other])]
        candidates = {0}
        for other in rivals:
            candidates.add(offsets[other] + lives[other].size)
            if (name, other) in rules:
                candidates.add(offsets[other] + rules[name, other])
            if (other, name) in rules:
                candidates.add(offsets[other] - rules[other, name])
        fits = (offset for offset in sorted(candidates) if offset >= 0)
        offsets[name] = next(
            offset for offset in fits if all(_apart(name, offset, other, offsets, lives, rules) for other in rivals)
        )
    return offsets


def _meet(one: _Life, other: _Life) -> bool:
    return one.born <= other.dies and other.born <= one.dies


def _apart(
    name: str,
    offset: int,
    other: str,
    offsets: dict[str, int],
    lives: dict[str, _Life],
    rules: dict[tuple[str, str], int],
) -> bool:
    if offset >= offsets[other] + lives[other].size or offset + lives[name].size <= offsets[other]:
        return True
    if (name, other) in rules:  # name is overwritten by other
        return offset >= offsets[other] + rules[name, other]
    if (other, name) in rules:
        return offsets[other] >= offset + rules[other, name]
    return False


def _peak_layer(program: Program, lives: dict[str, _Life], offsets: dict[str, int], size: int) -> str:
    """The first layer at which the arena is used to its top."""
    for step, layer in enumerate(program.layers):
        alive = [life for life in lives.values() if life.born <= step <= life.dies]
        if any(offsets[life.name] + life.size == size for life in alive):
            return layer.name
    return ""
