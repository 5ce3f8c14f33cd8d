"""Costs of a net or a front end on an emulated board: instructions, sizes, stack, shares of functions; its outputs."""

import logging
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

import numpy as np
import numpy.typing as npt

from aed.base.errors import AedError
from aed.base.files import temporary_folder
from aed.base.processes import beside, run_tool
from aed.dsp.frontend import FrontendConfig
from aed.target.boards import Board
from aed.target.codegen.frontend import frontend_kernel, frontend_sources
from aed.target.codegen.generate import kernel_sources, net_sources
from aed.target.codegen.library import Library
from aed.target.codegen.plan import Plan
from aed.target.codegen.program import Int8, Program
from aed.target.emulator import toolchain
from aed.target.emulator.cycles import cycles_per_instruction
from aed.target.emulator.qemu import run_program
from aed.target.emulator.stack import ENTRIES, OPTION, tables_of, worst_stack
from aed.target.emulator.toolchain import build, harness_sources, machine_of, section_sizes

log = logging.getLogger(__name__)

WRAP = 1 << 24
"""Ticks after which SysTick starts again at 0."""

PROFILE_SAMPLES = 1000
"""Samples of a profile, about; a share is then known to 1.5 points."""


@dataclass(frozen=True, kw_only=True)
class EmulatedRun:
    """Outputs and costs of a net or a front end on an emulated board.

    Args:
        outputs: ``(N, size)``: of the net, or the patches.
        instructions: Of the first output, to one step of SysTick; of a stream, those of the next one.
        cycles: The same, estimated from a sample of the instructions; None: the core has no published table.
        layers: The same for each layer of a net.
        functions: C functions and their shares of the instructions, the largest first; from samples, so to about
            1.5 points.
        flash_bytes: Code and constants, the harness not counted.
        ram_bytes: Arena and scratch, or state.
        stack_bytes: Deepest stack, with that of the harness.
        worst_stack_bytes: That no call goes beyond, told by the compiler; None: it cannot be told.
    """

    outputs: Int8
    instructions: float
    cycles: float | None
    layers: tuple[float, ...]
    functions: tuple[tuple[str, float], ...]
    flash_bytes: int
    ram_bytes: int
    stack_bytes: int
    worst_stack_bytes: int | None


def measure_net(
    program: Program, plan: Plan, inputs: Int8, board: Board, library: Library | None = None
) -> EmulatedRun:
    """Runs a net on ``board``.

    Args:
        program: Lowered.
        plan: Its arena.
        inputs: ``(N, input_size)``.
        board: Emulated machine.
        library: That layers of other makers call, compiled with it; None: nothing is.

    Raises:
        AedError: The net does not fit, a tool is missing or fails, or the program ends with an error.
    """
    size, layers = program.tensors[program.output].size, len(program.layers)
    toolchain.need_room(board, program.weight_bytes, plan.size + inputs.shape[1] + size + toolchain.STACK_BYTES)
    sources = kernel_sources() | net_sources(program, plan)
    return measure_sources(sources, size, layers, inputs, board, library, plan.streams)


def measure_sources(
    sources: Mapping[str, str],
    size: int,
    layers: int,
    inputs: Int8,
    board: Board,
    library: Library | None = None,
    streams: bool = False,
) -> EmulatedRun:
    """Runs a net, given as C with the functions of ``aed_net.h``.

    Args:
        sources: File name -> content.
        size: Bytes of its output.
        layers: Number of its layers; 0: it does not tell them apart.
        inputs: ``(N, input_size)``.
        board: Emulated machine.
        library: Compiled with it; None: nothing is.
        streams: Whether it is an endless stream.

    Raises:
        AedError: As :func:`measure_net`.
    """
    harness_ram = inputs.shape[1] + (1 + streams) * size + 2 * 4  # input, output, two counters
    with beside(partial(_layer_ticks, sources, inputs[0].tobytes(), board, layers, library)) as counted:
        raw, sizes, worst = _run("run_net.c", sources, inputs.tobytes(), board, library)
        outputs, facts = _records(raw, size, 2)
        if len(outputs) != len(inputs):
            raise AedError(f"{board.name}: {len(outputs)} outputs came back for {len(inputs)} inputs")
        ticks, total = counted.result(), facts[0, 0]
    if layers:
        # SysTick has 24 bits: a whole run may go round, a layer does not (the program fails)
        total += WRAP * np.rint((ticks.sum() - total) / WRAP)
    tick = 1e9 / machine_of(board).systick_hz
    instructions = float(total * tick)
    functions, each = _profile("profile_net.c", sources, inputs[0].tobytes(), board, instructions, library)
    return EmulatedRun(
        outputs=outputs,
        instructions=instructions,
        cycles=None if each is None else each * instructions,
        layers=tuple((ticks * tick).tolist()),
        functions=functions,
        flash_bytes=sizes[0],
        ram_bytes=sizes[1] - harness_ram,
        stack_bytes=int(facts[:, 1].max()),
        worst_stack_bytes=worst,
    )


