"""A net on an emulated Cortex-M: built by GCC, run by QEMU, its instructions counted.

QEMU with ``-icount shift=0`` takes one virtual nanosecond an instruction, so SysTick counts instructions in steps of
1e9 / its frequency. Instructions are no cycles: there are no caches, wait states or DMA. Reference:
https://www.qemu.org/docs/master/system/arm/mps2.html
"""

import struct
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

import numpy as np
import numpy.typing as npt

from aed.errors import AedError
from aed.target.generate import kernel_sources, net_sources
from aed.target.host import run_tool, write_sources
from aed.target.lower import Program
from aed.target.plan import Plan

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
    """What an emulated run says.

    Args:
        outputs: ``(N, output_size)``.
        instructions: Of one inference, mean over the inputs; to one SysTick step.
        layers: The same for each layer.
        flash_bytes: Code and constants, the harness not counted.
        ram_bytes: Arena and scratch.
        stack_bytes: Deepest stack.
        versions: GCC and QEMU.
    """

    outputs: Int8
    instructions: float
    layers: tuple[float, ...]
    flash_bytes: int
    ram_bytes: int
    stack_bytes: int
    versions: dict[str, str]


def harness_sources(main: str) -> dict[str, str]:
    """File name -> content of start-up, semihosting and ``main``."""
    folder = files("aed.target") / "c" / "emulator"
    return {name: (folder / name).read_text() for name in ("start.c", "semihost.c", "semihost.h", main)}


def emulate(program: Program, plan: Plan, inputs: Int8, board: Board) -> Emulated:
    """Runs ``program`` on ``board``.

    Args:
        program: Lowered.
        plan: Its arena.
        inputs: ``(N, input_size)``.
        board: Emulated machine.

    Raises:
        AedError: A tool is missing or fails, or the program ends with an error.
    """
    made = program.tensors[program.output].size
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        net = kernel_sources() | net_sources(program, plan)
        elf = build(folder / "net", net | harness_sources("run_net.c"), board)
        bare = build(folder / "bare", harness_sources("run_nothing.c"), board)
        (folder / "input.bin").write_bytes(np.ascontiguousarray(inputs).tobytes())
        _run(elf, folder, board)
        raw = (folder / "output.bin").read_bytes()
        sizes, own = section_sizes(elf), section_sizes(bare)
    layers = len(program.layers)
    record = made + 4 * (layers + 1) + 4
    if len(raw) != record * len(inputs):
        raise AedError(f"{board.machine}: {len(raw)} bytes came back instead of {record * len(inputs)}")
    outputs = np.empty((len(inputs), made), np.int8)
    ticks = np.empty((len(inputs), layers + 1), np.float64)
    stack = 0
    for number in range(len(inputs)):
        part = raw[number * record : (number + 1) * record]
        outputs[number] = np.frombuffer(part[:made], np.int8)
        *counts, used = struct.unpack(f"<{layers + 2}I", part[made:])
        ticks[number], stack = counts, max(stack, used)
    per_tick = 1e9 / board.systick_hz
    mean = ticks.mean(axis=0) * per_tick
    harness_ram = inputs.shape[1] + made + 4 * (layers + 1)
    return Emulated(
        outputs=outputs,
        instructions=float(mean[-1]),
        layers=tuple(mean[:-1].tolist()),
        flash_bytes=sizes["flash"] - own["flash"],
        ram_bytes=sizes["ram"] - own["ram"] - harness_ram,
        stack_bytes=stack,
        versions={
            "gcc": run_tool(["arm-none-eabi-gcc", "--version"], 10).splitlines()[0],
            "qemu": run_tool(["qemu-system-arm", "--version"], 10).splitlines()[0],
        },
    )


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


def section_sizes(elf: Path) -> dict[str, int]:
    """Bytes in flash (code, constants, initial values) and in RAM (without the stack)."""
    flash = ram = 0
    for line in run_tool(["arm-none-eabi-size", "-A", elf], 10).splitlines():
        words = line.split()
        if len(words) == 3 and words[1].isdigit():
            size = int(words[1])
            flash += size if words[0] in (".text", ".ARM.exidx", ".data") else 0
            ram += size if words[0] in (".data", ".bss") else 0
    return {"flash": flash, "ram": ram}


def _run(elf: Path, folder: Path, board: Board) -> None:
    """Runs a program whose files are in ``folder``."""
    command: list[str | Path] = [
        "qemu-system-arm",
        "-M",
        board.machine,
        "-kernel",
        elf,
        "-icount",
        "shift=0",
        "-display",
        "none",
    ]
    command += ["-monitor", "none", "-serial", "none", "-semihosting-config", "enable=on,target=native"]
    run_tool(command, TIMEOUT_S, folder)
