"""What a run, or all jobs of a multirun, decided about the test clips: read from the rows that they left."""

import csv
import logging
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from aed.base.errors import AedError
from aed.scoring import tables
from aed.scoring.labels import UNKNOWN
from aed.scoring.levels import HEADLINE
from aed.scoring.paired import Right

log = logging.getLogger(__name__)

FILES = {"float": "test", "int8": "test_int8"}
"""Model -> prefix of its metrics and of its file of clips."""

_REPEATED = ("seed", "data.test_fold", "data.val_fold")
"""Keys that the jobs of one recipe may differ in."""


@dataclass(frozen=True)
class Tested:
    """Decisions about test clips by all trainings of a recipe.

    Args:
        folder: Of the run or multirun.
        class_names: In the order of the posteriors.
        task: ``single_label``, or ``multi_label``: a clip is decided rightly where all its classes are, and no other.
        labels: Clip -> its class, or its classes joined by commas; sorted by clip.
        folds: Of each clip the configured test fold of the runs that decided it; "": none.
        seeds: Of the trainings that decided each clip.
        right: ``(clips, seeds)``.
        by_class: Class -> its decisions: single-label those of :attr:`right` about its clips; multi-label, of all
            clips, whether it was rightly named or left out.
    """

    folder: Path
    class_names: tuple[str, ...]
    task: str
    labels: Mapping[str, str]
    folds: tuple[str, ...]
    seeds: tuple[str, ...]
    right: Right
    by_class: Mapping[str, Right]

    def by_fold(self) -> dict[str, Right]:
        """Fold -> decisions about its clips; {} where there are not several."""
        names = sorted(set(self.folds), key=lambda name: (len(name), name))
        folds = np.array(self.folds)
        return {name: self.right[folds == name] for name in names} if len(names) > 1 else {}


@dataclass(frozen=True)
class _Job:
    """One training's decisions.

    Args:
        class_names: As in :class:`Tested`.
        rows: Clip -> label and decision, both as written.
        task: As in :class:`Tested`.
        seed: Configured.
        fold: Configured test fold; "": none.
    """

    class_names: tuple[str, ...]
    rows: Mapping[str, tuple[str, str]]
    task: str
    seed: str
    fold: str


def finished_jobs(folder: Path) -> list[Path]:
    """Folders of the jobs of the last multirun in a folder that have metrics, in job order."""
    found, begun = [], folder / "multirun.yaml"
    for path in folder.glob("*/metrics.json"):
        if begun.is_file() and path.stat().st_mtime < begun.stat().st_mtime:
            log.warning("%s: belongs to an earlier multirun; left out", path)
            continue
        found.append(path.parent)
    return sorted(found, key=lambda job: (len(job.name), job.name))


def typed(job: Path) -> list[str]:
    """What was typed for a job of a multirun, ``key=value``."""
    return [str(item) for item in _yaml(job / ".hydra" / "overrides.yaml") or ()]


def runs_in(folder: Path) -> list[Path]:
    """The tested runs of a folder: itself, or the jobs of its multirun.

    Raises:
        AedError: There is none, or a job was not tested.
    """
    if (folder / f"{FILES['float']}_clips.csv").is_file():
        return [folder]
    if not folder.is_dir():
        raise AedError(f"{folder}: no such folder; give the folder of a run, outputs/<experiment>/<date_time>")
    jobs = finished_jobs(folder)
    if not jobs:
        raise AedError(f"{folder}: no run that was tested; need test_clips.csv in it, or in the folders of its jobs")
    if untested := [job for job in jobs if not (job / f"{FILES['float']}_clips.csv").is_file()]:
        raise AedError(f"{untested[0]}: not tested, it has no test_clips.csv; run its stage test")
    return jobs


def read_tested(folder: Path, model: str) -> Tested | None:
    """The decisions of a model of a run or multirun; None where a run has no such model.

    Args:
        folder: Of the run or multirun.
        model: A key of :data:`FILES`.

    Raises:
        AedError: It is no run, a file is damaged, or its jobs are no repetitions of one recipe over folds and seeds.
    """
    paths = runs_in(folder)
    if not all((path / f"{FILES[model]}_clips.csv").is_file() for path in paths):
        return None
    _check_recipe(paths)
    jobs = {path: _read_job(path, FILES[model]) for path in paths}
    _check_classes(jobs)
    decided = _by_seed(jobs)
    first = jobs[paths[0]]
    names = sorted({clip for rows in decided.values() for clip in rows})
    labels: dict[str, str] = {}
    folds: dict[str, str] = {}
    for job in jobs.values():
        for clip, (label, _) in job.rows.items():
            if labels.setdefault(clip, label) != label:
                raise AedError(f"{folder}: {clip} is {labels[clip]!r} in one job and {label!r} in another")
            folds[clip] = job.fold
    rows = [[(labels[clip], decided[seed][clip]) for seed in decided] for clip in names]
    right = np.array([[label == own for label, own in row] for row in rows])
    return Tested(
        folder,
        first.class_names,
        first.task,
        {clip: labels[clip] for clip in names},
        tuple(folds[clip] for clip in names),
        tuple(decided),
        right,
        _by_class(first, rows, right),
    )