def _layer_ticks(
    sources: Mapping[str, str], content: bytes, board: Board, layers: int, library: Library | None
) -> npt.NDArray[np.float64]:
    """Ticks of each layer, the sum over its rows, in a program that is stopped before and after each; () of none."""
    if not layers:
        return np.zeros(0)
    with temporary_folder() as folder:
        parts = {**sources, **harness_sources("count_net.c")}
        elf = build(folder / "program", parts, board, ("-DAED_COUNT",), library)
        raw = run_program(elf, folder, content, board)
    return np.frombuffer(raw, "<u4", layers).astype(np.float64)


def measure_frontend(
    config: FrontendConfig,
    scale: float,
    zero: int,
    samples: npt.NDArray[np.int16],
    board: Board,
    library: Library | None = None,
    by_columns: bool = False,
) -> EmulatedRun:
    """Runs a front end on ``board``.

    Args:
        config: Streamable.
        scale: Of the net's input.
        zero: Zero point of the net's input.
        samples: ``(T,)``, at least one patch long.
        board: Emulated machine.
        library: Its Fourier transform replaces this project's; None: it does not.
        by_columns: Whether it makes columns alone and holds no patch; those of the result are (frames, n_mels).

    Raises:
        AedError: As :func:`measure_net`, or the front end cannot be written in C.
    """
    size = config.n_mels * config.patch_frames
    harness_ram = 2 * toolchain.BLOCK_SAMPLES + size + 2 * 4  # block of int16, patch, two counters
    sources = frontend_kernel() | frontend_sources(config, scale, zero)
    options = ("-DAED_BY_COLUMNS",) if by_columns else ()
    raw, sizes, worst = _run("run_frontend.c", sources, samples.tobytes(), board, library, options)
    patches, ticks = _records(raw, size, 2)
    if not len(patches):
        raise AedError(f"{board.name}: no patch came back of {len(samples)} samples")
    instructions = float(ticks[0, 0] * (1e9 / machine_of(board).systick_hz))
    functions, each = _profile("profile_frontend.c", sources, samples.tobytes(), board, instructions, library)
    return EmulatedRun(
        outputs=patches,
        instructions=instructions,
        cycles=None if each is None else each * instructions,
        layers=(),
        functions=functions,
        flash_bytes=sizes[0],
        ram_bytes=sizes[1] - harness_ram,
        stack_bytes=int(ticks[:, 1].max()),
        worst_stack_bytes=worst,
    )


def _run(
    main: str,
    sources: Mapping[str, str],
    content: bytes,
    board: Board,
    library: Library | None = None,
    options: tuple[str, ...] = (),
) -> tuple[bytes, tuple[int, int], int | None]:
    """Output of a program, its flash and RAM beyond those of an empty one, and its worst stack."""
    with temporary_folder() as folder:
        elf = build(folder / "program", {**sources, **harness_sources(main)}, board, (OPTION, *options), library)
        bare = build(folder / "bare", harness_sources("run_nothing.c"), board)
        raw = run_program(elf, folder, content, board)
        flash, ram = (whole - own for whole, own in zip(section_sizes(elf), section_sizes(bare), strict=True))
        try:
            worst = worst_stack(elf.parent, elf, ENTRIES, tables_of(sources.get("aed_net.c", "")))
        except AedError as error:  # of other makers' code
            log.info("%s", error)
            worst = None
    return raw, (flash, ram), worst


def _records(raw: bytes, size: int, counters: int) -> tuple[Int8, npt.NDArray[np.float64]]:
    """Outputs ``(N, size)`` and counters ``(N, counters)`` of the records a program wrote."""
    layout = np.dtype([("output", np.int8, (size,)), ("counters", "<u4", (counters,))])
    records = np.frombuffer(raw[: len(raw) // layout.itemsize * layout.itemsize], layout)
    return records["output"], records["counters"].astype(np.float64)


def _profile(
    main: str,
    sources: Mapping[str, str],
    content: bytes,
    board: Board,
    instructions: float,
    library: Library | None = None,
) -> tuple[tuple[tuple[str, float], ...], float | None]:
    """Shares of the C functions, and cycles of an instruction; sampled by an interrupt."""
    hertz = machine_of(board).systick_hz
    ticks = max(2, round(instructions / PROFILE_SAMPLES * hertz / 1e9))
    with temporary_folder() as folder:
        parts = {**sources, **harness_sources(main, "sampler.c", "sampler.h")}
        # functions called once stay functions, else the whole front end would be one name
        options = (f"-DAED_TICKS={ticks}u", "-fno-inline-functions-called-once")
        elf = build(folder / "program", parts, board, options, library)
        raw = np.frombuffer(run_program(elf, folder, content, board), "<u4")
        listing = run_tool(["arm-none-eabi-nm", "-n", "--defined-only", elf], 10)
        seen = raw[1 : 1 + int(raw[0])].astype(np.int64)
        each = cycles_per_instruction(seen.tolist(), elf, board.core)
    symbols = [line.split() for line in listing.splitlines()]
    code = sorted((int(word[0], 16) & ~1, word[2]) for word in symbols if len(word) == 3 and word[1] in "tTwW")
    starts = np.array([start for start, _ in code])
    functions = np.searchsorted(starts, seen, side="right") - 1
    counts = Counter(code[index][1] for index in functions.tolist() if index >= 0)
    return tuple((name, count / len(functions)) for name, count in counts.most_common()), each
