"""A net on an emulated Cortex-M: built by GCC, run by QEMU, its instructions counted.

QEMU with ``-icount shift=0`` takes one virtual nanosecond an instruction, so SysTick counts instructions in steps of
1e9 / its frequency. Instructions are no cycles: there are no caches, wait states or DMA. Reference:
https://www.qemu.org/docs/master/system/arm/mps2.html
"""

import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.resources import files
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx

from aed.base.errors import AedError
from aed.base.files import temporary_folder
from aed.base.processes import finish, run_tool
from aed.dsp.frontend import FrontendConfig
from aed.target.boards import Board, Machine, emulated
from aed.target.codegen.cmsis import CmsisDsp
from aed.target.codegen.frontend import frontend_kernel, frontend_sources
from aed.target.codegen.generate import kernel_sources, net_sources
from aed.target.codegen.lower import lower
from aed.target.codegen.plan import Plan, make_plan
from aed.target.codegen.program import Program
from aed.target.host import device_sources, write_sources

Int8 = npt.NDArray[np.int8]

STACK_BYTES = 16384

ROOM = 1 << 28
"""Bytes of each memory while sizes are asked for."""

WRAP = 1 << 24
"""Ticks after which SysTick begins anew."""

TIMEOUT_S = 300.0

FAILURES = {
    70: "a fault of the core",
    71: "its input cannot be read",
    72: "layer by layer gives other outputs than all at once",
    73: "its output cannot be written",
    74: "a layer takes longer than SysTick can count here; another board counts further",
}
"""Exit codes of the harness."""

PROFILE_SAMPLES = 1000
"""Aimed at; a share is then known to 1.5 points."""

