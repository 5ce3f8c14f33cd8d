"""What makes two searches the same: space, limits, data, code and libraries; another one may not add to a study."""

import hashlib
import json
import platform
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import aed
from aed.base.errors import AedError
from aed.datamodules import PatchDataModule
from aed.run.records import LIBRARIES, code_digest
from aed.run.search.space import Family

Identity = Mapping[str, str]
"""What it is about -> its value, or a digest of it."""

_ELSEWHERE = ("threads=", "trainer.accelerator=", "trainer.devices=", "data.cache_", "logger")
"""Beginnings of overrides that may be others on another machine."""


def identity(
    settings: Mapping[str, Any], families: Mapping[str, Family], typed: Sequence[str], data: PatchDataModule
) -> dict[str, str]:
    """The identity of a search.

    Args:
        settings: Keys of the search that change its results.
        families: That it chooses from.
        typed: Overrides of every training.
        data: Not yet prepared.
    """
    kept = sorted(word for word in typed if not (word.startswith(_ELSEWHERE) or _names_a_file(word)))
    paths = list(data.table["path"])
    keys, _ = data.cache.keys(paths)
    libraries = {name: version(name) for name in (*LIBRARIES, "optuna")}
    return {
        "aed": aed.__version__,
        **{name: str(value) for name, value in settings.items()},
        "keys of aed train": " ".join(kept) or "none",
        "nets": ", ".join(families),
        "space": _digest({name: family.content() for name, family in families.items()}),
        "data": _digest([data.listed(), [keys.get(path, "") for path in paths]]),
        **{f"the version of {name}": number for name, number in libraries.items()},
        "the version of Python": ".".join(platform.python_version_tuple()[:2]),
        "the code of aed": code_digest()[:12],
    }


def check_same(theirs: Identity, ours: Identity, where: str) -> None:
    """Refuses a study of another search.

    Args:
        theirs: Of the study.
        ours: Of the command.
        where: The study, for the message.

    Raises:
        AedError: Names the first thing in which they differ, and what to type.
    """
    for name in (*ours, *theirs):
        there, here = theirs.get(name, "not given"), ours.get(name, "not given")
        if there != here:
            advice = "install the same" if name.startswith("the ") or name == "aed" else "give the same"
            raise AedError(
                f"{where} is of another search: {name} is {_short(there)} there and {_short(here)} here; {advice}, or "
                "begin another one: folder=... (of a storage of several studies also name=...)"
            )


def _names_a_file(word: str) -> bool:
    """Whether a value is a file or folder, which may lie elsewhere on another machine: its sounds are compared."""
    value = word.partition("=")[2].strip("'\"")
    return ("/" in value and Path(value).exists()) or word.startswith("data.clips.root=")


def _short(text: str) -> str:
    return repr(text if len(text) <= 80 else f"{text[:77]}...")


def _digest(content: Any) -> str:
    text = json.dumps(content, sort_keys=True, default=str)
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()[:12]
