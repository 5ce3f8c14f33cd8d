"""The library a firmware engineer adds to a project: net, front end, class names, example, self-test, build file."""

import json
import logging
import re
from functools import partial
from importlib.resources import files
from pathlib import Path
from string import Template
from textwrap import indent

import numpy as np
import onnx

from aed.base.errors import AedError
from aed.base.files import temporary_folder, whole_folder
from aed.base.processes import is_available
from aed.dsp.frontend import FrontendConfig
from aed.export.card import ModelCard
from aed.export.embedding import without_embedding
from aed.export.runtime import open_exact, run_exact
from aed.target.boards import load_board
from aed.target.codegen.choose import choose_plan
from aed.target.codegen.classes import class_sources, rule
from aed.target.codegen.events import event_sources, events_bytes, in_words
from aed.target.codegen.frontend import column_state_bytes, state_bytes, table_bytes
from aed.target.codegen.generate import OF_KERNELS, kernel_sources, net_sources
from aed.target.codegen.lower import lower
from aed.target.codegen.means import check_learn, mean_sources
from aed.target.codegen.plan import Plan
from aed.target.codegen.prefix import DEFAULT, renamed
from aed.target.codegen.program import Program
from aed.target.codegen.settings import AUTO, PlanSettings
from aed.target.codegen.text import c_lines
from aed.target.emulator import toolchain
from aed.target.firmware.means_facts import means_facts
from aed.target.host import device_sources

log = logging.getLogger(__name__)

MARK = "aed_firmware.json"
"""The model card; a folder without it was not written by aed and is not replaced."""

BUILT_FOR = ("mps2-an386", "mps2-an505", "mps3-an547")
"""Boards for whose cores the README has the size of the code."""


def write_firmware(
    model: onnx.ModelProto,
    card: ModelCard,
    folder: Path,
    title: str,
    prefix: str = DEFAULT,
    planning: PlanSettings = AUTO,
    learn: int = 0,
) -> None:
    """Writes the library; the folder is whole or, where something fails, as it was before.

    A front end that no device can compute is left out: the library is then the net alone, as its README states.

    Args:
        model: int8.
        card: Its card.
        folder: New, or one that this function wrote earlier.
        title: For the README.
        prefix: Of every name that another file of a firmware can see; checked.
        planning: How the net is run.
        learn: Sounds that the device can learn.

    Raises:
        AedError: The model cannot learn; the model or its front end has no C form, or the folder holds something else.
    """
    if card.frontend.not_streamable:
        log.warning(
            "no C of the front end, the library is the net alone: %s; you have to compute its patches",
            "; ".join(card.frontend.not_streamable),
        )
    check_learn(card, learn)
    if not (card.decision.by_nearness or learn):
        model = without_embedding(model)
    chosen = choose_plan(partial(lower, model), planning, card.frontend.patch_hop, "c.")
    sources = library_sources(model, chosen.program, chosen.plan, card, learn)
    parts = files("aed.target.firmware") / "c"
    with whole_folder(folder, MARK) as staging:
        for name, text in sources.items():
            is_public = name.endswith(".h") and name not in OF_KERNELS
            target = staging / ("include" if is_public else "src") / renamed(name, prefix)
            target.parent.mkdir(exist_ok=True)
            target.write_text(renamed(text, prefix), encoding="utf-8")
        (staging / "examples").mkdir()
        example = "main.c" if card.frontend.streamable else "main_net.c"
        for name, part in (
            ("examples/main.c", example),
            ("examples/selftest.c", "selftest.c"),
            ("CMakeLists.txt", "CMakeLists.txt"),
            ("README.md", "README.md"),
        ):
            text = renamed((parts / part).read_text(encoding="utf-8"), prefix)
            if name == "README.md":
                text = Template(text).substitute(
                    _facts(chosen.program, chosen.plan, card, title, sources, prefix, learn), prefix=prefix
                )
            (staging / name).write_text(text, encoding="utf-8")
        (staging / "LICENSE").write_bytes((parts / "LICENSE").read_bytes())
        (staging / MARK).write_text(
            json.dumps(json.loads(card.to_json()), indent=1, sort_keys=True) + "\n", encoding="utf-8"
        )


