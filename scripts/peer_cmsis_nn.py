"""CMSIS-NN's kernels in the program that our generator writes down: a peer of our own; used by ``bench_target.py``.

A layer that CMSIS-NN has a kernel for is replaced by a call of it, for the whole image, with the multipliers and shifts
that it takes instead of our float factors. Others stay ours: averages that change the scale, curves, gates, sums and
products of parts of an image.
"""

import ctypes
import math
import re
import subprocess
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from aed.base.errors import AedError
from aed.target.boards import Board
from aed.target.codegen.library import Library
from aed.target.codegen.operators.conv import Conv, Depthwise
from aed.target.codegen.operators.elementwise import Add
from aed.target.codegen.operators.gemm import Dense
from aed.target.codegen.operators.pool import MaxPool
from aed.target.codegen.program import Layer, Program, Tensor
from aed.target.codegen.source import Source
from aed.target.codegen.window import WindowLayer
from aed.target.emulator.toolchain import FLAGS, machine_of

REVISION, COMMIT = "V.19.1.0", "99f736a"
"""Of ``Include/arm_nnfunctions.h``: the version of CMSIS-NN whose functions are called here."""

INCLUDE = '#include "arm_nnfunctions.h"\n'

CONTEXT = "&(cmsis_nn_context){scratch, sizeof scratch}"

LEFT_SHIFT = 20
"""Bits that ``arm_elementwise_add_s8`` shifts its inputs by, as TensorFlow Lite does."""


def find_cmsis_nn(folder: Path) -> Library:
    """CMSIS-NN in ``folder``, a checkout.

    Raises:
        AedError: It is none, or of another version.
    """
    header = folder / "Include/arm_nnfunctions.h"
    if not header.is_file():
        raise AedError(
            f"--cmsis-nn {folder}: no {header.relative_to(folder)}; give ARM-software/CMSIS-NN, checked out at {COMMIT}"
        )
    found = re.search(r"\$Revision:\s*(V\S+)", header.read_text(encoding="utf-8"))
    if found is None or found[1] != REVISION:
        raise AedError(
            f"--cmsis-nn {folder}: need revision {REVISION} of {header.name}, found {found[1] if found else 'none'}; "
            f"type git -C {folder} checkout {COMMIT}"
        )
    source = folder / "Source"
    parts = (
        *("ConvolutionFunctions/*s8*.c", "NNSupportFunctions/*.c", "PoolingFunctions/arm_max_pool_s8.c"),
        *("FullyConnectedFunctions/arm_fully_connected_per_channel_s8.c", "TransposeFunctions/arm_transpose_s8.c"),
        "BasicMathFunctions/arm_elementwise_add_s8.c",
    )
    units = [unit for part in parts for unit in sorted(source.glob(part)) if not unit.stem.endswith(("_f32", "_f16"))]
    return Library(tuple(units), (f"-I{folder / 'Include'}", "-w"))


def calling_cmsis_nn(program: Program, library: Library, folder: Path) -> Program:
    """``program`` with calls of CMSIS-NN.

    Args:
        program: Lowered.
        library: CMSIS-NN.
        folder: For the functions that tell the sizes of buffers, compiled for this machine.
    """
    sizes = _sizes(library, folder)
    layers = []
    for layer in program.layers:
        x, y = program.ends(layer)
        other = program.tensors[layer.inputs[-1]]
        call = _call_of(layer, x, other, y)
        if call is not None:
            names = {"name": layer.name, "inputs": layer.inputs, "output": layer.output}
            buffers = _buffers(layer, x, y, sizes)
            layer = _Called(**names, layer=layer, x=x, other=other, y=y, write=call, buffers=buffers)
        layers.append(layer)
    return replace(program, layers=layers)


@dataclass(frozen=True, kw_only=True)
class _Called(Layer):
    """A call of CMSIS-NN.

    Args:
        layer: Of our own that it stands for.
        x: First input.
        other: Last input.
        y: Output.
        write: Writes the call.
        buffers: Bytes that it needs on cores with MVE and on all others.
    """

    layer: Layer
    x: Tensor
    other: Tensor
    y: Tensor
    write: "Callable[[_Called, Source, str], list[str]]"
    buffers: tuple[int, int]

    def is_pixelwise(self, program: Program) -> bool:
        """As if it were: a stage then makes all rows in one run."""
        return True

    @property
    def kind(self) -> str:  # type: ignore[override]
        """As that of our own layer."""
        return self.layer.kind

    @property
    def weight_bytes(self) -> int:
        """As those of our own layer."""
        return self.layer.weight_bytes

    def macc(self, program: Program) -> int:
        """As those of our own layer."""
        return self.layer.macc(program)

    def call(self, source: Source, number: int, program: Program) -> list[str]:
        """C statements that call the kernel for the whole image."""
        if INCLUDE not in source.constants:
            source.constants.insert(0, INCLUDE)
        source.need_scratch(mve=self.buffers[0], others=self.buffers[1])
        return self.write(self, source, str(number))


