"""README and docs: commands compose, code runs, quoted messages are said, and the site needs no other host."""

import ast
import functools
import importlib.util
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import textwrap
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
import yaml
from test_mistakes import say

from aed.base.errors import AedError
from aed.datamodules import Folder
from aed.dsp import FrontendConfig
from aed.export.onnx import ExportConfig, to_onnx
from aed.modules.rebuild import net_facts
from aed.target import boards
from aed.target.codegen.footprint import planned_footprint

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted(ROOT.glob("docs/**/*.md"))]
IDS = [path.relative_to(ROOT).as_posix() for path in PAGES]

COMPOSED = (
    "train", "search", "compare", "report", "evaluate", "predict", "detect", "listen", "soundscapes", "benchmark",
    "deploy", "data", "models", "import_model", "migrate", "record",
)  # fmt: skip
"""Verbs whose arguments Hydra reads."""

OTHERS = ("doctor", "cli", "help", "<verb>")

VARIABLES = {"$M": "model_int8.onnx", "$R": "outputs/esc10_yamnet/date_time", "<date_time>": "date_time"}
"""Variables of the shell that the pages set, and what stands for a folder of a run."""

_BLOCK = re.compile(r"^(?:<!-- (\w+) -->\n)?```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks(path: Path, language: str, mark: str = "") -> list[str]:
    """Contents of the code blocks of a page in a language, of those with a mark before them if it is given."""
    found = _BLOCK.findall(path.read_text(encoding="utf-8"))
    return [code for name, kind, code in found if kind == language and mark in ("", name)]


def commands(path: Path) -> list[tuple[str, ...]]:
    """Verb and arguments of each ``aed`` command in a page's shell blocks."""
    lines = [line for block in blocks(path, "bash") for line in block.replace("\\\n", " ").splitlines()]
    found = []
    for line in lines:
        for piece in re.split(r" [|&]+ ", line):
            for name, value in VARIABLES.items():
                piece = piece.replace(name, value)
            words = shlex.split(piece, comments=True)
            if words[:1] == ["aed"]:
                found.append(tuple(words[1:]))
            elif words[:2] == ["python", "-m"] and words[2].startswith("aed."):
                found.append((words[2].removeprefix("aed."), *words[3:]))
    return found


ALL = sorted({command for path in PAGES for command in commands(path)})


def test_there_are_commands_of_each_verb() -> None:
    assert len(ALL) > 40
    assert {command[0] for command in ALL} >= {*COMPOSED} - {"models"}
    assert {command[0] for command in ALL} <= {*COMPOSED, *OTHERS}


@pytest.mark.usefixtures("processes")
@pytest.mark.parametrize("command", [item for item in ALL if item[0] in COMPOSED], ids=" ".join)
def test_the_command_composes(command: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    verb, *words = command
    if "-m" in words:  # the first job of a sweep
        words = [re.sub(r"=([^,\[]*),.*", r"=\1", word) for word in words if word != "-m"]
    first = int("=" not in words[0]) if words else 0  # data inspect
    code, output = say(verb, words if "--cfg" in words else [*words[:first], "--cfg", "job", *words[first:]])
    assert code == 0, output


@pytest.mark.parametrize("path", PAGES, ids=IDS)
def test_python_is_python(path: Path) -> None:
    for code in blocks(path, "python"):
        ast.parse(code)


@pytest.mark.parametrize("path", PAGES, ids=IDS)
def test_variables_are_set_before_they_are_used(path: Path, tmp_path: Path) -> None:
    for run in ("2026-01-01_00-00-00", "2026-01-02_00-00-00", "2026-01-02_00-00-00_02"):
        (tmp_path / "outputs" / "esc10_yamnet" / run).mkdir(parents=True)
    newest = "outputs/esc10_yamnet/2026-01-02_00-00-00_02"
    values = {"M": f"{newest}/model_int8.onnx", "R": newest}
    known = set()
    for line in "".join(blocks(path, "bash")).splitlines():
        if found := re.match(r"([A-Z])=", line):
            (name,) = found.groups()
            script = f'{line}\nprintf %s "${name}"'
            ended = subprocess.run(["sh", "-c", script], cwd=tmp_path, capture_output=True, text=True, check=True)
            assert ended.stdout == values[name]
            known.add(name)
        assert set(re.findall(r"\$([A-Z])\b", line)) <= known, line


def test_the_sounds_of_the_page_are_a_data_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (code,) = blocks(ROOT / "docs" / "own_sounds.md", "python", "run")
    subprocess.run([sys.executable, "-c", code], check=True)
    table = Folder("sounds").table()
    assert table["labels"].value_counts().to_dict() == {(name,): 24 for name in ("beep", "knock", "water", "whistle")}


@functools.cache
def spoken() -> list[str]:
    """Every text in the sources, with its variable parts as ``…``."""
    texts = []
    for path in (ROOT / "aed").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.JoinedStr):
                texts.append("…".join(part.value if isinstance(part, ast.Constant) else "" for part in node.values))
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                texts.append(node.value)
    return texts


@pytest.mark.parametrize("message", [block.strip() for block in blocks(ROOT / "docs" / "faq.md", "message")])
def test_a_quoted_message_is_said_by_the_program(message: str) -> None:
    parts = [part.strip(" .:,;()") for part in message.split("…")]
    fixed = [part for part in parts if len(part) >= 8]
    assert fixed, message
    for part in fixed:
        assert any(part in text for text in spoken()), part


@pytest.mark.usefixtures("processes")
def test_the_tables_of_results_are_those_of_the_measurements() -> None:
    spec = importlib.util.spec_from_file_location("results_tables", ROOT / "scripts" / "results_tables.py")
    tables = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tables)
    rows = tables.results()
    readme, page = (path.read_text(encoding="utf-8") for path in (tables.README, tables.PAGE))
    assert tables.put(readme, tables.short(rows)) == readme, "python scripts/results_tables.py"
    assert tables.page(page, rows) == page, "python scripts/results_tables.py"
    zoo = tables.ZOO.read_text(encoding="utf-8")
    assert tables.put(zoo, tables.shipped(rows), "zoo") == zoo, "python scripts/results_tables.py"
    measured = json.loads((ROOT / "configs" / "measured.json").read_text())
    shown = {row["recipe"]: row for row in rows}
    for recipe, known in measured.items():
        for kind in ("float", "int8"):
            if known[kind] is not None:
                values = shown[recipe][kind]
                assert round(sum(values) / len(values), 2) == pytest.approx(known[kind], abs=0.0051), recipe


