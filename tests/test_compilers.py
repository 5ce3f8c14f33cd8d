"""The library's bits: the same from GCC and clang at every level, whatever options a project has.

``AED_ALL_COMPILERS=1`` runs every compiler at every level; without it each has one level that is likely to differ.
"""

import importlib.util
import os
import re
import shutil
import subprocess
import sys
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest
from small_library import save_small, small_library

from aed.target.boards import load_board
from aed.target.emulator import toolchain
from aed.target.emulator.qemu import run_program

HERE = Path(__file__).parent
ARM = shutil.which("arm-none-eabi-gcc") and shutil.which("qemu-system-arm")
needs_arm = pytest.mark.skipif(
    not ARM, reason="apt-get install gcc-arm-none-eabi libnewlib-arm-none-eabi qemu-system-arm"
)
needs_zig = pytest.mark.skipif(importlib.util.find_spec("ziglang") is None, reason="pip install ziglang")
pytestmark = [
    pytest.mark.usefixtures("compiles"),
    pytest.mark.skipif(not shutil.which("gcc"), reason="apt-get install gcc libc6-dev"),
]
EVERY = bool(os.environ.get("AED_ALL_COMPILERS"))
LEVELS = ("-Os", "-O2", "-O3")

FUSED = ("-ffp-contract=fast", "-mfma")
"""Options of a project that fuse products and sums of floats wherever they are let."""


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_small(tmp_path_factory.mktemp("model") / "net_int8.onnx")


