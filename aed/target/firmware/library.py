"""The library a firmware engineer adds to a project: net, front end, class names, example, self-test, build file."""

import json
import logging
from collections.abc import Mapping
from functools import partial
from importlib.resources import files
from pathlib import Path
from string import Template
from textwrap import indent

import numpy as np
import onnx

from aed.base.errors import AedError
from aed.base.files import whole_folder
from aed.export.card import ModelCard
from aed.export.embedding import without_embedding
from aed.export.runtime import open_exact, run_exact
from aed.inference.detection import least_power, rule_of
from aed.target.codegen.choose import Chosen, choose_plan
from aed.target.codegen.classes import class_sources
from aed.target.codegen.events import event_sources
from aed.target.codegen.generate import OF_KERNELS, kernel_sources, net_sources
from aed.target.codegen.lower import lower
from aed.target.codegen.means import check_learn, mean_sources
from aed.target.codegen.plan import Plan
from aed.target.codegen.prefix import renamed
from aed.target.codegen.program import Program
from aed.target.codegen.settings import PlanSettings
from aed.target.codegen.text import c_lines
from aed.target.firmware.api import api_page
from aed.target.firmware.formats.delivery import version
from aed.target.firmware.formats.write import headers_folder, write_formats
from aed.target.firmware.readme import facts
from aed.target.firmware.recorder import recorder_files
from aed.target.firmware.settings import CSettings
from aed.target.host import device_sources

log = logging.getLogger(__name__)

API = "API.md"
"""Every declaration of the library's own headers."""

MARK = "aed_firmware.json"
"""The model card; a folder without it was not written by aed and is not replaced."""


def write_firmware(
    model: onnx.ModelProto,
    card: ModelCard,
    folder: Path,
    title: str,
    settings: CSettings,
) -> None:
    """Writes the library; the folder is whole or, where something fails, as it was before.

    A front end that no device can compute is left out: the library is then the net alone, as its README states.

    Args:
        model: int8.
        card: Its card.
        folder: New, or one that this function wrote earlier.
        title: For the README.
        settings: Names, how the net is run, and for whose tools it is; checked.

    Raises:
        AedError: The model cannot learn; the model or its front end has no C form, or the folder holds something else.
    """
    if card.frontend.not_streamable:
        log.warning(
            "no C of the front end, the library is the net alone: %s; you have to compute its patches",
            "; ".join(card.frontend.not_streamable),
        )
    chosen, sources = planned_sources(model, card, settings.planning, settings.learn, "c.")
    parts = files("aed.target.firmware") / "c"
    prefix, headers = settings.prefix, headers_folder(settings.format)
    public = [name for name in sources if name.endswith(".h") and name not in OF_KERNELS]
    with whole_folder(folder, MARK) as staging:
        values = facts(chosen.program, chosen.plan, card, title, sources, prefix, settings.learn)
        values |= {"prefix": prefix, "headers": headers, "version": version().partition("-")[0]}
        for name, text in sources.items():
            target = staging / (headers if name in public else "src") / renamed(name, prefix)
            target.parent.mkdir(exist_ok=True)
            target.write_text(renamed(text, prefix), encoding="utf-8")
        (staging / API).write_text(renamed(api_page(own_headers(sources)), prefix), encoding="utf-8")
        (staging / "examples" / "recorder").mkdir(parents=True)
        for name, text in recorder_files(card.frontend.sample_rate, prefix).items():
            (staging / "examples" / "recorder" / name).write_text(text, encoding="utf-8")
        example = "main.c" if card.frontend.streamable else "main_net.c"
        for name, part in (
            ("examples/main.c", example),
            ("examples/report.h", "report.h"),
            ("examples/selftest.c", "selftest.c"),
            ("CMakeLists.txt", "CMakeLists.txt"),
            ("README.md", "README.md"),
        ):
            text = renamed((parts / part).read_text(encoding="utf-8"), prefix)
            if part in ("CMakeLists.txt", "README.md"):
                text = Template(text).substitute(values)
            (staging / name).write_text(text, encoding="utf-8")
        (staging / "LICENSE").write_bytes((parts / "LICENSE").read_bytes())
        (staging / MARK).write_text(
            json.dumps(json.loads(card.to_json()), indent=1, sort_keys=True) + "\n", encoding="utf-8"
        )
        write_formats(staging, settings, card, [renamed(name, prefix) for name in public])


