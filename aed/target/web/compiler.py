"""C to WebAssembly, by the compiler of Zig from PyPI or by Clang."""

import sys
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path

from aed.base.errors import AedError
from aed.base.extras import install_command, is_installed
from aed.base.processes import is_available, run_tool
from aed.target.host import write_sources

FLAGS = (
    "-std=c99", "-O3", "-fhosted", "-nostdlib", "-ffp-contract=off", "-mbulk-memory",
    "-Wl,--no-entry", "-Wl,-z,stack-size=65536", "-Wl,-s",
)  # fmt: skip
"""No contraction, as everywhere. Hosted, so that functions of <math.h> are instructions; there is no library."""

VECTORS = "-msimd128"
"""Vectors of 128 bits, which every browser has had since 2023; no relaxed ones, whose results may differ."""

TIMEOUT_S = 600.0
"""The first run of Zig unpacks and compiles parts of itself."""


def compiler() -> list[str]:
    """The command that compiles to WebAssembly.

    Raises:
        AedError: There is none; says what to type.
    """
    if is_installed("ziglang"):
        return [sys.executable, "-m", "ziglang", "cc", "-target", "wasm32-freestanding"]
    if is_available("clang") and is_available("wasm-ld"):
        return ["clang", "--target=wasm32"]
    raise AedError(
        f"target=web needs a compiler for WebAssembly: {install_command('ziglang')}; or apt-get install clang lld"
    )


def build_wasm(folder: Path, sources: Mapping[str, str], options: tuple[str, ...] = (VECTORS,)) -> Path:
    """The sources, compiled and linked.

    Args:
        folder: For sources and result.
        sources: File name -> content of the C.
        options: Further ones.

    Returns:
        The path of the WebAssembly.

    Raises:
        AedError: There is no compiler, or it fails.
    """
    parts = files("aed.target.web") / "c" / "include"
    headers = folder / "include"
    write_sources(headers, {name: (parts / name).read_text(encoding="utf-8") for name in ("math.h", "string.h")})
    units = write_sources(folder, sources)
    wasm = folder / "aed.wasm"
    run_tool([*compiler(), *FLAGS, *options, "-I", headers, "-I", folder, *units, "-o", wasm], TIMEOUT_S)
    return wasm
