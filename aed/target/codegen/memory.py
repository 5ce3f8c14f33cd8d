"""The memory of a net in C: the struct ``aed_net``, and the run of a stage in it."""

from aed.target.codegen.plan import Plan
from aed.target.codegen.source import Source, chosen

_OTHER_MEMORY = ("net_begin", "net_run", "net_run_frames", "listener_init", "selftest")
"""Functions that are given such memory first: what is compiled for another core than the library does not link."""


def net_memory(plan: Plan, source: Source, turns: bool) -> str:
    """The part of ``aed_net.h`` that defines ``aed_net``.

    Args:
        plan: Of the net.
        source: With the scratch memory of all its kernels.
        turns: Whether it takes the same steps in turns.
    """
    words = source.scratch_words
    guard = scratch = ""
    if any(words.values()):
        size = chosen(*(f"#define AED_NET_SCRATCH_WORDS {words[core]}\n" for core in ("mve", "others")))
        names = "".join(f"#define aed_{name} aed_{name}_mve\n" for name in _OTHER_MEMORY)
        guard = f"\n/* Of 64 bits, for kernels. */\n{size}"
        if words["mve"] != words["others"]:
            guard += f"\n{_GUARD}#if AED_MVE\n{names}#endif\n"
        scratch = "    uint64_t scratch[AED_NET_SCRATCH_WORDS];\n"
    fed = "    size_t step;\n    int32_t slot; /* of the next frame */\n"
    fed += "    int32_t turn;\n" if turns else ""
    return f"""
/* Places of rows, rows that a layer reads, words of 64 bits. */
#define AED_NET_PLACES {_num_reads(plan) + len(plan.schedule.stages)}
#define AED_NET_ROWS {max(sum(read.rows.count for read in stage.reads) for stage in plan.schedule.stages)}
#define AED_NET_ARENA_WORDS {max(1, -(-plan.size // 8))}
{guard}
/* The memory of a net: all that it changes, and only it. Yours to allocate, statically; one for each stream. */
typedef struct {{
{fed if plan.feeds else "    const int8_t *image; /* the input */" + chr(10)}    int16_t places[AED_NET_PLACES];
    const int8_t *rows[AED_NET_ROWS];
    uint64_t arena[AED_NET_ARENA_WORDS]; /* of activations */
{scratch}}} aed_net;
"""


_GUARD = """\
/* Its size depends on the core. What is compiled for another one than the library does not link: the functions that are
 * given such memory first have other names. */
"""


def _num_reads(plan: Plan) -> int:
    return sum(len(stage.reads) for stage in plan.schedule.stages)


def run_stage(plan: Plan, source: Source) -> str:
    """The function of ``aed_net.c`` that runs a stage."""
    image = "NULL, 0" if plan.feeds else "net->image, 1"
    scratch = "net->scratch" if any(source.scratch_words.values()) else "NULL"
    return f"""/* Runs a stage once. The rows it reads must be there: the order of the steps sees to it. */
AED_STAGE static void run_stage(aed_net *net, int32_t number) {{
    int8_t *const arena = (int8_t *)net->arena;
    const aed_stages_t all = {{stages, reads, arena, net->places, net->rows, {image}, {scratch}, {_num_reads(plan)}}};
    aed_run_stage(&all, number);
}}
"""
