"""What the README of the library says of a model: how to feed it, its rule, and sizes, of the code too."""

import logging
import re
from collections.abc import Mapping
from typing import NamedTuple

from aed.base.errors import AedError
from aed.base.files import temporary_folder
from aed.base.processes import is_available
from aed.dsp.frontend import FrontendConfig
from aed.dsp.gate import gate_power, new_samples
from aed.export.card import ModelCard
from aed.inference.detection import rule_of
from aed.target.boards import Board, load_board
from aed.target.codegen.classes import rule
from aed.target.codegen.events import events_bytes, in_words
from aed.target.codegen.frontend import column_state_bytes, state_bytes, table_bytes
from aed.target.codegen.plan import Plan
from aed.target.codegen.prefix import renamed
from aed.target.codegen.program import Program
from aed.target.emulator import toolchain
from aed.target.emulator.stack import ENTRIES, OPTION, tables_of, worst_stack
from aed.target.firmware.means_facts import means_facts

log = logging.getLogger(__name__)

GATE_BYTES = 32
"""``sizeof(aed_gate)``, which is aligned to 8."""

BUILT_FOR = ("mps2-an386", "mps2-an505", "mps3-an547")
"""Boards for whose cores the README has the size of the code."""


_TEMPERATURE = " Logits are divided by a temperature of {:g} first."


