"""C for a net: constants and one function that calls the kernels of ``c/aed_kernels.h`` layer by layer."""

from importlib.resources import files

from aed.target.codegen.plan import Plan
from aed.target.codegen.program import Layer, Program
from aed.target.codegen.source import Source
from aed.target.codegen.text import c_comment, c_float

KERNELS = (
    "aed_kernels.h",
    "aed_steps.h",
    "aed_mve.h",
    "aed_words.h",
    "aed_image.c",
    "aed_conv.c",
    "aed_conv_mve.c",
    "aed_depthwise.c",
    "aed_depthwise_mve.c",
    "aed_pool.c",
    "aed_pool_mve.c",
    "aed_mean.c",
    "aed_elementwise.c",
    "aed_elementwise_mve.c",
)

OF_KERNELS = ("aed_steps.h", "aed_words.h", "aed_mve.h")
"""Headers for kernels alone: not for whoever calls them."""


def kernel_sources() -> dict[str, str]:
    """File name -> content of the kernels."""
    return {name: (files("aed.target.codegen") / "c" / name).read_text(encoding="utf-8") for name in KERNELS}


def net_sources(program: Program, plan: Plan) -> dict[str, str]:
    """File name -> content of ``aed_net.h`` and ``aed_net.c``; the same program gives the same bytes."""
    return {"aed_net.h": _header(program, plan), "aed_net.c": _source(program, plan)}


def _header(program: Program, plan: Plan) -> str:
    x, y = program.tensors[program.input], program.tensors[program.output]
    return f"""/* Generated: one net, int8 in, int8 out. */
#ifndef AED_NET_H
#define AED_NET_H

#include <stdint.h>

/* The input: (height, width, channels), real value = scale * (step - zero). */
#define AED_NET_INPUT_HEIGHT {x.shape[0]}
#define AED_NET_INPUT_WIDTH {x.shape[1]}
#define AED_NET_INPUT_CHANNELS {x.shape[2]}
#define AED_NET_INPUT_SIZE {x.size}
#define AED_NET_INPUT_SCALE {c_float(x.scale)}
#define AED_NET_INPUT_ZERO ({x.zero})

#define AED_NET_OUTPUT_SIZE {y.size}
#define AED_NET_OUTPUT_SCALE {c_float(y.scale)}
#define AED_NET_OUTPUT_ZERO ({y.zero})

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


def _source(program: Program, plan: Plan) -> str:
    """Text of ``aed_net.c``."""
    source = Source(_addresses(program, plan))
    cases = [_case(number, layer, program, source) for number, layer in enumerate(program.layers)]
    return "\n".join(
        [
            "/* Generated: constants and calls of one net. */",
            '#include "aed_net.h"',
            "",
            '#include "aed_kernels.h"',
            "",
            *source.constants,
            "/* 64-bit words: aligned for whatever kernels keep there. */",
            f"static uint64_t arena[{max(1, -(-plan.size // 8))}];",
            source.scratch,
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


def _addresses(program: Program, plan: Plan) -> dict[str, str]:
    """Tensor name -> C expression of its address; a constant has none."""
    homes = {name: f"base + {offset}" for name, offset in plan.offsets.items()}
    homes |= {program.input: "in", program.output: "out"}
    return homes | {view: homes[home] for view, home in program.views.items()}


def _case(number: int, layer: Layer, program: Program, source: Source) -> str:
    """The case of ``aed_net_layer`` that runs a layer."""
    body = [c_comment(layer.name), *layer.call(source, number, program), "break;"]
    return "\n".join([f"    case {number}:", *(f"        {line}" for line in body)])
