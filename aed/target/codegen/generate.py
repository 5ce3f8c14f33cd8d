"""C for a net: constants, a function for each stage that calls a kernel of ``c/aed_kernels.h``, and their tables."""

from collections.abc import Iterator
from importlib.resources import files

from aed.target.codegen.plan import Plan, rows_of
from aed.target.codegen.program import Program
from aed.target.codegen.schedule import Read, Schedule
from aed.target.codegen.source import Source
from aed.target.codegen.text import c_comment, c_float, c_lines

KERNELS = (
    "aed_kernels.h",
    "aed_steps.h",
    "aed_walk.h",
    "aed_walk.c",
    "aed_conv.c",
    "aed_depthwise.c",
    "aed_pool.c",
    "aed_mean.c",
    "aed_elementwise.c",
)


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

/* The input: (height, width, channels), real value = scale * (step - zero). {_LAYOUT[program.turned]} */
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

/* 1: frame by frame, by aed_net_begin and aed_net_feed; 0: the whole patch at once. */
#define AED_NET_FEEDS {int(plan.feeds)}

#ifdef __cplusplus
extern "C" {{
#endif

/* Runs the net on a whole input. Not reentrant: activations lie in one static arena. */
void aed_net_run(const int8_t *in, int8_t *out);
{_FEED if plan.feeds else ""}
#ifdef __cplusplus
}}
#endif

#endif
"""


_LAYOUT = {False: "A patch is (n_mels, frames).", True: "A patch is (frames, n_mels)."}

_FEED = """
/* The same frame by frame. Begins a patch, whatever became of the one before. */
void aed_net_begin(void);

/* Takes the next frame, AED_NET_INPUT_SIZE / AED_NET_INPUT_HEIGHT values; they are used when it returns. Returns 1 and
 * writes the output if it was the last of the patch, else 0. */
int aed_net_feed(const int8_t *frame, int8_t *out);
"""


def _source(program: Program, plan: Plan) -> str:
    """Text of ``aed_net.c``."""
    schedule, source = plan.schedule, Source()
    stages = [_stage_function(number, program, plan, source) for number in range(len(schedule.stages))]
    rings = [_ring(number, program, plan) for number in range(len(schedule.names))]
    reads = [read for stage in schedule.stages for read in stage.reads]
    rows = max(sum(read.rows.count for read in stage.reads) for stage in schedule.stages)
    return "\n".join(
        [
            "/* Generated: constants and stages of one net. */",
            '#include "aed_net.h"',
            "",
            "#include <string.h>",
            "",
            '#include "aed_kernels.h"',
            '#include "aed_walk.h"',
            "",
            *source.constants,
            "/* 64-bit words: aligned for whatever kernels keep there. */",
            f"static uint64_t arena[{max(1, -(-plan.size // 8))}];",
            f"static uint64_t scratch[{-(-source.scratch_bytes // 8)}];" if source.scratch_bytes else "",
            "",
            *stages,
            f"static const aed_ring_t rings[{len(rings)}] = {{\n{c_lines(rings)}\n}};",
            "",
            f"static const aed_read_t reads[{len(reads)}] = {{\n{c_lines(map(_read, reads))}\n}};",
            "",
            f"static const aed_stage_t stages[{len(stages)}] = {{\n{c_lines(_stages(schedule))}\n}};",
            "",
            f"static aed_filled_t filled[{len(rings)}];",
            f"static const int8_t *rows_read[{rows}];",
            "static const int8_t *image;",
            "static const aed_walk_t walk = {",
            f"    stages, rings, filled, rows_read, &image, {len(stages)}, {schedule.next_of(0)},",
            "};",
            "",
            _RUN_FED if plan.feeds else _RUN,
        ]
    )


_RUN = """void aed_net_run(const int8_t *in, int8_t *out) {
    aed_walk_begin(&walk);
    aed_walk_image(&walk, in);
    memcpy(out, rings[AED_NET_LAYERS].rows, AED_NET_OUTPUT_SIZE);
}
"""

_RUN_FED = """void aed_net_begin(void) {
    aed_walk_begin(&walk);
}

int aed_net_feed(const int8_t *frame, int8_t *out) {
    const int is_last = aed_walk_row(&walk, frame);
    if (is_last != 0) {
        memcpy(out, rings[AED_NET_LAYERS].rows, AED_NET_OUTPUT_SIZE);
    }
    return is_last;
}

void aed_net_run(const int8_t *in, int8_t *out) {
    aed_net_begin();
    for (int32_t frame = 0; frame < AED_NET_INPUT_HEIGHT; ++frame) {
        (void)aed_net_feed(in, out);
        in += AED_NET_INPUT_SIZE / AED_NET_INPUT_HEIGHT;
    }
}
"""


def _stage_function(number: int, program: Program, plan: Plan, source: Source) -> str:
    """The function that runs a stage once."""
    stage = plan.schedule.stages[number]
    layer, first = stage.layer, 0
    source.addresses = {layer.output: "out"}
    for read in stage.reads:
        source.addresses[read.name] = f"rows[{first}]"
        first += read.rows.count
    seen = rows_of(layer, program, stage.rows > 1) if layer.is_pixelwise(program) else program
    body = "".join(f"    {line}\n" for line in layer.call(source, number, seen))
    name = c_comment(layer.name)
    return f"{name}\nstatic void run{number}(const int8_t *const *rows, int8_t *out) {{\n{body}}}\n"


def _ring(number: int, program: Program, plan: Plan) -> str:
    schedule = plan.schedule
    tensor = program.tensors[schedule.names[number]]
    height = schedule.heights[number]
    rows = f"(int8_t *)arena + {plan.offsets[tensor.name]}" if tensor.name in plan.offsets else "NULL"
    return f"{{{rows}, {tensor.size // height}, {schedule.capacities[number]}, {height}u}}"


def _read(read: Read) -> str:
    rows = read.rows
    return f"{{{read.ring}, {rows.count}, {rows.stride}, {rows.pad}, {rows.dilation}, {int(read.whole)}}}"


def _stages(schedule: Schedule) -> Iterator[str]:
    first = 0
    for number, stage in enumerate(schedule.stages):
        yield f"{{run{number}, reads + {first}, {len(stage.reads)}, {stage.rows}, {schedule.next_of(number + 1)}}}"
        first += len(stage.reads)