def library_sources(
    model: onnx.ModelProto, program: Program, plan: Plan, card: ModelCard, learn: int = 0
) -> dict[str, str]:
    """File name -> content of all C files of the library; the same bytes on every run."""
    embedding = program.tensors[program.embedding] if program.embedding else None
    header = (files("aed.target.firmware") / "c" / "aed_selftest.h").read_text(encoding="utf-8")
    streams = card.frontend.streamable
    return {
        **(device_sources(program, plan, card.frontend) if streams else kernel_sources() | net_sources(program, plan)),
        **class_sources(card, program.tensors[program.output], program.num_embedded),
        **event_sources(card, plan.schedule.hop or card.frontend.patch_hop),
        **(mean_sources(card.decision.nearness, embedding, learn) if embedding and card.decision.nearness else {}),
        "aed_selftest.h": header,
        "aed_selftest.c": _selftest(model, program, plan),
    }


_TEMPERATURE = " Logits are divided by a temperature of {:g} first."


def selftest_input(size: int) -> np.ndarray[tuple[int], np.dtype[np.int8]]:
    """The input of ``aed_selftest``: the upper bytes of a linear congruential generator (Numerical Recipes)."""
    state, steps = 1, np.empty(size, np.int8)
    for index in range(size):
        state = (1664525 * state + 1013904223) % 2**32
        steps[index] = (state >> 24) - 128
    return steps


_FILL = """for (int32_t i = 0; i < SIZE; ++i) {
    state = 1664525U * state + 1013904223U;
    in[i] = (int8_t)((int32_t)(state >> 24) - 128);
}
"""

_SELFTEST = {
    False: indent(f"{_FILL}aed_net_run(in, out);\n", "    "),
    True: "    aed_net_begin();\n    for (int32_t frame = 0; frame < AED_NET_INPUT_HEIGHT; ++frame) {\n"
    + indent(f"{_FILL}(void)aed_net_feed(in, out);\n", "        ")
    + "    }\n",
}
"""How the self-test fills the input and runs the net, by whether that takes frame after frame."""


def _selftest(model: onnx.ModelProto, program: Program, plan: Plan) -> str:
    image = program.images(selftest_input(program.tensors[program.input].size))
    session = open_exact(model)
    expected = run_exact(session, image).ravel()
    return f"""/* Generated: an input by rule and the outputs ONNX Runtime gives for it. */
#include "aed_selftest.h"

#include "aed_net.h"

#define SIZE {"(AED_NET_INPUT_SIZE / AED_NET_INPUT_HEIGHT)" if plan.feeds else "AED_NET_INPUT_SIZE"}

static const int8_t expected[AED_NET_OUTPUT_SIZE] = {{
{c_lines(map(str, expected.tolist()))}
}};

int aed_selftest(void) {{
    static int8_t in[SIZE];
    int8_t out[AED_NET_OUTPUT_SIZE];
    uint32_t state = 1U;
    int differing = 0;
{_SELFTEST[plan.feeds]}    for (int i = 0; i < AED_NET_OUTPUT_SIZE; ++i) {{
        differing += out[i] != expected[i] ? 1 : 0;
    }}
    return differing;
}}
"""


def _facts(
    program: Program, plan: Plan, card: ModelCard, title: str, sources: dict[str, str], prefix: str, learn: int
) -> dict[str, str]:
    """Values of the README's template."""
    y = program.tensors[program.output]
    of_frontend = _frontend_facts(card.frontend, program, plan)
    licence = (card.weights or {}).get("licence", "as those of whoever trained them; the card names no published ones")
    return {
        "title": title,
        "classes": ", ".join(card.class_names),
        "rule": rule(card),
        "temperature": _TEMPERATURE.format(card.decision.temperature) if card.decision.temperature != 1 else "",
        "aggregate": card.decision.aggregate,
        "event_rule": in_words(card),
        "events": f"{events_bytes(card):,}",
        **{key: renamed(text, prefix) for key, text in of_frontend.items()},
        "weights": f"{program.weight_bytes:,}",
        "arena": f"{plan.size:,}",
        "output": f"{y.size:,}",
        "macc": f"{program.macc:,}",
        **{key: renamed(text, prefix) for key, text in means_facts(card, program.num_embedded, learn).items()},
        "built": _built(sources),
        "weights_licence": licence,
    }


