"""C of other projects for the same int8 net, in the form that the emulator's harness runs: peers of our own kernels.

Used by ``bench_target.py``. CMSIS-NN's kernels are called by our generator, layer by layer, with the multipliers and
shifts they want instead of our float factors; a layer it has no kernel for (a global average with a change of scale)
keeps ours. emx-onnx-cgen generates its C from the .onnx.
"""

import ctypes
import math
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np

from aed.base.errors import AedError
from aed.target.boards import Board
from aed.target.codegen.generate import net_sources
from aed.target.codegen.library import Library
from aed.target.codegen.operators.conv import Conv, Depthwise
from aed.target.codegen.operators.elementwise import Add
from aed.target.codegen.operators.pool import MaxPool
from aed.target.codegen.plan import Plan
from aed.target.codegen.program import Layer, Program, Tensor
from aed.target.codegen.source import Source
from aed.target.codegen.text import c_float
from aed.target.codegen.window import WindowLayer
from aed.target.emulator.toolchain import machine_of

REVISION = "V.19.1.0"
"""Of ``Include/arm_nnfunctions.h``: the version of CMSIS-NN whose functions are called here."""

HEAP_MIB = 8
"""Heap of the C of emx-onnx-cgen, which allocates its tensors."""

RAM_MIB = 16
"""RAM that QEMU's machines have, more than the boards in ``configs/``."""


def find_cmsis_nn(folder: Path) -> Library:
    """CMSIS-NN in ``folder``, a checkout.

    Raises:
        AedError: It is none, or of another version.
    """
    header = folder / "Include/arm_nnfunctions.h"
    if not header.is_file():
        raise AedError(
            f"--cmsis-nn {folder}: no {header.relative_to(folder)}; give a checkout of ARM-software/CMSIS-NN"
        )
    if REVISION not in header.read_text(encoding="utf-8"):
        raise AedError(f"--cmsis-nn {folder}: {header.name} is not revision {REVISION}, whose functions are called")
    source = folder / "Source"
    parts = ("ConvolutionFunctions/*s8*.c", "PoolingFunctions/arm_max_pool_s8.c", "NNSupportFunctions/*.c")
    units = [unit for part in parts for unit in sorted(source.glob(part)) if not unit.stem.endswith(("_f32", "_f16"))]
    units.append(source / "TransposeFunctions/arm_transpose_s8.c")
    return Library(tuple(units), (f"-I{folder / 'Include'}", "-w"))


# --- CMSIS-NN -------------------------------------------------------------------------------------------------------


