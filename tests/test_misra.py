"""The library by cppcheck and its MISRA addon: no rule is broken that docs/misra.md does not list with a reason."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest
from small_library import save_small, small_library

PAGE = Path(__file__).parents[1] / "docs" / "misra.md"

pytestmark = [
    pytest.mark.usefixtures("compiles"),
    pytest.mark.skipif(not shutil.which("cppcheck"), reason="apt-get install cppcheck"),
]


FALSE = {"arrayIndexOutOfBounds"}
"""Of aed_spectrum.c: passes of larger transforms, which a condition of constants leaves out."""


def listed() -> set[str]:
    """Rules with a reason."""
    rows = re.findall(r"^\| ([\d., ]+) \| [^|]+ \| [^|]{10,} \|$", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    return {rule.strip() for row in rows for rule in row.split(",")}


def found(folder: Path, *names: str) -> set[str]:
    """What cppcheck says of C files: rules by number, all else by its name."""
    command = ["cppcheck", "--addon=misra", "--std=c99", "--template={id}", "-D__GNUC__=12", "-q"]
    command += ["--suppress=missingIncludeSystem", f"-I{folder / 'include'}", *(str(folder / name) for name in names)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return {line.removeprefix("misra-c2012-") for line in done.stderr.split()}


def test_every_rule_that_is_broken_is_listed_with_a_reason(tmp_path: Path) -> None:
    folder = small_library(tmp_path / "lib", save_small(tmp_path / "m.onnx"))
    units = sorted(path.relative_to(folder).as_posix() for path in folder.glob("src/*.c"))
    said = found(folder, *units)
    assert said - listed() - FALSE == set()
    assert len(said) > 15, "the addon ran"


def test_another_rule_is_seen(tmp_path: Path) -> None:
    (tmp_path / "a.c").write_text("int f(int a);\nint f(int a) { goto end; end: return 07 + a; }\n")
    assert {"7.1"} <= found(tmp_path, "a.c") - listed()