FIRST = ("aed_listener.h", "aed_events.h", "aed_classes.h", "aed_rule.h", "aed_selftest.h", "aed_net.h", "aed_gate.h")
"""Headers in the order in which a program meets them; all others follow by name."""


def own_headers(sources: Mapping[str, str]) -> dict[str, str]:
    """The headers that a program includes, without those of the kernels, which the net alone calls.

    Args:
        sources: File name -> content, as :func:`library_sources` gives them.
    """
    names = sorted(name for name in sources if name.endswith(".h") and name not in (*OF_KERNELS, "aed_kernels.h"))
    order = [*(name for name in FIRST if name in names), *(name for name in names if name not in FIRST)]
    return {name: sources[name] for name in order}


def planned_sources(
    model: onnx.ModelProto, card: ModelCard, planning: PlanSettings, learn: int, prefix: str
) -> tuple[Chosen, dict[str, str]]:
    """How the net is run, and the C files of the library; see :func:`library_sources`.

    Args:
        model: int8.
        card: Its card.
        planning: How the net is run.
        learn: Sounds that the device can learn.
        prefix: Of the keys of these settings, for messages.

    Raises:
        AedError: The model cannot learn, or it or its front end has no C form.
    """
    check_learn(card, learn, prefix)
    if not (card.decision.by_nearness or learn):
        model = without_embedding(model)
    chosen = choose_plan(partial(lower, model), planning, card.frontend.patch_hop, prefix)
    return chosen, library_sources(model, chosen.program, chosen.plan, card, learn)


def library_sources(
    model: onnx.ModelProto, program: Program, plan: Plan, card: ModelCard, learn: int = 0
) -> dict[str, str]:
    """File name -> content of all C files of the library; the same bytes on every run.

    Raises:
        AedError: The event rule has a gate, and the library no front end that could measure a level.
    """
    gate = _gate(card)
    embedding = program.tensors[program.embedding] if program.embedding else None
    header = (files("aed.target.firmware") / "c" / "aed_selftest.h").read_text(encoding="utf-8")
    streams = card.frontend.streamable
    return {
        **(
            device_sources(program, plan, card.frontend, gate)
            if streams
            else kernel_sources() | net_sources(program, plan)
        ),
        **class_sources(card, program.tensors[program.output], program.num_embedded),
        **event_sources(card, plan.schedule.hop or card.frontend.patch_hop),
        **(mean_sources(card.decision.nearness, embedding, learn) if embedding and card.decision.nearness else {}),
        "aed_selftest.h": header,
        "aed_selftest.c": _selftest(model, program, plan),
    }


def _gate(card: ModelCard) -> int | None:
    """Power of a column that reaches the gate of the card's rule; None: it has none."""
    rule = rule_of(card)
    if rule.gate_dbfs is not None and not card.frontend.streamable:
        raise AedError(
            "rule.gate_dbfs: the library is the net alone, which gets no samples whose level it could measure "
            f"({'; '.join(card.frontend.not_streamable)}); type rule.gate_dbfs=-inf, and leave patches out yourself"
        )
    return least_power(rule, card.frontend)


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
    False: indent(f"{_FILL}aed_net_run(net, in, out);\n", "    "),
    True: "    aed_net_begin(net);\n    for (int32_t frame = 0; frame < AED_NET_INPUT_HEIGHT; ++frame) {\n"
    + indent(f"{_FILL}(void)aed_net_feed(net, in, out);\n", "        ")
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

int aed_selftest(aed_net *net) {{
    {"" if plan.feeds else "static "}int8_t in[SIZE];
    int8_t out[AED_NET_OUTPUT_SIZE];
    uint32_t state = 1U;
    int differing = 0;
{_SELFTEST[plan.feeds]}    for (int i = 0; i < AED_NET_OUTPUT_SIZE; ++i) {{
        differing += out[i] != expected[i] ? 1 : 0;
    }}
    return differing;
}}
"""
