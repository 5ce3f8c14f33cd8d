"""C for a net: constants and one function that calls the kernels of ``c/aed_kernels.c`` layer by layer."""

from collections.abc import Sequence
from importlib.resources import files
from typing import Any

import numpy as np
import numpy.typing as npt

from aed.target.codegen.lower import Layer, Program, Tensor
from aed.target.codegen.plan import Plan
from aed.target.codegen.text import c_comment, c_float, c_lines

KERNELS = ("aed_kernels.h", "aed_kernels.c")


def kernel_sources() -> dict[str, str]:
    """File name -> content of the kernels."""
    return {name: (files("aed.target.codegen") / "c" / name).read_text(encoding="utf-8") for name in KERNELS}


def net_sources(program: Program, plan: Plan) -> dict[str, str]:
    """File name -> content of ``aed_net.h`` and ``aed_net.c``; the same program gives the same bytes."""
    return {"aed_net.h": _header(program, plan), "aed_net.c": _Source(program, plan).text()}


def _header(program: Program, plan: Plan) -> str:
    given, made = program.tensors[program.input], program.tensors[program.output]
    return f"""/* Generated: one net, int8 in, int8 out. */
#ifndef AED_NET_H
#define AED_NET_H

#include <stdint.h>

/* The input: (height, width, channels), real value = scale * (step - zero). */
#define AED_NET_INPUT_HEIGHT {given.shape[0]}
#define AED_NET_INPUT_WIDTH {given.shape[1]}
#define AED_NET_INPUT_CHANNELS {given.shape[2]}
#define AED_NET_INPUT_SIZE {given.size}
#define AED_NET_INPUT_SCALE {c_float(given.scale)}
#define AED_NET_INPUT_ZERO ({given.zero})

#define AED_NET_OUTPUT_SIZE {made.size}
#define AED_NET_OUTPUT_SCALE {c_float(made.scale)}
#define AED_NET_OUTPUT_ZERO ({made.zero})

#define AED_NET_ARENA_BYTES {plan.size}
#define AED_NET_LAYERS {len(program.layers)}

#ifdef __cplusplus
extern "C" {{
#endif

/* Runs the net once. Not reentrant: activations lie in one static arena. */
void aed_net_run(const int8_t *in, int8_t *out);

/* As above, layer by layer, for profiles: layer is 0 .. AED_NET_LAYERS - 1. */
void aed_net_layer(int layer, const int8_t *in, int8_t *out);

#ifdef __cplusplus
}}
#endif

#endif
"""