def test_the_readme_is_short() -> None:
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= 90


def test_every_page_is_in_the_navigation_and_every_link_leads_to_a_file() -> None:
    def files(item: object) -> list[str]:
        if isinstance(item, str):
            return [item]
        return [name for part in (item.values() if isinstance(item, dict) else item) for name in files(part)]

    text = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    assert sorted(files(yaml.safe_load(text)["nav"])) == [
        path.relative_to(ROOT / "docs").as_posix() for path in PAGES[1:]
    ]
    for path in PAGES:
        for target in re.findall(r"\]\(([^)#\s]+)", path.read_text(encoding="utf-8")):
            assert target.startswith("https://") or (path.parent / target).exists(), f"{path.name}: {target}"


def test_the_files_that_answer_questions_exist() -> None:
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    files = [
        name
        for row in re.findall(r"^\| (?:where|what|who|how)[^|]*\| (.*) \|$", text, re.MULTILINE)
        for name in re.findall(r"`([\w/.]+)`", row)
    ]
    assert len(files) >= 10
    assert not [name for name in files if not any((ROOT / top / name).exists() for top in ("aed", "."))]
    folders = {path.parent.name for path in ROOT.glob("aed/*/__init__.py")}
    assert set(re.findall(r"^\| `(\w+)/` \|", text, re.MULTILINE)) == folders


