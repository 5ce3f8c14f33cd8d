"""C for a net: constants, a table of stages that names kernels of ``c/aed_kernels.h``, and the order they run in."""

from collections.abc import Iterator

from aed.target.codegen.fixed import EXACT, fixed_sources
from aed.target.codegen.memory import net_memory, run_stage
from aed.target.codegen.plan import Plan, rows_of
from aed.target.codegen.program import Program
from aed.target.codegen.schedule import Read, Stage
from aed.target.codegen.source import Source
from aed.target.codegen.text import c_comment, c_float, c_lines
from aed.target.codegen.turns import Turns, in_turns
from aed.target.codegen.window import WindowLayer

KERNELS = (
    EXACT,
    "aed_kernels.h",
    "aed_steps.h",
    "aed_mve.h",
    "aed_words.h",
    "aed_wasm.h",
    "aed_stages.h",
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

OF_KERNELS = (
    EXACT,
    "aed_stages.h",
    "aed_steps.h",
    "aed_words.h",
    "aed_mve.h",
    *(name for name in KERNELS if name.endswith("wasm.h")),
)
"""Headers for kernels alone: not for whoever calls them."""


def kernel_sources() -> dict[str, str]:
    """File name -> content of the kernels."""
    return fixed_sources(KERNELS)


LISTENER = ("aed_listener.h", "aed_listener.c", "aed_gate.h", "aed_gate.c")
"""The C that leads the front end's columns to a net, and says when sound is loud enough for it."""

_NO_GATE = "#define AED_GATE_POWER 0\n"


def listener_sources(gate: int | None = None) -> dict[str, str]:
    """File name -> content of :data:`LISTENER`.

    Args:
        gate: Power that the loudest column of a patch has to reach, see :mod:`aed.dsp.gate`; None: the net always runs.
    """
    sources = fixed_sources(LISTENER)
    if gate is not None:
        assert _NO_GATE in sources["aed_gate.h"]
        sources["aed_gate.h"] = sources["aed_gate.h"].replace(_NO_GATE, f"#define AED_GATE_POWER {gate}ULL\n")
    return sources


def net_sources(program: Program, plan: Plan) -> dict[str, str]:
    """File name -> content of ``aed_net.h`` and ``aed_net.c``; the same program gives the same bytes."""
    source = Source()
    body = _source(program, plan, source)
    return {"aed_net.h": _header(program, plan, source), "aed_net.c": body}


def run_name(plan: Plan) -> str:
    """The function that runs a net on a whole input; inputs of another order have a function of another name."""
    return "aed_net_run_frames" if plan.feeds else "aed_net_run"


def _header(program: Program, plan: Plan, source: Source) -> str:
    x, y = program.tensors[program.input], program.tensors[program.output]
    return f"""/* Generated: one net, int8 in, int8 out. */
#ifndef AED_NET_H
#define AED_NET_H

#include <stddef.h>
#include <stdint.h>

#include "aed_kernels.h"

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
{net_memory(plan, source, _turns(plan).times > 1)}
#ifdef __cplusplus
extern "C" {{
#endif

/* Runs the net on a whole input. */
void {run_name(plan)}(aed_net *net, const int8_t *in, int8_t *out);
{_FEED[plan.streams] if plan.feeds else ""}
#ifdef AED_COUNT
/* Yours, with -DAED_COUNT: called before (begins = 1) and after each run of a part, of AED_NET_LAYERS. */
void aed_count(int part, int begins);
#endif

#ifdef __cplusplus
}}
#endif

#endif
"""


_LAYOUT = {False: "A patch is (n_mels, frames).", True: "A patch is (frames, n_mels)."}

_BEGIN = """
/* The same frame by frame. The next one is the first of a patch, whatever became of the one before. */
void aed_net_begin(aed_net *net);

/* Takes the next frame, AED_NET_INPUT_SIZE / AED_NET_INPUT_HEIGHT values; they are used when it returns. Returns 1 and
 * writes the output"""

_FEED = {
    False: f"""{_BEGIN} if it was the last of the patch, else 0; the next one then begins a patch. */
int aed_net_feed(aed_net *net, const int8_t *frame, int8_t *out);
""",
    True: f"""{_BEGIN} of the last AED_NET_INPUT_HEIGHT frames once there are as many, and then after every AED_NET_HOP
 * frames, else 0. */
int aed_net_feed(aed_net *net, const int8_t *frame, int8_t *out);
""",
}
"""By whether the net is a stream."""


def _source(program: Program, plan: Plan, source: Source) -> str:
    """Text of ``aed_net.c``; ``source`` gets its definitions."""
    schedule = plan.schedule
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
    turns = _turns(plan)
    steps = [str(step if step >= 0 else len(stages)) for step in turns.steps]
    return "\n".join(
        [
            "/* Generated: constants and stages of one net. */",
            '#include "aed_net.h"',
            "",
            "#include <string.h>",
            "",
            '#include "aed_stages.h"',
            "",
            *source.constants,
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
            run_stage(plan, source),
            _fed(program, plan, turns) if plan.feeds else _RUN.format(out=_output(plan)),
        ]
    )


_RUN = """void aed_net_run(aed_net *net, const int8_t *in, int8_t *out) {{
    net->image = in;
    memset(net->places, 0, sizeof net->places);
    for (size_t i = 1; i < sizeof steps / sizeof steps[0]; ++i) {{ /* from 1: the input is there */
        run_stage(net, steps[i]);
    }}
    memcpy(out, (const int8_t *)net->arena + {out}, AED_NET_OUTPUT_SIZE);
}}
"""


_FEED_PATCH = """    for (++step; step < STEPS && steps[step] < AED_NET_LAYERS; ++step) {{
        run_stage(net, steps[step]);
    }}
{again}    net->step = step;
    if (step < STEPS) {{
        return 0;
    }}
    memcpy(out, (const int8_t *)net->arena + {out}, AED_NET_OUTPUT_SIZE);
    aed_net_begin(net);
    return 1;
"""

_AGAIN = """    if (step == {end} && net->turn < {more}) {{ /* the same steps once more */
        step = {begin};
        ++net->turn;
    }}
"""

_FEED_STREAM = """    int ready = 0;
    for (++step; step < STEPS && steps[step] < AED_NET_LAYERS; ++step) {{
        run_stage(net, steps[step]);
        ready |= steps[step] == AED_NET_LAYERS - 1;
    }}
    net->step = step < STEPS ? step : {loop};
    if (ready != 0) {{
        memcpy(out, (const int8_t *)net->arena + {out}, AED_NET_OUTPUT_SIZE);
    }}
    return ready;
"""


def _fed(program: Program, plan: Plan, turns: Turns) -> str:
    """The functions of a net whose input comes row by row."""
    offset, capacity = plan.offsets[program.input], plan.schedule.capacities[0]
    again = reset = ""
    if turns.times > 1:
        reset = "    net->turn = 0;\n"
        again = _AGAIN.format(begin=turns.begin, end=turns.end, more=turns.times - 1)
    out = _output(plan)
    feed = (
        _FEED_STREAM.format(loop=plan.schedule.loop, out=out)
        if plan.streams
        else _FEED_PATCH.format(again=again, out=out)
    )
    return f"""#define FRAME (AED_NET_INPUT_SIZE / AED_NET_INPUT_HEIGHT)
#define STEPS (sizeof steps / sizeof steps[0])

void aed_net_begin(aed_net *net) {{
    net->step = 0;
    net->slot = 0;
{reset}    memset(net->places, 0, sizeof net->places);
}}

int aed_net_feed(aed_net *net, const int8_t *frame, int8_t *out) {{
    size_t step = net->step;
    memcpy((int8_t *)net->arena + {offset} + net->slot * FRAME, frame, FRAME);
    net->slot = net->slot + 1 < {capacity} ? net->slot + 1 : 0;
{feed}}}

void aed_net_run_frames(aed_net *net, const int8_t *in, int8_t *out) {{
    aed_net_begin(net);
    for (int32_t i = 0; i < AED_NET_INPUT_HEIGHT; ++i) {{
        (void)aed_net_feed(net, in + i * FRAME, out);
    }}
}}
"""


def _output(plan: Plan) -> int:
    """Where in the arena the output lies."""
    return plan.offsets[plan.schedule.stages[-1].layer.output]


def _turns(plan: Plan) -> Turns:
    return in_turns(plan.schedule.steps) if plan.feeds and not plan.streams else Turns(plan.schedule.steps)


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
    place = plan.offsets.get(tensor.name, "AED_IMAGE")
    height = tensor.shape[0]
    image = "AED_ENDLESS" if plan.streams else height
    ring = f"{place}, {tensor.size // height}, {schedule.capacities[read.ring]}, {image}"
    return f"{{{ring}, {rows.count}, {rows.stride}, {rows.pad}, {rows.dilation}}}"


def _stages(program: Program, plan: Plan, runs: list[str]) -> Iterator[str]:
    schedule, reads = plan.schedule, 0
    for number, stage in enumerate(schedule.stages):
        tensor = program.tensors[stage.layer.output]
        out = f"{plan.offsets[tensor.name]}, {stage.rows * tensor.size // tensor.shape[0]}"
        reads += len(stage.reads)
        capacity = schedule.capacities[number + 1] // stage.rows
        yield f"    {{{runs[number]}, {out}, {capacity}, {reads}}}, {c_comment(stage.layer.name)}"
