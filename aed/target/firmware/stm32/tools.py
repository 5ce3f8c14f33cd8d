"""ST's programs for building and flashing: their paths, and runs of them as data."""

import os
import shlex
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from aed.base.errors import AedError

_CUBE = "STMicroelectronics/STM32Cube/STM32CubeProgrammer"
_PROGRAMMER_DIRS = (
    f"~/{_CUBE}/bin",
    f"/opt/st/{_CUBE}/bin",
    f"/usr/local/{_CUBE}/bin",
    f"/opt/{_CUBE}/bin",
    "/opt/st/stm32cubeide_*/plugins/com.st.stm32cube.ide.mcu.externaltools.cubeprogrammer.*/tools/bin",
    f"/Applications/{_CUBE}/STM32CubeProgrammer.app/Contents/MacOs/bin",
    f"C:/Program Files/{_CUBE}/bin",
    "C:/ST/STM32CubeIDE_*/STM32CubeIDE/plugins/com.st.stm32cube.ide.mcu.externaltools.cubeprogrammer.*/tools/bin",
)


@dataclass(frozen=True)
class Program:
    """A program of ST's.

    Args:
        key: Of the configuration.
        names: Of its file, the usual one first.
        variable: Of the environment.
        folders: Of its installer, with wildcards.
    """

    key: str
    names: tuple[str, ...]
    variable: str
    folders: tuple[str, ...]


IDE = Program(
    "cube_ide",
    ("stm32cubeidec", "stm32cubeide"),
    "STM32CUBEIDE",
    (
        "/opt/st/stm32cubeide_*",
        "~/st/stm32cubeide_*",
        "/Applications/STM32CubeIDE.app/Contents/MacOS",
        "C:/ST/STM32CubeIDE_*/STM32CubeIDE",
    ),
)
PROGRAMMER = Program("programmer", ("STM32_Programmer_CLI",), "STM32_PROGRAMMER_CLI", _PROGRAMMER_DIRS)
SIGNING_TOOL = Program("signing_tool", ("STM32_SigningTool_CLI",), "STM32_SIGNINGTOOL_CLI", _PROGRAMMER_DIRS)


def find_program(program: Program, path: Path | None = None) -> Path:
    """The file of a program: ``path``, that of the environment, on the PATH, or in the folder of its installer.

    Args:
        program: One of the three above.
        path: The file or its folder.

    Raises:
        AedError: It is nowhere; names the folders searched.
    """
    named = path, os.environ.get(program.variable)
    for origin, value in zip((f"stm32.{program.key}", f"${program.variable}"), named, strict=True):
        if not value:
            continue
        path = Path(value).expanduser()
        file = _executable(path, program.names) if path.is_dir() else shutil.which(path)
        if file is None:
            raise AedError(f"{origin}={value}: there is no {program.names[0]} that can be run")
        return Path(file).resolve()
    if on_path := next((file for name in program.names if (file := shutil.which(name))), None):
        return Path(on_path).resolve()
    for folder in _installed(program.folders):
        if file := _executable(folder, program.names):
            return Path(file)
    raise AedError(
        f"{program.names[0]}: not found as stm32.{program.key}=, in ${program.variable}, on the PATH or in "
        f"{', '.join(program.folders)}; install it from ST, or use stm32.dry_run=true to see the commands"
    )


def _executable(folder: Path, names: tuple[str, ...]) -> str | None:
    return next((file for name in names if (file := shutil.which(name, path=str(folder)))), None)


def _installed(patterns: tuple[str, ...]) -> Iterator[Path]:
    """Folders that match, of each pattern the newest version first."""
    for pattern in patterns:
        path = Path(pattern).expanduser()
        if path.is_absolute():
            root = Path(path.anchor)
            yield from sorted(root.glob(path.relative_to(root).as_posix()), key=_numbers, reverse=True)


def _numbers(path: Path) -> list[tuple[int, str]]:
    """Sorts 1.18 after 1.9."""
    parts = path.name.replace("_", ".").split(".")
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in parts]


@dataclass(frozen=True)
class Command:
    """One program run.

    Args:
        what: In words.
        words: Program and arguments.
        timeout_s: Seconds after which it is stopped.
    """

    what: str
    words: tuple[str, ...]
    timeout_s: float

    def __str__(self) -> str:
        return shlex.join(self.words)


@dataclass(frozen=True, kw_only=True)
class Tools:
    """The user's choice of programs; None: searched for.

    Args:
        cube_ide: ``stm32cubeidec`` or its folder.
        programmer: ``STM32_Programmer_CLI`` or its folder.
        signing_tool: ``STM32_SigningTool_CLI`` or its folder.
    """

    cube_ide: Path | None = None
    programmer: Path | None = None
    signing_tool: Path | None = None

    def path(self, program: Program, dry_run: bool) -> Path:
        """The program's file; its bare name where it is missing in a dry run.

        Raises:
            AedError: It is nowhere.
        """
        try:
            return find_program(program, getattr(self, program.key))
        except AedError:
            if dry_run:
                return Path(program.names[0])
            raise
