"""Generated C on this machine: compiled by the host's compiler, called in this process."""

import ctypes
from collections.abc import Mapping
from functools import partial
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx

from aed.base.errors import AedError
from aed.base.processes import run_tool
from aed.dsp.frontend import FrontendConfig
from aed.target.codegen.choose import choose_plan
from aed.target.codegen.frontend import frontend_kernel, frontend_sources
from aed.target.codegen.generate import kernel_sources, listener_sources, net_sources
from aed.target.codegen.lower import lower
from aed.target.codegen.plan import Plan
from aed.target.codegen.program import Program
from aed.target.codegen.settings import AUTO, PlanSettings

FLAGS = ("-std=c99", "-O2", "-Wall", "-Wextra", "-pedantic", "-ffp-contract=off")
"""No contraction: a fused multiply-add would round otherwise than ONNX Runtime does."""

Int8 = npt.NDArray[np.int8]


def write_sources(folder: Path, sources: Mapping[str, str]) -> list[Path]:
    """Writes the files and returns those to compile."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in sources.items():
        (folder / name).write_text(text, encoding="utf-8")
    return [folder / name for name in sources if name.endswith(".c")]


def device_sources(program: Program, plan: Plan, frontend: FrontendConfig) -> dict[str, str]:
    """File name -> content of all C of a device: kernels, net, front end with its tables, and what joins the two.

    Raises:
        AedError: The front end has no C form.
    """
    x = program.tensors[program.input]
    net = kernel_sources() | net_sources(program, plan)
    return net | listener_sources() | frontend_kernel() | frontend_sources(frontend, float(x.scale), x.zero)


def build_library(folder: Path, sources: Mapping[str, str]) -> ctypes.CDLL:
    """The sources as a shared library of this machine, loaded.

    Raises:
        AedError: There is no compiler, or the library may not be loaded.
    """
    library = folder / "aed.so"
    units = write_sources(folder, sources)
    run_tool(["gcc", *FLAGS, "-shared", "-fPIC", "-o", library, *units, "-lm"], timeout_s=120)
    try:
        return ctypes.CDLL(str(library))
    except OSError as error:
        raise AedError(f"{error}; if its folder is mounted noexec, set TMPDIR to another one") from error


def pointer(array: npt.NDArray[Any]) -> ctypes.c_void_p:
    """Address of an array's first value."""
    return array.ctypes.data_as(ctypes.c_void_p)


class HostDevice:
    """Front end and net in C on this machine, as a function of samples.

    Args:
        folder: For sources and library.
        model: int8.
        frontend: Streamable.
        planning: How the net is run; a stream has the front end's hop.

    Raises:
        AedError: Front end or net cannot be written in C, or there is no compiler.
    """

    workers = 1  # activations lie in one static arena

    def __init__(
        self, folder: Path, model: onnx.ModelProto, frontend: FrontendConfig, planning: PlanSettings = AUTO
    ) -> None:
        chosen = choose_plan(partial(lower, model), planning, frontend.patch_hop)
        self.program = chosen.program
        sources = device_sources(chosen.program, chosen.plan, frontend)
        glue = files("aed.target.codegen") / "c" / "host" / "run_clip.c"
        self.run_c = build_library(folder, sources | {glue.name: glue.read_text(encoding="utf-8")}).aed_run_clip
        self.frontend = frontend

    def outputs(self, samples: npt.NDArray[np.int16]) -> npt.NDArray[np.float32]:
        """Outputs of each patch of a clip ``(T,)`` at the front end's rate: ``(patches, num_outputs)``."""
        most = 1 + self.frontend.num_frames(len(samples)) // self.frontend.patch_hop
        steps = np.empty((most, self.program.tensors[self.program.output].size), np.int8)
        samples = np.ascontiguousarray(samples, dtype=np.int16)
        count = self.run_c(pointer(samples), len(samples), pointer(steps), most)
        return self.program.real(steps[:count])


def to_int16(wave: npt.NDArray[np.float32]) -> npt.NDArray[np.int16]:
    """The 16-bit samples of a microphone for ``wave`` in [-1, 1]."""
    return np.clip(np.rint(wave * 32768), -32768, 32767).astype(np.int16)
