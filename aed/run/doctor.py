"""Checks of this machine: Python packages, data, compilers, emulator, ST's tools, boards."""

import importlib
import os
import platform
import shutil
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from aed.base import paths
from aed.base.errors import AedError
from aed.base.extras import need
from aed.base.processes import PACKAGES, run_tool

GIB = 2**30
LEAST_FREE_GIB = 2.0
"""Free space in the cache folder for features of some thousand clips."""


@dataclass(frozen=True)
class Check:
    """A check of one tool, package or file.

    Args:
        name: As users type it.
        look: Returns the state in a few words; raises an AedError that says what to do.
        needed: Whether nothing works without it; other checks are of extras.
    """

    name: str
    look: Callable[[], str]
    needed: bool = False


TRIED = "Linux-x86_64"
"""System on which all of it was run; for Windows, features of POSIX are avoided (tests/test_portable.py), no more."""


def _system() -> str:
    here = f"{platform.system()}-{platform.machine()}"
    return f"{here}, tested" if here == TRIED else f"{here}, not tested ({TRIED} is); please report what fails"


def _python() -> str:
    if not (3, 11) <= sys.version_info[:2] < (3, 14):  # requires-python of pyproject.toml
        raise AedError(f"{platform.python_version()}: need 3.11 to 3.13")
    return platform.python_version()


def _torch() -> str:
    import torch

    devices = [torch.cuda.get_device_name(number) for number in range(torch.cuda.device_count())]
    return f"{torch.__version__}, {', '.join(devices) or f'CPU, {torch.get_num_threads()} threads'}"


def _torchaudio() -> str:
    import torch

    from aed.dsp import FrontendConfig
    from aed.dsp.logmel import LogMel

    config = FrontendConfig()
    frames = LogMel(config)(torch.zeros(config.patch_samples))
    if not torch.allclose(frames, torch.full_like(frames, config.silence)):
        raise AedError("silence has the wrong features: reinstall torch and torchaudio of one release")
    return f"{version('torchaudio')}, features computed"


def _audio_files() -> str:
    soundfile = importlib.import_module("soundfile")
    lacking = {"WAV", "FLAC", "OGG", "MP3"} - set(soundfile.available_formats())
    if lacking:
        raise AedError(
            f"libsndfile {soundfile.__libsndfile_version__} reads no {sorted(lacking)}: pip install -U soundfile"
        )
    return f"soundfile {soundfile.__version__}, libsndfile {soundfile.__libsndfile_version__}"


def _cache() -> str:
    folder = paths.cache_dir()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / f".doctor.{os.getpid()}"
        probe.write_bytes(b"")
        probe.unlink()
    except OSError as error:
        raise AedError(f"{folder}: cannot be written ({error.strerror}); set AED_CACHE_DIR") from error
    free = shutil.disk_usage(folder).free / GIB
    if free < LEAST_FREE_GIB:
        raise AedError(f"{folder}: {free:.1f} GiB free; make room or set AED_CACHE_DIR")
    return f"{folder}, {free:.0f} GiB free"


def _data() -> str:
    from aed.datamodules.sources.clips import ESC10

    return f"ESC-10, {len(ESC10().table())} clips in {paths.data_dir()}"


def _weights() -> str:
    from aed.modules.nets import YAMNet

    return YAMNet(10).load_pretrained().file


def _tool(*command: str) -> Callable[[], str]:
    def look() -> str:
        try:
            return run_tool([*command, "--version"], 20).splitlines()[0]
        except IndexError as error:
            raise AedError(
                f"{command[0]} says no version: apt-get install --reinstall {PACKAGES[command[0]]}"
            ) from error

    return look


def _wasm() -> str:
    from aed.target.web.compiler import compiler

    return run_tool([*compiler(), "--version"], 60).splitlines()[0]


def _stedgeai() -> str:
    from aed.target.stedgeai.find import find_tool

    tool = find_tool()
    return f"{tool.path}: {tool.version.text}"


def _st_program(key: str) -> Callable[[], str]:
    def look() -> str:
        from aed.target.firmware.stm32 import tools

        programs = {program.key: program for program in (tools.IDE, tools.PROGRAMMER, tools.SIGNING_TOOL)}
        wanted = programs[key]
        try:
            return str(tools.find_program(wanted))
        except AedError as error:
            raise AedError(f"{wanted.names[0]} not found: install it from ST, or set {wanted.variable}") from error

    return look


def serial_ports() -> list[str]:
    """Serial ports at which a board may be; on Windows those of the registry."""
    if sys.platform == "win32":
        import winreg

        try:
            with winreg.OpenKey(winreg.HKEY_LOCAL_MACHINE, r"HARDWARE\DEVICEMAP\SERIALCOMM") as key:
                return [str(winreg.EnumValue(key, number)[1]) for number in range(winreg.QueryInfoKey(key)[1])]
        except OSError:
            return []
    patterns = ("ttyACM*", "ttyUSB*", "cu.usbmodem*", "cu.usbserial*")
    return sorted(str(path) for pattern in patterns for path in Path("/dev").glob(pattern))


def _serial() -> str:
    ports = serial_ports()
    if not ports:
        raise AedError("none: plug a board in, if you have one")
    if sys.platform != "win32" and (closed := [port for port in ports if not os.access(port, os.R_OK | os.W_OK)]):
        raise AedError(f"{closed[0]}: no right to use it; sudo usermod -aG dialout $USER, then log in anew")
    return ", ".join(ports)


def _cloud() -> str:
    need("requests", "target=cloud")
    from aed.target.cloud.credentials import PAIRS, TOKEN

    for names in ((TOKEN,), *PAIRS):
        if all(os.environ.get(name) for name in names):
            return f"{' and '.join(names)} set"
    raise AedError(f"no credentials: set {TOKEN}, or {' and '.join(PAIRS[0])} (a free myST account)")


CHECKS = (
    Check("system", _system),
    Check("python", _python, needed=True),
    Check("torch", _torch, needed=True),
    Check("torchaudio", _torchaudio, needed=True),
    Check("audio", _audio_files, needed=True),
    Check("cache", _cache, needed=True),
    Check("data", _data),
    Check("weights", _weights),
    Check("gcc", _tool("gcc")),
    Check("arm-gcc", _tool("arm-none-eabi-gcc")),
    Check("qemu", _tool("qemu-system-arm")),
    Check("wasm", _wasm),
    Check("stedgeai", _stedgeai),
    Check("cubeide", _st_program("cube_ide")),
    Check("programmer", _st_program("programmer")),
    Check("signing-tool", _st_program("signing_tool")),
    Check("serial", _serial),
    Check("cloud", _cloud),
)


def examine(checks: Sequence[Check], demanded: Sequence[str] = ()) -> int:
    """Prints a line for each check; returns the exit code: 1 where something needed or demanded is missing.

    Args:
        checks: In order.
        demanded: Names of further checks to treat as needed.
    """
    ill = []
    for check in checks:
        needed = check.needed or check.name in demanded
        try:
            state, words = "ok", check.look()
        except Exception as error:  # whatever is broken is reported
            state = "FAULT" if needed else "-"
            words = str(error) if isinstance(error, AedError) else f"{type(error).__name__}: {error}"
            ill += [check.name] if needed else []
        print(f"{check.name:<13}{state:<6}{' '.join(words.split())}", flush=True)
    print(f"\nto put right: {', '.join(ill)}" if ill else "\nall that is needed is there; - : only adds to it")
    return int(bool(ill))
