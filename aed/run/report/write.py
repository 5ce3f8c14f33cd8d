"""Writes the report of runs: the verb, for folders, and the stage, for the run itself."""

import json
import logging
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from aed.base.errors import AedError
from aed.base.files import write_whole
from aed.run.compare import DIFFERENCES
from aed.run.report import figures
from aed.run.report.compared import compared_folders, read_comparison
from aed.run.report.embeddings import Kind, check_kind
from aed.run.report.jobs import Job, open_jobs
from aed.run.report.page import to_html
from aed.run.report.recordings import Recordings, recordings_of
from aed.run.report.scenes import MOST_CLIPS, Scenes, job_parts, scored_clips
from aed.run.report.search import is_search, search_subject
from aed.run.report.sounds import Sounds
from aed.run.report.streams import MOST_PIECES, open_streams, streams_of, streams_subject
from aed.run.state import REPORT, Run
from aed.run.stream_record import STREAMS

log = logging.getLogger(__name__)


def report_folders(files: list[str], output: str | None = None, audio: str | None = None, map: Kind = "pca") -> None:
    """Writes the report of a run, of the runs of a multirun, of what was detected or searched, or of several of these.

    Args:
        files: Folders of runs or multiruns, of ``aed compare output=``, of ``aed detect results=``, of ``aed search``;
            of several the first is shown first, and all runs are compared with the first.
        output: HTML file to write; null: ``report.html`` in the first folder.
        audio: Folder with the recordings of the clips, however deep; null: where the configuration of the run says.
        map: How embeddings of the clips get two dimensions: ``pca``, or ``umap`` by the package umap-learn, which may
            take minutes.

    Raises:
        AedError: A folder holds no run with scored clips, or a file in it is damaged.
    """
    if output is not None and not output.endswith(".html"):
        raise AedError(f"output: need a file whose name ends in .html, got {output}")
    check_kind(map)
    page = _Page(audio, map)
    folders = [Path(name) for name in dict.fromkeys(files)]
    for folder in folders:
        page.add(folder)
    page.write(Path(output) if output else folders[0] / REPORT)


def report(run: Run) -> None:
    """The stage: writes ``report.html`` of what earlier stages left in the run's folder."""
    run.catch_up()
    own = [Job(run.folder.resolve().name, run.folder, run.metrics)]
    if not own[0].clips:
        raise AedError("stages: report needs scored clips; add test before it")
    page = _Page(None, "pca")
    page.add_jobs(run.folder, own, Recordings(run.data.table["path"]))
    page.write(run.folder / REPORT)


class _Page:
    """A report that grows.

    Args:
        audio: As in :func:`report_folders`.
        map: Likewise.
    """

    def __init__(self, audio: str | None, map: Kind) -> None:
        self.audio, self.map, self.sounds = audio, map, Sounds()
        self.subjects: list[dict[str, Any]] = []
        self.names: list[str] = []
        self.runs: list[Path] = []
        self.compared: dict[str, Any] = {}

    def add(self, folder: Path) -> None:
        """Adds what a folder holds.

        Raises:
            AedError: It is nothing that a report can be of.
        """
        if (folder / DIFFERENCES).is_file():
            self.names.append(folder.resolve().name)
            self.compared, runs = read_comparison(folder)
            for run in runs:
                self.add_jobs(run, open_jobs(run))
        elif (folder / STREAMS).is_file():
            self.names.append(folder.resolve().name)
            self.subjects.append(streams_subject(str(folder), open_streams(folder / STREAMS), self.sounds, self.audio))
        elif is_search(folder):
            self.names.append(folder.resolve().name)
            self.subjects.append(search_subject(folder))
        else:
            self.names.append(folder.resolve().name)
            self.add_jobs(folder, open_jobs(folder))
            self.runs.append(folder)

    def add_jobs(self, folder: Path, jobs: Sequence[Job], recordings: Recordings | None = None) -> None:
        """Adds a run, or the runs of a multirun."""
        self.names = self.names or [folder.resolve().name]
        self.subjects.append(_subject(str(folder), jobs, self.audio, recordings, self.sounds, self.map))

    def write(self, path: Path) -> None:
        """Writes the page."""
        if len(self.runs) > 1:
            self.compared = compared_folders(self.runs)
        content = {
            "about": self._about(),
            "subjects": self.subjects,
            "sounds": self.sounds.uris,
            "compared": self.compared,
        }
        text = to_html("report", f"Report: {' and '.join(self.names)}", content)
        data = text.encode("utf-8", errors="backslashreplace")
        write_whole(path, lambda file: file.write(data))
        log.info("%s: %.1f MB", path, len(data) / 1e6)

    def _about(self) -> str:
        facts = [own["jobs"][0]["facts"] for own in self.subjects if own["kind"] == "run"]
        return "; ".join(dict.fromkeys([*(own["data"] or "a data set" for own in facts), *self.names]))


def _subject(
    name: str, jobs: Sequence[Job], audio: str | None, recordings: Recordings | None, sounds: Sounds, kind: Kind
) -> dict[str, Any]:
    """The content of a run or of the runs of a multirun; their sounds are added to ``sounds``."""
    if {job.classes for job in jobs} != {jobs[0].classes} or {job.task for job in jobs} != {jobs[0].task}:
        raise AedError(f"{name}: its runs have different classes; give the folders of single runs")
    found = {job.name: (recordings, "") if recordings else recordings_of(job, audio) for job in jobs}
    scenes = Scenes({job.name: job_parts(job, found[job.name][0]) for job in jobs}, sounds)
    models = {key: own.model for key, own in scenes.parts.items()}
    streams = _streams(jobs, sounds, audio)  # false alarms get their sound before clips do
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
        "kind": "run",
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
        "jobs": [
            _job(job, jobs, models[job.name]) | {"map": scenes.map(job.name, kind), "streams": streams[job.name]}
            for job in jobs
        ],
    }


def _streams(jobs: Sequence[Job], sounds: Sounds, audio: str | None) -> dict[str, list[dict[str, Any]]]:
    """What the stage detect left of each run; that of the int8 model first."""
    records = {job.name: streams_of(job.folder) for job in jobs}
    most = MOST_PIECES // max(1, sum(map(len, records.values())))
    return {
        name: [streams_subject(model, record, sounds, audio, most) for model, record in reversed(own.items())]
        for name, own in records.items()
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
