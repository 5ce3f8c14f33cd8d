"""C for a net: constants, a table of stages that names kernels of ``c/aed_kernels.h``, and the order they run in."""

from collections.abc import Iterator
from importlib.resources import files

from aed.target.codegen.plan import Plan, rows_of
from aed.target.codegen.program import Program
from aed.target.codegen.schedule import Read, Stage
from aed.target.codegen.source import Source
from aed.target.codegen.text import c_comment, c_float, c_lines
from aed.target.codegen.turns import Turns, in_turns
from aed.target.codegen.window import WindowLayer

KERNELS = (
    "aed_kernels.h",
    "aed_steps.h",
    "aed_mve.h",
    "aed_words.h",
    "aed_wasm.h",
    "aed_stages.h",
    "aed_stages.c",
    "aed_conv.c",
    "aed_conv_mve.c",
    "aed_conv_wasm.h",
    "aed_depthwise.c",
    "aed_depthwise_mve.c",
    "aed_depthwise_wasm.h",
    "aed_pool.c",
    "aed_pool_mve.c",
    "aed_average_pool.c",
    "aed_mean.c",
    "aed_elementwise.c",
    "aed_elementwise_wasm.h",
    "aed_elementwise_mve.c",
    "aed_activation.c",
)

OF_KERNELS = ("aed_steps.h", "aed_words.h", "aed_mve.h", *(name for name in KERNELS if name.endswith("wasm.h")))
"""Headers for kernels alone: not for whoever calls them."""


def kernel_sources() -> dict[str, str]:
    """File name -> content of the kernels."""
    return {name: (files("aed.target.codegen") / "c" / name).read_text(encoding="utf-8") for name in KERNELS}


LISTENER = ("aed_listener.h", "aed_listener.c", "aed_gate.h", "aed_gate.c")
"""The C that leads the front end's columns to a net, and says when sound is loud enough for it."""

_NO_GATE = "#define AED_GATE_POWER 0\n"


def listener_sources(gate: int | None = None) -> dict[str, str]:
    """File name -> content of :data:`LISTENER`.

    Args:
        gate: Power that the loudest column of a patch has to reach, see :mod:`aed.dsp.gate`; None: the net always runs.
    """
    folder = files("aed.target.codegen") / "c"
    sources = {name: (folder / name).read_text(encoding="utf-8") for name in LISTENER}
    if gate is not None:
        assert _NO_GATE in sources["aed_gate.h"]
        sources["aed_gate.h"] = sources["aed_gate.h"].replace(_NO_GATE, f"#define AED_GATE_POWER {gate}ULL\n")
    return sources


def net_sources(program: Program, plan: Plan) -> dict[str, str]:
    """File name -> content of ``aed_net.h`` and ``aed_net.c``; the same program gives the same bytes."""
    return {"aed_net.h": _header(program, plan), "aed_net.c": _source(program, plan)}


def run_name(plan: Plan) -> str:
    """The function that runs a net on a whole input; inputs of another order have a function of another name."""
    return "aed_net_run_frames" if plan.feeds else "aed_net_run"


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

/* Frames between two outputs of a stream, in which no frame is fed twice; 0: patches, one after the other. */
#define AED_NET_HOP {plan.schedule.hop}

#ifdef __cplusplus
extern "C" {{
#endif

/* Runs the net on a whole input. Not reentrant: activations lie in one static arena. */
void {run_name(plan)}(const int8_t *in, int8_t *out);
{_FEED[plan.streams] if plan.feeds else ""}
#ifdef __cplusplus
}}
#endif

#endif
"""


_LAYOUT = {False: "A patch is (n_mels, frames).", True: "A patch is (frames, n_mels)."}

_BEGIN = """
/* The same frame by frame. The next one is the first of a patch, whatever became of the one before. */
void aed_net_begin(void);

