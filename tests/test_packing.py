"""Constants in the order that a core's kernels read them in."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from aed.base.processes import run_tool
from aed.target.codegen.source import Source

pytestmark = pytest.mark.usefixtures("compiles")


def seen(tmp_path: Path, text: str, mve: bool) -> str:
    """What a compiler sees of ``text``."""
    if shutil.which("gcc") is None:
        pytest.skip("gcc is not here: apt-get install gcc")
    (tmp_path / "a.c").write_text(text)
    return " ".join(run_tool(["gcc", "-E", "-P", f"-DAED_MVE={int(mve)}", tmp_path / "a.c"], 10).split())


def test_each_core_sees_its_own_order_and_its_own_scratch_memory(tmp_path: Path) -> None:
    source = Source({})
    name = source.weights("weight3", mve=np.array([1, -2], np.int8), others=np.array([[300, -4]], np.int16))
    source.need_scratch(mve=9, others=3)
    source.need_scratch(mve=2, others=33)
    text = "\n".join([*source.constants, source.scratch])
    align = "__attribute__((aligned(4)))"
    assert name == "weight3"
    assert seen(tmp_path, text, mve=True) == (
        f"static const int8_t weight3[2] {align} = {{ 1, -2, }}; static uint64_t scratch[2];"
    )
    assert seen(tmp_path, text, mve=False) == (
        f"static const int16_t weight3[2] {align} = {{ 300, -4, }}; static uint64_t scratch[5];"
    )


def test_what_is_the_same_for_all_cores_is_there_once() -> None:
    source = Source({})
    source.weights("weight0", mve=np.ones(4, np.int8), others=np.ones((2, 2), np.int8))
    assert source.constants[0].count("weight0") == 1 and "#if" not in source.constants[0] + source.scratch
