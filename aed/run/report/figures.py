"""The figures of a report as plain values: headline, classes, epochs, int8 layers, memory, and where all comes from."""

import math
import shlex
import statistics
from collections.abc import Sequence
from typing import Any

import numpy as np

from aed.run.report.jobs import Job
from aed.scoring.intervals import Z95, share_interval
from aed.scoring.levels import HEADLINE, LEVELS
from aed.scoring.pictures.canvas import PROGRAMS
from aed.target.boards import board_names, load_board

WORDS = {"float": "float", "int8": "int8"} | PROGRAMS
"""Of the programs."""

_CURVES = ("loss", "patch_acc", "clip_acc", "patch_map", "clip_map", "clip_loss")
"""What may change over the epochs, in the order of its charts."""


def prefix(job: Job, program: str) -> str:
    """What the metrics of a program begin with."""
    return job.split if program == "float" else f"{job.split}_{program}"


def values_of(jobs: Sequence[Job], program: str, metric: str) -> list[float]:
    """A metric of each run that has it."""
    found = (job.metrics.get(f"{prefix(job, program)}/{metric}", math.nan) for job in jobs)
    return [value for value in found if not math.isnan(value)]


def headline(jobs: Sequence[Job]) -> list[dict[str, Any]]:
    """A row a program: mean over the runs of its main metrics, and the interval of the share of right clips."""
    patch, clip = LEVELS[jobs[0].task]
    rows = []
    for program in programs(jobs):
        clips, patches = values_of(jobs, program, clip), values_of(jobs, program, patch)
        same = values_of(jobs, program, "clip_agreement")
        value = statistics.fmean(clips) if clips else None
        files = {row.file for job in jobs for row in job.clips.get(program, ())}
        is_share = value is not None and jobs[0].task == "single_label"
        low, high = _interval(value or 0.0, len(files)) if is_share else (None, None)
        rows.append(
            {
                "program": WORDS[program],
                "clips": value,
                "low": low,
                "high": high,
                "patches": statistics.fmean(patches) if patches else None,
                "same": statistics.fmean(same) if same else None,
                "deviation": statistics.stdev(clips) if len(clips) > 1 else None,
                "files": len(files),
            }
        )
    return rows


def _interval(share: float, number: int) -> tuple[float, float]:
    """Ends of the 95 % interval of a share; a clip that several runs decided counts once."""
    low, high = share_interval(np.array([share * number]), np.array([float(number)]), Z95)
    return max(0.0, float(low[0])), min(1.0, float(high[0]))


def programs(jobs: Sequence[Job]) -> list[str]:
    """Those that every run was scored with."""
    return [name for name in WORDS if all(name in job.clips for job in jobs)]


def by_class(jobs: Sequence[Job], classes: Sequence[str]) -> dict[str, Any]:
    """For each program the main metric of each class, mean over the runs that have it, and how many clips there are."""
    metric = HEADLINE[jobs[0].task]
    shares = {}
    for program in programs(jobs):
        values = [values_of(jobs, program, f"{metric}/{name}") for name in classes]
        shares[WORDS[program]] = [statistics.fmean(own) if own else None for own in values]
    truths = [set(row.truth.split(",")) | {row.truth} for job in jobs for row in job.clips[programs(jobs)[0]]]
    counts = [sum(name in truth for truth in truths) for name in classes]
    return {"metric": "accuracy" if metric == "clip_acc" else "average precision", "shares": shares, "counts": counts}


def curves(job: Job) -> list[dict[str, Any]]:
    """Charts over the epochs: the lines of each split that was measured in more than one."""
    epochs = job.epochs.get("epoch", [])
    charts = []
    for name in _CURVES:
        lines = {split: job.epochs.get(f"{split}/{name}", []) for split in ("train", "val")}
        lines = {split: line for split, line in lines.items() if sum(value is not None for value in line) > 1}
        if lines:
            charts.append({"name": name, "epochs": epochs, "lines": lines})
    return charts


def int8(job: Job) -> dict[str, Any]:
    """Layers, repairs and their judgement; {} where the run has no int8 model."""
    content = job.quantization
    keys = ("name", "op", "precision", "sqnr_db", "saturated", "weights_bytes", "macc")
    layers = [{key: row.get(key) for key in keys} for row in content.get("layers", [])]
    steps = [
        {key: row.get(key) for key in ("name", "score", "gain", "low", "high", "sqnr_db", "kept", "detail")}
        for row in content.get("steps", [])
    ]
    judged = content.get("judging", {})
    return {"layers": layers, "steps": steps, "judging": judged, "note": content.get("note", "")} if layers else {}


def memory(job: Job) -> list[dict[str, Any]]:
    """Rows of a board, the flash and RAM it has and those that are needed, in bytes, and what that figure is."""
    rows = []
    for report in job.boards:
        name = report.get("board")
        if name in board_names():
            parts = [report, report.get("frontend") or {}]
            flash, ram = _total(parts, "flash_bytes"), _total(parts, "ram_bytes")
            figure = report.get("flash_bytes") or {}
            rows.append(_memory(name, flash, ram, f"net and front end, {figure.get('source', 'unknown')}"))
    if rows or not (cost := job.quantization.get("footprint")):
        return rows
    flash, ram = cost["weights_bytes"], cost["activations_bytes"]
    real = [name for name in board_names() if load_board(name).clock_mhz]
    return [_memory(name, flash, ram, "weights and activations alone, estimated") for name in real]


def _total(parts: Sequence[dict[str, Any]], key: str) -> float | None:
    values = [(part.get(key) or {}).get("value") for part in parts]
    known = [value for value in values if value is not None]
    return sum(known) if values[0] is not None else None


def _memory(name: str, flash: float | None, ram: float | None, what: str) -> dict[str, Any]:
    board = load_board(name)
    has = {"has_flash": board.flash_kib * 1024, "has_ram": board.ram_kib * 1024}
    known = {"board": name, "core": board.core, "external": board.external}
    return known | {"flash": flash, "ram": ram, "what": what} | has


def facts(job: Job, card: dict[str, Any]) -> dict[str, Any]:
    """Command, data and versions of a run.

    Args:
        job: The run.
        card: Content of its model card; {} where no model was exported.
    """
    clips = {key.removeprefix("data/"): value for key, value in job.metrics.items() if key.startswith("data/")}
    data = card.get("data", {})
    return {
        "command": shlex.join(["aed", "train", *job.overrides]) if job.overrides else "",
        "data": data.get("name", ""),
        "split": data.get("split", ""),
        "folds": {key: data[key] for key in ("test_fold", "val_fold") if data.get(key) is not None},
        "clips": {key.removesuffix("_clips"): value for key, value in clips.items() if key.endswith("_clips")},
        "leaks": clips.get("leaking_sources"),
        "skipped": clips.get("skipped_clips"),
        "weights": card.get("weights") or {},
        "versions": card.get("versions", {}),
    }