def multiplier_and_shift(factor: float) -> tuple[int, int]:
    """``factor`` as the 31-bit multiplier and the power of two that CMSIS-NN's requantisation takes."""
    mantissa, shift = math.frexp(factor)
    multiplier = round(mantissa * 2**31)
    return (multiplier // 2, shift + 1) if multiplier == 2**31 else (multiplier, shift)


class CmsisNet:
    """``aed_net.h`` and ``aed_net.c`` of a program with CMSIS-NN's kernels.

    Args:
        program: Lowered.
        plan: Without overlaps, which these kernels do not allow.
        library: CMSIS-NN.
        mve: Whether buffers are those of a core with MVE.
        folder: For the functions that tell the sizes of buffers, compiled for this machine.
    """

    def __init__(self, program: Program, plan: Plan, library: Library, mve: bool, folder: Path) -> None:
        self.program, self.plan, self.mve = program, plan, mve
        self.own = net_sources(program, plan)
        names = {name: f"base + {offset}" for name, offset in plan.offsets.items()} | {program.input: "in"}
        self.source = Source()
        self.source.addresses = names | {view: names[home] for view, home in program.views.items()}
        sizes = [unit for unit in library.units if "get_buffer_size" in unit.name]
        folder.mkdir(parents=True, exist_ok=True)
        include = next(option for option in library.options if option.startswith("-I"))
        self.sizes = _compiled(folder, sizes, include)
        self.buffer = 8

    def sources(self) -> dict[str, str]:
        """File name -> content.

        Raises:
            AedError: The net adds activations, where what is called here gives other sums than the library should.
        """
        if any(isinstance(layer, Add) for layer in self.program.layers):
            raise AedError("CMSIS-NN: nets that add activations are not compared")
        calls = [line for number, layer in enumerate(self.program.layers) for line in self._call(number, layer)]
        text = [
            "#include <stddef.h>",
            "#include <string.h>",
            '#include "aed_net.h"',
            '#include "aed_kernels.h"',
            '#include "arm_nnfunctions.h"',
            *self.source.constants,
            f"static uint64_t arena[{max(1, -(-self.plan.size // 8))}];",
            self.source.scratch,
            f"static uint64_t buffer[{-(-self.buffer // 8)}];",
            "void aed_net_run(const int8_t *in, int8_t *out) {",
            "    int8_t *const base = (int8_t *)arena;",
            "    const cmsis_nn_context context = {buffer, sizeof buffer};",
            *(f"    {line}" for line in calls),
            f"    memcpy(out, {self.source.addresses[self.program.output]}, AED_NET_OUTPUT_SIZE);",
            "}",
        ]
        return {"aed_net.h": self.own["aed_net.h"], "aed_net.c": "\n".join(text) + "\n"}

    def _call(self, number: int, layer: Layer) -> list[str]:
        x, y = self.program.ends(layer)
        if isinstance(layer, Conv | Depthwise):
            return self._convolution(number, layer, x, y)
        if isinstance(layer, MaxPool) and (x.scale, x.zero) == (y.scale, y.zero) and layer.dilation == (1, 1):
            pool = self._window("cmsis_nn_pool_params", number, layer, ())
            dims = f"{_dims(x)}, {self._at(x)}, {_filter(*layer.kernel, 1)}, {_dims(y)}"
            return [f"arm_max_pool_s8(&context, &{pool}, {dims}, {self._at(y)});"]
        calls = layer.call(self.source, number, self.program)
        return self._by_rows(layer, x, y, calls) if isinstance(layer, WindowLayer) else calls

    def _by_rows(self, layer: WindowLayer, x: Tensor, y: Tensor, calls: list[str]) -> list[str]:
        """Our own kernel, which makes a row of the output, for all rows."""
        (count, _), (stride, _), (pad, _), (dilation, _) = layer.kernel, layer.stride, layer.pad, layer.dilation
        return [
            "{",
            f"    int8_t *out = {self._at(y)};",
            f"    for (int32_t y = 0; y < {y.shape[0]}; ++y) {{",
            f"        const int8_t *rows[{count}];",
            f"        for (int32_t i = 0; i < {count}; ++i) {{",
            f"            const int32_t from = y * {stride} - {pad} + i * {dilation};",
            f"            const int inside = from >= 0 && from < {x.shape[0]};",
            f"            rows[i] = inside ? {self._at(x)} + from * {x.shape[1] * x.shape[2]} : NULL;",
            "        }",
            *(f"        {call}" for call in calls),
            f"        out += {y.shape[1] * y.shape[2]};",
            "    }",
            "}",
        ]

    def _at(self, tensor: Tensor) -> str:
        return self.source.addresses[tensor.name]

    def _window(self, kind: str, number: int, layer: WindowLayer, more: tuple[str, ...]) -> str:
        fields = [
            *more,
            f".stride = {{.h = {layer.stride[0]}, .w = {layer.stride[1]}}}",
            f".padding = {{.h = {layer.pad[0]}, .w = {layer.pad[1]}}}",
            ".activation = {.min = -128, .max = 127}",
        ]
        if kind != "cmsis_nn_pool_params":
            fields.append(f".dilation = {{.h = {layer.dilation[0]}, .w = {layer.dilation[1]}}}")
        return self.source.struct(kind, f"window{number}", fields)

    def _convolution(self, number: int, layer: Conv | Depthwise, x: Tensor, y: Tensor) -> list[str]:
        depthwise = isinstance(layer, Depthwise)
        taps = (0, 1) if depthwise else tuple(range(1, layer.weight.ndim))
        bias = layer.bias + x.zero * layer.weight.astype(np.int32).sum(axis=taps)  # CMSIS-NN adds the zero point itself
        pairs = [multiplier_and_shift(float(factor)) for factor in layer.factor]
        arrays = {
            key: self.source.array("int32_t", f"{key}{number}", np.asarray(values, np.int32))
            for key, values in (("bias", bias), ("multiplier", [p[0] for p in pairs]), ("shift", [p[1] for p in pairs]))
        }
        weight = self.source.array("int8_t", f"weight{number}", layer.weight)
        offsets = [f".input_offset = {-x.zero}", f".output_offset = {y.zero}"]
        offsets += [f".ch_mult = {y.shape[2] // x.shape[2]}"] if depthwise else []
        name = "depthwise_conv" if depthwise else "convolve"
        kind = "cmsis_nn_dw_conv_params" if depthwise else "cmsis_nn_conv_params"
        window = self._window(kind, number, layer, tuple(offsets))
        kernel = _filter(*layer.kernel, x.shape[2], 1 if depthwise else y.shape[2])
        if depthwise:
            kernel = f"&(cmsis_nn_dims){{1, {layer.kernel[0]}, {layer.kernel[1]}, {y.shape[2]}}}"
        quant = (
            f"&(cmsis_nn_per_channel_quant_params){{(int32_t *){arrays['multiplier']}, (int32_t *){arrays['shift']}}}"
        )
        self._need(name, layer, x, y, depthwise)
        return [
            f"arm_{name}_wrapper_s8(&context, &{window}, {quant}, {_dims(x)}, {self._at(x)}, {kernel}, {weight}, "
            f"&(cmsis_nn_dims){{1, 1, 1, {y.shape[2]}}}, {arrays['bias']}, {_dims(y)}, {self._at(y)});"
        ]

    def _need(self, name: str, layer: Conv | Depthwise, x: Tensor, y: Tensor, depthwise: bool) -> None:
        """Reserves the buffer that the library asks for."""
        window = [-x.zero, y.zero, *([y.shape[2] // x.shape[2]] if depthwise else [])]
        # tiles are (w, h)
        for pair in (layer.stride, layer.pad, layer.dilation):
            window += [pair[1], pair[0]]
        window += [-128, 127]
        kernel = [1, *layer.kernel, y.shape[2]] if depthwise else [y.shape[2], *layer.kernel, x.shape[2]]
        dims = [(ctypes.c_int32 * 4)(*values) for values in ((1, *x.shape), kernel, (1, *y.shape))]
        size = getattr(self.sizes, f"arm_{name}_wrapper_s8_get_buffer_size_{'mve' if self.mve else 'dsp'}")
        self.buffer = max(self.buffer, size((ctypes.c_int32 * len(window))(*window), *dims))


def _compiled(folder: Path, units: list[Path], include: str) -> ctypes.CDLL:
    """The functions of ``units`` for this machine; others that they name are not called."""
    path = folder / "sizes.so"
    subprocess.run(["gcc", "-w", "-shared", "-fPIC", "-z", "lazy", include, "-o", path, *units], check=True)
    return ctypes.CDLL(str(path))


def _dims(tensor: Tensor) -> str:
    height, width, channels = tensor.shape
    return f"&(cmsis_nn_dims){{1, {height}, {width}, {channels}}}"


def _filter(height: int, width: int, channels: int, outputs: int = 1) -> str:
    return f"&(cmsis_nn_dims){{{outputs}, {height}, {width}, {channels}}}"


# --- emx-onnx-cgen --------------------------------------------------------------------------------------------------


def with_heap(board: Board) -> Board:
    """The board with all the RAM of QEMU's machine; the heap fits in those of the MPS2 boards."""
    machine = machine_of(board)
    if not machine.machine.startswith("mps2"):
        return board
    return replace(board, machine=replace(machine, ram=(machine.ram[0], RAM_MIB << 20)))


def emx_sources(tool: Path, model: Path, program: Program, plan: Plan, folder: Path) -> dict[str, str]:
    """File name -> content: its C, and what lets the harness run it.

    The last four bytes of the output are the bytes of the heap that it took.

    Args:
        tool: ``emx-onnx-cgen``.
        model: int8.
        program: Of the model, for its ends.
        plan: For ``aed_net.h``.
        folder: For its output.
    """
    folder.mkdir(parents=True, exist_ok=True)
    options = ("--large-weight-threshold", "0", "--model-name", "emx_net")
    subprocess.run([tool, "compile", *options, model, folder / "emx.c"], check=True, capture_output=True)
    x, y = program.tensors[program.input], program.tensors[program.output]
    header = net_sources(program, plan)["aed_net.h"]
    header = header.replace(f"AED_NET_OUTPUT_SIZE {y.size}", f"AED_NET_OUTPUT_SIZE {y.size + 4}")
    glue = f"""#include <math.h>
#include <stddef.h>
#include <string.h>
#include "aed_net.h"
void emx_net(const float *in, float *out);
static char heap[{HEAP_MIB} << 20];
static size_t used;
static size_t most;
static size_t first; /* of the first run: later ones find pieces of other sizes free */
void *_sbrk(ptrdiff_t more) {{
    char *const at = heap + used;
    used += (size_t)more;
    most = used > most ? used : most;
    return used > sizeof heap ? (void *)-1 : at;
}}
void aed_net_run(const int8_t *in, int8_t *out) {{
    static float real[{x.size}];
    float result[{y.size}];
    for (int i = 0; i < {x.size}; ++i) {{
        real[i] = {c_float(x.scale)} * (float)(in[i] - ({x.zero}));
    }}
    emx_net(real, result);
    for (int i = 0; i < {y.size}; ++i) {{
        const float step = rintf(result[i] / {c_float(y.scale)}) + {y.zero};
        out[i] = (int8_t)(step > 127 ? 127 : step < -128 ? -128 : step);
    }}
    first = first == 0 ? most : first;
    memcpy(out + {y.size}, &first, 4);
}}
"""
    return {"aed_net.h": header, "glue.c": glue, "emx.c": (folder / "emx.c").read_text(encoding="utf-8")}
