"""Programs for emulated boards: start-up, harness and sources, compiled and linked by GCC for a Cortex-M."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from importlib.resources import files
from pathlib import Path

from aed.base.errors import AedError
from aed.base.processes import run_tool
from aed.target.boards import Board, Machine
from aed.target.codegen.library import Library
from aed.target.host import write_sources

STACK_BYTES = 16384

ROOM = 1 << 28
"""Bytes of each memory of a board with memories that every net fits in."""

VECTORS_BYTES = 64
"""Bytes of the vectors in ``start.c``."""

BLOCK_SAMPLES = 160
"""Samples that the harness reads at once; its C has them as ``AED_BLOCK``."""

LINK_TIMEOUT_S = 300.0

FLAGS = (
    "-std=gnu99", "-O2", "-Wall", "-Wextra", "-ffp-contract=off",
    "-ffunction-sections", "-fdata-sections", "-mthumb", "-mfloat-abi=hard",
)  # fmt: skip

_TOOLS = {"gcc": "arm-none-eabi-gcc", "qemu": "qemu-system-arm"}


def versions(names: Iterable[str] = tuple(_TOOLS)) -> dict[str, str]:
    """Versions of GCC and QEMU, for every figure they give."""
    return {name: run_tool([_TOOLS[name], "--version"], 10).splitlines()[0] for name in names}


def machine_of(board: Board) -> Machine:
    """The emulation of ``board`` by QEMU.

    Raises:
        AedError: It does not.
    """
    if board.machine is None:
        raise AedError(f"board={board.name}: QEMU does not emulate it")
    return board.machine


def harness_sources(*main: str) -> dict[str, str]:
    """File name -> content of start-up, semihosting, probes, and of the files ``main`` of ``c/``."""
    folder = files("aed.target.emulator") / "c"
    names = ("start.c", "semihost.c", "semihost.h", "probe.c", "probe.h", "whole_net.h", *main)
    return {name: (folder / name).read_text(encoding="utf-8") for name in names}


def build(
    folder: Path,
    sources: Mapping[str, str],
    board: Board,
    options: tuple[str, ...] = (),
    library: Library | None = None,
) -> Path:
    """The linked program of ``sources`` and ``library``, compiled with further ``options``.

    Raises:
        AedError: A tool is missing or fails, or the program does not fit into the board's memories.
    """
    units = write_sources(folder, sources)
    if library is not None:
        units, options = [*units, *library.units], (*options, *library.options)
    try:
        return _link(folder, units, board, options)
    except AedError:
        try:
            flash, ram = section_sizes(_link(folder, units, with_large_memory(board), options))
        except AedError:
            flash, ram = 0, 0
        if missing := board.missing(flash, ram + STACK_BYTES):
            raise AedError(f"{board.name}: the program does not fit: it needs {missing}") from None
        raise


def with_large_memory(board: Board) -> Board:
    """The board with memories that every net fits in: to link for sizes, not to run."""
    machine = machine_of(board)
    (flash, _), (ram, _) = machine.flash, machine.ram
    return replace(board, machine=replace(machine, flash=(flash, ROOM), ram=(ram, ROOM)))


def need_room(board: Board, flash_bytes: int, ram_bytes: int) -> None:
    """Refuses what cannot fit whatever the compiler makes of it.

    Args:
        board: Emulated or real.
        flash_bytes: Of constants alone.
        ram_bytes: Of activations and inputs alone.

    Raises:
        AedError: Names each memory that is too small, and by how much.
    """
    if missing := board.missing(flash_bytes, ram_bytes):
        raise AedError(f"{board.name}: the net does not fit: even without code it needs {missing}")


def _link(folder: Path, units: Sequence[Path], board: Board, options: Sequence[str]) -> Path:
    machine = machine_of(board)
    script = (files("aed.target.emulator") / "c" / "link.ld").read_text(encoding="utf-8")
    flash, size = machine.flash
    if machine.vectors is None:  # they are the first bytes of the flash
        flash, size = flash + VECTORS_BYTES, size - VECTORS_BYTES
    for key, value in (
        ("AED_VECTORS_SIZE", VECTORS_BYTES),
        ("AED_VECTORS", machine.flash[0] if machine.vectors is None else machine.vectors),
        ("AED_FLASH_SIZE", size),
        ("AED_FLASH", flash),
        ("AED_RAM_SIZE", machine.ram[1]),
        ("AED_RAM", machine.ram[0]),
        ("AED_STACK_SIZE", STACK_BYTES),
    ):
        script = script.replace(key, f"0x{value:x}")
    (folder / "link.ld").write_text(script, encoding="utf-8")
    core = [f"-mcpu={board.core}", f"-mfpu={machine.fpu}", f"-DAED_BLOCK={BLOCK_SAMPLES}", *options]
    elf = folder / "program.elf"
    link: list[str | Path] = ["-nostartfiles", "-Wl,--gc-sections", "-T", folder / "link.ld", "-o", elf]
    run_tool(["arm-none-eabi-gcc", *FLAGS, *core, *link, *units, "-lm", "-lc", "-lgcc"], LINK_TIMEOUT_S)
    return elf


def section_sizes(elf: Path) -> tuple[int, int]:
    """Bytes in flash (code, constants, initial values) and in RAM (without the stack)."""
    flash = ram = 0
    for line in run_tool(["arm-none-eabi-size", "-A", elf], 10).splitlines():
        words = line.split()
        if len(words) == 3 and words[1].isdigit():
            size = int(words[1])
            flash += size if words[0] in (".vectors", ".text", ".ARM.exidx", ".data") else 0
            ram += size if words[0] in (".data", ".bss") else 0
    return flash, ram
