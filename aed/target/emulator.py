"""A net on an emulated Cortex-M: built by GCC, run by QEMU, its instructions counted.

QEMU with ``-icount shift=0`` takes one virtual nanosecond an instruction, so SysTick counts instructions in steps of
1e9 / its frequency. Instructions are no cycles: there are no caches, wait states or DMA. Reference:
https://www.qemu.org/docs/master/system/arm/mps2.html
"""

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

import numpy as np
import numpy.typing as npt

from aed.dsp.frontend import FrontendConfig
from aed.errors import AedError
from aed.target.frontend import frontend_kernel, frontend_sources
from aed.target.generate import kernel_sources, net_sources
from aed.target.host import write_sources
from aed.target.lower import Program
from aed.target.plan import Plan
from aed.target.process import run_tool

Int8 = npt.NDArray[np.int8]

STACK_BYTES = 16384
TIMEOUT_S = 300.0

FLAGS = (
    "-std=gnu99", "-O2", "-Wall", "-Wextra", "-Werror", "-ffp-contract=off",
    "-ffunction-sections", "-fdata-sections", "-mthumb", "-mfloat-abi=hard",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Board:
    """An emulated machine.

    Args:
        machine: QEMU's name.
        cpu: GCC's name of the core.
        fpu: GCC's name of its FPU.
        systick_hz: Frequency of SysTick.
        flash: Address and bytes.
        ram: Address and bytes.
    """

    machine: str
    cpu: str
    fpu: str
    systick_hz: int
    flash: tuple[int, int]
    ram: tuple[int, int]


BOARDS = {
    "mps2-an386": Board(
        machine="mps2-an386", cpu="cortex-m4", fpu="fpv4-sp-d16", systick_hz=25_000_000,
        flash=(0x00000000, 0x400000), ram=(0x20000000, 0x400000),
    ),
    "mps2-an500": Board(
        machine="mps2-an500", cpu="cortex-m7", fpu="fpv5-sp-d16", systick_hz=25_000_000,
        flash=(0x00000000, 0x400000), ram=(0x60000000, 0x400000),
    ),
    "mps2-an505": Board(
        machine="mps2-an505", cpu="cortex-m33", fpu="fpv5-sp-d16", systick_hz=20_000_000,
        flash=(0x10000000, 0x400000), ram=(0x80000000, 0x400000),
    ),
    "mps3-an547": Board(
        machine="mps3-an547", cpu="cortex-m55", fpu="auto", systick_hz=32_000_000,
        flash=(0x00000000, 0x80000), ram=(0x21000000, 0x200000),
    ),
    "netduinoplus2": Board(
        machine="netduinoplus2", cpu="cortex-m4", fpu="fpv4-sp-d16", systick_hz=168_000_000,
        flash=(0x08000000, 0x100000), ram=(0x20000000, 0x20000),
    ),
}  # fmt: skip
"""What QEMU 7.2 offers of Cortex-M; the STM32F405 is ``netduinoplus2``."""


@dataclass(frozen=True, kw_only=True)
class Emulated:
    """What an emulated run says of a net or a front end.

    Args:
        outputs: ``(N, size)``: of the net, or the patches.
        instructions: Of the first of them, to one step of SysTick.
        layers: The same for each layer of a net.
        flash_bytes: Code and constants, the harness not counted.
        ram_bytes: Arena and scratch, or state.
        stack_bytes: Deepest stack.
    """

    outputs: Int8
    instructions: float
    layers: tuple[float, ...]
    flash_bytes: int
    ram_bytes: int
    stack_bytes: int


def versions() -> dict[str, str]:
    """GCC's and QEMU's, for every figure they give."""
    tools = {"gcc": "arm-none-eabi-gcc", "qemu": "qemu-system-arm"}
    return {name: run_tool([tool, "--version"], 10).splitlines()[0] for name, tool in tools.items()}


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
    outputs, ticks, sizes = _run("run_net.c", sources, inputs.tobytes(), (size, layers + 2), board)
    if len(outputs) != len(inputs):
        raise AedError(f"{board.machine}: {len(outputs)} outputs came back for {len(inputs)} inputs")
    counted = ticks[0] * (1e9 / board.systick_hz)
    return Emulated(
        outputs=outputs,
        instructions=float(counted[layers]),
        layers=tuple(counted[:layers].tolist()),
        flash_bytes=sizes[0],
        ram_bytes=sizes[1] - harness_ram,
        stack_bytes=int(ticks[:, layers + 1].max()),
    )


def emulate_frontend(
    config: FrontendConfig, scale: float, zero: int, samples: npt.NDArray[np.int16], board: Board
) -> Emulated:
    """Runs a front end on ``board``.

    Args:
        config: Streamable.
        scale: Of the net's input.
        zero: Zero point of the net's input.
        samples: ``(T,)``, at least one patch long.
        board: Emulated machine.

    Raises:
        AedError: As :func:`emulate_net`, or the front end cannot be written in C.
    """
    size = config.n_mels * config.patch_frames
    sources = frontend_kernel() | frontend_sources(config, scale, zero)
    patches, ticks, sizes = _run("run_frontend.c", sources, samples.tobytes(), (size, 2), board)
    if not len(patches):
        raise AedError(f"{board.machine}: no patch came back of {len(samples)} samples")
    return Emulated(
        outputs=patches,
        instructions=float(ticks[0, 0] * (1e9 / board.systick_hz)),
        layers=(),
        flash_bytes=sizes[0],
        ram_bytes=sizes[1] - 2 * 160 - size - 8,
        stack_bytes=int(ticks[:, 1].max()),
    )


def _run(
    main: str, sources: Mapping[str, str], given: bytes, record: tuple[int, int], board: Board
) -> tuple[Int8, npt.NDArray[np.float64], tuple[int, int]]:
    """Outputs and counters of each record the program writes, and its flash and RAM beyond the harness."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        elf = build(folder / "program", {**sources, **harness_sources(main)}, board)
        bare = build(folder / "bare", harness_sources("run_nothing.c"), board)
        (folder / "input.bin").write_bytes(given)
        command: list[str | Path] = ["qemu-system-arm", "-M", board.machine, "-kernel", elf, "-icount", "shift=0"]
        command += ["-display", "none", "-monitor", "none", "-serial", "none"]
        run_tool([*command, "-semihosting-config", "enable=on,target=native"], TIMEOUT_S, folder)
        raw = (folder / "output.bin").read_bytes()
        sizes = tuple(whole - own for whole, own in zip(section_sizes(elf), section_sizes(bare), strict=True))
    size, counters = record
    layout = np.dtype([("output", np.int8, (size,)), ("counters", "<u4", (counters,))])
    records = np.frombuffer(raw[: len(raw) // layout.itemsize * layout.itemsize], layout)
    return records["output"], records["counters"].astype(np.float64), (sizes[0], sizes[1])


def harness_sources(main: str) -> dict[str, str]:
    """File name -> content of start-up, semihosting, probes and ``main``."""
    folder = files("aed.target") / "c" / "emulator"
    names = ("start.c", "semihost.c", "semihost.h", "probe.c", "probe.h", main)
    return {name: (folder / name).read_text() for name in names}


def build(folder: Path, sources: Mapping[str, str], board: Board) -> Path:
    """The linked program of ``sources``."""
    units = write_sources(folder, sources)
    script = (files("aed.target") / "c" / "emulator" / "link.ld").read_text()
    for key, value in (
        ("AED_FLASH_SIZE", board.flash[1]),
        ("AED_FLASH", board.flash[0]),
        ("AED_RAM_SIZE", board.ram[1]),
        ("AED_RAM", board.ram[0]),
        ("AED_STACK_SIZE", STACK_BYTES),
    ):
        script = script.replace(key, f"0x{value:x}")
    (folder / "link.ld").write_text(script)
    core = [f"-mcpu={board.cpu}", f"-mfpu={board.fpu}"]
    link: list[str | Path] = [
        "-nostartfiles",
        "-Wl,--gc-sections",
        "-T",
        folder / "link.ld",
        "-o",
        folder / "program.elf",
    ]
    run_tool(["arm-none-eabi-gcc", *FLAGS, *core, *link, *units, "-lm", "-lc", "-lgcc"], TIMEOUT_S)
    return folder / "program.elf"


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
