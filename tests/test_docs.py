"""What the documents tell to type, as shell and Hydra read it."""

import re
import shlex
from pathlib import Path

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser

from aed.base.errors import AedError
from aed.run import cli, registry
from aed.run.cli import AedCLI
from aed.settings.typed import as_typed

DOCS = sorted(Path(__file__).parents[1].glob("docs/*.md"))

SETS = (
    "synthetic",
    "esc_csv",
    "folder",
    "segments",
    "dcase",
    "fsd50k",
    "speech_commands",
    "fsdkaggle2018",
    "fsdkaggle2019",
)
SETS += ("sonyc_ust", "audioset", "edge_impulse", "label_studio", "annotated")


def settings(text: str) -> list[list[str]]:
    """Of each piece of code that sets ``data...``, the words that a shell makes of it."""
    return [shlex.split(code) for code in re.findall(r"`([^`\n]*\bdata[.=][^`\n]*)`", text)]


def typed(arguments: list[str]) -> list[str]:
    """The arguments as Hydra is given them, with the first data set that has their keys."""
    registry.register()
    is_chosen = any(item.startswith(("data=", "experiment=")) for item in arguments)
    names = SETS if any(item.startswith("data.clips.") for item in arguments) else SETS[:1]
    chosen = [[]] if is_chosen else [[f"data={name}"] for name in names]
    first = [] if any(item.startswith("experiment=") for item in arguments) else ["experiment=demo"]
    for number, data in enumerate(chosen, 1):
        try:
            return as_typed([*first, *data, *arguments], "train")
        except AedError:
            if number == len(chosen):
                raise
    raise AssertionError


@pytest.mark.parametrize("path", DOCS, ids=lambda path: path.name)
def test_settings_can_be_typed_as_they_are_printed(path: Path) -> None:
    for words in settings(path.read_text(encoding="utf-8")):
        arguments = [word for word in words if re.fullmatch(r"(data|frontend|experiment|model)[./\w]*=.*", word)]
        options = [word for word in words if word == "-m"]
        arguments = [
            word for word in typed([*options, *(word for word in arguments if "<" not in word)]) if word != "-m"
        ]
        for override in OverridesParser.create().parse_overrides(arguments):
            assert not override.is_sweep_override() or "-m" in words, override.input_line


def test_there_are_such_settings() -> None:
    found = settings((Path(__file__).parents[1] / "docs" / "data.md").read_text())
    assert ["data=folder", "data.clips.root=sounds"] in found


def lightning_commands() -> list[list[str]]:
    """The commands of LightningCLI in the documents, as a shell splits them."""
    pages = [*DOCS, DOCS[0].parents[1] / "README.md"]
    found = [
        line
        for page in pages
        for line in re.findall(
            r"(?:^|`)aed cli ((?:fit|validate|test|predict|export)[^`|\n]*)",
            page.read_text(encoding="utf-8"),
            re.MULTILINE,
        )
    ]
    return [shlex.split(line, comments=True) for line in found]


@pytest.mark.parametrize("words", lightning_commands(), ids=" ".join)
@pytest.mark.usefixtures("computes")
def test_commands_of_lightning_cli_can_be_typed_as_they_are_printed(
    words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are parsed, over a checkpoint and a net of the test's where they name one."""

    class ParseOnly(AedCLI):
        def before_instantiate_classes(self) -> None: ...

        def instantiate_classes(self) -> None: ...

        def _run_subcommand(self, subcommand: str) -> None: ...

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(cli, "read_checkpoint", lambda path: None)
    if "--ckpt_path" in words:
        words = [*words, "--experiment=demo"]
    words = [word.replace("my_pkg.MyNet", "tiny.TinyNet") for word in words]
    if words[-1] == "--help" or any(".help" in word for word in words):
        with pytest.raises(SystemExit) as end:
            ParseOnly(words)
        assert end.value.code == 0
    else:
        assert ParseOnly(words).settings.trainer.max_epochs >= 5