/* Takes the next frame, AED_NET_INPUT_SIZE / AED_NET_INPUT_HEIGHT values; they are used when it returns. Returns 1 and
 * writes the output"""

_FEED = {
    False: f"""{_BEGIN} if it was the last of the patch, else 0; the next one then begins a patch. */
int aed_net_feed(const int8_t *frame, int8_t *out);
""",
    True: f"""{_BEGIN} of the last AED_NET_INPUT_HEIGHT frames once there are as many, and then after every AED_NET_HOP
 * frames, else 0. */
int aed_net_feed(const int8_t *frame, int8_t *out);
""",
}
"""By whether the net is a stream."""


def _source(program: Program, plan: Plan) -> str:
    """Text of ``aed_net.c``."""
    schedule, source = plan.schedule, Source()
    runs, functions = [], []
    for number, stage in enumerate(schedule.stages):
        seen = rows_of(stage.layer, program, stage.rows > 1) if stage.layer.is_pixelwise(program) else program
        if isinstance(stage.layer, WindowLayer):
            kernel, layer = stage.layer.kernel_of_rows(source, number, seen)
            runs.append(f"{kernel}, &{layer}")
        else:
            functions.append(_function(number, stage, seen, source))
            runs.append(f"run{number}, NULL")
    reads = [_read(read, program, plan) for stage in schedule.stages for read in stage.reads]
    stages = list(_stages(program, plan, runs))
    turns = in_turns(schedule.steps) if plan.feeds and not plan.streams else Turns(schedule.steps)
    steps = [str(step if step >= 0 else len(stages)) for step in turns.steps]
    image, scratch = "NULL" if plan.feeds else "&image", "scratch" if source.scratch else "NULL"
    rows = max(sum(read.rows.count for read in stage.reads) for stage in schedule.stages)
    return "\n".join(
        [
            "/* Generated: constants and stages of one net. */",
            '#include "aed_net.h"',
            "",
            "#include <string.h>",
            "",
            '#include "aed_kernels.h"',
            '#include "aed_stages.h"',
            "",
            *source.constants,
            "/* 64-bit words: aligned for whatever kernels keep there. */",
            f"static uint64_t arena[{max(1, -(-plan.size // 8))}];",
            source.scratch,
            *functions,
            f"static const aed_read_t reads[{len(reads)}] = {{\n{c_lines(reads)}\n}};",
            "",
            f"static const aed_stage_t stages[{len(stages)}] = {{",
            *stages,
            "};",
            "",
            "/* The order in which stages run; AED_NET_LAYERS: a row of the input comes. */",
            f"static const uint{8 if len(stages) < 256 else 16}_t steps[{len(steps)}] = {{\n{c_lines(steps)}\n}};",
            "",
            f"static int16_t places[{len(reads)} + AED_NET_LAYERS];",
            f"static const int8_t *rows_read[{rows}];",
            *([] if plan.feeds else ["static const int8_t *image;"]),
            f"static const aed_stages_t net = {{stages, reads, places, rows_read, {image}, {scratch}, "
            f"{len(reads)} + AED_NET_LAYERS, {len(reads)}}};",
            "",
            _fed(program, plan, turns) if plan.feeds else _RUN,
        ]
    )


_RUN = """void aed_net_run(const int8_t *in, int8_t *out) {
    image = in;
    aed_begin_stages(&net);
    for (size_t i = 1; i < sizeof steps / sizeof steps[0]; ++i) { /* from 1: the input is there */
        aed_run_stage(&net, steps[i]);
    }
    memcpy(out, stages[AED_NET_LAYERS - 1].out, AED_NET_OUTPUT_SIZE);
}
"""


_FEED_PATCH = """    for (++step; step < STEPS && steps[step] < AED_NET_LAYERS; ++step) {{
        aed_run_stage(&net, steps[step]);
    }}
{again}    if (step < STEPS) {{
        return 0;
    }}
    memcpy(out, stages[AED_NET_LAYERS - 1].out, AED_NET_OUTPUT_SIZE);
    aed_net_begin();
    return 1;
