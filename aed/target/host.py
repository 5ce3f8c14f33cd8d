"""Generated C on this machine: compiled by the host's compiler, called in this process."""

import ctypes
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from aed.errors import AedError

FLAGS = ("-std=c99", "-O2", "-Wall", "-Wextra", "-Werror", "-pedantic", "-ffp-contract=off")
"""No contraction: a fused multiply-add would round otherwise than ONNX Runtime does."""

Int8 = npt.NDArray[np.int8]


def write_sources(folder: Path, sources: Mapping[str, str]) -> list[Path]:
    """Writes the files and returns those to compile."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in sources.items():
        (folder / name).write_text(text)
    return [folder / name for name in sources if name.endswith(".c")]


def run_tool(command: Sequence[str | Path], timeout_s: float, folder: Path | None = None) -> str:
    """The output of a tool that succeeded.

    Args:
        command: The tool and its arguments.
        timeout_s: Seconds after which it is stopped.
        folder: Where it runs.

    Raises:
        AedError: It is missing, failed or took too long; shows its last lines.
    """
    if shutil.which(str(command[0])) is None:
        raise AedError(
            f"{command[0]}: not found; apt-get install gcc (host), gcc-arm-none-eabi qemu-system-arm (target)"
        )
    try:
        done = subprocess.run(
            [str(part) for part in command],
            capture_output=True,
            text=True,
            timeout=timeout_s,
            stdin=subprocess.DEVNULL,
            cwd=folder,
        )
    except subprocess.TimeoutExpired as error:
        raise AedError(f"{command[0]} did not end within {timeout_s:.0f} s") from error
    output = done.stdout + done.stderr
    if done.returncode:
        raise AedError(f"{command[0]} failed: " + "\n".join(output.strip().splitlines()[-8:]))
    return output


class HostNet:
    """A generated net as a function of int8 arrays.

    Args:
        folder: Where sources and library go.
        sources: File name -> content: kernels and net.
        input_size: Bytes of one input.
        output_size: Bytes of one output.
        flags: More flags for the compiler.
    """

    def __init__(
        self, folder: Path, sources: Mapping[str, str], input_size: int, output_size: int, flags: Sequence[str] = ()
    ) -> None:
        library = folder / "net.so"
        units = write_sources(folder, sources)
        run_tool(["gcc", *FLAGS, *flags, "-shared", "-fPIC", "-o", library, *units, "-lm"], timeout_s=120)
        self.run_c = ctypes.CDLL(str(library)).aed_net_run
        self.input_size, self.output_size = input_size, output_size

    def run(self, inputs: Int8) -> Int8:
        """Outputs ``(N, output_size)`` of inputs ``(N, input_size)``."""
        outputs = np.empty((len(inputs), self.output_size), np.int8)
        for given, made in zip(np.ascontiguousarray(inputs), outputs, strict=True):
            self.run_c(given.ctypes.data_as(ctypes.c_void_p), made.ctypes.data_as(ctypes.c_void_p))
        return outputs
