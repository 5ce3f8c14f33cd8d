"""A multirun's summary: mean and deviation of every test metric over its jobs."""

import logging
import math
import statistics
from pathlib import Path
from typing import Any

from hydra.core.utils import JobReturn, JobStatus
from hydra.experimental.callback import Callback
from omegaconf import DictConfig, OmegaConf
from rich.table import Table

from aed.base.console import PlainConsole
from aed.scoring import tables
from aed.scoring.decision import Task
from aed.scoring.levels import HEADLINE, LEVELS
from aed.settings.entry import clear_errors, in_words

log = logging.getLogger(__name__)


def collect(folder: Path) -> list[tuple[str, list[str], dict[str, float]]]:
    """Name, overrides and metrics of each finished job of the last multirun in a folder, in job order."""
    jobs, begun = [], folder / "multirun.yaml"
    for path in folder.glob("*/metrics.json"):
        overrides = path.parent / ".hydra" / "overrides.yaml"
        if begun.is_file() and path.stat().st_mtime < begun.stat().st_mtime:
            log.warning("%s: belongs to an earlier multirun; left out of the summary", path)
            continue
        chosen = [str(item) for item in OmegaConf.load(overrides)] if overrides.is_file() else []
        jobs.append((path.parent.name, chosen, tables.read_metrics(path)))
    return sorted(jobs, key=lambda job: (len(job[0]), job[0]))


def summarise(folder: Path) -> dict[str, dict[str, Any]]:
    """Writes ``summary.json`` and ``summary.csv`` and returns the former: metric -> mean, sd, values.

    Metrics of classes or folds that not every job has, or that are no number in some, are summarised over the jobs
    that have them. The deviation is the sample's (n - 1); 0 for one job.
    """
    jobs = [
        (name, chosen, {key: value for key, value in metrics.items() if not math.isnan(value)})
        for name, chosen, metrics in collect(folder)
    ]
    keys = sorted({key for _, _, metrics in jobs for key in metrics})
    summary: dict[str, dict[str, Any]] = {}
    for key in keys:
        values = [metrics[key] for _, _, metrics in jobs if key in metrics]
        deviation = statistics.stdev(values) if len(values) > 1 else 0.0
        summary[key] = {"mean": statistics.fmean(values), "sd": deviation, "values": values}
    tables.write_json(folder / "summary.json", summary)
    rows = [[name, " ".join(chosen), *(metrics.get(key, "") for key in keys)] for name, chosen, metrics in jobs]
    tables.write_rows(folder / "summary.csv", ["job", "overrides", *keys], rows)
    return summary


def show(folder: Path, summary: dict[str, dict[str, Any]]) -> None:
    """Prints each job's headline accuracies, then mean and deviation of every test metric."""
    jobs = Table(title=f"{folder}: jobs, %")
    collected = collect(folder)
    task: Task = "multi_label" if any("test/clip_map" in metrics for _, _, metrics in collected) else "single_label"
    headline = (*(f"test/{level}" for level in LEVELS[task]), f"test_int8/{HEADLINE[task]}")
    for column in ("job", "overrides", "patches", "clips", "clips, int8"):
        jobs.add_column(column)
    for name, chosen, metrics in collected:
        cells = (tables.readable(key, metrics[key]) if key in metrics else "-" for key in headline)
        jobs.add_row(name, " ".join(chosen), *cells)
    table = Table(title="over jobs")
    for column in ("metric", "mean", "sd", "jobs"):
        table.add_column(column, justify="left" if column == "metric" else "right")
    for key, entry in summary.items():
        if key.startswith("test"):
            mean, deviation = (tables.readable(key, entry[part]) for part in ("mean", "sd"))
            table.add_row(key, mean, deviation, str(len(entry["values"])))
    PlainConsole().print(jobs, table)


class Summary(Callback):
    """Hydra callback: keeps the summary up to date after each job and prints it at the end."""

    def on_job_end(self, config: DictConfig, job_return: JobReturn, **_: Any) -> None:
        """Rewrites the summary, so that a sweep that stops early has one, too; logs the error that ended a job."""
        if config.hydra.mode is None or config.hydra.mode.name != "MULTIRUN":
            return
        if job_return.status == JobStatus.FAILED and (words := in_words(job_return._return_value)):
            log.error("job %s: %s", config.hydra.job.num, words)
            # Hydra raises this once the other jobs have run: as an exit it has no traceback
            job_return.return_value = SystemExit(1)
        with clear_errors(log):
            summarise(Path(config.hydra.sweep.dir))

    def on_multirun_end(self, config: DictConfig, **_: Any) -> None:
        """Writes and prints the final summary."""
        folder = Path(config.hydra.sweep.dir)
        with clear_errors(log):
            show(folder, summarise(folder))
