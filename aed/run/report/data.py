"""The page of a data set: its health, what was found with the sounds side by side, and all recordings to hear."""

import logging
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from itertools import zip_longest
from pathlib import Path
from typing import Any

import pandas as pd

from aed.base.errors import AedError
from aed.base.files import write_whole
from aed.datamodules.health.findings import Finding, Report
from aed.dsp.frontend import FrontendConfig
from aed.dsp.logmel import LogMel
from aed.dsp.waveform import read_audio, resample
from aed.run.report.page import to_html
from aed.run.report.sounds import Sounds, image_uri

log = logging.getLogger(__name__)

HEARD_S = 10.0
"""Of the start of a recording, in the page."""

MOST_GROUPS = 24
"""Of a finding, side by side."""

MOST_FILES = 5000
"""In the table; the rest is counted."""

MOST_PICTURES = 150
"""Of the files that something was found of."""


def write_page(path: Path, name: str, report: Report, frontend: FrontendConfig) -> None:
    """Writes the page.

    Args:
        path: Of the HTML file.
        name: Of the data set.
        report: What was found.
        frontend: Whose features the pictures are.
    """
    content = _content(name, report, frontend)
    data = to_html("data", f"Data: {name}", content).encode("utf-8", errors="backslashreplace")
    write_whole(path, lambda file: file.write(data))
    log.info("%s: %.1f MB", path, len(data) / 1e6)


def _content(name: str, report: Report, frontend: FrontendConfig) -> dict[str, Any]:
    paths = list(dict.fromkeys(map(str, report.clips["path"])))
    suspects = list(dict.fromkeys(_shown_files(report.findings)))
    known = set(paths)
    suspects = [path for path in suspects if path in known]
    chosen = set(suspects)
    order = [*suspects, *(path for path in _mixed(report.clips) if path not in chosen)]
    shown = order[:MOST_FILES]
    scenes = _scenes(shown, suspects[:MOST_PICTURES], report.clips, frontend)
    numbers = {path: number for number, path in enumerate(shown)}
    flags: dict[str, list[str]] = {}
    for finding in report.findings:
        for path in dict.fromkeys(path for group in finding.files for path in group):
            flags.setdefault(path, []).append(finding.key)
    rows = {str(row["path"]): row for row in report.clips.to_dict(orient="records")}
    short = _short(paths)
    return {
        "about": f"{name}: {report.facts['clips']} clips",
        "facts": report.facts,
        "seconds": HEARD_S,
        "findings": [_finding(own, numbers) for own in report.findings],
        "files": [
            {"file": short[path], **_facts(rows[path]), "flags": flags.get(path, []), **scenes.get(path, {})}
            for path in shown
        ],
        "more": len(paths) - len(shown),
        "sounds": scenes.sounds.uris,
    }


def _shown_files(findings: Sequence[Finding]) -> Iterator[str]:
    """Files of all findings: what comes first gets sound and picture first; a group of each finding in turn."""
    groups = zip_longest(*(finding.files[:MOST_GROUPS] for finding in findings))
    yield from (path for row in groups for group in row if group for path in group)
    yield from (path for finding in findings for group in finding.files[MOST_GROUPS:] for path in group)


def _mixed(clips: pd.DataFrame) -> list[str]:
    """All files, one of each class in turn."""
    turn = clips.groupby(clips["labels"].map(str), sort=True).cumcount()
    return list(dict.fromkeys(map(str, clips.assign(turn=turn).sort_values("turn", kind="stable")["path"])))


class _Scenes(dict[str, dict[str, Any]]):
    """Sound and picture of files."""

    sounds: Sounds


def _scenes(order: Sequence[str], drawn: Sequence[str], clips: pd.DataFrame, frontend: FrontendConfig) -> _Scenes:
    found = _Scenes()
    found.sounds = Sounds()
    usable = set(map(str, clips.loc[clips["error"] == "", "path"]))
    found.sounds.expect(sum(path in usable for path in order))
    logmel, pictures = LogMel(frontend), set(drawn)
    for path in order:
        if path not in usable or not (found.sounds.has_room or path in pictures):
            continue
        try:
            wave, rate = read_audio(Path(path), HEARD_S)
        except AedError as error:
            log.warning("%s", error)
            continue
        wave = resample(wave, rate, frontend.sample_rate)
        own = found.setdefault(path, {})
        if (place := found.sounds.put(path, wave, frontend.sample_rate)) is not None:
            own["sound"] = place
        if path in pictures and len(wave) >= frontend.n_fft + frontend.hop_length:
            own["picture"] = image_uri(logmel.array(wave))
    return found


def _finding(own: Finding, numbers: Mapping[str, int]) -> dict[str, Any]:
    groups = [[numbers[path] for path in group if path in numbers] for group in own.files[:MOST_GROUPS]]
    return {
        "key": own.key,
        "matters": own.matters,
        "text": own.text,
        "names": own.names[: MOST_GROUPS * 2],
        "count": len(own.names),
        "groups": groups if any(groups) else [],
    }


def _facts(row: Mapping[Any, Any]) -> dict[str, Any]:
    """Of a row of the clips."""
    split, source, error = row["split"], row["src_file"], str(row["error"])
    if error:
        return {"labels": list(row["labels"]), "split": _text(split), "source": _text(source), "error": error}
    peak = 20 * math.log10(max(float(row["peak"]), 1e-10))
    return {
        "labels": list(row["labels"]),
        "split": _text(split),
        "source": _text(source),
        "error": "",
        "duration_s": round(float(row["duration_s"]), 2),
        "peak_dbfs": round(peak, 1) if row["peak"] > 0 else None,
        "rate_hz": int(row["rate_hz"]),
        "channels": int(row["channels"]),
        "encoding": str(row["encoding"]),
        "padding": round(float(row["padding"]), 4),
        "offset": round(float(row["offset"]), 4),
        "clipped_runs": int(row["clipped_runs"]),
    }


def _text(value: Any) -> str:
    return "" if pd.isna(value) else str(value)


def _short(paths: Sequence[str]) -> dict[str, str]:
    """Names without the folder that all share."""
    folders = [os.path.dirname(path) for path in paths]  # noqa: PTH120 - names, not places
    try:
        above = os.path.commonpath(folders) if all(folders) else ""
    except ValueError:  # relative and absolute ones
        above = ""
    return {path: os.path.relpath(path, above) if above else path for path in paths}
