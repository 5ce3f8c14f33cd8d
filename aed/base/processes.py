"""Run external tools: without a shell, with a time limit, stopped together with the processes they started."""

import errno
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from aed.base.errors import AedError

PACKAGES = {
    "gcc": "gcc libc6-dev",
    "arm-none-eabi-gcc": "gcc-arm-none-eabi libnewlib-arm-none-eabi",
    "arm-none-eabi-size": "gcc-arm-none-eabi",
    "arm-none-eabi-nm": "gcc-arm-none-eabi",
    "qemu-system-arm": "qemu-system-arm",
    "cmake": "cmake",
}
"""Tool -> packages of Debian and Ubuntu that install it."""

LAST_LINES = 8

T = TypeVar("T")


def is_available(tool: str) -> bool:
    """Whether ``tool`` is a program on the PATH, or the path of one."""
    return shutil.which(tool) is not None


@dataclass(frozen=True)
class Finished:
    """The result of a tool that ended by itself.

    Args:
        code: Exit code.
        output: Standard output and standard error in the order of writing.
    """

    code: int
    output: str

    @property
    def tail(self) -> str:
        """The last lines of the output, without empty ones at its ends."""
        return "\n".join(self.output.strip().splitlines()[-LAST_LINES:])


class Stopped(AedError):
    """A tool did not end within its time limit.

    Args:
        message: Names the tool and its last lines of output.
        output: Its complete output.
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
    """Runs a tool with an empty standard input and returns its output, whatever its exit code.

    Args:
        command: The tool and its arguments.
        timeout_s: Seconds after which it is stopped, with every process it started.
        folder: Working directory; default: this process's.
        environment: Environment variables; default: this process's.

    Raises:
        Stopped: The time limit was reached.
        AedError: The tool is missing or cannot be started.
    """
    tool = str(command[0])
    if not is_available(tool):
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
            stopped = Finished(1, raw.decode(errors="replace"))
            message = f"{tool} did not end within {timeout_s:.0f} s and was stopped; {stopped.tail}"
            raise Stopped(message, stopped.output) from error
        except BaseException:
            _stop(process)
            raise
    return Finished(process.returncode, raw.decode(errors="replace"))


def _stop(process: subprocess.Popen[bytes]) -> None:
    """Kills the process and its children: its process group, on Windows its process tree."""
    if hasattr(os, "killpg"):
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    else:
        subprocess.run(["taskkill", "/F", "/T", "/PID", str(process.pid)], capture_output=True, check=False)
        process.kill()


def run_tool(command: Sequence[str | Path], timeout_s: float, folder: Path | None = None) -> str:
    """Runs a tool as :func:`finish` does and returns its output; a non-zero exit code is an error.

    Args:
        command: The tool and its arguments.
        timeout_s: Seconds after which it is stopped.
        folder: Working directory; default: this process's.

    Raises:
        AedError: The tool is missing, failed or reached the time limit; shows its last lines of output.
    """
    done = finish(command, timeout_s, folder)
    if done.code:
        if os.strerror(errno.ENOSPC) in done.output:
            temporary = tempfile.gettempdir()  # of its temporary files and of its results here
            raise AedError(f"TMPDIR ({temporary}): no space left for {command[0]}; set TMPDIR to another folder")
        raise AedError(f"{command[0]} failed: {done.tail}")
    return done.output


@contextmanager
def beside(call: Callable[[], T]) -> Iterator[Future[T]]:
    """A call in a thread of its own: of one that waits for other programs, while this thread goes on; ended at the end.

    Args:
        call: Changes nothing that this thread uses.
    """
    with ThreadPoolExecutor(1) as pool:
        yield pool.submit(call)