def _by_class(job: _Job, rows: Sequence[Sequence[tuple[str, str]]], right: Right) -> dict[str, Right]:
    if job.task == "single_label":
        labels = np.array([row[0][0] for row in rows])
        return {name: right[labels == name] for name in job.class_names if name in labels}
    sets = {text: _classes(text, job.class_names) for row in rows for pair in row for text in pair}
    return {
        name: np.array([[(name in sets[label]) == (name in sets[own]) for label, own in row] for row in rows])
        for name in job.class_names
    }


def _classes(text: str, class_names: Sequence[str]) -> set[str]:
    """The classes of a label that joins them by commas, in their order; a name may contain one."""
    found, rest = set(), f"{text}," if text else ""
    for name in class_names:
        if rest.startswith(f"{name},"):
            found.add(name)
            rest = rest[len(name) + 1 :]
    if rest:
        raise AedError(f"test_clips.csv: {text!r} are no classes of its header")
    return found


def _by_seed(jobs: Mapping[Path, _Job]) -> dict[str, dict[str, str]]:
    """Seed -> clip -> decision.

    Raises:
        AedError: A clip was decided by some seeds and not by others, or twice by one.
    """
    decided: dict[str, dict[str, str]] = defaultdict(dict)
    for path, job in jobs.items():
        for clip, (_, own) in job.rows.items():
            if clip in decided[job.seed]:
                raise AedError(
                    f"{path}: an earlier job with seed {job.seed} decided {clip}, too; give each training its own "
                    "seed, or compare the folders of the jobs"
                )
            decided[job.seed][clip] = own
    clips = {seed: set(rows) for seed, rows in decided.items()}
    every = set().union(*clips.values())
    for seed, ready in clips.items():
        if ready != every:
            raise AedError(
                f"{path.parent}: seed {seed} has decided {len(ready)} of {len(every)} test clips; every seed has to "
                "test the same: end its jobs, or compare their folders"
            )
    return dict(sorted(decided.items(), key=lambda item: (len(item[0]), item[0])))


def _check_recipe(jobs: Sequence[Path]) -> None:
    """Refuses jobs that are no repetitions of one recipe."""
    recipes = [{item for item in typed(job) if item.partition("=")[0].lstrip("+") not in _REPEATED} for job in jobs]
    for job, recipe in zip(jobs, recipes, strict=True):
        if different := sorted(recipe ^ recipes[0]):
            raise AedError(
                f"{job.parent}: jobs {jobs[0].name} and {job.name} differ in {different[0]}; only jobs that differ in "
                "folds and seeds are one recipe: compare the folders of the jobs"
            )


def _check_classes(jobs: Mapping[Path, _Job]) -> None:
    (first, one), *others = jobs.items()
    for path, job in others:
        if (job.class_names, job.task) != (one.class_names, one.task):
            raise AedError(f"{first.parent}: jobs {first.name} and {path.name} know other classes")


def _read_job(folder: Path, prefix: str) -> _Job:
    path = folder / f"{prefix}_clips.csv"
    try:
        with path.open(encoding="utf-8", newline="") as file:
            (_, kind, _, *names), *rows = csv.reader(file)
        if kind not in ("category", "labels") or not rows:
            raise ValueError("no rows of clips")
        if names[-1:] == ["nearness"] and all(row[1] != "nearness" for row in rows):
            names.pop()
        content = {row[0]: (row[1], _decided(row[2:], names, kind)) for row in rows}
    except (OSError, ValueError, IndexError) as error:
        raise AedError(f"{path}: damaged ({error}); test the run again") from error
    if len(content) != len(rows):
        raise AedError(f"{path}: a clip occurs twice; test the run again")
    _check_metrics(folder, prefix, content)
    config = _yaml(folder / ".hydra" / "config.yaml") or {}
    fold = (config.get("data") or {}).get("test_fold")
    task = "single_label" if kind == "category" else "multi_label"
    return _Job(tuple(names), content, task, str(config.get("seed", 0)), "" if fold is None else str(fold))


def _decided(cells: Sequence[str], names: Sequence[str], kind: str) -> str:
    """The decision of a row; single-label that of the greatest posterior, as clips are counted, nothing rejected."""
    if kind == "labels" or cells[0] != UNKNOWN:
        return cells[0]
    posteriors = [float(cell) for cell in cells[1 : 1 + len(names)]]
    return names[posteriors.index(max(posteriors))]


def _check_metrics(folder: Path, prefix: str, content: Mapping[str, tuple[str, str]]) -> None:
    """Refuses rows that do not give the accuracy of the metrics beside them."""
    share = tables.read_metrics(folder / "metrics.json").get(f"{prefix}/{HEADLINE['single_label']}")
    right = sum(label == own for label, own in content.values())
    if share is not None and abs(share * len(content) - right) > 0.5:
        raise AedError(
            f"{folder}: {prefix}_clips.csv has {right} of {len(content)} clips right, metrics.json "
            f"{100 * share:.2f} %: they are of two tests; test the run again"
        )


def _yaml(path: Path) -> Any:
    try:
        return yaml.safe_load(path.read_text(encoding="utf-8")) if path.is_file() else None
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise AedError(f"{path}: damaged ({error}); delete it") from error
