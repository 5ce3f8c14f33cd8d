"""The health of a data set: what its recordings are like, and what would spoil a training or its scores."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from aed.datamodules.health.annotations import untrusted
from aed.datamodules.health.sounds import CLIPPED_RUN, Sound
from aed.datamodules.selection import alike
from aed.datamodules.sources.events import EVENT_COLUMNS
from aed.datamodules.splits import shared_sources
from aed.dsp.frontend import FrontendConfig

SILENT_PEAK = 1e-3
"""-60 dBFS: a clip that never exceeds it is silent."""

MAX_OFFSET = 0.01
"""Share of full scale that a mean may have: a DC offset above it is reported."""

MAX_PADDING = 0.5
"""Share of digital zeros at a clip's ends above which it is reported."""

MAX_IMBALANCE = 10.0
"""Clips of the largest class over those of the smallest above which it is reported."""

MOST_NAMED = 5
"""Files that a finding names as examples; the JSON file has all."""

SPLITS = ("train", "val", "test", "calibration")


@dataclass(frozen=True)
class Finding:
    """One finding of a data set.

    Args:
        key: Its name for programs.
        matters: Whether it spoils training or scores.
        text: Of what there is how much, and what to do.
        names: Files, classes or recordings it is about.
        files: Of each name the files that it is about, where there are some.
    """

    key: str
    matters: bool
    text: str
    names: list[str] = field(default_factory=list)
    files: list[list[str]] = field(default_factory=list)


@dataclass(frozen=True)
class Report:
    """All that :func:`examine` finds.

    Args:
        facts: Counts and distributions, as plain types.
        findings: What matters first.
        clips: One row per clip, columns ``path``, ``labels``, ``split``, ``src_file`` and those of :class:`Sound`.
    """

    facts: dict[str, Any]
    findings: list[Finding]
    clips: pd.DataFrame

    @property
    def spoiling(self) -> list[Finding]:
        """Findings that matter."""
        return [finding for finding in self.findings if finding.matters]


def examine(
    table: pd.DataFrame,
    sounds: dict[Path, Sound],
    frontend: FrontendConfig,
    events: pd.DataFrame | None = None,
    annotation_errors: Mapping[Path, str] | None = None,
    names: Iterable[str] = (),
) -> Report:
    """Health of a data set.

    Args:
        table: A clip table; ``split`` is NA where clips are in none.
        sounds: Of each of its files.
        frontend: Tells what is too short or too long.
        events: Of annotated recordings, as :meth:`aed.datamodules.sources.events.EventSource.events` gives them.
        annotation_errors: As :meth:`aed.datamodules.sources.events.EventSource.annotation_errors` gives them.
        names: Of classes of the data set that are in no row of ``table``, as where some were chosen.
    """
    of_file = pd.DataFrame([asdict(sounds[path]) for path in table["path"]], index=table.index)
    clips = pd.concat([table[["path", "labels", "split", "src_file"]], of_file], axis=1)
    good = clips[clips["error"] == ""]
    candidates = [
        *_findings(clips, good, frontend, names),
        *(_about_events(events, annotation_errors or {}, sounds) if events is not None else ()),
    ]
    findings = [finding for finding in candidates if finding.names]
    facts = {
        "clips": len(clips),
        "usable": len(good),
        "hours": round(float(good["duration_s"].sum()) / 3600, 4),
        "splits": {split: int((good["split"] == split).sum()) for split in _present(good)},
        "classes": _class_counts(good),
        "labels_per_clip": _counts(clips["labels"].map(len)),
        "sample_rates_hz": _counts(good["rate_hz"]),
        "channels": _counts(good["channels"]),
        "encodings": _counts(good["encoding"]),
        "duration_s": _distribution(good["duration_s"]),
        "peak_dbfs": _distribution(20 * np.log10(good["peak"].clip(lower=1e-10))),
        "padding": float((good["padding"] * good["duration_s"]).sum() / max(1e-9, good["duration_s"].sum())),
    }
    return Report(facts, sorted(findings, key=lambda finding: not finding.matters), clips)


