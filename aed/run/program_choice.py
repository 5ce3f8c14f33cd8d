"""Which program of an int8 model runs, and on which board; loads nothing that a prediction does not need."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from aed.base.errors import AedError
from aed.inference.classifier import Classifier
from aed.inference.onnx import OnnxClassifier
from aed.target.boards import Board, emulated, load_board, need_backend
from aed.target.stedgeai.backend import StEdgeAi
from aed.target.stedgeai.classifier import StClassifier
from aed.target.stedgeai.find import find_tool

ST_BOARD = "b-u585i-iot02a"
"""Whose code ST's tool can also run on a PC."""

TITLES = {"runtime": "int8, ONNX Runtime", "c": "int8, C", "emulator": "int8, C, emulated", "board": "int8, ST's code"}
"""Rows of the table of programs."""


@dataclass(frozen=True, kw_only=True)
class ProgramConfig:
    """Which program runs a model.

    Args:
        on: ``runtime``: ONNX Runtime or torch. ``board``: ST's code runs the int8 model, by ``stedgeai validate``: on
            the board at a serial port or, without one, on this machine.
        board: With on=board: a file in ``configs/boards``.
        serial: With on=board: serial port, ``serial``, ``serial:COM3:921600``.
        tool: With on=board: ``stedgeai`` or its folder; null: looked for.

    Raises:
        AedError: A value is none of those, or belongs to another program.
    """

    on: Literal["runtime", "board"] = "runtime"
    board: str = ST_BOARD
    serial: str | None = None
    tool: str | None = None

    def __post_init__(self) -> None:
        if self.on not in ("runtime", "board"):
            raise AedError(f"on: need runtime or board, got {self.on!r}")
        refuse_unused(self.on, self.serial, self.tool)


def need_program(config: ProgramConfig) -> None:
    """Refuses a board or a tool that is not there.

    Raises:
        AedError: Says which, and where it was looked for.
    """
    if choose_board(config.on, config.board) is not None:
        find_tool(Path(config.tool) if config.tool else None)


def st_program(classifier: Classifier, config: ProgramConfig, folder: Path) -> StClassifier:
    """The classifier as ST's code runs it.

    Args:
        classifier: int8.
        config: With on=board.
        folder: For the tool's files.

    Raises:
        AedError: The model is not int8, decides by what ST's code does not return, or there is no board or tool.
    """
    int8, board = int8_graph(classifier, config.on), choose_board(config.on, config.board)
    assert board is not None
    return StClassifier(int8, StEdgeAi(Path(config.tool) if config.tool else None, config.serial), board, folder)


def choose_board(on: str, name: str) -> Board | None:
    """The board that a program runs on; None: it needs none.

    Raises:
        AedError: There is no such board, or it cannot run that program.
    """
    if on == "emulator":
        return emulated(load_board(name))
    if on == "board":
        board = load_board(name)
        need_backend(board, "stedgeai")
        return board
    return None


def refuse_unused(on: str, serial: str | None, tool: str | None) -> None:
    """Refuses settings of ST's tool where it is not used.

    Raises:
        AedError: Names the first.
    """
    unused = [name for name, value in (("serial", serial), ("tool", tool)) if value is not None]
    if on != "board" and unused:
        raise AedError(f"{unused[0]}: only used with on=board, here on={on}; leave it out, or add on=board")


def int8_graph(classifier: Classifier, on: str) -> OnnxClassifier:
    """The classifier, if C can be generated from it.

    Raises:
        AedError: It is not int8, or has a front end that no device can compute.
    """
    if classifier.kind != "int8" or not isinstance(classifier, OnnxClassifier):
        raise AedError(f"on={on}: need an int8 .onnx, {classifier.path.name} is float; give model_int8.onnx")
    if on != "board" and classifier.card.frontend.include_last_patch:
        raise AedError(f"on={on}: frontend.include_last_patch needs a clip's end, which a device does not know")
    return classifier
