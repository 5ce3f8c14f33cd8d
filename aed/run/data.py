"""Inspection of a data set before anything is trained: facts about its recordings and findings, printed and as JSON."""

import logging
import os
from collections.abc import Callable, Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from aed.audio.recordings import check_output
from aed.base.console import PlainConsole, printable
from aed.base.errors import AedError
from aed.datamodules import PatchDataModule
from aed.datamodules.health.findings import MOST_NAMED, Finding, Report, examine
from aed.datamodules.health.sounds import listen_to_all
from aed.datamodules.sources.events import EventSource
from aed.dsp.frontend import FrontendConfig
from aed.scoring.tables import write_json

log = logging.getLogger(__name__)


def inspect(
    data: Callable[..., PatchDataModule],
    frontend: FrontendConfig,
    report: str,
    strict: bool = False,
    num_workers: int = 0,
    seed: int = 0,
    html: bool = False,
) -> Report:
    """Prints the health of a data set, writes it as JSON, and returns it.

    Args:
        data: Data set: builds the DataModule.
        frontend: Front end, by which clips are too short or too long.
        report: JSON file to write.
        strict: End with an error where something would spoil training or scores.
        num_workers: Threads that decode; 0: one per CPU.
        seed: Seed of a random split.
        html: Write a page to look at and to listen to as well, beside the JSON file, in ``.html``.

    Raises:
        AedError: There is no data set, or it is not well and ``strict`` is set.
    """
    check_output("report", Path(report))
    page = Path(report).with_suffix(".html")
    if html and page == Path(report):
        raise AedError(f"report: need a file whose name ends in .json where html=true, got {report}")
    module = data(seed=seed)
    setup: list[Finding] = []
    try:
        table = module.table
        if guess := module.likely_sources:
            examples = [f"{left} and {right}" for left, right in guess.examples]
            by_name = _by_name(table["path"])
            pairs = [[by_name[name] for name in pair if name in by_name] for pair in guess.examples]
            setup.append(Finding("likely_source", guess.is_sure, module.source_advice(guess), examples, pairs))
    except AedError as error:  # its recordings can be looked at all the same, if there are any
        table = module.recordings
        setup.append(Finding("no_split", True, f"it cannot be used as it is configured: {error}", [module.clips.name]))
    if errors := module.row_errors():
        text = f"{len(errors)} rows and files cannot be used and are left out"
        setup.append(Finding("rows", True, text, list(errors.values())))
    paths = list(dict.fromkeys(table["path"]))
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, transient=True, console=PlainConsole(stderr=True)) as progress:
        task = progress.add_task("recordings", total=len(paths))
        sounds = listen_to_all(paths, num_workers or os.cpu_count() or 1, lambda: progress.advance(task))
    events, annotation_errors = None, {}
    if isinstance(module.clips, EventSource):
        events, annotation_errors = module.events, module.clips.annotation_errors()
    names = {name for own in module.recordings["labels"] for name in own}
    examined = examine(table, sounds, frontend, events, annotation_errors, names)
    findings = sorted([*setup, *examined.findings], key=lambda finding: not finding.matters)
    result = Report(examined.facts, findings, examined.clips)
    _write(Path(report), module.clips.name, result)
    _print(module.clips.name, result)
    log.info("details in %s", report)
    if html:
        from aed.run.report.data import write_page  # what draws: only where it is asked for

        write_page(page, module.clips.name, result, frontend)
    if strict and result.spoiling:
        raise AedError(f"{module.clips.name}: {len(result.spoiling)} findings spoil training or scores (strict=true)")
    return result


def _by_name(paths: Iterable[Path]) -> dict[str, str]:
    """Path by the name of its file, of those whose name no other has."""
    found: dict[str, set[str]] = {}
    for path in paths:
        found.setdefault(path.name, set()).add(str(path))
    return {name: own.pop() for name, own in found.items() if len(own) == 1}


def _write(path: Path, name: str, report: Report) -> None:
    clips = report.clips.assign(path=report.clips["path"].map(str)).astype(object)
    content = {
        "name": name,
        **report.facts,
        "findings": [asdict(finding) for finding in report.findings],
        "files": clips.where(clips.notna(), None).to_dict(orient="records"),
    }
    write_json(path, content)


def _print(name: str, report: Report) -> None:
    # a file or pipe has no width of its own
    console = PlainConsole(width=None if PlainConsole().is_terminal else 160)
    console.print(_health(name, report.facts))
    console.print(_classes(report.facts))
    if not report.findings:
        console.print("Nothing wrong was found.")
    for finding in report.findings:
        mark, style = ("SPOILS", "bold red") if finding.matters else ("note", "yellow")
        line = Text.assemble((mark, style), " ", printable(finding.text))
        console.print(line, soft_wrap=True)  # commands in it stay whole
        for item in finding.names[:MOST_NAMED]:
            console.print(f"    {printable(item)}", soft_wrap=True)
        if len(finding.names) > MOST_NAMED:
            console.print(f"    and {len(finding.names) - MOST_NAMED} more")


def _health(name: str, facts: dict[str, Any]) -> Table:
    table = Table(title=f"{name}: recordings", show_header=False)
    table.add_row("clips", str(facts["clips"]))
    table.add_row("length of all", f"{facts['hours']:.2f} h")
    rows = (("clips with 0, 1, ... labels", "labels_per_clip"), ("sample rate, Hz", "sample_rates_hz"))
    for title, key in (*rows, ("channels", "channels"), ("format", "encodings")):
        table.add_row(title, ", ".join(f"{value}: {count}" for value, count in facts[key].items()))
    for title, key in (("duration, s", "duration_s"), ("peak, dBFS", "peak_dbfs")):
        table.add_row(title, ", ".join(f"{name} {value:.2f}" for name, value in facts[key].items()))
    table.add_row("digital zeros at the ends", f"{facts['padding']:.1%} of all samples")
    return table


def _classes(facts: dict[str, Any]) -> Table:
    splits = list(facts["splits"])
    table = Table(title="clips that can be used")
    for column in ("class", *splits, "all"):
        table.add_column(column, justify="left" if column == "class" else "right")
    for name, counts in facts["classes"].items():
        table.add_row(printable(name), *(str(counts[column]) for column in (*splits, "all")))
    table.add_section()
    table.add_row("clips", *(str(count) for count in facts["splits"].values()), str(facts["usable"]))
    return table
