"""The compiler that tests find on the PATH."""

import os
import shutil
from pathlib import Path

import cached_compiler
import pytest


@pytest.mark.skipif(not shutil.which("gcc"), reason="apt-get install gcc")
def test_an_output_that_is_no_file_is_left_to_the_compiler(tmp_path: Path) -> None:
    unit = tmp_path / "unit.c"
    unit.write_text("int one(void) { return 1; }\n")
    command = ["-std=c99", "-c", str(unit), "-o"]
    kept = cached_compiler.from_objects(str(shutil.which("gcc")), tmp_path, [*command, str(tmp_path / "unit.o")])
    assert kept[: len(cached_compiler.COPY)] == cached_compiler.COPY and Path(kept[-2]).is_file()
    with pytest.raises(cached_compiler.NotKept):
        cached_compiler.from_objects(str(shutil.which("gcc")), tmp_path, [*command, os.devnull])
