"""The library's bits: the same from GCC and clang, as C and as C++, at every level, whatever options a project has.

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
pytestmark = [
    pytest.mark.usefixtures("compiles"),
    pytest.mark.skipif(not shutil.which("gcc"), reason="apt-get install gcc libc6-dev"),
]
EVERY = bool(os.environ.get("AED_ALL_COMPILERS"))
LEVELS = ("-Os", "-O2", "-O3")


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


def compiled(library: Path, folder: Path, compiler: list[str]) -> list[Path]:
    """The library's objects, by ``compiler``, which takes the files as C++ if it is one of that."""
    folder.mkdir()
    language = [] if "++" in compiler[0] else ["-std=gnu99"]
    objects = []
    for unit in sorted(library.glob("src/*.c")):
        objects.append(folder / f"{unit.stem}.o")
        command = [*compiler, *language, f"-I{library / 'include'}", "-c", unit, "-o", objects[-1]]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
    return objects


def on_host(library: Path, samples: bytes, folder: Path, compiler: list[str]) -> bytes:
    """What the program writes, its library compiled by ``compiler``, all else by GCC."""
    objects = compiled(library, folder, compiler)
    harness = (files("aed.target.emulator") / "c" / "semihost.h").read_text(encoding="utf-8")
    (folder / "semihost.h").write_text(harness)
    own = ["-std=gnu99", f"-I{library / 'include'}", f"-I{folder}", "-DAED_BLOCK=160"]
    units = [HERE / "exact_main.c", HERE / "host_files.c"]
    subprocess.run(["gcc", *own, *units, *objects, "-lm", "-o", folder / "program"], check=True, capture_output=True)
    (folder / "input.bin").write_bytes(samples)
    subprocess.run([folder / "program"], check=True, cwd=folder)
    return (folder / "output.bin").read_bytes()


def on_board(library: Path, samples: bytes, folder: Path, board: str, compiler: list[str]) -> bytes:
    """The same on an emulated board, linked by its GCC."""
    objects = compiled(library, folder, compiler)
    parts = {path.name: path.read_text(encoding="utf-8") for path in library.glob("include/*.h")}
    parts |= toolchain.harness_sources("semihost.c") | {"exact_main.c": (HERE / "exact_main.c").read_text()}
    elf = toolchain.build(folder / "program", parts, load_board(board), tuple(map(str, objects)))
    return run_program(elf, folder, samples, load_board(board), count=False)


@pytest.fixture(scope="module")
def expected(library: Path, samples: bytes, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    raw = on_host(library, samples, tmp_path_factory.mktemp("host") / "o2", ["gcc", "-O2", "-ffp-contract=off"])
    ends = np.frombuffer(raw[-250 * 16 :], np.float32)
    assert (ends > 0).any() and ends[ends > 0].min() < 1e-38, "it gets to numbers that Helium would flush"
    return raw


def has_fma() -> bool:
    text = Path("/proc/cpuinfo")
    return text.is_file() and " fma" in text.read_text()


ZIG = [sys.executable, "-m", "ziglang", "cc", "-target"]
FUSED = "-ffp-contract=fast"
"""Option of a project that fuses products and sums of floats wherever it is let."""

HOSTS = {
    "gcc": (["gcc", "-mfma"], "-O3"),
    "g++": (["g++", "-mfma"], "-O2"),
    "clang": (["clang", "-mfma"], "-O3"),
    "clang++": (["clang++", "-xc++", "-mfma"], "-Os"),
    "zig": ([*ZIG, "x86_64-linux-gnu", "-mcpu=haswell"], "-Os"),
}
"""Compiler -> its command, and the level that is tested if not all are."""


def need(compiler: str) -> None:
    """Skips without a compiler."""
    if compiler == "zig" and importlib.util.find_spec("ziglang") is None:
        pytest.skip("pip install ziglang")
    if compiler != "zig" and not shutil.which(compiler):
        pytest.skip(f"{compiler}: apt-get install g++ clang gcc-arm-none-eabi")


@pytest.mark.skipif(not has_fma(), reason="this machine has no instruction that multiplies and adds")
@pytest.mark.parametrize(
    ("name", "level"), [(name, level) for name in HOSTS for level in (LEVELS if EVERY else HOSTS[name][1:])]
)
def test_no_compiler_level_or_option_changes_bits_on_this_machine(
    library: Path, samples: bytes, expected: bytes, tmp_path: Path, name: str, level: str
) -> None:
    need(name)
    assert on_host(library, samples, tmp_path / "it", [*HOSTS[name][0], level, FUSED]) == expected


CORES = {
    "mps2-an505": ["-mcpu=cortex-m33", "-mfpu=fpv5-sp-d16"],
    "mps3-an547": ["-mcpu=cortex-m55", "-mfpu=auto"],
}
ZIG_CORES = {
    "mps2-an505": ["-mcpu=cortex_m33+dsp+fp_armv8d16sp"],
    "mps3-an547": ["-mcpu=cortex_m55+mve_fp"],
}
SOME = (
    ("arm-none-eabi-gcc", "mps3-an547", "-O3"),
    ("arm-none-eabi-g++", "mps3-an547", "-O3"),
    ("arm-none-eabi-g++", "mps2-an505", "-Os"),
    ("zig", "mps3-an547", "-O3"),
    ("zig", "mps2-an505", "-O2"),
)
COMPILERS = ("arm-none-eabi-gcc", "arm-none-eabi-g++", "zig")
ALL = tuple((name, board, level) for name in COMPILERS for board in CORES for level in LEVELS)


def newlib() -> str:
    """The folder of newlib's headers, which clang needs."""
    command = ["arm-none-eabi-gcc", "-print-file-name=include/../../../../../include/newlib"]
    beside = subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    places = ("/usr/include/newlib", "/usr/lib/arm-none-eabi/include", beside)
    found = next((place for place in places if Path(place, "math.h").is_file()), None)
    return found or pytest.skip("the headers of newlib are not where they are on Debian")


@needs_arm
@pytest.mark.parametrize(("name", "board", "level"), ALL if EVERY else SOME)
def test_an_emulated_core_has_these_bits_from_every_compiler(
    library: Path, samples: bytes, expected: bytes, tmp_path: Path, name: str, board: str, level: str
) -> None:
    """At -O3 GCC would take vectors of Helium for floats, which flush what is under 1e-38."""
    need(name)
    command = [name, "-mthumb", "-mfloat-abi=hard", *CORES[board]]
    if name == "zig":
        command = [*ZIG, "thumb-freestanding-eabihf", *ZIG_CORES[board], "-fshort-enums", "-isystem", newlib()]
    command += ["-fno-exceptions", "-fno-unwind-tables", level, FUSED]
    assert on_board(library, samples, tmp_path / "it", board, command) == expected


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