FLAGS = (
    "-std=gnu99", "-O2", "-Wall", "-Wextra", "-ffp-contract=off",
    "-ffunction-sections", "-fdata-sections", "-mthumb", "-mfloat-abi=hard",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Emulated:
    """What an emulated run says of a net or a front end.

    Args:
        outputs: ``(N, size)``: of the net, or the patches.
        instructions: Of the first of them, to one step of SysTick.
        layers: The same for each layer of a net.
        functions: C functions and their shares of the instructions, the largest first; from samples, so to about
            1.5 points.
        flash_bytes: Code and constants, the harness not counted.
        ram_bytes: Arena and scratch, or state.
        stack_bytes: Deepest stack.
    """

    outputs: Int8
    instructions: float
    layers: tuple[float, ...]
    functions: tuple[tuple[str, float], ...]
    flash_bytes: int
    ram_bytes: int
    stack_bytes: int


_TOOLS = {"gcc": "arm-none-eabi-gcc", "qemu": "qemu-system-arm"}


def versions(names: Iterable[str] = tuple(_TOOLS)) -> dict[str, str]:
    """GCC's and QEMU's, for every figure they give."""
    return {name: run_tool([_TOOLS[name], "--version"], 10).splitlines()[0] for name in names}


def emulate_net(program: Program, plan: Plan, inputs: Int8, board: Board) -> Emulated:
    """Runs a net on ``board``.

    Args:
        program: Lowered.
        plan: Its arena.
        inputs: ``(N, input_size)``.
        board: Emulated machine.

    Raises:
        AedError: A tool is missing or fails, or the program ends with an error.
    """
    size, layers = program.tensors[program.output].size, len(program.layers)
    sources = kernel_sources() | net_sources(program, plan)
    harness_ram = inputs.shape[1] + 2 * size + 4 * (layers + 2)
    raw, sizes = _run("run_net.c", sources, inputs.tobytes(), board)
    outputs, ticks = _records(raw, size, layers + 2)
    # SysTick has 24 bits: a whole run may go round, a layer does not (the program fails)
    ticks[:, layers] += WRAP * np.rint((ticks[0, :layers].sum() - ticks[:, layers]) / WRAP)
    if len(outputs) != len(inputs):
        raise AedError(f"{board.name}: {len(outputs)} outputs came back for {len(inputs)} inputs")
    counted = ticks[0] * (1e9 / _machine(board).systick_hz)
    return Emulated(
        outputs=outputs,
        instructions=float(counted[layers]),
        layers=tuple(counted[:layers].tolist()),
        functions=_profile("profile_net.c", sources, inputs[0].tobytes(), board, float(counted[layers])),
        flash_bytes=sizes[0],
        ram_bytes=sizes[1] - harness_ram,
        stack_bytes=int(ticks[:, layers + 1].max()),
    )


def emulate_frontend(
    config: FrontendConfig,
    scale: float,
    zero: int,
    samples: npt.NDArray[np.int16],
    board: Board,
    library: CmsisDsp | None = None,
) -> Emulated:
    """Runs a front end on ``board``.

    Args:
        config: Streamable.
        scale: Of the net's input.
        zero: Zero point of the net's input.
        samples: ``(T,)``, at least one patch long.
        board: Emulated machine.
        library: Whose Fourier transform takes the place of this project's.

    Raises:
        AedError: As :func:`emulate_net`, or the front end cannot be written in C.
    """
    size = config.n_mels * config.patch_frames
    sources = frontend_kernel() | frontend_sources(config, scale, zero)
    raw, sizes = _run("run_frontend.c", sources, samples.tobytes(), board, library)
    patches, ticks = _records(raw, size, 2)
    if not len(patches):
        raise AedError(f"{board.name}: no patch came back of {len(samples)} samples")
    instructions = float(ticks[0, 0] * (1e9 / _machine(board).systick_hz))
    return Emulated(
        outputs=patches,
        instructions=instructions,
        layers=(),
        functions=_profile("profile_frontend.c", sources, samples.tobytes(), board, instructions, library),
        flash_bytes=sizes[0],
        ram_bytes=sizes[1] - 2 * 160 - size - 8,
        stack_bytes=int(ticks[:, 1].max()),
    )


def _machine(board: Board) -> Machine:
    if board.machine is None:
        raise AedError(f"board={board.name}: QEMU does not emulate it")
    return board.machine


def _run(
    main: str, sources: Mapping[str, str], given: bytes, board: Board, library: CmsisDsp | None = None
) -> tuple[bytes, tuple[int, int]]:
    """What the program writes, and its flash and RAM beyond the harness."""
    with temporary_folder() as folder:
        elf = build(folder / "program", {**sources, **harness_sources(main)}, board, library=library)
        bare = build(folder / "bare", harness_sources("run_nothing.c"), board)
        raw = emulate(elf, folder, given, board)
        flash, ram = (whole - own for whole, own in zip(section_sizes(elf), section_sizes(bare), strict=True))
    return raw, (flash, ram)


def _records(raw: bytes, size: int, counters: int) -> tuple[Int8, npt.NDArray[np.float64]]:
    """Outputs ``(N, size)`` and counters ``(N, counters)`` of the records a program wrote."""
    layout = np.dtype([("output", np.int8, (size,)), ("counters", "<u4", (counters,))])
    records = np.frombuffer(raw[: len(raw) // layout.itemsize * layout.itemsize], layout)
    return records["output"], records["counters"].astype(np.float64)


def emulate(elf: Path, folder: Path, given: bytes, board: Board, count: bool = True) -> bytes:
    """What a program writes to ``output.bin`` when ``input.bin`` holds ``given``.

    Args:
        elf: Linked for ``board``.
        folder: For both files; one run at a time in each.
        given: Input.
        board: Emulated machine.
        count: One nanosecond an instruction; without, the emulator runs as fast as it can.

    Raises:
        AedError: QEMU is missing, or the program failed or hung.
    """
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "input.bin").write_bytes(given)
    command: list[str | Path] = ["qemu-system-arm", "-M", _machine(board).machine, "-kernel", elf]
    command += ["-icount", "shift=0"] if count else []
    command += ["-display", "none", "-monitor", "none", "-serial", "none"]
    done = finish([*command, "-semihosting-config", "enable=on,target=native"], TIMEOUT_S, folder)
    if done.code:
        reason = FAILURES.get(done.code, f"exit code {done.code}")
        raise AedError(f"{board.name}: the emulated program failed: {reason} {done.tail}".rstrip())
    return (folder / "output.bin").read_bytes()


def _profile(
    main: str,
    sources: Mapping[str, str],
    given: bytes,
    board: Board,
    instructions: float,
    library: CmsisDsp | None = None,
) -> tuple[tuple[str, float], ...]:
    """Shares of the C functions, sampled by an interrupt."""
    hertz = _machine(board).systick_hz
    ticks = max(2, round(instructions / PROFILE_SAMPLES * hertz / 1e9))
    with temporary_folder() as folder:
        parts = {**sources, **harness_sources(main, "sampler.c", "sampler.h")}
        # functions called once stay functions, else the whole front end would be one name
        options = (f"-DAED_TICKS={ticks}u", "-fno-inline-functions-called-once")
        elf = build(folder / "program", parts, board, options, library)
        raw = np.frombuffer(emulate(elf, folder, given, board), "<u4")
        listing = run_tool(["arm-none-eabi-nm", "-n", "--defined-only", elf], 10)
    symbols = [line.split() for line in listing.splitlines()]
    code = sorted((int(word[0], 16) & ~1, word[2]) for word in symbols if len(word) == 3 and word[1] in "tTwW")
    starts = np.array([start for start, _ in code])
    places = np.searchsorted(starts, raw[1 : 1 + int(raw[0])].astype(np.int64), side="right") - 1
    found = Counter(code[place][1] for place in places.tolist() if place >= 0)
    return tuple((function, count / len(places)) for function, count in found.most_common())


class EmulatedDevice:
    """Front end and net in C as a function of samples: what a device hears, on an emulated board.

    Args:
        folder: Where sources, program and files go.
        model: int8.
        frontend: Streamable.
        board: Emulated machine, or a board with the core of one.

    Raises:
        AedError: Front end or net cannot be written in C, or a tool is missing.
    """

    workers = os.cpu_count() or 1

    def __init__(self, folder: Path, model: onnx.ModelProto, frontend: FrontendConfig, board: Board) -> None:
        program = lower(model)
        self.made = program.tensors[program.output]
        sources = device_sources(program, make_plan(program), frontend)
        self.folder, self.board = folder, emulated(board)
        self.elf = build(folder / "program", {**sources, **harness_sources("run_clip.c")}, self.board)

    def outputs(self, samples: npt.NDArray[np.int16]) -> npt.NDArray[np.float32]:
        """The net's output of each patch of a clip ``(T,)`` at the front end's rate: ``(patches, num_classes)``."""
        with temporary_folder() as folder:
            given = np.ascontiguousarray(samples, dtype="<i2").tobytes()
            raw = emulate(self.elf, folder, given, self.board, count=False)
        steps = np.frombuffer(raw, np.int8).reshape(-1, self.made.size)
        return self.made.real(steps)


def harness_sources(*main: str) -> dict[str, str]:
    """File name -> content of start-up, semihosting, probes and the files of ``main``."""
    folder = files("aed.target.emulator") / "c"
    names = ("start.c", "semihost.c", "semihost.h", "probe.c", "probe.h", *main)
    return {name: (folder / name).read_text(encoding="utf-8") for name in names}


def build(
    folder: Path,
    sources: Mapping[str, str],
    board: Board,
    options: tuple[str, ...] = (),
    library: CmsisDsp | None = None,
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
            sizes = section_sizes(_link(folder, units, roomy(board), options))
        except AedError:
            sizes = (0, 0)
        if reasons := _too_large(board, *sizes):
            raise AedError(f"{board.name}: the program does not fit: it needs {' and '.join(reasons)}") from None
        raise


def roomy(board: Board) -> Board:
    """The board with memories that every net fits in: for its sizes, not to be run."""
    machine = _machine(board)
    (flash, _), (ram, _) = machine.flash, machine.ram
    return replace(board, machine=replace(machine, flash=(flash, ROOM), ram=(ram, ROOM)))


def _too_large(board: Board, flash_bytes: int, ram_bytes: int) -> list[str]:
    """What a program needs more of than the board has, in words."""
    machine = _machine(board)
    needs = (("flash", flash_bytes, machine.flash[1]), ("RAM", ram_bytes + STACK_BYTES, machine.ram[1]))
    return [
        f"{needed / 1024:.0f} KiB of {kind}, there are {there / 1024:.0f}"
        for kind, needed, there in needs
        if needed > there
    ]


def _link(folder: Path, units: Sequence[Path], board: Board, options: Sequence[str]) -> Path:
    machine = _machine(board)
    script = (files("aed.target.emulator") / "c" / "link.ld").read_text(encoding="utf-8")
    for key, value in (
        ("AED_FLASH_SIZE", machine.flash[1]),
        ("AED_FLASH", machine.flash[0]),
        ("AED_RAM_SIZE", machine.ram[1]),
        ("AED_RAM", machine.ram[0]),
        ("AED_STACK_SIZE", STACK_BYTES),
    ):
        script = script.replace(key, f"0x{value:x}")
    (folder / "link.ld").write_text(script, encoding="utf-8")
    core = [f"-mcpu={board.core}", f"-mfpu={machine.fpu}", *options]
    elf = folder / "program.elf"
    link: list[str | Path] = ["-nostartfiles", "-Wl,--gc-sections", "-T", folder / "link.ld", "-o", elf]
    run_tool(["arm-none-eabi-gcc", *FLAGS, *core, *link, *units, "-lm", "-lc", "-lgcc"], TIMEOUT_S)
    return elf


def section_sizes(elf: Path) -> tuple[int, int]:
    """Bytes in flash (code, constants, initial values) and in RAM (without the stack)."""
    flash = ram = 0
    for line in run_tool(["arm-none-eabi-size", "-A", elf], 10).splitlines():
        words = line.split()
        if len(words) == 3 and words[1].isdigit():
            size = int(words[1])
            flash += size if words[0] in (".text", ".ARM.exidx", ".data") else 0
            ram += size if words[0] in (".data", ".bss") else 0
    return flash, ram
