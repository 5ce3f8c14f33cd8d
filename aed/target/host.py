"""Generated C on this machine: compiled by the host's compiler, called in this process."""

import ctypes
from collections.abc import Mapping
from functools import partial
from importlib.resources import files
from pathlib import Path
from typing import Any, NamedTuple

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


class GatedOutputs(NamedTuple):
    """What a device makes of a stream.

    Args:
        outputs: ``(patches, num_classes)`` of the net; of a patch under the gate the least that it could be.
        is_open: ``(patches,)`` whether the net ran.
    """

    outputs: npt.NDArray[np.float32]
    is_open: npt.NDArray[np.bool_]


def device_sources(program: Program, plan: Plan, frontend: FrontendConfig, gate: int | None = None) -> dict[str, str]:
    """File name -> content of all C of a device: kernels, net, front end with its tables, and what joins the two.

    Args:
        program: Of the net.
        plan: Of its run.
        frontend: Streamable.
        gate: As of :func:`aed.target.codegen.generate.listener_sources`.

    Raises:
        AedError: The front end has no C form.
    """
    x = program.tensors[program.input]
    net = kernel_sources() | net_sources(program, plan)
    return net | listener_sources(gate) | frontend_kernel() | frontend_sources(frontend, float(x.scale), x.zero)


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


def net_memory(plan: Plan) -> ctypes.Array[ctypes.c_char]:
    """Memory for an ``aed_net`` on this machine: its arena and, with much to spare, what else is in it."""
    return ctypes.create_string_buffer(plan.size + (1 << 20))


class HostDevice:
    """Front end and net in C on this machine, as a function of samples.

    Args:
        folder: For sources and library.
        model: int8.
        frontend: Streamable.
        planning: How the net is run; a stream has the front end's hop.
        gate: Power of a column under which a patch is not given to the net; None: all are.

    Raises:
        AedError: Front end or net cannot be written in C, or there is no compiler.
    """

    workers = 1  # the C that feeds a clip has one static listener

    def __init__(
        self,
        folder: Path,
        model: onnx.ModelProto,
        frontend: FrontendConfig,
        planning: PlanSettings = AUTO,
        gate: int | None = None,
    ) -> None:
        chosen = choose_plan(partial(lower, model), planning, frontend.patch_hop)
        self.program = chosen.program
        sources = device_sources(chosen.program, chosen.plan, frontend, gate)
        glue = files("aed.target.codegen") / "c" / "host" / "run_clip.c"
        self.run_c = build_library(folder, sources | {glue.name: glue.read_text(encoding="utf-8")}).aed_run_clip
        self.frontend = frontend

    def outputs(self, samples: npt.NDArray[np.int16]) -> npt.NDArray[np.float32]:
        """Outputs of each patch of a clip ``(T,)`` at the front end's rate: ``(patches, num_outputs)``."""
        return self.decisions(samples).outputs

    def decisions(self, samples: npt.NDArray[np.int16]) -> GatedOutputs:
        """The same, and for which patches the net ran."""
        most = 1 + self.frontend.num_frames(len(samples)) // self.frontend.patch_hop
        size = self.program.tensors[self.program.output].size
        steps, ran = np.empty((most, size), np.int8), np.empty(most, np.bool_)
        samples = np.ascontiguousarray(samples, dtype=np.int16)
        count = self.run_c(pointer(samples), len(samples), pointer(steps), pointer(ran), most)
        return GatedOutputs(self.program.real(steps[:count]), ran[:count])