class _Source:
    """Text of ``aed_net.c``."""

    def __init__(self, program: Program, plan: Plan) -> None:
        self.program, self.plan = program, plan
        self.constants: list[str] = []
        self.scratch = 1

    def text(self) -> str:
        """The whole file."""
        cases = [f"    case {number}:\n{self._call(number, layer)}" for number, layer in enumerate(self.program.layers)]
        words = -(-self.scratch // 8)
        return "\n".join(
            [
                "/* Generated: constants and calls of one net. */",
                '#include "aed_net.h"',
                "",
                '#include "aed_kernels.h"',
                "",
                *self.constants,
                "/* 64-bit words: aligned for whatever kernels keep there. */",
                f"static uint64_t arena[{max(1, -(-self.plan.size // 8))}];",
                f"static uint64_t scratch[{words}];",
                "",
                "void aed_net_layer(int layer, const int8_t *in, int8_t *out) {",
                "    int8_t *const base = (int8_t *)arena;",
                "    (void)base;",
                "    switch (layer) {",
                *cases,
                "    default:",
                "        break;",
                "    }",
                "}",
                "",
                "void aed_net_run(const int8_t *in, int8_t *out) {",
                "    for (int layer = 0; layer < AED_NET_LAYERS; ++layer) {",
                "        aed_net_layer(layer, in, out);",
                "    }",
                "}",
                "",
            ]
        )

    def _place(self, name: str) -> str:
        """C expression of a tensor's address."""
        home = self.program.views.get(name, name)
        if home == self.program.input:
            return "in"
        if home == self.program.output:
            return "out"
        return f"base + {self.plan.offsets[home]}"

    def _call(self, number: int, layer: Layer) -> str:
        given, made = self.program.tensors[layer.inputs[0]], self.program.tensors[layer.output]
        place = (self._place(layer.inputs[0]), self._place(layer.output))
        lines = _WRITERS[layer.kind](self, number, layer, given, made, *place)
        body = [c_comment(layer.name), *lines, "break;"]
        return "\n".join(f"        {line}" for line in body)

    def _array(self, kind: str, name: str, values: npt.NDArray[Any]) -> str:
        """Defines a constant array and returns its name."""
        flat = values.ravel()
        text = [c_float(value) for value in flat] if flat.dtype.kind == "f" else [str(value) for value in flat.tolist()]
        align = "\n    __attribute__((aligned(4)))" if kind == "int8_t" else ""
        self.constants.append(f"static const {kind} {name}[{len(text)}]{align} = {{\n{c_lines(text)}\n}};\n")
        return name

    def conv(self, number: int, layer: Layer, given: Tensor, made: Tensor, source: str, target: str) -> list[str]:
        assert layer.weight is not None
        rows = layer.weight.reshape(len(layer.weight), -1)
        k = rows.shape[1]
        packed = np.pad(rows, ((0, 0), (0, -k % 16)))
        self.scratch = max(self.scratch, 4 * packed.shape[1])
        fields = self._common(number, layer, packed)
        self._layer("aed_conv_t", number, [*fields, *self._geometry(layer, given, made, "in_c", "out_c")])
        return [f"aed_conv({source}, {target}, &layer{number}, scratch);"]

    def depthwise(self, number: int, layer: Layer, given: Tensor, made: Tensor, source: str, target: str) -> list[str]:
        assert layer.weight is not None
        taps = layer.kernel[0] * layer.kernel[1]
        self.scratch = max(self.scratch, 8 * taps + given.shape[2] + 3)
        rows = layer.weight.reshape(taps, -1)
        quads = np.pad(rows, ((0, 0), (0, -rows.shape[1] % 4))).reshape(taps, -1, 4).transpose(1, 0, 2)
        fields = self._common(number, layer, quads)
        self._layer("aed_depthwise_t", number, [*fields, *self._geometry(layer, given, made, "in_c", "out_c")])
        return [f"aed_depthwise({source}, {target}, &layer{number}, scratch);"]

    def _common(self, number: int, layer: Layer, weight: npt.NDArray[Any]) -> list[str]:
        assert layer.bias is not None and layer.factor is not None
        return [
            f".weight = {self._array('int8_t', f'weight{number}', weight)}",
            f".bias = {self._array('int32_t', f'bias{number}', layer.bias)}",
            f".factor = {self._array('float', f'factor{number}', layer.factor)}",
        ]

    def _geometry(self, layer: Layer, given: Tensor, made: Tensor, inputs: str, outputs: str) -> list[str]:
        fields = [f".in_h = {given.shape[0]}, .in_w = {given.shape[1]}, .{inputs} = {given.shape[2]}"]
        out = f".out_h = {made.shape[0]}, .out_w = {made.shape[1]}"
        fields.append(f"{out}, .{outputs} = {made.shape[2]}" if outputs else out)
        fields.append(f".k_h = {layer.kernel[0]}, .k_w = {layer.kernel[1]}")
        fields.append(f".stride_h = {layer.stride[0]}, .stride_w = {layer.stride[1]}")
        fields.append(f".pad_top = {layer.pad[0]}, .pad_left = {layer.pad[1]}")
        fields.append(f".dilation_h = {layer.dilation[0]}, .dilation_w = {layer.dilation[1]}")
        return [*fields, f".in_zero = {given.zero}, .out_zero = {made.zero}"]

    def _layer(self, kind: str, number: int, fields: Sequence[str]) -> None:
        inside = "".join(f"    {field},\n" for field in fields)
        self.constants.append(f"static const {kind} layer{number} = {{\n{inside}}};\n")

    def dense(self, number: int, layer: Layer, given: Tensor, made: Tensor, source: str, target: str) -> list[str]:
        """A convolution of one pixel."""
        return self.conv(number, layer, given, made, source, target)

    def max_pool(self, number: int, layer: Layer, given: Tensor, made: Tensor, source: str, target: str) -> list[str]:
        self._layer("aed_pool_t", number, self._geometry(layer, given, made, "channels", ""))
        return [f"aed_max_pool({source}, {target}, &layer{number}, {_scales(given, made)});"]

    def average_pool(
        self, number: int, layer: Layer, given: Tensor, made: Tensor, source: str, target: str
    ) -> list[str]:
        self._layer("aed_pool_t", number, self._geometry(layer, given, made, "channels", ""))
        return [f"aed_average_pool({source}, {target}, &layer{number}, {_scales(given, made)});"]

    def global_average_pool(
        self, number: int, layer: Layer, given: Tensor, made: Tensor, source: str, target: str
    ) -> list[str]:
        assert layer.factor is not None
        height, width, channels = given.shape
        numbers = f"{height * width}, {channels}, {given.zero}, {made.zero}, {c_float(layer.factor[0])}"
        return [f"aed_global_average_pool({source}, {target}, {numbers});"]

    def mean(self, number: int, layer: Layer, given: Tensor, made: Tensor, source: str, target: str) -> list[str]:
        height, width, channels = given.shape
        sizes, zeros = f"{height * width}, {channels}", f"{given.zero}, {made.zero}"
        return [f"aed_mean({source}, {target}, {sizes}, {_scales(given, made)}, {zeros});"]

    def pad(self, number: int, layer: Layer, given: Tensor, made: Tensor, source: str, target: str) -> list[str]:
        self._layer("aed_pool_t", number, self._geometry(layer, given, made, "channels", ""))
        return [f"aed_pad({source}, {target}, &layer{number}, {_scales(given, made)});"]

    def _second(self, number: int, layer: Layer) -> str:
        """C expression of the second input's address; defines it if it is a constant."""
        if layer.weight is None:
            return self._place(layer.inputs[1])
        return self._array("int8_t", f"constant{number}", layer.weight)

    def add(self, number: int, layer: Layer, given: Tensor, made: Tensor, source: str, target: str) -> list[str]:
        other, second = self.program.tensors[layer.inputs[1]], self._second(number, layer)
        factors = f"{c_float(given.scale / made.scale)}, {c_float(other.scale / made.scale)}"
        zeros = f"{given.zero}, {other.zero}, {made.zero}"
        return [f"aed_add({source}, {second}, {target}, {made.size}, {other.size}, {factors}, {zeros});"]

    def multiply(self, number: int, layer: Layer, given: Tensor, made: Tensor, source: str, target: str) -> list[str]:
        other, second = self.program.tensors[layer.inputs[1]], self._second(number, layer)
        factor = c_float(given.scale * other.scale / made.scale)
        zeros = f"{given.zero}, {other.zero}, {made.zero}"
        return [f"aed_multiply({source}, {second}, {target}, {made.size}, {other.size}, {factor}, {zeros});"]

    def lookup(self, number: int, layer: Layer, given: Tensor, made: Tensor, source: str, target: str) -> list[str]:
        assert layer.weight is not None
        return [
            f"aed_lookup({source}, {target}, {made.size}, {self._array('int8_t', f'table{number}', layer.weight)});"
        ]

    def softmax(self, number: int, layer: Layer, given: Tensor, made: Tensor, source: str, target: str) -> list[str]:
        assert layer.factor is not None
        table = self._array("float", f"exponential{number}", layer.factor)
        steps = c_float(np.floor(np.float32(1) / made.scale))
        return [f"aed_softmax({source}, {target}, {made.size}, {table}, {steps}, {made.zero});"]

    def concat(self, number: int, layer: Layer, given: Tensor, made: Tensor, source: str, target: str) -> list[str]:
        lines, start = [], 0
        height, width, depth = made.shape
        for name in layer.inputs:
            part = self.program.tensors[name]
            scales = f"{_scales(part, made)}, {part.zero}, {made.zero}"
            sizes = f"{height * width}, {part.shape[2]}, {depth}"
            lines.append(f"aed_requantise({self._place(name)}, {target} + {start}, {sizes}, {scales});")
            start += part.shape[2]
        return lines


def _scales(given: Tensor, made: Tensor) -> str:
    return f"{c_float(given.scale)}, {c_float(made.scale)}"


_WRITERS = {
    "conv": _Source.conv,
    "depthwise": _Source.depthwise,
    "dense": _Source.dense,
    "max_pool": _Source.max_pool,
    "average_pool": _Source.average_pool,
    "global_average_pool": _Source.global_average_pool,
    "mean": _Source.mean,
    "pad": _Source.pad,
    "add": _Source.add,
    "multiply": _Source.multiply,
    "lookup": _Source.lookup,
    "softmax": _Source.softmax,
    "concat": _Source.concat,
}
