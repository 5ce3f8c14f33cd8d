"""The temporary folder, with an ASCII path, in which the tool runs."""

import os
import platform
import re
import shutil
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from aed.base.errors import AedError
from aed.target.stedgeai.options import RunFiles

_REPORT_FILES = (".json", ".npz", ".csv", "_report.txt")
"""Ends of the names of files that are no code."""


def prepare(folder: Path, name: str, model: bytes, inputs: npt.NDArray[Any] | None) -> RunFiles:
    """The run's files, with names that every part of the tool can read."""
    stem, dot, suffix = name.rpartition(".")
    copy = folder / f"{re.sub(r'[^A-Za-z0-9_]', '_', stem)[:60]}{dot}{suffix}"
    copy.write_bytes(model)
    patches = None
    if inputs is not None:
        patches = folder / "patches.npy"
        np.save(patches, inputs, allow_pickle=False)
    for part in ("workspace", "output"):
        (folder / part).mkdir()
    return RunFiles(model=copy, workspace=folder / "workspace", output=folder / "output", patches=patches)


def ascii_folder() -> str:
    """A temporary folder with nothing but ASCII in its path: ST's compilers fail at anything else.

    Raises:
        AedError: There is none.
    """
    candidates = [tempfile.gettempdir()]
    if platform.system() == "Windows":
        candidates += [os.environ.get("PUBLIC", ""), f"{os.environ.get('SYSTEMDRIVE', 'C:')}\\Temp"]
    else:
        candidates += ["/tmp", "/var/tmp"]
    for candidate in candidates:
        if candidate and candidate.isascii() and Path(candidate).is_dir() and os.access(candidate, os.W_OK):
            return candidate
    raise AedError(
        f"none of {candidates} is a folder that can be written to with a plain ASCII path; set TMPDIR (TEMP)"
    )


def copy_results(results: Path, folder: Path) -> None:
    """Copies reports to ``folder``, all else, code and weights, to ``folder/c``."""
    for path in sorted(results.rglob("*")):
        if path.is_file():
            inside = path.relative_to(results)
            to = folder / inside if path.name.endswith(_REPORT_FILES) else folder / "c" / inside
            to.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, to)
