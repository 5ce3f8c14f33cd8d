"""What the folders of runs hold: metrics, a row per clip of each program, epochs, int8 layers, boards, the command."""

import csv
import math
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml

from aed.base.errors import AedError
from aed.scoring import tables
from aed.scoring.decision import Task
from aed.scoring.levels import HEADLINE
from aed.scoring.pictures.canvas import PROGRAMS

METRICS = "metrics.json"
"""A folder with it is one of a run."""

LEAST_POSTERIOR = 1e-6
"""Of the last digit in a row's file: the loss of a clip is no more than its negative logarithm."""


@dataclass(frozen=True)
class ClipRow:
    """A clip as a program decided it.

    Args:
        file: Its name in the run's file.
        truth: Class, or of several ``a,b``.
        decided: Likewise.
        posteriors: Of each class.
    """

    file: str
    truth: str
    decided: str
    posteriors: tuple[float, ...]

    def loss(self, classes: tuple[str, ...]) -> float:
        """Negative logarithm of the true class's posterior; of several labels the mean binary cross-entropy."""
        if self.truth in classes:
            return -math.log(max(self.posteriors[classes.index(self.truth)], LEAST_POSTERIOR))
        true = self.truth.split(",")
        right = [value if name in true else 1 - value for name, value in zip(classes, self.posteriors, strict=True)]
        return -sum(math.log(max(value, LEAST_POSTERIOR)) for value in right) / max(1, len(right))


@dataclass(frozen=True)
class Job:
    """A run's folder.

    Args:
        name: Of the run, or of the job in its multirun.
        folder: Where it lies.
        metrics: Content of ``metrics.json``.
    """

    name: str
    folder: Path
    metrics: dict[str, float]

    @cached_property
    def split(self) -> str:
        """The split that is reported: ``test``, or ``val`` where nothing was tested."""
        return "test" if (self.folder / "test_clips.csv").is_file() else "val"

    @cached_property
    def task(self) -> Task:
        """What the model decides."""
        return "multi_label" if f"{self.split}/{HEADLINE['multi_label']}" in self.metrics else "single_label"

    @cached_property
    def clips(self) -> dict[str, list[ClipRow]]:
        """Rows of each program that has some, in the order float, int8, C."""
        found = {"": self.folder / f"{self.split}_clips.csv"}
        for path in sorted(self.folder.glob(f"{self.split}_*_clips.csv")):
            found[path.name.removeprefix(f"{self.split}_").removesuffix("_clips.csv")] = path
        names = [name for name in ("", "int8", *PROGRAMS) if name in found and found[name].is_file()]
        return {name or "float": self._rows(found[name]) for name in names}

    @cached_property
    def classes(self) -> tuple[str, ...]:
        """Class names in the order of the outputs; () where no clips were scored."""
        path = self.folder / f"{self.split}_clips.csv"
        return tuple(self._columns(_read_csv(path)[0])) if path.is_file() else ()

    def _columns(self, header: list[str]) -> list[str]:
        decision = tables.read_json(self.folder / "decision.json").get("decision") or {}
        return header[3:-1] if decision.get("nearness") else header[3:]

    def _rows(self, path: Path) -> list[ClipRow]:
        header, *rows = _read_csv(path)
        number = len(self._columns(header))
        try:
            return [
                ClipRow(file, truth, decided, tuple(float(value) for value in values[:number]))
                for file, truth, decided, *values in rows
            ]
        except (ValueError, TypeError) as error:
            raise AedError(f"{path}: damaged ({error}); run the stages test and evaluate again") from error

    @cached_property
    def epochs(self) -> dict[str, list[float | None]]:
        """Columns of ``metrics.csv``; None where an epoch has no such value. {} where there is none."""
        path = self.folder / "metrics.csv"
        if not path.is_file():
            return {}
        header, *rows = _read_csv(path)
        padded = [row + [""] * (len(header) - len(row)) for row in rows]
        return {name: [_number(row[index]) for row in padded] for index, name in enumerate(header)}

    @cached_property
    def quantization(self) -> dict[str, Any]:
        """Content of ``quantization.json``."""
        return tables.read_json(self.folder / "quantization.json")

    @cached_property
    def boards(self) -> list[dict[str, Any]]:
        """Reports of boards."""
        return [tables.read_json(path) for path in sorted(self.folder.glob("target/*/*/report.json"))]

    @cached_property
    def overrides(self) -> list[str]:
        """What was typed."""
        typed = _yaml(self.folder / ".hydra" / "overrides.yaml")
        return [str(item) for item in typed] if isinstance(typed, list) else []

    @cached_property
    def config(self) -> dict[str, Any]:
        """The composed configuration, as it stands in the file; {} where there is none."""
        content = _yaml(self.folder / ".hydra" / "config.yaml")
        return content if isinstance(content, dict) else {}

    @cached_property
    def cwd(self) -> Path:
        """The folder that the command was typed in."""
        content = _yaml(self.folder / ".hydra" / "hydra.yaml")
        try:
            return Path(content["hydra"]["runtime"]["cwd"])
        except (KeyError, TypeError):
            return Path()


def open_jobs(folder: Path) -> list[Job]:
    """The run of a folder, or the finished jobs of a multirun, in order.

    Raises:
        AedError: It is no folder of a run.
    """
    if not folder.is_dir():
        raise AedError(f"{folder}: no such folder; give that of a run, outputs/<experiment>/<date_time>")
    paths = [folder / METRICS] if (folder / METRICS).is_file() else list(folder.glob(f"*/{METRICS}"))
    if not paths:
        raise AedError(f"{folder}: no run is in there ({METRICS}, */{METRICS}); give the folder of a finished one")
    jobs = [Job(path.parent.resolve().name, path.parent, tables.read_metrics(path)) for path in paths]
    jobs = sorted(jobs, key=lambda job: (len(job.name), job.name))
    if not any(job.clips for job in jobs):
        raise AedError(f"{folder}: no clips were scored there (test_clips.csv); run the stage test: stages=[test]")
    return [job for job in jobs if job.clips]


def _read_csv(path: Path) -> list[list[str]]:
    with path.open(encoding="utf-8", errors="replace", newline="") as file:
        rows = list(csv.reader(file))
    if not rows:
        raise AedError(f"{path}: empty; delete it and run the stage again")
    return rows


def _number(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def _yaml(path: Path) -> Any:
    if not path.is_file():
        return None
    try:
        return yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise AedError(f"{path}: damaged ({type(error).__name__}); delete it") from error