class Loaded(HTMLParser):
    """Addresses a page loads by itself: scripts, styles, fonts, images, frames."""

    def __init__(self) -> None:
        super().__init__()
        self.addresses: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        if tag in ("script", "img", "iframe", "source", "video", "audio", "embed"):
            self.addresses.append(values.get("src") or "")
        if tag == "link" and values.get("rel") not in ("canonical", "prev", "next", "edit"):
            self.addresses.append(values.get("href") or "")


BUILDERS = {
    "mkdocs": ["mkdocs", "build", "--quiet", "--strict", "--site-dir", "site"],
    "zensical": ["zensical", "build", "--strict"],
}


@pytest.mark.usefixtures("processes")
@pytest.mark.parametrize("builder", BUILDERS)
def test_the_site_builds_and_needs_no_other_host(builder: str, tmp_path: Path) -> None:
    program = shutil.which(builder, path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    if program is None:
        pytest.skip(f"{builder} is not here: pip install -e '.[docs]'")
    shutil.copytree(ROOT / "docs", tmp_path / "docs")
    shutil.copy(ROOT / "mkdocs.yml", tmp_path)  # zensical builds beside the file that a link leads to
    (tmp_path / "aed").symlink_to(ROOT / "aed")
    ended = subprocess.run([program, *BUILDERS[builder][1:]], cwd=tmp_path, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    pages = list((tmp_path / "site").rglob("*.html"))
    assert len(pages) >= len(PAGES) - 1
    for page in pages:
        loaded, text = Loaded(), page.read_text(encoding="utf-8")
        loaded.feed(text)
        assert loaded.addresses
        assert not [item for item in loaded.addresses if item.startswith(("http:", "https:", "//"))], page
        assert "mermaid" not in text, "its script would come from another host"
    for style in (tmp_path / "site").rglob("*.css"):
        assert not re.search(r"url\(\s*['\"]?(https?:)?//|@import", style.read_text(encoding="utf-8")), style


def added(kind: str, holding: str) -> str:
    """The code block of docs/adding.md or docs/boards.md of a kind that has a text in it."""
    text = "".join((ROOT / "docs" / name).read_text(encoding="utf-8") for name in ("adding.md", "boards.md"))
    found = re.findall(rf"^( *)```{kind}\n(.*?)^\1```$", text, re.MULTILINE | re.DOTALL)
    (code,) = [textwrap.dedent(block) for _, block in found if holding in block]
    return code


def test_the_net_of_the_page_is_one_that_can_be_trained_and_run_in_c() -> None:
    names: dict[str, Any] = {}
    exec(added("python", "class SmallConv"), names)
    net = names["SmallConv"](num_classes=3, width=4)
    assert net_facts(net)["arguments"] == {"num_classes": 3, "width": 4}
    model = to_onnx(net, FrontendConfig(), ExportConfig())
    assert planned_footprint(model).planned
    with pytest.raises(AedError, match=r"net\.width"):
        names["SmallConv"](3, width=0)


def test_the_data_source_of_the_page_reads_its_list(tmp_path: Path) -> None:
    names: dict[str, Any] = {}
    exec(added("python", "class Freefield1010"), names)
    source = names["Freefield1010"](str(tmp_path))
    with pytest.raises(AedError, match="AED_DATA_DIR"):
        source.table()
    csv = tmp_path / names["CSV"]
    csv.write_text("itemid,datasetid,hasbird\n64486,ff1010bird,0\n2525,ff1010bird,1\n")
    rows = source.table().to_dict("records")
    assert rows[0]["path"] == tmp_path / "wav" / "64486.wav"
    assert [(row["labels"], row["src_file"]) for row in rows] == [(("none",), "64486"), (("bird",), "2525")]
    csv.write_text("itemid,datasetid,hasbird\n64486,ff1010bird,x\n")
    with pytest.raises(AedError, match="line 2: hasbird 'x', need 0 or 1"):
        source.table()


def test_the_board_of_the_page_is_a_board(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = added("yaml", "emulated_by")
    monkeypatch.setattr(boards, "BOARD_DIR", tmp_path)
    (tmp_path / Path(text.split()[1]).name).write_text(text)
    board = boards.load_board("nucleo-g491re")
    assert board.core == "cortex-m4" and board.backends == ("emulator", "stedgeai")
