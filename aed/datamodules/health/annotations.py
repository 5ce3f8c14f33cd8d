"""Annotations that cannot be right: events that no recording can have, and why they may stand there."""

import math
from collections.abc import Mapping
from itertools import accumulate
from pathlib import Path

import numpy as np
import pandas as pd

from aed.audio.audio_file import AudioFile
from aed.base.errors import AudioError
from aed.dsp.waveform import true_length

SLACK_S = 0.1
"""Annotations are not more exact than this: an event may end so much after its recording, or begin before it, s."""

WHOLE_SLACK_S = 1.0
"""The same for a list in whole seconds, where 9.3 becomes 10, s."""

MOST = 0.5
"""A list of which more recordings than this share have events after their end is wrong as a whole, if one cause
explains them: what lies within a recording by chance is then as wrong."""

EXPLAINED = 0.9
"""Share of such recordings that a cause has to explain."""

SHORTEST_S = 0.02
"""Of what people annotate; a unit in which most events are shorter is not theirs."""

RATES_HZ = (8000, 16000, 22050, 24000, 32000, 44100, 48000, 96000)
"""Sample rates that recordings have: for times that are counted in samples."""


def untrusted(events: pd.DataFrame, length_s: Mapping[Path, float]) -> dict[Path, str]:
    """Why a recording's annotation cannot be right, for each of which that is so.

    Args:
        events: Columns of :data:`aed.datamodules.sources.events.EVENT_COLUMNS`.
        length_s: Of recordings, in the order of the list; events of others may end at any time.
    """
    times = events[["onset_s", "offset_s"]].to_numpy(np.float64)
    slack = WHOLE_SLACK_S if len(times) and (times == np.round(times)).all() else SLACK_S
    ends = events["path"].map(dict(length_s)).astype(float).fillna(math.inf).to_numpy()
    wrong = {
        "a time is no number": ~np.isfinite(times).all(axis=1),
        "an event begins before the recording": times[:, 0] < -slack,
        "an event does not end after it begins": times[:, 1] <= times[:, 0],
        "": times[:, 1] > ends + slack,
    }
    reasons: dict[Path, str] = {}
    for text, rows in wrong.items():
        for path, own in events[rows].groupby("path", sort=False):
            assert isinstance(path, Path)
            first = own.iloc[0]
            event = f"{first['label']} {first['onset_s']:g} to {first['offset_s']:g} s"
            what = text or f"{len(own)} events end after it, which is {length_s.get(path, math.inf):.2f} s long"
            reasons.setdefault(path, f"{path}: {what} ({event})")
    late: set[Path] = set(events["path"][wrong[""]])
    if cause := _cause(events, late, length_s, slack):
        reasons |= {path: f"{reasons[path]}; {cause}" for path in late}
        annotated = list(dict.fromkeys(events["path"]))
        if len(late) > MOST * len(annotated):
            text = f"{len(late)} of the {len(annotated)} annotated recordings have events after their end: {cause}"
            reasons |= {path: f"{path}: {text}" for path in annotated if path not in reasons}
    return reasons


def _cause(events: pd.DataFrame, late: set[Path], length_s: Mapping[Path, float], slack: float) -> str:
    """Likely error in the times of recordings with late events; "" where nothing explains them."""
    span = {
        path: (own["onset_s"].min(), own["offset_s"].max())
        for path, own in events[events["path"].isin(late)].groupby("path", sort=False)
    }
    usual = float((events["offset_s"] - events["onset_s"])[events["path"].isin(late)].median())
    begin_s = dict(zip(length_s, accumulate((0.0, *length_s.values())), strict=False))

    def explains(scale: float, is_counted_on: bool = False) -> bool:
        fitting = 0
        for number, (path, (onset, offset)) in enumerate(span.items(), 1):
            before, tolerance = (begin_s[path], slack * number) if is_counted_on else (0.0, slack)  # type: ignore[index]
            end = length_s[path] + tolerance  # type: ignore[index]
            fitting += bool(-tolerance <= onset / scale - before and offset / scale - before <= end)
        return fitting >= EXPLAINED * len(span) and usual / scale >= SHORTEST_S

    if not span:
        return ""
    if len(span) > 1 and explains(1, is_counted_on=True):
        return "the times look counted over all files; give those within each"
    if explains(1000):
        return "the times look like milliseconds; give seconds"
    if any(explains(rate) for rate in RATES_HZ):
        return "the times look like samples; give seconds"
    return ""


def file_length(path: Path) -> float:
    """The length of a recording, s; infinite where it cannot be read."""
    try:
        with AudioFile(path) as file:
            return true_length(file, 0)
    except AudioError:
        return math.inf
