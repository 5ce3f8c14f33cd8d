"""Boards as data: one YAML each in ``configs/boards``."""

import dataclasses
import typing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from aed.base.errors import AedError
from aed.base.paths import CONFIG_DIR

BOARD_DIR = CONFIG_DIR / "boards"

BACKENDS = ("emulator", "stedgeai", "cloud")
"""Backends, which measure the costs of a net on a board."""


@dataclass(frozen=True, kw_only=True)
class Machine:
    """Emulation of a board by QEMU.

    Args:
        machine: QEMU's name.
        fpu: GCC's name of the FPU.
        systick_hz: Frequency of SysTick.
        flash: Address and bytes.
        ram: Address and bytes.
        vectors: Address at which the core looks for its vectors; null: that of the flash.
    """

    machine: str
    fpu: str
    systick_hz: int
    flash: tuple[int, int]
    ram: tuple[int, int]
    vectors: int | None = None


@dataclass(frozen=True, kw_only=True)
class Board:
    """A board, real or emulated.

    Args:
        name: As users type it.
        core: GCC's name, ``cortex-m33``.
        clock_mhz: Of the core; null: an emulated one has none.
        ram_kib: On the chip.
        flash_kib: On the chip; 0: none.
        external: Memory beside the chip, in words.
        series: ``stedgeai``'s target, ``stm32u5``.
        cloud_name: As ST's cloud lists it.
        neural_art: Whether it has ST's Neural-ART accelerator.
        hsp: Whether it has ST's HSP, a signal processor for layers too.
        firmware: The ``deploy target=stm32`` variant: ``u5``, ``n6``; null: none.
        machine: How QEMU emulates it; null: it does not.
        emulated_by: Board with the same core that QEMU emulates instead.
        note: Sentence that stands with its figures.
    """

    name: str
    core: str
    clock_mhz: float | None = None
    ram_kib: float
    flash_kib: float
    external: str = ""
    series: str | None = None
    cloud_name: str | None = None
    neural_art: bool = False
    hsp: bool = False
    firmware: str | None = None
    machine: Machine | None = None
    emulated_by: str | None = None
    note: str = ""

    @property
    def backends(self) -> tuple[str, ...]:
        """Those of :data:`BACKENDS` that know it."""
        known = {"emulator": self.machine or self.emulated_by, "stedgeai": self.series, "cloud": self.cloud_name}
        return tuple(name for name in BACKENDS if known[name])

    def missing(self, flash_bytes: int, ram_bytes: int) -> str:
        """What a program needs beyond the board's memories, in words; "": it fits.

        Args:
            flash_bytes: Of code and constants.
            ram_bytes: Of all, the stack too where it is known.
        """
        flash, ram = 1024 * self.flash_kib, 1024 * self.ram_kib
        if self.machine:
            flash, ram = self.machine.flash[1], self.machine.ram[1]
        elif self.external:  # of a size in words
            return ""
        return " and ".join(
            f"{needed / 1024:.0f} KiB of {kind}, there are {there / 1024:.0f}: {(needed - there) / 1024:.1f} too many"
            for kind, needed, there in (("flash", flash_bytes, flash), ("RAM", ram_bytes, ram))
            if needed > there
        )


def board_names(backend: str | None = None) -> list[str]:
    """Names of all boards, or of those that a backend knows."""
    names = sorted(path.stem for path in BOARD_DIR.glob("*.yaml"))
    return [name for name in names if backend is None or backend in load_board(name).backends]


def load_board(name: str, key: str = "board") -> Board:
    """The board of this name.

    Args:
        name: Of its file.
        key: Of the configuration, for messages.

    Raises:
        AedError: There is none, or its file has an unknown key or a value of another type.
    """
    path = BOARD_DIR / f"{name}.yaml"
    if Path(name).name != name or not path.is_file():
        raise AedError(f"{key}: need one of {board_names()}, got {name!r}; your own board is one file in {BOARD_DIR}")
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        raise AedError(f"{path}: no YAML: {error}") from error
    board: Board = _typed(Board, {"name": name, **(content if isinstance(content, dict) else {})}, str(path))
    return board


def emulated(board: Board) -> Board:
    """The board, or the one with the same core that QEMU emulates.

    Raises:
        AedError: There is none.
    """
    need_backend(board, "emulator")
    return board if board.machine else load_board(str(board.emulated_by))


def need_backend(board: Board, backend: str) -> None:
    """Refuses a board that ``backend`` does not know.

    Raises:
        AedError: Names the boards it does know.
    """
    if backend not in board.backends:
        raise AedError(f"board={board.name}: {backend} does not know it; it knows {board_names(backend)}")


def _typed(kind: Any, content: dict[str, Any], where: str) -> Any:
    """A dataclass from the contents of a YAML file, its types checked."""
    hints = typing.get_type_hints(kind)
    required = {field.name for field in dataclasses.fields(kind) if field.default is dataclasses.MISSING}
    if unknown := sorted(set(content) - set(hints)):
        raise AedError(f"{where}: unknown {unknown}; known are {sorted(hints)}")
    if missing := sorted(required - set(content)):
        raise AedError(f"{where}: {missing} missing")
    values = {}
    for key, value in content.items():
        allowed = typing.get_args(hints[key]) or (hints[key],)
        if Machine in allowed and isinstance(value, dict):
            value = _typed(Machine, value, f"{where}: {key}")
        elif typing.get_origin(hints[key]) is tuple:
            if not (isinstance(value, list) and len(value) == 2 and all(isinstance(item, int) for item in value)):
                raise AedError(f"{where}: {key}: need [address, bytes], got {value!r}")
            value = tuple(value)
        elif float in allowed and isinstance(value, int) and not isinstance(value, bool):
            value = float(value)
        elif not isinstance(value, tuple(allowed)) or (isinstance(value, bool) and bool not in allowed):
            raise AedError(f"{where}: {key}: need {hints[key]}, got {value!r}")
        values[key] = value
    return kind(**values)
