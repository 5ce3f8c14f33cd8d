"""Every table prints every name as it is."""

import ast
import io
import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from rich.console import Console
from rich.table import Table

import aed
from aed.base.console import PlainConsole, printable
from aed.datamodules.health import findings
from aed.inference import writers
from aed.inference.detection import DetectedEvent
from aed.inference.event_writers import as_table
from aed.inference.prediction import Prediction
from aed.run import benchmark, compare_tables, data, models, stream_report, sweep, tested
from aed.run.search import printed, results
from aed.run.search.costs import Costs
from aed.scoring import tables
from aed.scoring.compared import Compared
from aed.scoring.decision import Decision
from aed.scoring.events.alarms import Alarms
from aed.scoring.events.lists import EventList
from aed.scoring.events.stream import StreamScores, score_stream
from aed.scoring.paired import Difference
from aed.scoring.rejection import judge_rejection
from aed.scoring.scores import Scores, score
from aed.target.report import Cost, Figure, Report

NAMES = [
    "[/dB]",
    "hum [50 Hz]",
    "bark [big]",
    "bark [small]",
    "[bold]loud",
    "[link=a]b[/link]",
    ":dog:",
    "a\\[b]",
    "\x1b[31mred",
]
SOURCE = Path(aed.__file__).parent

Say = Callable[[], object]


@pytest.fixture(autouse=True)
def wide(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "230")


def scored(task: str) -> Scores:
    posteriors = torch.rand(40, len(NAMES), generator=torch.Generator().manual_seed(0))
    target = torch.arange(40) % len(NAMES)
    if task == "multi_label":
        target = torch.nn.functional.one_hot(target, len(NAMES)).float()
    return score(posteriors.softmax(dim=1), target, torch.arange(40), NAMES, Decision())


def figures(task: str) -> dict[str, float]:
    return {f"test/{key}": value for key, value in scored(task).metrics.items()}


def layer(name: str) -> dict[str, Any]:
    numbers = dict.fromkeys(("activation_min", "activation_max", "saturated", "weights_bytes", "macc"), 1.0)
    return {"name": name, "precision": "float", "sqnr_db": None} | numbers


def step(name: str) -> dict[str, Any]:
    return {
        "name": name,
        "score": 1.0,
        "gain": 0.0,
        "low": 0.0,
        "high": 0.0,
        "sqnr_db": 1.0,
        "kept": True,
        "detail": name,
    }


def sweep_of(folder: Path) -> None:
    for number, name in enumerate(NAMES):
        job = folder / str(number)
        (job / ".hydra").mkdir(parents=True)
        (job / ".hydra" / "overrides.yaml").write_text(json.dumps([f"data.class_names=[{name},rain]"]))
        metrics = {f"test/clip_acc/{name}": 0.5, "test/clip_acc": 0.25, "test/unseen_clips": 40.0, "test/loss": 2.0}
        (job / "metrics.json").write_text(json.dumps(metrics))
    sweep.show(folder, sweep.summarise(folder))


def front_of(names: list[str]) -> Table:
    """The table of a search whose trials have these words."""
    rows = {
        number: results.Row(
            number=number,
            state="complete",
            words=name,
            why="",
            shipped=False,
            score=0.5,
            costs=Costs(1e6, 1024, 1024),
            seconds=1.0,
            cpu_seconds=1.0,
            command="",
            parameters={},
            curve=(),
        )
        for number, name in enumerate(names)
    }
    return printed._front_table(SimpleNamespace(metric="val/clip_acc"), rows, list(rows))


def table_of(names: list[str]) -> None:
    out = io.StringIO()
    table = writers._Table(out, True)
    for name in names:
        table.row(f"{name}.wav", Prediction(0, 1, name, 0.5))
    table.close()
    print(out.getvalue())


def health() -> None:
    counts = {"train": 1, "all": 1}
    facts = {
        "clips": 1, "hours": 1.0, "padding": 0.0, "usable": 1, "splits": {"train": 1},
        "labels_per_clip": {}, "sample_rates_hz": {}, "channels": {}, "encodings": {"WAV": 1},
        "duration_s": {"median": 1.0}, "peak_dbfs": {"median": 1.0}, "classes": dict.fromkeys(NAMES, counts),
    }  # fmt: skip
    found = [findings.Finding("few", True, f"of {name}", [name]) for name in NAMES]
    data._print(NAMES[0], findings.Report(facts, found, pd.DataFrame()))


def cost(name: str) -> Report:
    net = Cost(figures={"macc": Figure(1.0, "estimated")}, functions=({"name": name, "share": 0.5},))
    return Report(target=name, action="analyze", board=name, core="cortex-m33", net=net, limits=name)


def event(name: str) -> DetectedEvent:
    return DetectedEvent(name, 0.5, 1.5, 0.9, (1.0,))


def stream_scores() -> StreamScores:
    """A detection of each class, where it occurs."""
    every, once = np.arange(len(NAMES)), np.ones(len(NAMES))
    found = EventList.of(0 * every, every, every, every + once)
    detected = found, Alarms(0 * every, every, every + 0.5)
    return score_stream(found, detected, lambda threshold: detected, NAMES, np.array([3600.0]))


def run_of_a_clip() -> tested.Tested:
    right = np.array([[True]])
    return tested.Tested(Path(), tuple(NAMES), "single_label", {"a.wav": NAMES[0]}, ("",), ("0",), right, {})


def compared() -> list[Compared]:
    one = Difference(0.5, 0.1, 0.9, 1, 0, 2, 1.0)
    return [Compared("int8", name, scope, name, one) for scope in ("all", "class") for name in NAMES]


