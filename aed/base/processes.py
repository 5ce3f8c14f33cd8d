"""Tools that are run: never through a shell, with a limit, and stopped with all they started."""

import errno
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from aed.base.errors import AedError

PACKAGES = {
    "gcc": "gcc libc6-dev",
    "arm-none-eabi-gcc": "gcc-arm-none-eabi libnewlib-arm-none-eabi",
    "arm-none-eabi-size": "gcc-arm-none-eabi",
    "arm-none-eabi-nm": "gcc-arm-none-eabi",
    "qemu-system-arm": "qemu-system-arm",
    "cmake": "cmake",
}
"""Debian's and Ubuntu's packages of the tools used here."""

LAST_LINES = 8


def found(tool: str) -> bool:
    """Whether the tool is on the PATH, or is a path to a program."""
    return shutil.which(tool) is not None


@dataclass(frozen=True)
class Finished:
    """A tool that ended by itself.

    Args:
        code: Exit code.
        output: Standard output and standard error in the order in which they came.
    """

    code: int
    output: str

    @property
    def tail(self) -> str:
        """The last lines that say something."""
        return "\n".join(self.output.strip().splitlines()[-LAST_LINES:])


class Stopped(AedError):
    """A tool that did not end in time.

    Args:
        message: With its last lines.
        output: All it said.
    """

    def __init__(self, message: str, output: str) -> None:
        super().__init__(message)
        self.output = output


def finish(
    command: Sequence[str | Path],
    timeout_s: float,
    folder: Path | None = None,
    environment: Mapping[str, str] | None = None,
) -> Finished:
    """Runs a tool to its end, whatever its exit code; its standard input is empty.

    Args:
        command: The tool and its arguments.
        timeout_s: Seconds after which it is stopped, with every process it started.
        folder: Where it runs.
        environment: Instead of this process's.

    Raises:
        Stopped: It took too long.
        AedError: It is missing or cannot be started.
    """
    tool = str(command[0])
    if not found(tool):
        advice = f"; apt-get install {PACKAGES[tool]}" if tool in PACKAGES else ""
        raise AedError(f"{tool}: not found{advice}")
    try:
        process = subprocess.Popen(
            [str(part) for part in command],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            cwd=folder,
            env=None if environment is None else dict(environment),
            start_new_session=True,
        )
    except OSError as error:
        raise AedError(f"{tool}: cannot be started: {error.strerror}") from error
    with process:
        try:
            raw, _ = process.communicate(timeout=timeout_s)
        except subprocess.TimeoutExpired as error:
            _stop(process)
            raw, _ = process.communicate()
            said = Finished(1, raw.decode(errors="replace"))
            message = f"{tool} did not end within {timeout_s:.0f} s and was stopped; {said.tail}"
            raise Stopped(message, said.output) from error
        except BaseException:
            _stop(process)
            raise
    return Finished(process.returncode, raw.decode(errors="replace"))


def _stop(process: subprocess.Popen[bytes]) -> None:
    """Kills the process and its children: its group, or on Windows its tree."""
    if hasattr(os, "killpg"):
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    else:
        subprocess.run(["taskkill", "/F", "/T", "/PID", str(process.pid)], capture_output=True, check=False)
        process.kill()


def run_tool(command: Sequence[str | Path], timeout_s: float, folder: Path | None = None) -> str:
    """The output of a tool that succeeded.

    Args:
        command: The tool and its arguments.
        timeout_s: Seconds after which it is stopped.
        folder: Where it runs.

    Raises:
        AedError: It is missing, failed or took too long; shows its last lines.
    """
    done = finish(command, timeout_s, folder)
    if done.code:
        if os.strerror(errno.ENOSPC) in done.output:
            place = tempfile.gettempdir()  # of its own files, and of what it makes here
            raise AedError(f"TMPDIR ({place}): no space left for {command[0]}; set TMPDIR to another folder")
        raise AedError(f"{command[0]} failed: {done.tail}")
    return done.output