def _present(clips: pd.DataFrame) -> list[str]:
    return [split for split in SPLITS if (clips["split"] == split).any()]


def _counts(values: "pd.Series[Any]") -> dict[str, int]:
    return {str(value): int(count) for value, count in values.value_counts().items()}


def _class_counts(clips: pd.DataFrame) -> dict[str, dict[str, int]]:
    """Clips of each class in each split, and in all."""
    pairs = clips[["labels", "split"]].explode("labels").dropna(subset="labels")
    by_class = {str(name): {"all": len(own)} for name, own in pairs.groupby("labels")}
    for split in _present(clips):
        inside = Counter(pairs["labels"][pairs["split"] == split])
        for name, counts in by_class.items():
            counts[split] = inside[name]
    return by_class


def _distribution(values: "pd.Series[float]") -> dict[str, float]:
    if values.empty:
        return {}
    names = ("min", "p5", "median", "p95", "max")
    return {
        name: round(float(value), 4)
        for name, value in zip(names, values.quantile([0, 0.05, 0.5, 0.95, 1]), strict=True)
    }


def _findings(
    clips: pd.DataFrame, good: pd.DataFrame, frontend: FrontendConfig, names: Iterable[str]
) -> Iterator[Finding]:
    """Everything that is looked for; without names where there is nothing."""
    yield from _about_equal_sounds(clips, good)
    leaks = shared_sources(clips)
    pieces = [_paths(clips[clips["src_file"].astype(str) == source]) for source in leaks]
    yield Finding("source_leak", True, f"{len(leaks)} recordings are in two splits: scores are too high", leaks, pieces)
    bad = clips[clips["error"] != ""]
    reasons = [f"{path}: {error}" for path, error in zip(bad["path"], bad["error"], strict=True)]
    text = f"{len(bad)} files cannot be used and are left out of training"
    yield Finding("unreadable", True, text, reasons, _each(_paths(bad)))
    yield from _about_classes(clips, good, names)
    longest_s, patch_s = frontend.max_length_s, frontend.min_clip_samples / frontend.sample_rate
    within_patch = f"shorter than a patch ({patch_s:.2f} s): they are repeated up to {frontend.min_length_s:g} s"
    sounds = (
        ("silent", good["peak"] < SILENT_PEAK, "never exceed -60 dBFS: they are silent"),
        ("clipped", good["clipped_runs"] > 0, f"have {CLIPPED_RUN} or more equal samples at full scale in a row"),
        ("offset", good["offset"].abs() > MAX_OFFSET, f"have a mean (DC) of more than {MAX_OFFSET:.0%} of full scale"),
        (
            "padding",
            (good["padding"] > MAX_PADDING) & (good["peak"] > 0),
            "are digital zeros at their ends for more than half of their length",
        ),
        ("short", good["duration_s"] < patch_s, f"are {within_patch}"),
        ("long", good["duration_s"] > longest_s, f"are longer than frontend.max_length_s = {longest_s:g} s: cut there"),
        (
            "low_rate",
            good["rate_hz"] < frontend.sample_rate,
            f"have less than {frontend.sample_rate} Hz: no high bands",
        ),
    )
    for key, mask, text in sounds:
        own = good[mask]
        yield Finding(key, False, f"{len(own)} of {len(good)} clips {text}", _names(own), _each(_paths(own)))


