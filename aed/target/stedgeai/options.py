"""Command lines, for each version of the tool.

ST Edge AI Core 2.0 to 4.0: as its ``--help`` (4.0.1) and ST's release notes have them. STM.ai 7.3 to 8.1 and Core 1.x:
as in published command lines of that age; not tried on the real tool.
"""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from aed.base.errors import AedError
from aed.target.boards import Board
from aed.target.stedgeai.find import Tool, Version

RANDOM_INPUTS = 4
"""Number of inputs where there are no patches."""

Action = Literal["analyze", "generate", "validate"]
DataType = Literal["float32", "int8", "uint8"]

BAUD_N6 = 921600
"""Of ST's validation program on STM32N6; elsewhere the tool's own default, 115200, is right."""


@dataclass(frozen=True, kw_only=True)
class Choices:
    """Options of the tool that a user may choose.

    Args:
        optimization: What the tool minimises.
        c_name: Prefix of the generated functions and files.
        c_api: ``legacy``: the C API before Core 3.0; null: the version's own.
        neural_art: ``profile`` or ``profile@file.json`` for the Neural-ART accelerator; null: the tool's default.
        hsp: Layers run on the board's HSP where it can run them; false: all on the core.
        memory_pool: JSON file with the board's memories; null: the tool's default.
        extra: Further options of the tool, word by word.
    """

    optimization: Literal["balanced", "time", "ram"] = "balanced"
    c_name: str = "network"
    c_api: Literal["st-ai", "legacy"] | None = None
    neural_art: str | None = None
    hsp: bool = False
    memory_pool: str | None = None
    extra: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Refuses names that C does not take; a list becomes a tuple.

        Raises:
            AedError: ``c_name`` is no name of C.
        """
        object.__setattr__(self, "extra", tuple(self.extra))
        if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]{0,60}", self.c_name):
            raise AedError(f"c_name: need a name of C, got {self.c_name!r}")


@dataclass(frozen=True, kw_only=True)
class RunFiles:
    """Files of a run, all with ASCII paths.

    Args:
        model: ONNX.
        workspace: The tool's own.
        output: Folder of its results.
        patches: Inputs for validation, ``.npy``; null: random ones.
    """

    model: Path
    workspace: Path
    output: Path
    patches: Path | None = None


def command(
    tool: Tool,
    action: Action,
    board: Board,
    paths: RunFiles,
    choices: Choices,
    ends: tuple[DataType, DataType],
    descriptor: str | None = None,
) -> list[str]:
    """The tool's command line, word by word; no shell ever sees it.

    Args:
        tool: Decides on the names of options.
        action: Command of the tool.
        board: With a series.
        paths: Files of the run.
        choices: Of the user.
        ends: Data types of the net's input and output.
        descriptor: The board's port, for a validation on the board; null: on this machine.

    Raises:
        AedError: This version cannot do it.
    """
    version = tool.version
    words = [str(tool.path), action, "--model", str(paths.model)]
    words += ["--target" if version.core else "--series", str(board.series)]
    words += ["--name", choices.c_name, "--workspace", str(paths.workspace), "--output", str(paths.output)]
    words += ["--optimization", choices.optimization, "--verbosity", "1"]
    if not version.is_core(2):
        words += ["--allocate-inputs", "--allocate-outputs"]  # what newer versions do anyway
    else:
        words += ["--input-data-type", ends[0], "--output-data-type", ends[1]]
    if choices.c_api is not None:
        words += _c_api(version, choices.c_api)
    words += _neural_art(version, board, choices)
    words += _hsp(version, board, choices)
    if choices.memory_pool is not None:
        words += ["--memory-pool", str(plain(Path(choices.memory_pool), "memory_pool"))]
    if action == "validate":
        host, target = ("host", "target") if version.core else ("x86", "stm32")
        words += ["--mode", host if descriptor is None else target]
        words += [] if descriptor is None else ["--desc", port(descriptor, board)]
        words += ["--batch-size", str(RANDOM_INPUTS)] if paths.patches is None else ["--valinput", str(paths.patches)]
    return [*words, *choices.extra]


def _c_api(version: Version, c_api: str) -> list[str]:
    if version.is_core(3):
        return ["--c-api", c_api]
    if c_api == "legacy":  # the only one there is
        return []
    raise AedError(f"c_api=st-ai needs ST Edge AI Core 3.0 or newer, this is {version.text}")


def _neural_art(version: Version, board: Board, choices: Choices) -> list[str]:
    """Options for the accelerator, which wants channels-last inputs; as in published command lines of Core 2 to 4."""
    if not board.neural_art:
        if choices.neural_art is not None:
            raise AedError(f"board={board.name}: has no Neural-ART accelerator; leave neural_art out")
        return []
    if not version.is_core(2):
        raise AedError(f"board={board.name}: needs ST Edge AI Core 2.0 or newer, this is {version.text}")
    words = ["--inputs-ch-position", "chlast", "--st-neural-art"]
    if choices.neural_art is None:
        return words
    profile, at, file = choices.neural_art.partition("@")
    return [*words, f"{profile}@{plain(Path(file), 'neural_art')}" if at else profile]


def _hsp(version: Version, board: Board, choices: Choices) -> list[str]:
    if not choices.hsp:
        return []
    if not board.hsp:
        raise AedError(f"board={board.name}: has no HSP; leave hsp out")
    if not version.is_core(4):
        raise AedError(f"hsp=true needs ST Edge AI Core 4.0 or newer, this is {version.text}")
    return ["--hsp"]


def plain(path: Path, name: str) -> Path:
    """The absolute path of a file that the tool reads where it lies.

    Raises:
        AedError: It is not there, or its path has letters beyond ASCII, at which ST's compilers fail.
    """
    path = path.expanduser().absolute()
    if not path.is_file():
        raise AedError(f"{name}: no file {path}")
    if not str(path).isascii():
        raise AedError(f"{name}: {path} has letters beyond ASCII, at which ST's compiler fails; put it elsewhere")
    return path


def port(descriptor: str, board: Board) -> str:
    """The port in the tool's words; ``serial`` alone lets it look for the board.

    Raises:
        AedError: It is no port.
    """
    match = re.fullmatch(r"serial(:(?!\d+$)[^\s:]+)?(:\d{1,8})?", descriptor)
    if match is None:
        raise AedError(f"serial: need serial[:port][:baud], e.g. serial:COM3:921600, got {descriptor!r}")
    name, baud = match.groups()
    return f"serial{name or ''}{baud or (f':{BAUD_N6}' if board.neural_art else '')}"
