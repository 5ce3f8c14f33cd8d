"""Writes the report of runs: the verb, for folders, and the stage, for the run itself."""

import itertools
import json
import logging
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from scipy.stats import binomtest

from aed.base.errors import AedError
from aed.base.files import write_whole
from aed.run.report import figures
from aed.run.report.jobs import Job, open_jobs
from aed.run.report.page import to_html
from aed.run.report.recordings import Recordings, recordings_of
from aed.run.report.scenes import MOST_CLIPS, Scenes, job_model, scored_clips
from aed.run.state import Run

log = logging.getLogger(__name__)

REPORT = "report.html"
"""File in the folder of a run."""


def report_folders(files: list[str], output: str | None = None, audio: str | None = None) -> None:
    """Writes the report of a run, of the runs of a multirun, or of several beside each other.

    Args:
        files: Folders of runs or multiruns; of several the first is shown first, and all are compared.
        output: HTML file to write; null: ``report.html`` in the first folder.
        audio: Folder with the recordings of the clips, however deep; null: where the configuration of the run says.

    Raises:
        AedError: A folder holds no run with scored clips, or a file in it is damaged.
    """
    if output is not None and not output.endswith(".html"):
        raise AedError(f"output: need a file whose name ends in .html, got {output}")
    folders = [Path(name) for name in dict.fromkeys(files)]
    _write(Path(output) if output else folders[0] / REPORT, {folder: open_jobs(folder) for folder in folders}, audio)


def report(run: Run) -> None:
    """The stage: writes ``report.html`` of what earlier stages left in the run's folder."""
    run.catch_up()
    own = [Job(run.folder.resolve().name, run.folder, run.metrics)]
    if not own[0].clips:
        raise AedError("stages: report needs scored clips; add test before it")
    _write(run.folder / REPORT, {run.folder: own}, None, Recordings(run.data.table["path"]))


def _write(
    path: Path, of_folder: dict[Path, list[Job]], audio: str | None, recordings: Recordings | None = None
) -> None:
    subjects: list[dict[str, Any]] = []
    sounds: list[str] = []
    for folder, jobs in of_folder.items():
        subjects.append(_subject(str(folder), jobs, audio, recordings, sounds))
    names = [Path(subject["name"]).resolve().name for subject in subjects]
    first = subjects[0]["jobs"][0]["facts"]
    about = f"{first['data'] or 'a data set'}; {', '.join(names)}"
    content = {"about": about, "subjects": subjects, "sounds": sounds, "pairs": _pairs(of_folder)}
    title = f"Report: {' and '.join(names)}"
    text = to_html(title, content).encode("utf-8", errors="backslashreplace")
    write_whole(path, lambda file: file.write(text))
    log.info("%s: %.1f MB", path, len(text) / 1e6)


def _subject(
    name: str, jobs: Sequence[Job], audio: str | None, recordings: Recordings | None, sounds: list[str]
) -> dict[str, Any]:
    """The content of a run or of the runs of a multirun; their sounds are added to ``sounds``."""
    if {job.classes for job in jobs} != {jobs[0].classes} or {job.task for job in jobs} != {jobs[0].task}:
        raise AedError(f"{name}: its runs have different classes; give the folders of single runs")
    models = {job.name: job_model(job) for job in jobs}
    found = {job.name: (recordings, "") if recordings else recordings_of(job, audio) for job in jobs}
    scenes = Scenes({key: own for key, (own, _) in found.items()}, models, sounds)
    scored = scored_clips(jobs)
    clips = list(scenes.all(scored))
    silent = sum("sound" not in clip for clip in clips)
    notes = list(dict.fromkeys(why for _, why in found.values() if why))
    if any(model is None for model in models.values()):
        notes.append("A run has no exported model (stages export, quantize): its clips have no sound or picture here.")
    elif silent and not notes:
        notes.append(f"{silent} of {len(clips)} clips have no sound here: not found, or no room for more in the page.")
    if len(scored) > MOST_CLIPS:
        notes.append(f"Of {len(scored)} clips the {MOST_CLIPS} with the greatest loss are listed.")
    classes = jobs[0].classes
    return {
        "name": name,
        "task": jobs[0].task,
        "split": jobs[0].split,
        "programs": [figures.WORDS[own] for own in figures.programs(jobs)],
        "classes": classes,
        "headline": figures.headline(jobs),
        "by_class": figures.by_class(jobs, classes),
        "clips": clips,
        "suspects": sum(clip["suspect"] for clip in clips),
        "notes": notes,
        "jobs": [_job(job, jobs, models[job.name]) for job in jobs],
    }


def _job(job: Job, jobs: Sequence[Job], model: Any) -> dict[str, Any]:
    common = set.intersection(*(set(other.overrides) for other in jobs)) if len(jobs) > 1 else set()
    own = [item for item in job.overrides if item not in common]
    card = json.loads(json.dumps(asdict(model.card))) if model else {}
    return {
        "name": job.name,
        "words": f"{job.name}: {' '.join(own)}" if own and len(jobs) > 1 else job.name,
        "curves": figures.curves(job),
        "int8": figures.int8(job),
        "memory": figures.memory(job),
        "facts": figures.facts(job, card),
    }


def _pairs(of_folder: dict[Path, list[Job]]) -> list[dict[str, Any]]:
    """For each two folders and each program of both: clips that only one decides rightly, and the sign test's p."""
    rows = []
    for (one, first), (other, second) in itertools.combinations(of_folder.items(), 2):
        for program in (name for name in figures.programs(first) if name in figures.programs(second)):
            mine, theirs = _right(first, program), _right(second, program)
            shared = mine.keys() & theirs.keys()
            only = [sum(a[key] > b[key] for key in shared) for a, b in ((mine, theirs), (theirs, mine))]
            rows.append(
                {
                    "one": str(one),
                    "other": str(other),
                    "program": figures.WORDS[program],
                    "files": len(shared),
                    "only_one": only[0],
                    "only_other": only[1],
                    "p": float(binomtest(only[0], sum(only)).pvalue) if sum(only) else 1.0,
                }
            )
    return rows


def _right(jobs: Sequence[Job], program: str) -> dict[str, float]:
    """Clip -> share of the runs that decided it rightly."""
    found: dict[str, list[bool]] = {}
    for row in (row for job in jobs for row in job.clips[program]):
        found.setdefault(row.file, []).append(row.decided == row.truth)
    return {name: sum(own) / len(own) for name, own in found.items()}
