"""The installed tool: its path, its version, and the environment it runs in."""

import logging
import os
import platform
import re
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from aed.base.errors import AedError
from aed.base.processes import finish
from aed.target.stedgeai.failure import failed

log = logging.getLogger(__name__)

NAMES = ("stedgeai", "stm32ai")
"""The tool's names, the newer first."""

VERSION_TIMEOUT_S = 120.0

FIRST, LAST = (7, 3), (4, 0)
"""The oldest STM.ai and the newest ST Edge AI Core whose options are known here."""

_CORE = re.compile(r"ST Edge AI Core v(\d{1,4})\.(\d{1,4})(?:\.(\d{1,4}))?(\S{0,40}(?: [0-9a-f]{6,40}\b)?)")
_STM = re.compile(r"\bstm\.?ai v(\d{1,4})\.(\d{1,4})(?:\.(\d{1,4}))?([^\s)]{0,40})", re.IGNORECASE)
_PART = re.compile(r"^\s{1,8}([A-Za-z]\w{1,30}) (\d{1,4}\.\d{1,4}\.\d{1,4}\S{0,20})\s*$", re.MULTILINE)


@dataclass(frozen=True, order=True)
class Version:
    """Name and version of a tool; newer is greater.

    Args:
        core: Whether it is an ST Edge AI Core; the STM.ai of X-CUBE-AI is older.
        numbers: Major, minor, micro.
        text: As the tool prints it, with build and hash.
        parts: Versions of its components, ``STM32CubeAI`` among them, where it prints them.
    """

    core: bool
    numbers: tuple[int, int, int]
    text: str = field(default="", compare=False)
    parts: Mapping[str, str] = field(default_factory=dict, compare=False)

    def is_core(self, major: int, minor: int = 0) -> bool:
        """Whether it is this ST Edge AI Core or a newer one."""
        return self.core and self.numbers[:2] >= (major, minor)


@dataclass(frozen=True)
class Tool:
    """An installed tool."""

    path: Path
    version: Version


def read_version(output: str) -> Version:
    """The version that ``--version`` printed; builds, hashes and suffixes such as ``-RC2`` remain in ``text``.

    Raises:
        AedError: There is none in it, or it is older than STM.ai 7.3.
    """
    core = _CORE.search(output)
    match = core or _STM.search(output)
    if match is None:
        shown = output.strip()[:200] or "nothing"
        raise AedError(f"--version: need 'ST Edge AI Core v...' or 'STM.ai v...', got {shown!r}; is it ST's tool?")
    major, minor, micro, rest = match.groups()
    numbers = (int(major), int(minor), int(micro or 0))
    if not core and numbers[:2] < FIRST:
        raise AedError(f"STM.ai {major}.{minor} is too old; need 7.3 or newer, best ST Edge AI Core 4")
    if core and numbers[:2] > LAST:
        log.warning("ST Edge AI Core %s.%s is newer than %s.%s, the newest known here", major, minor, *LAST)
    text = ".".join(map(str, numbers)) + rest
    return Version(bool(core), numbers, text, dict(_PART.findall(output[:4000])) if core else {})


def find_tool(path: Path | None = None) -> Tool:
    """The tool to use: ``path``, ``STEDGEAI_PATH``, ``PATH``, ``STEDGEAI_CORE_DIR``, then the usual install folders.

    Args:
        path: The program, or the folder it is installed in.

    Raises:
        AedError: It is not there, or reports no version that can be used.
    """
    program = _locate(path)
    command: list[str | Path] = [program, "--version"]
    try:
        done = finish(command, VERSION_TIMEOUT_S, environment=environment())
    except AedError as error:
        raise failed(program, "--version", None, str(error)) from error
    try:
        version = read_version(done.output)
    except AedError as error:
        if done.code:
            raise failed(program, "--version", done.code, done.output) from error
        raise AedError(f"{program}: {error}") from error
    log.info("%s: %s %s", program, "ST Edge AI Core" if version.core else "STM.ai", version.text)
    return Tool(program, version)


def environment() -> dict[str, str]:
    """This process's variables without secrets, which the tool does not need and might print."""
    secret = re.compile(r"^stmai_|password|passwd|secret|token|api_?key|credential", re.IGNORECASE)
    return {key: value for key, value in os.environ.items() if not secret.search(key)}


def _locate(path: Path | None) -> Path:
    """The program's file."""
    for named, source in ((path, "stedgeai"), (os.environ.get("STEDGEAI_PATH"), "STEDGEAI_PATH")):
        if named:
            return _inside(Path(named).expanduser(), source)
    for name in NAMES:
        if found := shutil.which(name):
            return Path(found)
    if root := os.environ.get("STEDGEAI_CORE_DIR"):
        return _inside(Path(root).expanduser(), "STEDGEAI_CORE_DIR")
    for program in installed(platform.system(), Path.home()):
        return program
    raise AedError(
        "stedgeai: not found on PATH nor in the usual folders; install ST Edge AI Core (free, "
        "https://www.st.com/en/development-tools/stedgeai-core.html) and give its path or set STEDGEAI_PATH, "
        "or do without: target=cloud, target=emulator"
    )


def _inside(path: Path, source: str) -> Path:
    """The program at ``path``, or in the folder ``path``."""
    if path.is_file():
        if not os.access(path, os.X_OK):
            raise AedError(f"{source}: {path} may not be run; chmod +x it, or give the tool itself")
        return path.absolute()
    for folder in (path, *(path / "Utilities" / name for name in _folders(platform.system()))):
        for name in _programs(platform.system()):
            if (folder / name).is_file():
                return (folder / name).absolute()
    raise AedError(f"{source}: no stedgeai at {path}; give the program itself or the folder STEdgeAI/<version>")


def _programs(system: str) -> tuple[str, ...]:
    return tuple(f"{name}.exe" for name in NAMES) if system == "Windows" else NAMES


def _folders(system: str) -> tuple[str, ...]:
    """Names of the folders of programs for this system; ST ships one for each kind of Mac."""
    if system == "Darwin":
        return ("macarm", "mac") if platform.machine() == "arm64" else ("mac",)
    return ("windows",) if system == "Windows" else ("linux",)


def installed(system: str, home: Path, root: Path | None = None) -> Iterator[Path]:
    """The programs in the usual install folders, newest version first.

    Args:
        system: As :func:`platform.system` returns it.
        home: The user's folder.
        root: Stands for the file system's root.
    """
    top = root or Path("C:/" if system == "Windows" else "/")
    cores = {"Windows": ["ST"], "Darwin": ["Applications/ST"]}.get(system, ["opt/ST", "opt/st", "usr/local/ST"])
    parents = [(home / "ST" / "STEdgeAI", 0), *((top / name / "STEdgeAI", 0) for name in cores)]
    # X-CUBE-AI 10 holds Core 2, and so on
    parents.append((home / "STM32Cube" / "Repository" / "Packs" / "STMicroelectronics" / "X-CUBE-AI", 8))
    versions: list[tuple[tuple[int, ...], Path]] = []
    for parent, ahead in parents:
        for folder in sorted(parent.glob("*")) if parent.is_dir() else ():
            if match := re.fullmatch(r"(\d{1,4})\.(\d{1,4})(?:\.(\d{1,4}))?", folder.name):
                numbers = tuple(int(number or 0) for number in match.groups())
                versions.append(((numbers[0] - ahead, *numbers[1:]), folder))
    for _, folder in sorted(versions, key=lambda item: item[0], reverse=True):
        for part in _folders(system):
            for name in _programs(system):
                if (program := folder / "Utilities" / part / name).is_file():
                    yield program
