"""The worst stack of a program for a Cortex-M: told by the compiler, combined over the graph of calls.

GCC tells the frame of each function and whom it calls (``-fcallgraph-info=su``). What it does not tell is read from the
machine code: pushes in assembly, and functions of the C library. A function that is called by its address is one of a
table of the generator.
"""

import re
from collections.abc import Iterable, Mapping, Set
from dataclasses import dataclass, field
from pathlib import Path

from aed.base.errors import AedError
from aed.base.processes import run_tool

OPTION = "-fcallgraph-info=su"
"""For GCC 10 and newer: a graph of calls beside each object."""

_MADE_FOR_A_CORE = ("aed_listener_init", "aed_net_begin", "aed_net_run", "aed_net_run_frames")
_OF_A_FRONT_END = tuple(f"aed_{kind}_{step}" for kind in ("columns", "frontend") for step in ("init", "feed", "patch"))
ENTRIES = ("aed_listen", "aed_net_feed", *_MADE_FOR_A_CORE, *(f"{name}_mve" for name in _MADE_FOR_A_CORE))
ENTRIES += _OF_A_FRONT_END
"""Functions of front end and net that programs call."""

INDIRECT = "__indirect_call"

_NODE = re.compile(r'node: \{ title: "([^"]+)" label: "[^"]*\\n(\d+) bytes \(([^)]*)\)')
_EDGE = re.compile(r'edge: \{ sourcename: "([^"]+)" targetname: "([^"]+)"')
_FUNCTION = re.compile(r"^[0-9a-f]+ <([^>]+)>:$")
_CALL = re.compile(r"\tbl?(?:\.[nw])?\t[0-9a-f]+ <([^>+]+)>")
_REGISTERS = re.compile(r"\t(v?push|v?stmdb(?:\.w)?\tsp!,|stmfd\tsp!,)[^{]*\{([^}]*)\}")
_ROOM = re.compile(r"\tsubw?(?:\.w)?\tsp, (?:sp, )?#(\d+)|\[sp, #-(\d+)\]!")


@dataclass
class _Function:
    """Bytes of a function's own stack, and whom it calls."""

    size: int = 0
    calls: set[str] = field(default_factory=set)


def worst_stack(folder: Path, elf: Path, entries: Iterable[str], tables: Mapping[str, Set[str]]) -> int:
    """Bytes of stack that the deepest of some functions needs at most, with all that it calls.

    Args:
        folder: With the graphs (``*.ci``) of all units of the program.
        elf: The program, linked.
        entries: Functions; those that are not in the program are left out.
        tables: Name of a function -> functions that it may call by their address.

    Raises:
        AedError: A frame has no bound, functions call each other in a circle, a function that is in no table calls
            others by their address, none of the entries is there, or a tool fails.
    """
    code = _machine_code(run_tool(["arm-none-eabi-objdump", "-d", "--no-show-raw-insn", elf], 30))
    functions = _graphs(folder, tables)
    for name, found in code.items():
        known = functions.get(name)
        functions[name] = _Function(max(known.size, found.size), known.calls) if known else found
    functions = {name: each for name, each in functions.items() if name in code}
    depths: dict[str, int] = {}
    called = [name for name in entries if name in functions]
    if not called:
        raise AedError("worst stack: not known, for the program has none of the library's functions")
    return max(_depth(name, functions, depths, ()) for name in called)


def _depth(name: str, functions: dict[str, _Function], depths: dict[str, int], above: tuple[str, ...]) -> int:
    if name in above:
        raise AedError(f"worst stack: not known, for {' calls '.join((*above[above.index(name) :], name))}")
    if name not in depths:
        calls = [call for call in functions[name].calls if call in functions]
        below = max((_depth(call, functions, depths, (*above, name)) for call in calls), default=0)
        depths[name] = functions[name].size + below
    return depths[name]


def _graphs(folder: Path, tables: Mapping[str, Set[str]]) -> dict[str, _Function]:
    """What the compiler tells; of functions of one name in several files the larger."""
    functions: dict[str, _Function] = {}
    for path in sorted(folder.glob("*.ci")):
        text = path.read_text(encoding="utf-8")
        for title, size, kind in _NODE.findall(text):
            if "dynamic" in kind and "bounded" not in kind:
                raise AedError(f"worst stack: not known, for the frame of {_name(title)} has no bound")
            each = functions.setdefault(_name(title), _Function())
            each.size = max(each.size, int(size))
        for source, target in _EDGE.findall(text):
            calls = {_name(target)}
            if target == INDIRECT:
                caller = _name(source).partition(".")[0]  # without the compiler's name for a copy
                if caller not in tables:
                    raise AedError(f"worst stack: not known, for {caller} calls functions that are in no table")
                calls = set(tables[caller])
            functions.setdefault(_name(source), _Function()).calls |= calls
    return functions


def _name(title: str) -> str:
    """The name of a function, without the file of a static one."""
    return title.rpartition(":")[2]


def _machine_code(listing: str) -> dict[str, _Function]:
    """Every function of a program, with all that its instructions take from the stack, and calls by name."""
    functions: dict[str, _Function] = {}
    each = _Function()
    for line in listing.splitlines():
        if match := _FUNCTION.match(line):
            each = functions.setdefault(match[1], _Function())
        elif match := _REGISTERS.search(line):
            each.size += _bytes(match[2])
        elif match := _ROOM.search(line):
            each.size += int(match[1] or match[2])
        elif match := _CALL.search(line):
            each.calls.add(match[1])
    for name, found in functions.items():
        found.calls.discard(name)  # jumps inside of it
    return functions


def _bytes(registers: str) -> int:
    """Of a list of registers, ``r4, r5`` or ``d8-d15``."""
    size = 0
    for part in registers.split(","):
        first, _, last = part.strip().partition("-")
        count = int(last[1:]) - int(first[1:]) + 1 if last else 1
        size += count * (8 if first.startswith("d") else 4)
    return size


_BLOCKS = {f"aed_{kind}block_{pixels}" for kind in ("", "swish_") for pixels in (1, 2, 3)}

_STAGE = re.compile(r"^    \{(?:AED_ROW\((\w+), (\w+)\)|(\w+)), (?:&\w+|NULL),", re.MULTILINE)


def tables_of(net: str) -> dict[str, Set[str]]:
    """What the library's functions call by address.

    Args:
        net: Text of ``aed_net.c``, whose stages name their kernels.
    """
    kernels = {name for names in _STAGE.findall(net) for name in names if name}
    return {"run_stage": kernels, "aed_pair_columns": _BLOCKS, "aed_plain_blocks": _BLOCKS}
