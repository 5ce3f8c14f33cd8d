"""A multirun's summary: mean and deviation of every test metric over its jobs."""

import logging
import math
import statistics
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hydra.core.utils import JobReturn, JobStatus
from hydra.experimental.callback import Callback
from omegaconf import DictConfig
from rich.table import Table

from aed.base.console import PlainConsole
from aed.base.errors import AedError
from aed.run.state import REPORT
from aed.run.tested import FILES, finished_jobs, read_tested, typed
from aed.run.tracking import sweeps
from aed.scoring import tables
from aed.scoring.decision import Task
from aed.scoring.levels import HEADLINE, LEVELS
from aed.scoring.paired import interval
from aed.settings.entry import clear_errors, in_words

log = logging.getLogger(__name__)


def collect(folder: Path) -> list[tuple[str, list[str], dict[str, float]]]:
    """Name, overrides and metrics of each finished job of the last multirun in a folder, in job order."""
    jobs = finished_jobs(folder)
    return [(job.name, typed(job), tables.read_metrics(job / "metrics.json")) for job in jobs]


def summarise(folder: Path, has_ended: bool = True) -> dict[str, dict[str, Any]]:
    """Writes ``summary.json`` and ``summary.csv`` and returns the former: metric -> mean, sd, values.

    Metrics of classes or folds that not every job has, or that are no number in some, are summarised over the jobs
    that have them. The deviation is the sample's (n - 1); 0 for one job. Where the jobs are one recipe, over folds and
    seeds, shares of test clips have ``share``, over all clips, its 95 % interval ``low``, ``high``, and ``clips``.

    Args:
        folder: Of the multirun.
        has_ended: Whether it has; intervals take time and are of all jobs.
    """
    jobs = [
        (name, chosen, {key: value for key, value in metrics.items() if not math.isnan(value)})
        for name, chosen, metrics in collect(folder)
    ]
    keys = sorted({key for _, _, metrics in jobs for key in metrics})
    intervals = _intervals(folder) if has_ended and jobs else {}
    summary: dict[str, dict[str, Any]] = {}
    for key in keys:
        values = [metrics[key] for _, _, metrics in jobs if key in metrics]
        deviation = statistics.stdev(values) if len(values) > 1 else 0.0
        summary[key] = {"mean": statistics.fmean(values), "sd": deviation, "values": values} | intervals.get(key, {})
    tables.write_json(folder / "summary.json", summary)
    ends = [f"{key}.{end}" for key in _SHARES for end in ("low", "high")]
    rows = [
        [name, " ".join(chosen), *(metrics.get(key, "") for key in keys), *_ends(metrics)]
        for name, chosen, metrics in jobs
    ]
    tables.write_rows(folder / "summary.csv", ["job", "overrides", *keys, *ends], rows)
    return summary


_SHARES = tuple(f"{prefix}/{HEADLINE['single_label']}" for prefix in FILES.values())
"""Metrics of a job that are shares of its test clips."""


def _ends(metrics: Mapping[str, float]) -> list[float | str]:
    """Low and high end of the 95 % interval of each of :data:`_SHARES`; empty where a job lacks it."""
    return [end for key in _SHARES for end in tables.interval_of(metrics, key) or ("", "")]


def _intervals(folder: Path) -> dict[str, dict[str, float]]:
    """Metric -> share, interval and number of clips, of jobs that are one recipe; else {}, and the reason is said."""
    found: dict[str, dict[str, float]] = {}
    try:
        for model, prefix in FILES.items():
            tested = read_tested(folder, model)
            if tested is None or tested.task != "single_label":
                continue
            key = f"{prefix}/{HEADLINE['single_label']}"
            parts = {key: tested.right} | {f"{key}/{name}": own for name, own in tested.by_class.items()}
            for name, right in parts.items():
                low, high = interval(right)
                found[name] = {"share": float(right.mean()), "low": low, "high": high, "clips": len(right)}
    except AedError as error:
        log.info("no intervals over the jobs: %s", error)
    return found


def show(folder: Path, summary: dict[str, dict[str, Any]]) -> None:
    """Prints each job's headline accuracies, then mean, deviation and interval of every test metric."""
    jobs = Table(title=f"{folder}: jobs, %")
    collected = collect(folder)
    task: Task = "multi_label" if any("test/clip_map" in metrics for _, _, metrics in collected) else "single_label"
    headline = (*(f"test/{level}" for level in LEVELS[task]), f"test_int8/{HEADLINE[task]}")
    for column in ("job", "overrides", "patches", "clips", "clips, int8"):
        jobs.add_column(column)
    for name, chosen, metrics in collected:
        cells = (_with_interval(metrics, key) if key in metrics else "-" for key in headline)
        jobs.add_row(name, " ".join(chosen), *cells)
    clips = next((entry["clips"] for key, entry in summary.items() if key in _SHARES and "clips" in entry), None)
    table = Table(title="over jobs", caption=f"interval over clips and seeds; {tables.one_of(clips)}" if clips else "")
    for column in ("metric", "mean", "sd", "95 % interval", "jobs"):
        table.add_column(column, justify="left" if column == "metric" else "right")
    for key, entry in summary.items():
        if key.startswith("test"):
            mean, deviation = (tables.readable(key, entry[part]) for part in ("mean", "sd"))
            between = f"{100 * entry['low']:.1f} .. {100 * entry['high']:.1f}" if "low" in entry else ""
            table.add_row(key, mean, deviation, between, str(len(entry["values"])))
    PlainConsole().print(jobs, table)


def _with_interval(metrics: Mapping[str, float], key: str) -> str:
    ends = tables.interval_of(metrics, key) if key in _SHARES else None
    return tables.readable(key, metrics[key]) + (f"\n{100 * ends[0]:.1f} .. {100 * ends[1]:.1f}" if ends else "")


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
            summarise(Path(config.hydra.sweep.dir), has_ended=False)

    def on_multirun_end(self, config: DictConfig, **_: Any) -> None:
        """Writes and prints the final summary, and where the jobs have reports, one of all."""
        folder = Path(config.hydra.sweep.dir)
        with clear_errors(log):
            summary = summarise(folder)
            show(folder, summary)
            if any((job / REPORT).is_file() for job in finished_jobs(folder)):  # stage report
                from aed.run.report.write import report_folders  # imports what draws: only where a report is asked for

                report_folders([str(folder)])
            sweeps.end(folder, summary)