def listener_bytes(frontend: FrontendConfig, plan: Plan) -> int:
    """``sizeof(aed_listener)`` on a 32-bit core."""
    if not plan.feeds:
        return state_bytes(frontend) + -(-frontend.n_mels * frontend.patch_frames // 4) * 4
    kept = 0 if plan.streams else max(0, frontend.patch_frames - frontend.patch_hop)
    return column_state_bytes(frontend) + -(-frontend.n_mels * (kept + 1) // 4) * 4 + 3 * 4  # next, behind, skip


def _frontend_facts(frontend: FrontendConfig, program: Program, plan: Plan) -> dict[str, str]:
    """Values of the template about the front end, or about the lack of one."""
    x = program.tensors[program.input]
    if frontend.not_streamable:
        order = "frame after frame" if program.turned else "band after band"
        return {
            "parts": "int8 net",
            "no_frontend": (
                "\n**No front end**: no device can compute the one this model was trained with ("
                f"{'; '.join(frontend.not_streamable)}). You have to compute its patches; its accuracies hold only for "
                "patches computed as in training.\n"
            ),
            "feed": (
                f"patches of {frontend.n_mels} mel bands and {frontend.patch_frames} frames, {order}, each "
                f"value as int8: round(value / {float(x.scale):.9g}) + {x.zero}, at most 127 and at least -128"
            ),
            "input": "patches.raw",
            "recording": "",
            "own_state": "",
            "tables": "",
            "state": f"| input patch | {x.size:,} | RAM, the caller's |\n",
        }
    milliseconds = 1000 / frontend.sample_rate
    hop_ms, patch_ms = frontend.patch_hop * frontend.hop_length * milliseconds, frontend.patch_samples * milliseconds
    return {
        "parts": "log-mel front end and int8 net",
        "no_frontend": "",
        "feed": (
            f"feed 16-bit mono samples at {frontend.sample_rate} Hz, in blocks of any size, and every {hop_ms:.0f} ms "
            f"a patch\nof {patch_ms:.0f} ms is ready for the net"
        ),
        "input": "samples.raw",
        "recording": _RECORDING.format(rate=frontend.sample_rate),
        "own_state": "; you own the memory of front end and patch (`aed_listener`)",
        "tables": f"| front-end tables | {table_bytes(frontend):,} | flash |\n",
        "state": f"| front end and patch (`aed_listener`) | {listener_bytes(frontend, plan):,} | RAM, the caller's |\n",
    }


_RECORDING = """
It prints an alarm when it is raised (seconds from the start, probability, class) and an event once it has ended (onset,
offset, greatest probability, class). `samples.raw` is a recording as 16-bit mono samples at {rate} Hz:

    ffmpeg -i recording.wav -ac 1 -ar {rate} -f s16le samples.raw
    sox -D recording.wav -c 1 -r {rate} -e signed -b 16 -L -t raw samples.raw

`python -m aed.detect model=<the model> recording.wav` finds the same events, but where the front end rounds a feature
to the neighbouring int8 step.
"""


_WEIGHTS = re.compile(r"(const int(?:8|16)_t \w+\[\d+\]\s*__attribute__\(\(aligned\(4\)\)\) = \{\n)[^}]*")


def _without_weights(text: str) -> str:
    """``aed_net.c`` with arrays of the same size but no values, for sizes alone: compilers read millions for long."""
    return _WEIGHTS.sub(r"\g<1>    1", text)


def _built(sources: dict[str, str]) -> str:
    """Sizes of the whole, linked for some cores, where the compiler is here."""
    if not is_available("arm-none-eabi-gcc"):
        return "Sizes of the code: not known, arm-none-eabi-gcc was not there when this was generated."
    decides = ("aed_selftest", "aed_classes", "aed_events", "aed_rule", "aed_means", "aed_nearness", "aed_learn")
    used = {name: text for name, text in sources.items() if not name.startswith(decides)}
    used["aed_net.c"] = _without_weights(used["aed_net.c"])
    whole = "run_clip.c" if "aed_frontend.c" in used else "run_net.c"
    rows, version = [], toolchain.versions(("gcc",))["gcc"]
    with temporary_folder() as folder:
        for board in map(toolchain.with_large_memory, map(load_board, BUILT_FOR)):
            try:
                elf, bare = (
                    toolchain.build(folder / board.name / main, {**parts, **toolchain.harness_sources(main)}, board)
                    for main, parts in ((whole, used), ("run_nothing.c", {}))
                )
                sizes = list(zip(toolchain.section_sizes(elf), toolchain.section_sizes(bare), strict=True))
            except AedError as error:  # a compiler that is too old, or without its C library
                log.warning("%s: size of the code not known: %s", board.core, error)
                continue
            flash, ram = (whole - own for whole, own in sizes)
            rows.append(f"| {board.core} | {flash:,} | {ram:,} |")
    if not rows:
        return f"Sizes of the code: not known, {version} could not link it when this was generated."
    head = [f"All of it, with a caller's buffers, linked by {version}, -O2, without the stack:", ""]
    head += ["| core | flash | RAM |"]
    return "\n".join([*head, "|---|---|---|", *rows])
