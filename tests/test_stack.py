"""The worst stack, as the compiler tells it: not under what an emulated core takes; an error where none can be told."""

import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from small_library import save_small, small_library

from aed.base.errors import AedError
from aed.export.graph import load_model, read_model_card
from aed.target.boards import load_board
from aed.target.codegen.choose import choose_plan
from aed.target.codegen.lower import lower
from aed.target.codegen.settings import PlanSettings
from aed.target.emulator import toolchain
from aed.target.emulator.qemu import run_program
from aed.target.emulator.stack import OPTION, tables_of, worst_stack
from aed.target.host import device_sources

pytestmark = [
    pytest.mark.usefixtures("compiles"),
    pytest.mark.skipif(
        not (shutil.which("arm-none-eabi-gcc") and shutil.which("qemu-system-arm")),
        reason="apt-get install gcc-arm-none-eabi libnewlib-arm-none-eabi qemu-system-arm",
    ),
]

MEASURED = """
#include "aed_listener.h"
#include "probe.h"
#include "semihost.h"
static aed_listener listener;
static int16_t samples[AED_BLOCK];
static int8_t out[AED_NET_OUTPUT_SIZE];
static uint32_t deepest;
int main(void) {
    const int32_t from = aed_open("input.bin", 1);
    const int32_t to = aed_open("output.bin", 5);
    uint32_t bytes;
    aed_listener_init(&listener);
    aed_paint_stack();
    const uint32_t before = aed_stack_depth();
    while ((bytes = aed_read(from, samples, sizeof samples)) > 0u) {
        for (size_t used = 0u, count = bytes / 2u; used < count;) {
            int ready;
            aed_paint_stack();
            used += aed_listen(&listener, &samples[used], count - used, out, &ready);
            const uint32_t depth = aed_stack_depth();
            deepest = depth > deepest ? depth : deepest;
        }
    }
    (void)before;
    return aed_write(to, &deepest, sizeof deepest) != 0 ? 73 : 0;
}
"""


@pytest.mark.parametrize("board", ["mps2-an386", "mps3-an547"])
@pytest.mark.parametrize(("net", "plan"), [("awkward", "rows"), ("pre_activation", "layers")])
def test_what_is_told_is_not_under_what_is_measured(tmp_path: Path, board: str, net: str, plan: str) -> None:
    model = load_model(save_small(tmp_path / "m.onnx", net, 4 if net == "awkward" else 3))
    card = read_model_card(model, tmp_path / "m.onnx")
    chosen = choose_plan(lambda *options: lower(model, *options), PlanSettings(plan=plan), card.frontend.patch_hop)
    sources = device_sources(chosen.program, chosen.plan, card.frontend) | toolchain.harness_sources()
    elf = toolchain.build(tmp_path / "program", sources | {"main.c": MEASURED}, load_board(board), (OPTION,))
    sound = np.random.default_rng(0).normal(0, 3000, 8000).astype("<i2").tobytes()
    measured = int.from_bytes(run_program(elf, tmp_path, sound, load_board(board), count=False), "little")
    tables = tables_of(sources["aed_net.c"])
    told = worst_stack(tmp_path / "program", elf, ["aed_reset"], tables)  # the start of all
    assert measured <= told <= measured + 300, (measured, told)
    assert worst_stack(tmp_path / "program", elf, ["aed_listen"], tables) < told


CIRCLE = "int one(int n); int two(int n) { return n > 0 ? one(n - 1) * 3 + n : 0; }\n"
CIRCLE += "int one(int n) { return two(n) + n * two(n / 2); }"
CALLED = "extern int (*volatile called)(int); int (*volatile called)(int); int one(int n) { return called(n) + 1; }"
GROWS = 'int use(char *c); int use(char *c) { __asm volatile("" : : "r"(c) : "memory"); return *c; }\n'
GROWS += "int one(int n) { char room[n]; return use(room) + 1; }"


@pytest.mark.parametrize(
    ("code", "word"),
    [(CIRCLE, "one calls two calls one|two calls one calls two"), (CALLED, "in no table"), (GROWS, "has no bound")],
)
def test_what_cannot_be_told_is_an_error(tmp_path: Path, code: str, word: str) -> None:
    main = "int one(int n);\nint main(void) { volatile int n = 3; return one(n); }\n"
    sources = toolchain.harness_sources() | {"main.c": f"{main}__attribute__((noinline)) {code}"}
    elf = toolchain.build(
        tmp_path / "program", sources, load_board("mps2-an505"), (OPTION, "-fno-inline", "-fno-ipa-cp")
    )
    with pytest.raises(AedError, match=word):
        worst_stack(tmp_path / "program", elf, ["main"], {})


def test_pushes_of_assembly_count(tmp_path: Path) -> None:
    code = '__attribute__((naked, noinline)) void one(void) { __asm volatile("push {r4-r11, lr}\\n vpush {d8-d11}\\n"\n'
    code += '"sub sp, sp, #40\\n add sp, sp, #40\\n vpop {d8-d11}\\n pop {r4-r11, pc}"); }\n'
    sources = toolchain.harness_sources() | {
        "main.c": f"void one(void);\nint main(void) {{ one(); return 0; }}\n{code}"
    }
    elf = toolchain.build(tmp_path / "program", sources, load_board("mps2-an505"), (OPTION,))
    assert worst_stack(tmp_path / "program", elf, ["one"], {}) == 9 * 4 + 4 * 8 + 40


def test_the_read_me_says_it(tmp_path: Path) -> None:

    text = (small_library(tmp_path / "lib", save_small(tmp_path / "m.onnx")) / "README.md").read_text()
    rows = re.findall(r"^\| cortex-m(\d+) \| [\d,]+ \| [\d,]+ \| ([\d,]+) \|$", text, re.MULTILINE)
    assert [core for core, _ in rows] == ["4", "33", "55"] and all(
        100 < int(s.replace(",", "")) < 2000 for _, s in rows
    )