"""

_AGAIN = """    if (step == {end} && turn < {more}) {{ /* the same steps once more */
        step = {begin};
        ++turn;
    }}
"""

_FEED_STREAM = """    int ready = 0;
    for (++step; step < STEPS && steps[step] < AED_NET_LAYERS; ++step) {{
        aed_run_stage(&net, steps[step]);
        ready |= steps[step] == AED_NET_LAYERS - 1;
    }}
    if (step == STEPS) {{
        step = {loop};
    }}
    if (ready != 0) {{
        memcpy(out, stages[AED_NET_LAYERS - 1].out, AED_NET_OUTPUT_SIZE);
    }}
    return ready;
"""


def _fed(program: Program, plan: Plan, turns: Turns) -> str:
    """The functions of a net whose input comes row by row."""
    offset, capacity = plan.offsets[program.input], plan.schedule.capacities[0]
    counter = reset = again = ""
    if turns.times > 1:
        counter, reset = "static int32_t turn;\n", "    turn = 0;\n"
        again = _AGAIN.format(begin=turns.begin, end=turns.end, more=turns.times - 1)
    feed = _FEED_STREAM.format(loop=plan.schedule.loop) if plan.streams else _FEED_PATCH.format(again=again)
    return f"""#define FRAME (AED_NET_INPUT_SIZE / AED_NET_INPUT_HEIGHT)
#define STEPS (sizeof steps / sizeof steps[0])

static size_t step;
static int32_t slot; /* of the next frame */
{counter}
void aed_net_begin(void) {{
    step = 0;
    slot = 0;
{reset}    aed_begin_stages(&net);
}}

int aed_net_feed(const int8_t *frame, int8_t *out) {{
    memcpy((int8_t *)arena + {offset} + slot * FRAME, frame, FRAME);
    slot = slot + 1 < {capacity} ? slot + 1 : 0;
{feed}}}

void aed_net_run_frames(const int8_t *in, int8_t *out) {{
    aed_net_begin();
    for (int32_t i = 0; i < AED_NET_INPUT_HEIGHT; ++i) {{
        (void)aed_net_feed(in + i * FRAME, out);
    }}
}}
"""


def _function(number: int, stage: Stage, seen: Program, source: Source) -> str:
    """The function that runs a stage once whose kernel wants other arguments than a row."""
    layer, first = stage.layer, 0
    source.addresses = {layer.output: "out"}
    for read in stage.reads:
        source.addresses[read.name] = f"rows[{first}]"
        first += read.rows.count
    lines = ["(void)layer;", "(void)scratch;", *layer.call(source, number, seen)]
    body = "".join(f"    {line}\n" for line in lines)
    arguments = "const int8_t *const *rows, int8_t *out, const void *layer, void *scratch"
    return f"static void run{number}({arguments}) {{\n{body}}}\n"


def _read(read: Read, program: Program, plan: Plan) -> str:
    schedule, rows = plan.schedule, read.rows
    tensor = program.tensors[schedule.names[read.ring]]
    place = f"(int8_t *)arena + {plan.offsets[tensor.name]}" if tensor.name in plan.offsets else "NULL"
    height = tensor.shape[0]
    ring = f"{place}, {tensor.size // height}, {schedule.capacities[read.ring]}, {0 if plan.streams else height}"
    return f"{{{ring}, {rows.count}, {rows.stride}, {rows.pad}, {rows.dilation}}}"


def _stages(program: Program, plan: Plan, runs: list[str]) -> Iterator[str]:
    schedule, reads = plan.schedule, 0
    for number, stage in enumerate(schedule.stages):
        tensor = program.tensors[stage.layer.output]
        out = f"(int8_t *)arena + {plan.offsets[tensor.name]}, {stage.rows * tensor.size // tensor.shape[0]}"
        reads += len(stage.reads)
        capacity = schedule.capacities[number + 1] // stage.rows
        yield f"    {{{runs[number]}, {out}, {capacity}, {reads}}}, {c_comment(stage.layer.name)}"