def row(name: str) -> models.Row:
    text = dict.fromkeys(("frontend", "weights", "licence", "recipe", "model"), name)
    return models.Row(**{field: text.get(field, 1) for field in models.Row.__dataclass_fields__} | {"name": name})


SAYS: dict[tuple[str, str], list[Say]] = {
    ("tables", "print_scores"): [
        lambda: tables.print_scores("test", figures("single_label"), [1] * 9, NAMES, NAMES[1]),
        lambda: tables.print_scores("test", figures("multi_label"), [1] * 9, NAMES),
    ],
    ("tables", "print_layers"): [
        lambda: tables.print_layers(
            {
                "layers": [layer(name) for name in NAMES],
                "footprint": {"weights_bytes": 1, "macc": 1},
                "steps": [step(name) for name in NAMES],
                "judging": {"metric": NAMES[0], "split": NAMES[1]},
            }
        )
    ],
    ("tables", "_print_detector"): [
        lambda: [tables._print_detector(NAMES[0], {}, name, 1, name) for name in NAMES],
    ],
    ("tables", "print_comparison"): [
        lambda: tables.print_comparison(
            {
                name: {"clips": 1, "float": accuracy, "int8": accuracy, "clip_agreement": 1, "sqnr_db": {"median": 1}}
                for accuracy in [{"clip_acc": 1}]
                for name in NAMES
            }
        )
    ],
    ("compare_tables", "print_scores"): [
        lambda: compare_tables.print_scores(NAMES, {"float": [run_of_a_clip()] * 9}, {"float": [(0.0, 1.0)] * 9})
    ],
    ("compare_tables", "_table"): [lambda: compare_tables.print_differences(NAMES[0], compared())],
    ("compare_tables", "print_costs"): [
        lambda: compare_tables.print_costs(
            NAMES, [[{"part": "net", "board": name, "macc": 1.0, "source": "estimated"}] for name in NAMES]
        )
    ],
    ("tables", "print_programs"): [lambda: tables.print_programs("test", [(name, {}) for name in NAMES])],
    ("tables", "print_rejection"): [
        lambda: [
            tables.print_rejection(name, judge_rejection(torch.tensor([0.5]), torch.tensor([True]), 0.1))
            for name in NAMES
        ]
    ],
    ("benchmark", "_print"): [lambda: benchmark._print(NAMES[0], [cost(name) for name in NAMES], "benchmark")],
    ("printed", "_front_table"): [lambda: PlainConsole().print(front_of(NAMES))],
    ("printed", "_winner_table"): [],  # numbers alone
    ("models", "_print"): [lambda: models._print([row(name) for name in NAMES])],
    ("writers", "__init__"): [lambda: table_of(NAMES)],
    ("event_writers", "as_table"): [lambda: print(as_table([(NAMES[0], [event(name) for name in NAMES])]))],
    ("robustness", "_table"): [],
    ("robustness", "_streams_table"): [],
    ("stream_report", "candidates_table"): [],
    ("stream_report", "programs_table"): [],
    ("stream_report", "summary"): [lambda: PlainConsole().print(stream_report.summary(stream_scores(), NAMES))],
    ("data", "_health"): [health],
    ("data", "_classes"): [health],
    ("sweep", "show"): [],
}


def calls(name: str) -> set[tuple[str, str]]:
    """Module and function of every call of ``name`` in the package."""
    found = set()
    for path in SOURCE.rglob("*.py"):
        for function in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(function, ast.FunctionDef):
                for node in ast.walk(function):
                    if isinstance(node, ast.Call) and getattr(node.func, "id", "") == name:
                        found.add((path.stem, function.name))
    return found


@pytest.mark.usefixtures("computes")
def test_every_table_is_tried_and_on_a_plain_console() -> None:
    assert calls("Table") == set(SAYS)
    assert calls("Console") == set()


@pytest.mark.parametrize("where", [key for key, says in SAYS.items() if says], ids=lambda key: "-".join(key))
def test_names_are_printed_as_they_are(capsys: pytest.CaptureFixture[str], where: tuple[str, str]) -> None:
    for say in SAYS[where]:
        say()
        said = capsys.readouterr().out
        assert [name for name in NAMES if printable(name) not in said] == []


def test_a_sweep_prints_its_overrides_and_counts_as_counts(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sweep_of(tmp_path)
    said = capsys.readouterr().out
    for name in NAMES:
        assert f"data.class_names=[{printable(name)},rain]" in said and f"test/clip_acc/{printable(name)}" in said
    for key, mean in (("test/unseen_clips", "40.00"), ("test/clip_acc", "25.00"), ("test/loss", "2.00")):
        assert [line.replace("│", " ").split()[1] for line in said.splitlines() if f" {key} " in line] == [mean]


@pytest.mark.parametrize(
    ("key", "value", "text"),
    [
        ("test/clip_acc", 0.5, "50.00"),
        ("test/clip_acc/clips", 0.5, "50.00"),
        ("test/clip_acc/a/loss", 0.5, "50.00"),
        ("test/loss", 0.5, "0.50"),
        ("test_int8/sqnr_db", 31.0, "31.00"),
        ("data/test_clips", 80.0, "80.00"),
        ("val/temperature", 1.5, "1.50"),
    ],
)
def test_only_shares_are_percentages(key: str, value: float, text: str) -> None:
    assert tables.readable(key, value) == text


def test_rich_itself_would_take_them_for_markup() -> None:
    """What the console of ours is for."""
    out = io.StringIO()
    Console(file=out).print("bark [big] :dog:")
    assert "[big]" not in out.getvalue() or ":dog:" not in out.getvalue()