def facts(
    program: Program, plan: Plan, card: ModelCard, title: str, sources: dict[str, str], prefix: str, learn: int
) -> dict[str, str]:
    """Values of the README's template."""
    y = program.tensors[program.output]
    gate_dbfs = rule_of(card).gate_dbfs
    of_frontend = _frontend_facts(card.frontend, program, plan, gate_dbfs is not None)
    licence = (card.weights or {}).get("licence", "as those of whoever trained them; the card names no published ones")
    return {
        "title": title,
        "classes": ", ".join(card.class_names),
        "rule": rule(card),
        "temperature": _TEMPERATURE.format(card.decision.temperature) if card.decision.temperature != 1 else "",
        "aggregate": card.decision.aggregate,
        "event_rule": in_words(card),
        "gate": _gate_in_words(gate_dbfs, card.frontend),
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


def listener_bytes(frontend: FrontendConfig, plan: Plan, gated: bool = False) -> int:
    """``sizeof(aed_listener)`` on a 32-bit core but for ``aed_net``; ``gated``: whether the event rule has a gate."""
    if not plan.feeds:
        size = state_bytes(frontend) + -(-frontend.n_mels * frontend.patch_frames // 4) * 4
    else:
        kept = 0 if plan.streams else max(0, frontend.patch_frames - frontend.patch_hop)
        columns = frontend.patch_frames if gated else kept + 1
        size = column_state_bytes(frontend) + -(-frontend.n_mels * columns // 4) * 4 + 3 * 4  # next, behind, skip
    return -(-(size + GATE_BYTES * gated) // 8) * 8


def _gate_in_words(gate_dbfs: float | None, frontend: FrontendConfig) -> str:
    """What the library does with quiet sound: a paragraph."""
    if not frontend.streamable:
        return ""
    if gate_dbfs is None:
        return "\nThere is no gate: the net runs for every patch. `rule.gate_dbfs=-50` of that command makes one.\n"
    return _GATE.format(dbfs=gate_dbfs, samples=new_samples(frontend), power=gate_power(gate_dbfs, frontend))


_GATE = """
The net runs only for patches in which some {samples} samples, those that are new with a column of features, have an RMS
of {dbfs:g} dB under full scale or more, their mean (a microphone's offset) taken away: `n * sum(x^2) - sum(x)^2` of
{power} or more, in whole numbers. Of other patches `aed_listen` says `AED_LISTENER_QUIET`, and `aed_events_add` gets
probabilities of 0, so that decisions and times go on. The front end runs always, for a loud patch begins with quiet
columns. The net starts with the column that opens the gate and takes what it has left out by the end of the patch: be
ready to store the samples that come while a whole patch runs. A device may change `listener.gate.least` as it runs.
"""


def _frontend_facts(frontend: FrontendConfig, program: Program, plan: Plan, gated: bool) -> dict[str, str]:
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
            "recording": _PATCHES.format(seconds=frontend.patch_hop * frontend.hop_length / frontend.sample_rate),
            "own_state": ", an `aed_net` for each stream of patches",
            "tables": "",
            "state": f"| input patch | {x.size:,} | RAM, the caller's |\n",
        }
    state, milliseconds = listener_bytes(frontend, plan, gated), 1000 / frontend.sample_rate
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
        "own_state": ", an `aed_listener` for each microphone",
        "tables": f"| front-end tables | {table_bytes(frontend):,} | flash |\n",
        "state": f"| front end and patch, the rest of `aed_listener` | {state:,} | RAM, the caller's |\n",
    }


_LINES = """
It prints an alarm when it is raised (seconds from the start, probability, class) and an event once it has ended (onset,
offset, greatest probability, class)."""

_PATCHES = f"""{_LINES} `patches.raw` has patches one after the other, {{seconds:g}} s of sound from the start
of one to that of the next.
"""

_RECORDING = f"""{_LINES} `samples.raw` is a recording as 16-bit mono samples at {{rate}} Hz:

    ffmpeg -i recording.wav -ac 1 -ar {{rate}} -f s16le samples.raw
    sox -D recording.wav -c 1 -r {{rate}} -e signed -b 16 -L -t raw samples.raw
    arecord -t raw -f S16_LE -c 1 -r {{rate}} -d 60 samples.raw

`python -m aed.detect model=<the model> recording.wav` finds the same events, but where the front end rounds a feature
to the neighbouring int8 step.
"""


_WEIGHTS = re.compile(r"(const int(?:8|16)_t \w+\[\d+\]\s*__attribute__\(\(aligned\(4\)\)\) = \{\n)[^}]*")


def _without_weights(text: str) -> str:
    """``aed_net.c`` with arrays of the same size but no values, for sizes alone: compilers read millions for long."""
    return _WEIGHTS.sub(r"\g<1>    1", text)


class Sizes(NamedTuple):
    """Of front end and net, linked with a caller's buffers, in bytes.

    Args:
        flash: Code and tables.
        ram: Static memory.
        stack: The most that a call takes, with all that it calls.
    """

    flash: int
    ram: int
    stack: int


def library_sizes(sources: Mapping[str, str], board: Board) -> Sizes:
    """What front end and net of a library take on the core of a board.

    Args:
        sources: File name -> content of the library.
        board: Emulated, with the core.

    Raises:
        AedError: The compiler is missing, too old, or cannot link it.
    """
    decides = ("aed_selftest", "aed_classes", "aed_events", "aed_rule", "aed_means", "aed_nearness", "aed_learn")
    used = {name: text for name, text in sources.items() if not name.startswith(decides)}
    used["aed_net.c"] = _without_weights(used["aed_net.c"])
    main = "run_clip.c" if "aed_frontend.c" in used else "run_net.c"
    large = toolchain.with_large_memory(board)
    with temporary_folder() as folder:
        whole, nothing = folder / "whole", folder / "nothing"
        elf = toolchain.build(whole, {**used, **toolchain.harness_sources(main)}, large, (OPTION,))
        bare = toolchain.build(nothing, toolchain.harness_sources("run_nothing.c"), large)
        stack = worst_stack(whole, elf, ENTRIES, tables_of(used["aed_net.c"]))
        (flash, ram), (bare_flash, bare_ram) = toolchain.section_sizes(elf), toolchain.section_sizes(bare)
    return Sizes(flash - bare_flash, ram - bare_ram, stack)


def _built(sources: dict[str, str]) -> str:
    """Sizes of the whole, linked for some cores, where the compiler is here."""
    if not is_available("arm-none-eabi-gcc"):
        return "Sizes of the code: not known, arm-none-eabi-gcc was not there when this was generated."
    rows, version = [], toolchain.versions(("gcc",))["gcc"]
    for board in map(load_board, BUILT_FOR):
        try:
            sizes = library_sizes(sources, board)
        except AedError as error:  # a compiler that is too old, or without its C library
            log.warning("%s: size of the code not known: %s", board.core, error)
            continue
        rows.append(f"| {board.core} | {sizes.flash:,} | {sizes.ram:,} | {sizes.stack:,} |")
    if not rows:
        return f"Sizes of the code: not known, {version} could not link it when this was generated."
    head = [f"All of it, with a caller's buffers, linked by {version}, -O2. The stack is the most that a call of"]
    head += ["front end and net takes, with all that it calls, as the compiler tells; interrupts come on top.", ""]
    head += ["| core | flash | RAM | stack |"]
    return "\n".join([*head, "|---|---|---|---|", *rows])