def _about_equal_sounds(clips: pd.DataFrame, good: pd.DataFrame) -> Iterator[Finding]:
    """Files listed twice, and equal sounds in different files; silence equals silence and does not count."""
    sounding = good[good["peak"] > 0].drop_duplicates("path")
    leaks, conflicts, copies = _Groups([], []), _Groups([], []), _Groups([], [])
    for _, own in sounding[sounding["digest"].duplicated(keep=False)].groupby("digest", sort=False):
        is_leak, is_conflict = own["split"].dropna().nunique() > 1, own["labels"].nunique() > 1
        (leaks if is_leak else conflicts if is_conflict else copies).add(" = ".join(_names(own)), _paths(own))
    for path, own in clips[clips["path"].duplicated(keep=False)].groupby("path", sort=False):
        is_leak, is_conflict = own["split"].nunique() > 1, own["labels"].nunique() > 1
        (leaks if is_leak else conflicts if is_conflict else copies).add(str(path), _paths(own))
    number = len(leaks.names)
    yield Finding("leak", True, f"{number} sounds are in two splits: what is tested was trained on", *leaks)
    number = len(conflicts.names)
    yield Finding("conflict", False, f"{number} sounds are in a split twice, with different labels", *conflicts)
    yield Finding("copy", False, f"{len(copies.names)} sounds are in a split more than once", *copies)


class _Groups(NamedTuple):
    """Names of groups, and the files of each."""

    names: list[str]
    files: list[list[str]]

    def add(self, name: str, files: list[str]) -> None:
        self.names.append(name)
        self.files.append(files)


def _about_classes(clips: pd.DataFrame, good: pd.DataFrame, names: Iterable[str]) -> Iterator[Finding]:
    """Splits and classes without a clip that can be used, and classes far larger than others."""
    expected = {"train", *_present(clips)} if clips["split"].notna().any() else set()
    empty = [split for split in SPLITS if split in expected and not (good["split"] == split).any()]
    yield Finding("empty_split", True, f"{len(empty)} splits have no clip that can be used", empty)
    counts = _class_counts(good)
    lost = sorted({name for labels in clips["labels"] for name in labels} - set(counts))
    lacking = [f"{name} in {split}" for name, own in counts.items() for split, count in own.items() if not count]
    yield Finding("empty_class", True, "classes without a clip that can be used", [*lost, *lacking])
    sizes = sorted((own["all"], name) for name, own in counts.items())
    used = {name for labels in clips["labels"] for name in labels}
    same = [" and ".join(map(repr, own)) for own in alike({*used, *names}) if used.intersection(own)]
    yield Finding("alike", True, f"{len(same)} groups of class names that may mean the same", same)
    if sizes and sizes[-1][0] > MAX_IMBALANCE * sizes[0][0]:
        (few, rare), (many, common) = sizes[0], sizes[-1]
        text = f"the largest class ({common}) has {many} clips, the smallest ({rare}) {few}"
        yield Finding("imbalance", False, text, [rare, common])


def _about_events(
    events: pd.DataFrame, annotation_errors: Mapping[Path, str], sounds: dict[Path, Sound]
) -> Iterator[Finding]:
    """Recordings whose annotation cannot be right; of those that cannot be read, the length is unknown."""
    length_s = {path: sound.duration_s for path, sound in sounds.items() if not sound.error}
    wrong = untrusted(events, length_s) | dict(annotation_errors)
    text = f"{len(wrong)} recordings have annotations that cannot be right: left out of training and scores"
    yield Finding("annotation", True, text, list(wrong.values()), _each([str(path) for path in wrong]))
    again = events[events.duplicated()]
    twice = [
        f"{path}: {label} {onset:g} to {offset:g} s"
        for path, onset, offset, label in again[list(EVENT_COLUMNS)].itertuples(index=False)
    ]
    text = f"{len(again)} of {len(events)} events stand in the list before"
    yield Finding("event_twice", False, text, twice, _each(_paths(again)))


def _paths(clips: pd.DataFrame) -> list[str]:
    return [str(path) for path in clips["path"]]


def _each(paths: Iterable[str]) -> list[list[str]]:
    """Each alone."""
    return [[path] for path in paths]


def _names(clips: pd.DataFrame) -> list[str]:
    """Paths with their labels and split."""
    columns: Iterable[tuple[Path, tuple[str, ...], Any]] = zip(
        clips["path"], clips["labels"], clips["split"], strict=True
    )
    return [
        f"{path} ({', '.join(labels) or '-'}{'' if pd.isna(split) else '; ' + split})"
        for path, labels, split in columns
    ]