@pytest.fixture(scope="module")
def library(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_library(tmp_path_factory.mktemp("compilers") / "lib", model)


@pytest.fixture(scope="module")
def samples() -> bytes:
    level = np.repeat([0, 1, 0.1, 3], 6000)
    return (3000 * np.random.default_rng(0).standard_normal(24000) * level).astype("<i2").tobytes()


def sources(library: Path, main: bool = True) -> dict[str, str]:
    paths = [*library.glob("src/*"), *library.glob("include/*"), *([HERE / "exact_main.c"] if main else [])]
    return {path.name: path.read_text(encoding="utf-8") for path in sorted(paths)}


def on_host(library: Path, samples: bytes, folder: Path, compiler: list[str]) -> bytes:
    """What the program writes, compiled by ``compiler`` and linked by GCC."""
    folder.mkdir()
    harness = (files("aed.target.emulator") / "c" / "semihost.h").read_text(encoding="utf-8")
    (folder / "semihost.h").write_text(harness)
    units = [*sorted(library.glob("src/*.c")), HERE / "exact_main.c"]
    for unit in units:
        command = [*compiler, "-std=gnu99", f"-I{library / 'include'}", f"-I{folder}", "-DAED_BLOCK=160", "-c", unit]
        subprocess.run([*command, "-o", folder / f"{unit.stem}.o"], check=True, capture_output=True)
    host = [HERE / "host_files.c", f"-I{folder}", *folder.glob("*.o"), "-lm", "-o", folder / "program"]
    subprocess.run(["gcc", *host], check=True, capture_output=True)
    (folder / "input.bin").write_bytes(samples)
    subprocess.run([folder / "program"], check=True, cwd=folder)
    return (folder / "output.bin").read_bytes()


@pytest.fixture(scope="module")
def expected(library: Path, samples: bytes, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    raw = on_host(library, samples, tmp_path_factory.mktemp("host") / "o2", ["gcc", "-O2", "-ffp-contract=off"])
    ends = np.frombuffer(raw[-250 * 16 :], np.float32)
    assert (ends > 0).any() and ends[ends > 0].min() < 1e-38, "it gets to numbers that Helium would flush"
    return raw


def has_fma() -> bool:
    text = Path("/proc/cpuinfo")
    return text.is_file() and " fma" in text.read_text()


ZIG = [sys.executable, "-m", "ziglang", "cc", "-target", "x86_64-linux-gnu"]
HOSTS = {
    **{f"gcc {level}": ["gcc", level, *FUSED] for level in (LEVELS if EVERY else ("-O3",))},
    **{f"zig {level}": [*ZIG, "-mcpu=haswell", level, FUSED[0]] for level in (LEVELS if EVERY else ("-Os",))},
}


@pytest.mark.skipif(not has_fma(), reason="this machine has no instruction that multiplies and adds")
@pytest.mark.parametrize("compiler", HOSTS.values(), ids=HOSTS)
def test_no_option_changes_bits_on_this_machine(
    library: Path, samples: bytes, expected: bytes, tmp_path: Path, compiler: list[str]
) -> None:
    if "ziglang" in compiler and importlib.util.find_spec("ziglang") is None:
        pytest.skip("pip install ziglang")
    assert on_host(library, samples, tmp_path / "it", compiler) == expected


BOARDS = {"mps2-an505": "cortex-m33", "mps3-an547": "cortex-m55"}
ON_BOARDS = [(board, level) for board in BOARDS for level in LEVELS if EVERY or (board, level) == ("mps3-an547", "-O3")]


@needs_arm
@pytest.mark.parametrize(("board", "level"), ON_BOARDS)
def test_an_emulated_core_has_these_bits_at_every_level(
    library: Path, samples: bytes, expected: bytes, tmp_path: Path, board: str, level: str
) -> None:
    """At -O3 GCC would take vectors of Helium for floats, which flush what is under 1e-38."""
    parts = sources(library) | toolchain.harness_sources("semihost.c")
    options = (level, "-ffp-contract=fast")
    elf = toolchain.build(tmp_path / "program", parts, load_board(board), options)
    assert run_program(elf, tmp_path, samples, load_board(board), count=False) == expected


ZIG_CORES = {
    "mps2-an505": ["-mcpu=cortex_m33+dsp+fp_armv8d16sp"],
    "mps3-an547": ["-mcpu=cortex_m55+mve_fp"],
}


@needs_arm
@needs_zig
@pytest.mark.parametrize(("board", "level"), [*ON_BOARDS, *([] if EVERY else [("mps2-an505", "-O2")])])
def test_clang_has_these_bits_on_an_emulated_core(
    library: Path, samples: bytes, expected: bytes, tmp_path: Path, board: str, level: str
) -> None:
    root = subprocess.run(
        ["arm-none-eabi-gcc", "-print-file-name=include/../../../../../include/newlib"], capture_output=True, text=True
    )
    include = next(
        (
            path
            for path in ("/usr/include/newlib", "/usr/lib/arm-none-eabi/include", root.stdout.strip())
            if Path(path, "math.h").is_file()
        ),
        None,
    )
    if include is None:
        pytest.skip("the headers of newlib are not where they are on Debian")
    zig = [sys.executable, "-m", "ziglang", "cc", "-target", "thumb-freestanding-eabihf", *ZIG_CORES[board], level]
    zig += [
        "-std=gnu99",
        "-fshort-enums",
        "-fno-unwind-tables",
        "-fno-exceptions",
        "-ffp-contract=fast",
        "-isystem",
        include,
        f"-I{library / 'include'}",
    ]
    objects = []
    for unit in sorted(library.glob("src/*.c")):
        objects.append(tmp_path / f"{unit.stem}.o")
        subprocess.run([*zig, "-c", unit, "-o", objects[-1]], check=True, capture_output=True)
    harness = {path.name: path.read_text(encoding="utf-8") for path in library.glob("include/*.h")}
    harness |= toolchain.harness_sources("semihost.c") | {"exact_main.c": (HERE / "exact_main.c").read_text()}
    elf = toolchain.build(tmp_path / "program", harness, load_board(board), tuple(map(str, objects)))
    assert run_program(elf, tmp_path, samples, load_board(board), count=False) == expected


REFUSED = ("-ffast-math", "-Ofast", "-ffinite-math-only", "-fassociative-math -fno-signed-zeros -fno-trapping-math")


@pytest.mark.parametrize("options", REFUSED)
def test_options_that_reorder_floats_do_not_compile(library: Path, tmp_path: Path, options: str) -> None:
    """Every file of the library that computes with floats says so."""
    for unit in sorted(library.glob("src/*.c")):
        code = re.sub(r"/\*.*?\*/", "", unit.read_text(encoding="utf-8"), flags=re.DOTALL)
        command = ["gcc", "-O2", *options.split(), f"-I{library / 'include'}", "-c", unit, "-o", tmp_path / "a.o"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        computes = '#include "aed_exact.h"' in code or '#include "aed_steps.h"' in code
        assert (done.returncode != 0) == computes, unit.name
        assert not computes or "compile without -ffast-math" in done.stderr
        assert computes or not re.search(r"\bfloat\b.*[-+*/]=? ", code), unit.name


def test_a_program_for_another_core_than_its_library_does_not_link(library: Path, tmp_path: Path) -> None:
    """Of another size of the net's memory it would write over what lies behind it."""
    header = (library / "include/aed_net.h").read_text(encoding="utf-8")
    assert "#define aed_net_begin aed_net_begin_mve" in header
    main = '#include "aed_listener.h"\nint main(void) { static aed_listener l; aed_listener_init(&l); return 0; }\n'
    (tmp_path / "main.c").write_text(main)
    units = [*library.glob("src/*.c"), tmp_path / "main.c"]
    for unit in units:
        other = ["-D__ARM_FEATURE_MVE=2"] if unit.name == "main.c" else []
        command = ["gcc", "-O2", *other, f"-I{library / 'include'}", "-c", unit, "-o", tmp_path / f"{unit.stem}.o"]
        subprocess.run(command, check=True, capture_output=True)
    done = subprocess.run(["gcc", *tmp_path.glob("*.o"), "-lm"], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode != 0 and "undefined reference to `aed_listener_init_mve'" in done.stderr


TWO = """
#include <stdio.h>
#include <string.h>
#include "aed_events.h"
#include "aed_listener.h"
static aed_listener listeners[2];
static int8_t alone[2][64][AED_NET_OUTPUT_SIZE], both[2][64][AED_NET_OUTPUT_SIZE];
static int16_t sound[2][30000];
static size_t step(int which, size_t at, size_t most, int8_t (*to)[AED_NET_OUTPUT_SIZE], int *count) {
    int ready;
    const size_t left = 30000U - at;
    at += aed_listen(&listeners[which], &sound[which][at], left < most ? left : most, to[*count], &ready);
    *count += ready != 0;
    return at;
}
int main(void) {
    unsigned state = 1U;
    int counts[2] = {0, 0};
    for (int i = 0; i < 60000; ++i) {
        state = 1664525U * state + 1013904223U;
        sound[i & 1][i / 2] = (int16_t)((int)(state >> 17) - 16384) / (1 + (i / 9000) % 3);
    }
    for (int which = 0; which < 2; ++which) {
        int count = 0;
        aed_listener_init(&listeners[which]);
        for (size_t at = 0U; at < 30000U;) {
            at = step(which, at, 30000U, alone[which], &count);
        }
    }
    aed_listener_init(&listeners[0]);
    aed_listener_init(&listeners[1]);
    for (size_t at[2] = {0U, 0U}, turn = 0U; at[0] < 30000U || at[1] < 30000U; ++turn) {
        const int which = (int)(turn % 2U);
        if (at[which] < 30000U) {
            at[which] = step(which, at[which], which == 0 ? 37U : 101U, both[which], &counts[which]);
        }
    }
    (void)printf("%d %d %d\\n", counts[0], counts[1], memcmp(alone[0], alone[1], sizeof alone[0]) != 0);
    return memcmp(alone, both, sizeof alone) != 0;
}
"""


@pytest.mark.parametrize("plan", ["layers", "rows"])
def test_two_detectors_in_turns_are_as_each_alone(model: Path, tmp_path: Path, plan: str) -> None:
    library = small_library(tmp_path / "lib", model, plan=plan)
    (tmp_path / "two.c").write_text(TWO)
    include = f"-I{library / 'include'}"
    command = ["gcc", "-O2", include, tmp_path / "two.c", *library.glob("src/*.c"), "-lm", "-o", tmp_path / "two"]
    subprocess.run(command, check=True, capture_output=True)
    done = subprocess.run([tmp_path / "two"], capture_output=True, text=True, check=False)
    one, other, differ = map(int, done.stdout.split())
    assert done.returncode == 0 and min(one, other) > 2 and differ == 1


def test_nothing_of_the_library_is_written_to_but_the_callers_memory(library: Path, tmp_path: Path) -> None:
    """No variables of its own, so no heap either: but for the input of the self-test, which is always the same."""
    for unit in library.glob("src/*.c"):
        place = tmp_path / f"{unit.stem}.o"
        command = ["gcc", "-O2", "-fno-pic", f"-I{library / 'include'}", "-c", unit, "-o", place]
        subprocess.run(command, check=True, capture_output=True)
        listing = subprocess.run(["nm", place], capture_output=True, text=True, check=True).stdout
        variables = re.findall(r" [bBdDC] (\S+)", listing)
        assert [name for name in variables if (unit.name, name.split(".")[0]) != ("aed_selftest.c", "in")] == []
        assert not re.search(r" U (malloc|calloc|realloc|free|sbrk)", listing)
