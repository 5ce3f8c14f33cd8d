"""Runs of a program on an emulated Cortex-M, by QEMU.

``-icount shift=0`` takes one virtual nanosecond an instruction, so SysTick counts instructions in steps of 1e9 / its
frequency. Instructions are no cycles: there are no caches, wait states or DMA. Reference:
https://www.qemu.org/docs/master/system/arm/mps2.html
"""

from pathlib import Path

from aed.base.errors import AedError
from aed.base.processes import finish
from aed.target.boards import Board
from aed.target.emulator.toolchain import machine_of

TIMEOUT_S = 300.0

FAILURES = {
    70: "a fault of the core",
    71: "its input cannot be read",
    73: "its output cannot be written",
    74: "a layer takes longer than SysTick can count here; choose a board with a longer counter",
}
"""Exit codes of the harness in ``c/``."""


def run_program(elf: Path, folder: Path, content: bytes, board: Board, count: bool = True) -> bytes:
    """Content of ``output.bin`` after a run of a program that reads ``input.bin``.

    Args:
        elf: Linked for ``board``.
        folder: For both files; one run at a time in each.
        content: Of ``input.bin``.
        board: Emulated machine.
        count: One nanosecond an instruction; without, the emulator runs as fast as it can.

    Raises:
        AedError: QEMU is missing, or the program failed or hung.
    """
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "input.bin").write_bytes(content)
    command: list[str | Path] = ["qemu-system-arm", "-M", machine_of(board).machine, "-kernel", elf]
    command += ["-icount", "shift=0"] if count else []
    command += ["-display", "none", "-monitor", "none", "-serial", "none"]
    done = finish([*command, "-semihosting-config", "enable=on,target=native"], TIMEOUT_S, folder)
    if done.code:
        reason = FAILURES.get(done.code, f"exit code {done.code}")
        raise AedError(f"{board.name}: the emulated program failed: {reason} {done.tail}".rstrip())
    return (folder / "output.bin").read_bytes()