def _call_of(layer: Layer, x: Tensor, other: Tensor, y: Tensor) -> Callable[[_Called, Source, str], list[str]] | None:
    """What writes the call of CMSIS-NN for a layer; None: it has no such kernel."""
    if isinstance(layer, Dense) and x.size == layer.weight.shape[1]:
        return _dense
    if isinstance(layer, Conv | Depthwise):
        return _convolution
    if isinstance(layer, MaxPool) and (x.scale, x.zero) == (y.scale, y.zero) and layer.dilation == (1, 1):
        return _max_pool
    if isinstance(layer, Add) and layer.weight is None and x.shape == other.shape:
        return _add
    return None


# --- calls ----------------------------------------------------------------------------------------------------------


def multiplier_and_shift(factor: float) -> tuple[int, int]:
    """``factor`` as the 31-bit multiplier and the power of two that CMSIS-NN's requantisation takes."""
    mantissa, shift = math.frexp(factor)
    multiplier = round(mantissa * 2**31)
    return (multiplier // 2, shift + 1) if multiplier == 2**31 else (multiplier, shift)


def _convolution(called: _Called, source: Source, number: str) -> list[str]:
    layer, x, y = called.layer, called.x, called.y
    assert isinstance(layer, Conv | Depthwise)
    depthwise = isinstance(layer, Depthwise)
    name, kind = ("depthwise_conv", "cmsis_nn_dw_conv_params") if depthwise else ("convolve", "cmsis_nn_conv_params")
    fields = [f".input_offset = {-x.zero}", f".output_offset = {y.zero}"]
    fields += [f".ch_mult = {y.shape[2] // x.shape[2]}"] if depthwise else []
    dilation = f".dilation = {{.h = {layer.dilation[0]}, .w = {layer.dilation[1]}}}"
    window = source.struct(kind, f"window{number}", [*fields, *_window(layer), dilation])
    bias, weight, factors = _constants(layer, x, source, number)
    outputs = y.shape[2]
    kernel = _dims(1, *layer.kernel, outputs) if depthwise else _dims(outputs, *layer.kernel, x.shape[2])
    return [
        f"arm_{name}_wrapper_s8({CONTEXT}, &{window}, {factors}, {_dims(1, *x.shape)}, rows[0], {kernel}, {weight}, "
        f"{_dims(1, 1, 1, outputs)}, {bias}, {_dims(1, *y.shape)}, out);"
    ]


def _dense(called: _Called, source: Source, number: str) -> list[str]:
    layer, x, y = called.layer, called.x, called.y
    assert isinstance(layer, Dense)
    bias, weight, factors = _constants(layer, x, source, number)
    offsets = f"{-x.zero}, 0, {y.zero}, {{-128, 127}}"
    outputs = _dims(1, 1, 1, y.size)
    # MVE takes what zero point and bias add to a sum, computed once
    sums = source.array("int32_t", f"sums{number}", layer.bias)
    size = _dims(x.size, 1, 1, y.size)
    return [
        f"const cmsis_nn_context known = {{(void *){sums}, sizeof {sums}}};",
        f"arm_fully_connected_per_channel_s8(&known, &(cmsis_nn_fc_params){{{offsets}}}, {factors}, "
        f"{_dims(1, 1, 1, x.size)}, rows[0], {size}, {weight}, {outputs}, {bias}, {outputs}, out);",
    ]


def _max_pool(called: _Called, source: Source, number: str) -> list[str]:
    layer = called.layer
    assert isinstance(layer, MaxPool)
    window = source.struct("cmsis_nn_pool_params", f"window{number}", _window(layer))
    dims = f"{_dims(1, *called.x.shape)}, rows[0], {_dims(1, *layer.kernel, 1)}, {_dims(1, *called.y.shape)}"
    return [f"arm_max_pool_s8({CONTEXT}, &{window}, {dims}, out);"]


def _add(called: _Called, source: Source, number: str) -> list[str]:
    twice = 2 * max(float(called.x.scale), float(called.other.scale))
    inputs = [f"{-tensor.zero}, {_pair(float(tensor.scale) / twice)}" for tensor in (called.x, called.other)]
    output = _pair(twice / (2**LEFT_SHIFT * float(called.y.scale)))
    return [
        f"arm_elementwise_add_s8(rows[0], rows[1], {', '.join(inputs)}, {LEFT_SHIFT}, out, {called.y.zero}, {output}, "
        f"-128, 127, {called.y.size});",
    ]


def _pair(factor: float) -> str:
    return ", ".join(map(str, multiplier_and_shift(factor)))


def _constants(layer: Conv | Depthwise, x: Tensor, source: Source, number: str) -> tuple[str, str, str]:
    """Bias, weights, and multipliers and shifts of a layer, as arguments."""
    taps = (0, 1) if isinstance(layer, Depthwise) else tuple(range(1, layer.weight.ndim))
    bias = layer.bias + x.zero * layer.weight.astype(np.int32).sum(axis=taps)  # CMSIS-NN adds the zero point itself
    pairs = np.array([multiplier_and_shift(float(factor)) for factor in layer.factor], np.int32)
    names = [
        source.array("int32_t", f"{key}{number}", values)
        for key, values in (("bias", bias), ("multiplier", pairs[:, 0]), ("shift", pairs[:, 1]))
    ]
    factors = f"&(cmsis_nn_per_channel_quant_params){{(int32_t *){names[1]}, (int32_t *){names[2]}}}"
    return names[0], source.array("int8_t", f"weight{number}", layer.weight), factors


def _window(layer: WindowLayer) -> list[str]:
    """Fields that structs of parameters share."""
    return [
        f".stride = {{.h = {layer.stride[0]}, .w = {layer.stride[1]}}}",
        f".padding = {{.h = {layer.pad[0]}, .w = {layer.pad[1]}}}",
        ".activation = {.min = -128, .max = 127}",
    ]


def _dims(*sizes: int) -> str:
    return f"&(cmsis_nn_dims){{{', '.join(map(str, sizes))}}}"


# --- for this machine, and for a board ------------------------------------------------------------------------------


def compiled(library: Library, board: Board, folder: Path) -> Library:
    """The library for the core of a board, compiled once into ``folder``."""
    archive, objects = folder / f"{board.core}.a", folder / board.core
    if not archive.exists():
        objects.mkdir(parents=True)
        core = [f"-mcpu={board.core}", f"-mfpu={machine_of(board).fpu}"]
        compiler: list[str | Path] = ["arm-none-eabi-gcc", *FLAGS, *core, *library.options, "-c", *library.units]
        subprocess.run(compiler, check=True, cwd=objects)
        subprocess.run(["arm-none-eabi-ar", "rcs", archive, *sorted(objects.iterdir())], check=True)
    return Library((archive,), library.options)


def _sizes(library: Library, folder: Path) -> ctypes.CDLL:
    """The functions that tell the sizes of buffers, for this machine; others that they name are not called."""
    folder.mkdir(parents=True, exist_ok=True)
    path, units = folder / "sizes.so", [unit for unit in library.units if "get_buffer_size" in unit.name]
    subprocess.run(["gcc", *library.options, "-shared", "-fPIC", "-z", "lazy", "-o", path, *units], check=True)
    return ctypes.CDLL(str(path))


def _buffers(layer: Layer, x: Tensor, y: Tensor, sizes: ctypes.CDLL) -> tuple[int, int]:
    """Bytes that CMSIS-NN asks for on cores with MVE and on all others."""
    if isinstance(layer, Dense) or not isinstance(layer, Conv | Depthwise):
        return 0, 0
    depthwise = isinstance(layer, Depthwise)
    window = [-x.zero, y.zero, *([y.shape[2] // x.shape[2]] if depthwise else [])]
    for pair in (layer.stride, layer.pad, layer.dilation):
        window += [pair[1], pair[0]]  # tiles are (w, h)
    window += [-128, 127]
    kernel = [1, *layer.kernel, y.shape[2]] if depthwise else [y.shape[2], *layer.kernel, x.shape[2]]
    dims = [(ctypes.c_int32 * 4)(*values) for values in ((1, *x.shape), kernel, (1, *y.shape))]
    name = f"arm_{'depthwise_conv' if depthwise else 'convolve'}_wrapper_s8_get_buffer_size"
    mve, others = (getattr(sizes, f"{name}_{core}") for core in ("mve", "dsp"))
    return mve((ctypes.c_int32 * len(window))(*window), *dims), others((ctypes.c_int32 * len(window))(*window), *dims)
