"""What the documents tell to type, as shell and Hydra read it."""

import re
import shlex
from pathlib import Path

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser

DOCS = sorted(Path(__file__).parents[1].glob("docs/*.md"))


def settings(text: str) -> list[list[str]]:
    """Of each piece of code that sets ``data...``, the words that a shell makes of it."""
    return [shlex.split(code) for code in re.findall(r"`([^`\n]*\bdata[.=][^`\n]*)`", text)]


@pytest.mark.parametrize("path", DOCS, ids=lambda path: path.name)
def test_settings_can_be_typed_as_they_are_printed(path: Path) -> None:
    for words in settings(path.read_text()):
        arguments = [word for word in words if re.fullmatch(r"[a-z_./]+=.*", word) and "<" not in word]
        for override in OverridesParser.create().parse_overrides(arguments):
            assert not override.is_sweep_override() or "-m" in words, override.input_line


def test_there_are_such_settings() -> None:
    found = settings((Path(__file__).parents[1] / "docs" / "data.md").read_text())
    assert ["data=folder", "data.clips.root=sounds"] in found
